// The race problem as `problem.py` states it. Every sampled number lives on the real
// line, so there are no Jacobians. `method`: 0 rk45, 1 bdf, 2 adjoint.
functions {
  vector field(real t, vector y, vector p,
               data real K, data real gA, data real Amax, data real dA) {
    vector[3] dy;
    real f = y[3] / (K + y[3]);
    dy[1] = p[1] * f * y[1] - (p[2] + p[3]) * y[1] + p[5] * f * y[2];
    dy[2] = p[3] * y[1] - p[6] * y[2] - p[5] * f * y[2];
    dy[3] = gA * y[3] * (1 - y[3] / Amax) - p[4] * y[1] * y[3] - dA * y[3];
    return dy;
  }
  array[] vector solve(data int method, vector y, data real start,
                       data array[] real grid, data real rtol, data real atol, vector p,
                       data real K, data real gA, data real Amax, data real dA) {
    if (method == 0)
      return ode_rk45_tol(field, y, start, grid, rtol, atol, 1000000,
                          p, K, gA, Amax, dA);
    if (method == 1)
      return ode_bdf_tol(field, y, start, grid, rtol, atol, 1000000,
                         p, K, gA, Amax, dA);
    return ode_adjoint_tol_ctl(field, y, start, grid,
                               rtol, rep_vector(atol, 3), rtol, rep_vector(atol, 3),
                               rtol, atol, 1000000, 200, 1, 2, 2, p, K, gA, Amax, dA);
  }
}
data {
  int N;                      // patients
  int T;                      // samples of each
  int P;                      // pieces between doses
  array[P] int steps;         // grid points of each piece, its start left out
  array[P] real start;
  array[P] real given;        // antigen given at the start of the piece
  array[sum(steps)] real grid;
  array[T] int read;          // sample -> 1 for the start, 1 + g for grid point g
  vector[N] A0;
  array[N, T] real y;
  array[N, T] int cens;
  real K; real gA; real Amax; real dA; real E0; real s; real floor_; real lloq;
  vector[6] theta_mu; vector[6] theta_sd;
  vector[4] logom_mu; vector[4] logom_sd;
  real logsig_mu; real logsig_sd;
  int method; real rtol; real atol;
}
transformed data {
  real limit = log10(lloq);
}
parameters {
  vector[6] theta;
  vector[4] logom;
  real logsig;
  matrix[4, N] eta;
}
model {
  real sigma = exp(logsig);
  vector[4] omega = exp(logom);
  target += normal_lpdf(theta | theta_mu, theta_sd);
  target += normal_lpdf(logom | logom_mu, logom_sd);
  target += normal_lpdf(logsig | logsig_mu, logsig_sd);
  target += std_normal_lpdf(to_vector(eta));
  for (i in 1:N) {
    vector[6] p = exp(append_row(head(theta, 4) + omega .* eta[, i], tail(theta, 2)));
    vector[3] u = [E0, 0, A0[i]]';
    vector[1 + sum(steps)] cart;
    int at = 1;
    cart[1] = E0;
    for (piece in 1:P) {
      array[steps[piece]] vector[3] path;
      u[3] += given[piece];
      path = solve(method, u, start[piece], grid[at:(at + steps[piece] - 1)],
                   rtol, atol, p, K, gA, Amax, dA);
      for (g in 1:steps[piece])
        cart[at + g] = path[g, 1] + path[g, 2];
      at += steps[piece];
      u = path[steps[piece]];
    }
    for (k in 1:T) {
      real mean_ = log10(s * fmax(cart[read[k]], 0) + floor_);
      if (cens[i, k] == 1)
        target += normal_lcdf(limit | mean_, sigma);
      else
        target += normal_lpdf(y[i, k] | mean_, sigma);
    }
  }
}
