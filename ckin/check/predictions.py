"""Every reading beside what was predicted of it: a table, and the residuals in it."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import pandas as pd
from scipy import stats

from ckin._types import Array, Float
from ckin.check.npde import Errors
from ckin.check.replicates import Observed, predicted_samples, typical_prediction
from ckin.dataset import Dataset
from ckin.inference.density import Density
from ckin.inference.estimates import residuals
from ckin.population import by_sample, completed, log_readings, reading_log_likelihoods


@eqx.filter_jit
def _log_chance_below(density: Density, u: Array, eta: Array) -> Array:
    """Log probability of lying below the value of each sample, as if it were below."""
    population, sigma = density.population, density.hyper(u).sigma
    phi = density.patient_phi(u, eta)
    data = completed(population, density.data, phi, sigma)
    data = eqx.tree_at(lambda d: d.below, data, jnp.ones_like(data.below))
    prediction, _ = log_readings(population, phi, data, density.solver)
    spread = by_sample(sigma, data.which)
    return reading_log_likelihoods(population, prediction, data, spread)


def individual_residuals(
    density: Density,
    u: Float[np.ndarray, " hyper"],
    eta: Float[np.ndarray, "patients varying"],
    seed: int = 0,
) -> Float[np.ndarray, "patients samples"]:
    """IWRES: how many SDs of its error each reading is off its patient's curve.

    Of a reading below its limit that is not known: it is drawn at random from the error
    below the limit (a randomised quantile residual, Dunn and Smyth 1996,
    doi:10.1080/10618600.1996.10474708). NaN where padded.

    Args:
        density: what was fitted.
        u: population parameters.
        eta: of each patient.
        seed: of the random residuals.
    """
    u_, eta_ = jnp.asarray(u), jnp.asarray(eta)
    off = np.asarray(residuals(density, u_, eta_))
    below = np.asarray(density.data.below & density.data.present)
    chance = np.exp(np.asarray(_log_chance_below(density, u_, eta_)))
    place = np.random.default_rng(seed).uniform(size=chance.shape) * chance
    return np.where(below, stats.norm.ppf(np.maximum(place, 1e-300)), off)


def prediction_table(
    density: Density,
    dataset: Dataset,
    seen: Observed,
    draws: tuple[np.ndarray, np.ndarray],
    errors: Errors,
    key: Array,
) -> pd.DataFrame:
    """One row a reading: observed, predicted, residuals.

    Args:
        density: what was fitted.
        dataset: the same patients, in the fit's order.
        seen: from `observed`.
        draws: (u, η), (draws, hyper) and (draws, patients, varying).
        errors: from `prediction_errors`.
        key: of readings drawn again.

    Returns:
        Columns ID, TIME (days), DVID, ROW (of the data file), observed, below, PRED
        (no variation of the patient's own), IPRED (median of the patient's draws),
        IPRED_q05, IPRED_q95, again_q05, again_q95 (a reading with error), all in the
        unit of the assay; IWRES (at the mean of the draws), EWRES, NPD, NPDE.
    """
    u, eta = draws
    clean, noisy = predicted_samples(density, u, eta, key)
    low, middle, high = np.nanquantile(clean, (0.05, 0.5, 0.95), axis=0)
    again_low, again_high = np.nanquantile(noisy, (0.05, 0.95), axis=0)
    typical = typical_prediction(density, u.mean(axis=0))
    iwres = individual_residuals(density, u.mean(axis=0), eta.mean(axis=0))
    rows = [
        [s.row for s in patient.samples if s.assay in seen.assays]
        for patient in dataset.patients
    ]
    patient, _ = np.nonzero(seen.present)
    of = lambda values: values[seen.present]
    return pd.DataFrame(
        {
            "ID": np.array(seen.ids)[patient],
            "TIME": of(seen.time_d),
            "DVID": np.array(seen.assays)[of(seen.which)],
            "ROW": [row for own in rows for row in own],
            "observed": np.exp(of(seen.log_value)),
            "below": of(seen.below),
            "PRED": np.exp(of(typical)),
            "IPRED": np.exp(of(middle)),
            "IPRED_q05": np.exp(of(low)),
            "IPRED_q95": np.exp(of(high)),
            "again_q05": np.exp(of(again_low)),
            "again_q95": np.exp(of(again_high)),
            "IWRES": of(iwres),
            "EWRES": of(errors.ewres),
            "NPD": of(errors.npd),
            "NPDE": of(errors.npde),
        }
    )
