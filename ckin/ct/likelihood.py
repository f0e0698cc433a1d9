"""How likely the wells of a plate are: for a fit that starts from raw Ct.

A fit on readings takes the standard curve for known. This takes the wells as they are,
so that the doubt about the curve, which all samples of a plate share, stays in.

    copies of a well     N ~ Poisson(λ);  λ of a standard is its COPIES
    copies of a sample   λ = exp(y) · µg DNA,  y ~ Normal(log prediction, σ²)
    a well with N > 0    Ct ~ Normal(a + b log10 N, τ²)
    a well with N = 0    does not amplify

y is the natural log of copies/µg, and σ what separates a sample from the prediction:
extraction, biology, misfit of the model. It is shared by the replicate wells, so it is
integrated out once for a sample and not once for a well.

What is approximated: the logarithm of the copies of a well that amplified is taken as
normal, with its exact mean and variance given N > 0. The error of a sample is
integrated out in closed form as if ln N had mean ln λ and a known variance, and what
that leaves out is summed over nodes of the normal density of y that results. A
prediction up to 8 σ from the reading has its log likelihood to 0.2%; one further off
has too little, and never more than a nearer one.
"""

import math
from collections.abc import Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist

from ckin._types import Array, ArrayLike, Bool, Float, Int
from ckin.ct.curve import standard_curve
from ckin.ct.poisson import interpolated_log_moments, positive_log_moments
from ckin.ct.readings import mean_copies
from ckin.ct.records import Ct, CtData, Plate
from ckin.dataset.wells import Wells
from ckin.errors import InputError
from ckin.model import log_normal


LN10 = math.log(10.0)
# Nodes of the integral over the error of a sample. Wells that did not amplify make a
# step there, smooth over a factor e in copies (tests/ct/test_ct_likelihood.py).
NODES = 32
# Beyond e^±50 copies nothing changes, and nothing overflows.
LOG_COPIES_LIMIT = 50.0
# Cycles per decade: a doubling in every cycle, and what plates of one assay vary by.
SLOPE = (-1.0 / math.log10(2.0), 0.15)
# Ct of one copy, by threshold, dye and instrument.
INTERCEPT = (37.5, 2.0)
# SD of a well, cycles: 0.1 to 0.4 in most hands. Median, and SD of the logarithm.
TAU = (0.2, 0.5)


class Standards(eqx.Module):
    """The standard wells of all plates.

    Attributes:
        plates: names; intercepts and slopes are in this order.
        plate: plate of each well.
        copies: copies per reaction.
        ct: cycles; 0 where not amplified.
        amplified: whether there is a Ct.
        log_mean: mean of the natural log of the copies in the well, if any.
        log_var: variance of it.
        line: intercept and slope of each plate by least squares, to start from.
    """

    plates: tuple[str, ...] = eqx.field(static=True)
    plate: Int[Array, " standards"]
    copies: Float[Array, " standards"]
    ct: Float[Array, " standards"]
    amplified: Bool[Array, " standards"]
    log_mean: Float[Array, " standards"]
    log_var: Float[Array, " standards"]
    line: Float[Array, "plates 2"]

    def log_likelihood(
        self,
        intercept: Float[Array, " plates"],
        slope: Float[Array, " plates"],
        tau: ArrayLike,
    ) -> Float[Array, " standards"]:
        """Log likelihood of each well.

        Args:
            intercept: Ct of one copy, by plate.
            slope: cycles per decade, by plate.
            tau: SD of a well, cycles.
        """
        a, per_log = intercept[self.plate], slope[self.plate] / LN10
        variance = tau**2 + per_log**2 * self.log_var
        seen = _log_amplifies(jnp.log(self.copies))
        seen += _normal(self.ct - a - per_log * self.log_mean, variance)
        return jnp.where(self.amplified, seen, -self.copies)


