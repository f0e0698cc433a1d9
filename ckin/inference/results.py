"""A fit as people use it: posterior, summary, individuals, manifest, a folder."""

import dataclasses
import json
import platform
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import xarray as xr
from arviz_base import from_dict

from ckin._types import Array
from ckin.inference.convergence import Verdict, diagnostics
from ckin.inference.density import Density
from ckin.inference.maximum import Maximum
from ckin.inference.of_draws import derived_draws, population_draws
from ckin.inference.profile import Profile, profile_tables
from ckin.inference.referee import Referee
from ckin.population.hyper import correlation_names
from ckin.population.screening import screening_names
from ckin.population.variation import HEAVY_DF
from ckin.population.wells import curve_units
from ckin.writing import with_verdict


# Profile likelihoods place by place, and their intervals.
PROFILE_FILES = ("profiles.csv", "profile_intervals.csv")

LIBRARIES = ("ckin", "jax", "diffrax", "numpyro", "blackjax", "arviz-base")


@dataclasses.dataclass(frozen=True)
class Fit:
    """Result of a fit.

    Attributes:
        density: the posterior that was fitted, with its data.
        posterior: ArviZ DataTree: posterior, sample_stats, log_likelihood,
            observed_data.
        summary: one row a population parameter or derived number.
        individual: one row a patient and parameter.
        verdict: whether it converged.
        manifest: what was run, with what, on what.
        u: population draws, (chains, draws, hyper), unconstrained.
        eta: (chains, draws, patients, varying).
        referee: what the adaptive solver says of the draws.
        refereed: the population by the referee's weights; `None` where it had nothing
            to weigh.
        maximum: of the likelihood, where that was sought.
        profiles: profile likelihoods, those that were asked for.
    """

    density: Density
    posterior: xr.DataTree
    summary: pd.DataFrame
    individual: pd.DataFrame
    verdict: Verdict
    manifest: Mapping[str, Any]
    u: np.ndarray
    eta: np.ndarray
    referee: Referee
    refereed: pd.DataFrame | None
    maximum: Maximum | None = None
    profiles: tuple[Profile, ...] = ()

    def thinned(self, n: int) -> tuple[np.ndarray, np.ndarray]:
        """`n` draws of (u, η), evenly spaced over all chains."""
        u = self.u.reshape(-1, self.u.shape[-1])
        eta = self.eta.reshape(u.shape[0], *self.eta.shape[2:])
        rows = np.linspace(0, u.shape[0] - 1, min(n, u.shape[0])).astype(int)
        return u[rows], eta[rows]

    def write(self, folder: Path) -> None:
        """Write `posterior.nc`, `summary.csv`, `individual.csv`, `manifest.json`.

        And `referee.csv`, `profiles.csv` and `profile_intervals.csv`, where there is
        something in them. Every table has a last column `converged`.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self.posterior.to_netcdf(folder / "posterior.nc", engine="h5netcdf")
        said = lambda table: with_verdict(table, self.verdict.converged)
        said(self.summary).to_csv(folder / "summary.csv", index=False)
        said(self.individual).to_csv(folder / "individual.csv", index=False)
        if self.refereed is None:
            # One of an earlier fit in this folder would be read as this one's.
            (folder / "referee.csv").unlink(missing_ok=True)
        else:
            said(self.refereed).to_csv(folder / "referee.csv", index=False)
        self._write_profiles(folder)
        text = json.dumps(self.manifest, indent=2, ensure_ascii=False)
        (folder / "manifest.json").write_text(text + "\n", encoding="utf-8")

    def _write_profiles(self, folder: Path) -> None:
        paths = [folder / name for name in PROFILE_FILES]
        if not self.profiles:
            for path in paths:
                path.unlink(missing_ok=True)
            return
        found = profile_tables(self.profiles, units_of(self.density))
        for path, table in zip(paths, found, strict=True):
            table = with_verdict(table, self.verdict.converged)
            table.to_csv(path, index=False, float_format="%.8g")


def individual_draws(
    density: Density, u: np.ndarray, eta: np.ndarray
) -> dict[str, np.ndarray]:
    """Parameters of every patient, by name, each (chains, draws, patients).

    Of a parameter that differs between cycles there is `NAME@1`, `NAME@2`, ... too.
    """
    one = lambda u, eta: density.population.by_name(density.patient_phi(u, eta))
    each = jax.vmap(jax.vmap(one))(jnp.asarray(u), jnp.asarray(eta))
    return {name: np.asarray(values) for name, values in each.items()}


def to_datatree(
    density: Density,
    u: np.ndarray,
    eta: np.ndarray,
    stats: Mapping[str, np.ndarray],
    log_likelihood: np.ndarray,
    attributes: Mapping[str, str],
) -> xr.DataTree:
    """Draws as ArviZ's DataTree; individual parameters are named NAME_i.

    Args:
        density: the posterior.
        u: (chains, draws, hyper).
        eta: (chains, draws, patients, varying).
        stats: sampler statistics, each (chains, draws).
        log_likelihood: (chains, draws, patients, samples), padding included.
        attributes: written on every group.
    """
    data, assays = density.data, density.population.assays
    present, which = np.asarray(data.present), np.asarray(data.which)
    patients, _ = np.nonzero(present)
    # The samples of each assay: ArviZ judges a likelihood at a time.
    own = {a.name: np.nonzero(present & (which == i)) for i, a in enumerate(assays)}
    # What a patient's cycles are follows from `eta`.
    each = {n: v for n, v in individual_draws(density, u, eta).items() if "@" not in n}
    tree = from_dict(
        {
            "posterior": {
                **population_draws(density, u),
                **{f"{name}_i": values for name, values in each.items()},
                "eta": eta,
            },
            "sample_stats": dict(stats),
            "log_likelihood": {
                name: log_likelihood[:, :, *cells] for name, cells in own.items()
            },
            "observed_data": {
                **{
                    f"log_{name}": np.asarray(data.log_value)[cells]
                    for name, cells in own.items()
                },
                "assay_index": which[present],
                "below": np.asarray(data.below)[present],
                "time_d": np.asarray(data.time_d)[present],
                "patient_index": patients,
            },
        },
        coords={
            "patient": list(data.ids),
            "varying": list(density.population.eta_names),
            "reading": np.arange(present.sum()),
            **{
                f"{name}_reading": np.flatnonzero(which[present] == index)
                for index, name in enumerate(own)
            },
        },
        dims={
            "eta": ["patient", "varying"],
            **{name: [f"{name}_reading"] for name in own},
            **{f"log_{name}": [f"{name}_reading"] for name in own},
            **{f"{name}_i": ["patient"] for name in each},
            **{
                name: ["reading"]
                for name in ("below", "time_d", "patient_index", "assay_index")
            },
        },
    )
    for group in tree.children.values():
        group.attrs.update(attributes)
    return tree


def summarise(
    density: Density, u: np.ndarray, together: int = 1
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Summary of population parameters and derived numbers, and their diagnostics.

    Args:
        density: the posterior.
        u: (chains, draws, hyper).
        together: neighbouring chains that started at one place.

    Returns:
        The summary (parameter, unit, mean, sd, q05, q50, q95, r_hat, ess_bulk,
        ess_tail) and the diagnostics of the parameters that were sampled.
    """
    sampled = population_draws(density, u)
    draws = {**sampled, **derived_draws(density, u)}
    table = diagnostics(_dataset(draws), together)
    rows = []
    units = units_of(density)
    for name, values in draws.items():
        low, middle, high = np.quantile(values, (0.05, 0.5, 0.95))
        rows.append(
            {
                "parameter": name,
                "unit": units[name],
                "mean": values.mean(),
                "sd": _sd(values),
                "q05": low,
                "q50": middle,
                "q95": high,
                **table.loc[name].to_dict(),
            }
        )
    return pd.DataFrame(rows), table.loc[list(sampled)]