class SampleWells(eqx.Module):
    """The wells of samples.

    Attributes:
        plate: plate of each sample, by its place in `Standards.plates`.
        log_ug: natural log of the DNA per reaction, µg.
        ct: cycles of each well; 0 where not amplified, and where padded.
        amplified: whether there is a Ct.
        silent: wells of each sample that did not amplify.
        scatter: variance of the natural log of copies of a well (Poisson), by the
            plate's own curve; where the nodes of the integral are rests on it.
    """

    plate: Int[Array, "*samples"]
    log_ug: Float[Array, "*samples"]
    ct: Float[Array, "*samples wells"]
    amplified: Bool[Array, "*samples wells"]
    silent: Float[Array, "*samples"]
    scatter: Float[Array, "*samples"]

    def log_likelihood(
        self,
        log_copies_per_ug: Float[Array, "*samples"],
        intercept: Float[Array, "*samples"],
        slope: Float[Array, "*samples"],
        tau: Float[ArrayLike, "*#samples"],
        sigma: Float[ArrayLike, "*#samples"],
    ) -> Float[Array, "*samples"]:
        """Log likelihood of each sample, all its wells together.

        With many copies the wells are jointly normal: variance v = τ² + Poisson on the
        diagonal and the shared c²σ² everywhere (c = slope / ln 10, cycles per unit of
        y). Given them y is normal too. What is different with few copies (moments of
        ln N; the chance that just these wells amplified) is a factor, averaged over
        that y.

        Args:
            log_copies_per_ug: natural log of the error-free prediction.
            intercept: Ct of one copy on the plate of each sample.
            slope: cycles per decade there.
            tau: SD of a well, cycles.
            sigma: SD of the natural log of a sample about its prediction, above 0.
        """
        a, c = intercept, slope / LN10
        well = tau**2 + c**2 * self.scatter
        log_copies = log_copies_per_ug + self.log_ug
        off = self.ct - (a + c * log_copies)[..., None]
        off = jnp.where(self.amplified, off, 0.0)
        n = jnp.sum(self.amplified, axis=-1)
        density, middle, spread = _with_shared_error(off, n, well, c, sigma)
        nodes, weights = np.polynomial.hermite_e.hermegauss(NODES)
        at = (log_copies + middle)[..., None] + spread[..., None] * nodes
        at = jnp.clip(at, -LOG_COPIES_LIMIT, LOG_COPIES_LIMIT)
        factor = n[..., None] * _log_amplifies(at)
        factor -= self.silent[..., None] * jnp.exp(at)
        factor += self._few_copies(at, a, c, jnp.asarray(tau), well)
        return density + jax.scipy.special.logsumexp(
            factor, axis=-1, b=jnp.array(weights / weights.sum())
        )

    def _few_copies(
        self,
        log_copies: Float[Array, "*samples nodes"],
        a: Float[Array, "*samples"],
        c: Float[Array, "*samples"],
        tau: Float[Array, "*#samples"],
        well: Float[Array, "*samples"],
    ) -> Float[Array, "*samples nodes"]:
        """Log of the density of Ct by the moments of ln N, over that by ln λ."""
        log_mean, log_var = interpolated_log_moments(log_copies)
        ct = (self.ct - a[..., None])[..., None, :]
        per_log = c[..., None]
        by_moments = _normal(
            ct - (per_log * log_mean)[..., None],
            (jnp.square(tau)[..., None] + per_log**2 * log_var)[..., None],
        )
        taken = _normal(ct - (per_log * log_copies)[..., None], well[..., None, None])
        more = jnp.where(self.amplified[..., None, :], by_moments - taken, 0.0)
        return jnp.sum(more, axis=-1)


class CtWells(eqx.Module):
    """All wells of a file: the standards, and the samples in the file's order."""

    standards: Standards
    samples: SampleWells

    @property
    def plates(self) -> tuple[str, ...]:
        """Names; intercepts and slopes are in this order."""
        return self.standards.plates

    def standards_log_likelihood(
        self,
        intercept: Float[Array, " plates"],
        slope: Float[Array, " plates"],
        tau: ArrayLike,
    ) -> Float[Array, " standards"]:
        """See `Standards.log_likelihood`."""
        return self.standards.log_likelihood(intercept, slope, tau)

    def samples_log_likelihood(
        self,
        log_copies_per_ug: Float[Array, " samples"],
        intercept: Float[Array, " plates"],
        slope: Float[Array, " plates"],
        tau: ArrayLike,
        sigma: ArrayLike,
    ) -> Float[Array, " samples"]:
        """See `SampleWells.log_likelihood`; curves by plate."""
        plate = self.samples.plate
        return self.samples.log_likelihood(
            log_copies_per_ug, intercept[plate], slope[plate], tau, sigma
        )


def priors() -> dict[str, dist.Distribution]:
    """Priors of the curves: intercept and slope of each plate, τ of all."""
    return {
        "intercept": dist.Normal(*INTERCEPT),
        "slope": dist.Normal(*SLOPE),
        "tau": log_normal(*TAU),
    }