def _sd(values: np.ndarray) -> float:
    """SD of draws; NaN where one is infinite, as a CV% can be."""
    return float(values.std(ddof=1)) if np.isfinite(values).all() else np.nan


def the_fields_way(
    summary: pd.DataFrame,
    shrunk: Mapping[str, float],
    estimates: pd.DataFrame | None,
) -> pd.DataFrame:
    """The summary with what tables of population analyses have.

    Args:
        summary: from `summarise`.
        shrunk: shrinkage in %, by parameter.
        estimates: `estimate` and `se` of maximum likelihood, by parameter.

    Returns:
        The same rows; with `estimate` and `se` after `unit`, where there are any (of
        derived numbers the median and the SD of the draws), and at the end `rse_pct`,
        the SD or SE in % of the mean or estimate, and `shrinkage_pct`.
    """
    names = summary["parameter"].tolist()
    table, centre, spread = summary.copy(), summary["mean"], summary["sd"]
    if estimates is not None:
        known = estimates.reindex(names).reset_index(drop=True)
        own = pd.Series([name in estimates.index for name in names])
        centre = known["estimate"].where(own, summary["q50"])
        spread = known["se"].where(own, spread)
        table.insert(2, "estimate", centre)
        table.insert(3, "se", spread)
    table["rse_pct"] = 100.0 * spread / centre.abs().where(centre != 0)
    table["shrinkage_pct"] = [shrunk.get(name, np.nan) for name in names]
    return table