def pack(data: CtData) -> CtWells:
    """Wells as arrays.

    Raises:
        InputError: a plate with samples has no standards.
    """
    standards = pack_standards(data.plates)
    for sample in data.samples:
        if sample.plate not in standards.plates:
            raise InputError(f"plate {sample.plate!r} has samples and no standards")
    return CtWells(standards, pack_samples([s.wells for s in data.samples], standards))


def pack_standards(plates: Sequence[Plate]) -> Standards:
    """Standard wells of the plates that have any."""
    having = [plate for plate in plates if plate.standards]
    wells = [(at, well) for at, plate in enumerate(having) for well in plate.standards]
    copies = np.array([well.copies for _, well in wells], dtype=float)
    log_mean, log_var = positive_log_moments(copies)
    curves = [standard_curve(plate) for plate in having]
    return Standards(
        plates=tuple(plate.name for plate in having),
        plate=jnp.array([at for at, _ in wells], dtype=int),
        copies=jnp.array(copies),
        ct=jnp.array([well.ct or 0.0 for _, well in wells], dtype=float),
        amplified=jnp.array([well.ct is not None for _, well in wells]),
        log_mean=jnp.array(log_mean),
        log_var=jnp.array(log_var),
        line=jnp.array([(c.intercept, c.slope) for c in curves]).reshape(-1, 2),
    )


def pack_samples(samples: Sequence[Wells], standards: Standards) -> SampleWells:
    """Wells of samples on plates that have standards."""
    cts, amplified = _padded([wells.cts for wells in samples])
    lines = np.asarray(standards.line).tolist()
    plate = [standards.plates.index(wells.plate) for wells in samples]
    read = [
        mean_copies(wells.cts, *lines[at])
        for wells, at in zip(samples, plate, strict=True)
    ]
    number = np.array([len(wells.cts) for wells in samples], dtype=float)
    return SampleWells(
        plate=jnp.array(plate, dtype=int),
        log_ug=jnp.log(jnp.array([wells.dna_ug for wells in samples], dtype=float)),
        ct=jnp.array(cts),
        amplified=jnp.array(amplified),
        silent=jnp.array(number - amplified.sum(axis=1)),
        scatter=jnp.array([1.0 / max(copies, 1.0) for copies in read]),
    )


def _padded(cts: list[tuple[Ct, ...]]) -> tuple[np.ndarray, np.ndarray]:
    """Ct as one table (0 for none), and where there is one."""
    width = max(map(len, cts), default=0)
    table = np.zeros((len(cts), width))
    amplified = np.zeros((len(cts), width), dtype=bool)
    for row, wells in enumerate(cts):
        for column, ct in enumerate(wells):
            if ct is not None:
                table[row, column], amplified[row, column] = ct, True
    return table, amplified


def _with_shared_error(
    off: Float[Array, "*samples wells"],
    n: Int[Array, "*samples"],
    well: Float[Array, "*samples"],
    c: Float[Array, "*samples"],
    sigma: ArrayLike,
) -> tuple[Array, Array, Array]:
    """Normal wells that share an error: their log density, and what they say of it.

    Args:
        off: Ct less its expectation, cycles; 0 where a well has none.
        n: wells that amplified.
        well: variance of a well alone, cycles².
        c: cycles per unit of the shared error.
        sigma: SD of the shared error.

    Returns:
        Log density of `off`; mean and SD of the shared error given `off`, which are 0
        and `sigma` without wells.
    """
    shared = (c * sigma) ** 2
    both = well + n * shared
    total, squares = jnp.sum(off, axis=-1), jnp.sum(off**2, axis=-1)
    # Sherman-Morrison: inverse and determinant of well I + shared 1 1ᵀ.
    density = -0.5 * (squares - shared / both * total**2) / well
    density -= 0.5 * ((n - 1) * jnp.log(well) + jnp.log(both))
    density -= 0.5 * n * math.log(2.0 * math.pi)
    return density, c * sigma**2 * total / both, sigma * jnp.sqrt(well / both)


def _normal(residual: Array, variance: ArrayLike) -> Array:
    scaled = residual**2 / variance + jnp.log(variance)
    return -0.5 * (scaled + math.log(2.0 * math.pi))


def _log_amplifies(log_copies: Array) -> Array:
    """Log of the chance that a well gets any copy: 1 - e^-λ."""
    log_copies = jnp.clip(log_copies, -LOG_COPIES_LIMIT, LOG_COPIES_LIMIT)
    return jnp.log(-jnp.expm1(-jnp.exp(log_copies)))