def summarise_refereed(
    density: Density, u: np.ndarray, judge: Referee
) -> pd.DataFrame | None:
    """Population parameters and derived numbers by the weights of the referee.

    Args:
        density: the posterior.
        u: the draws that the fit made, (chains, draws, hyper).
        judge: what the referee found about them.

    Returns:
        One row a number (parameter, unit, mean, q05, q50, q95, shift_in_sd), or `None`
        if no draw has a weight. The shift is that of the mean against the same draws
        without weights, in their SDs.
    """
    weighed = judge.weights > 0
    if not weighed.any():
        return None
    weights = judge.weights[weighed]
    judged = u.reshape(-1, u.shape[-1])[None, judge.rows[weighed]]
    rows, units = [], units_of(density)
    draws = {**population_draws(density, judged), **derived_draws(density, judged)}
    for name, (values,) in draws.items():
        mean, sd = weights @ values, values.std()
        low, middle, high = np.quantile(
            values, (0.05, 0.5, 0.95), weights=weights, method="inverted_cdf"
        )
        rows.append(
            {
                "parameter": name,
                "unit": units[name],
                "mean": mean,
                "q05": low,
                "q50": middle,
                "q95": high,
                "shift_in_sd": (mean - values.mean()) / sd if sd > 0 else 0.0,
            }
        )
    return pd.DataFrame(rows)


def _dataset(draws: Mapping[str, np.ndarray]) -> xr.Dataset:
    return xr.Dataset({name: (("chain", "draw"), v) for name, v in draws.items()})


def units_of(density: Density) -> dict[str, str]:
    """Unit of each population parameter and derived number, by name."""
    population = density.population
    units = {name: info.unit for name, info in population.info.items()}
    units |= population.model.derived_units
    for name, parameter in population.spread_names.items():
        scale = population.info[parameter].scale
        what = "SD"
        if population.n_heavy and name in population.vary:
            what = f"scale of t{HEAVY_DF}"
        units[f"omega_{name}"] = f"{what} of {scale}" if scale != "identity" else what
        if scale != "identity":
            units[f"cv_pct_{name}"] = "%"
    for block in population.blocks:
        units |= dict.fromkeys(correlation_names(block), "1")
    for effect in population.covariates:
        units[effect.name] = "1" if effect.multiplies_ratio else f"1/{effect.column}"
    if population.screen:
        units |= dict.fromkeys(screening_names(population), "1")
    for assay in population.assays:
        own = population.model.units[assay.quantity]
        units[f"sigma_{assay.name}"] = assay.error.sigma_unit or own
        units[f"sigma_add_{assay.name}"] = own
    units |= curve_units(density.data.standards)
    return units


def summarise_individuals(
    density: Density, u: np.ndarray, eta: np.ndarray, mode: Array
) -> pd.DataFrame:
    """One row a patient and parameter: ID, parameter, map, mean, sd, q05, q50, q95.

    `mode` is φ of the MAP of each patient under the Laplace mode of the population. Of
    parameters that differ between cycles those of the patient's own follow (`NAME@2`).
    """
    rows, had = [], density.data.n_occasions
    modes = density.population.by_name(mode)
    for name, values in individual_draws(density, u, eta).items():
        flat = values.reshape(-1, values.shape[-1])
        quantiles = np.quantile(flat, (0.05, 0.5, 0.95), axis=0)
        _, _, cycle = name.partition("@")
        for index, patient in enumerate(density.data.ids):
            if cycle and int(cycle) > had[index]:
                continue
            rows.append(
                {
                    "ID": patient,
                    "parameter": name,
                    "map": float(modes[name][index]),
                    "mean": flat[:, index].mean(),
                    "sd": flat[:, index].std(ddof=1),
                    "q05": quantiles[0, index],
                    "q50": quantiles[1, index],
                    "q95": quantiles[2, index],
                }
            )
    return pd.DataFrame(rows)


def environment() -> dict[str, object]:
    """Versions and machine, for the manifest."""
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "versions": {name: version(name) for name in LIBRARIES},
        "device": jax.devices()[0].platform,
        "float64": bool(jax.config.read("jax_enable_x64")),
    }
