"""A new patient from few early samples: Bayesian forecasting from a fit.

The population is known as far as the fit knows it: a hundred draws of its posterior.
Under each, η of the new patient is drawn and weighed by its samples
(`ckin.inference.integrated`), and draws of population and patient together are taken in
proportion to their weights. What is compiled for one patient serves the next: shapes
are padded to the same sizes.
"""

import dataclasses
import time
from collections.abc import Callable
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd

from ckin._types import Array, Bool, Float
from ckin.analysis import described
from ckin.check.replicates import predicted_samples
from ckin.dataset import Dataset, Patient, Sample
from ckin.errors import InputError
from ckin.inference.density import Density
from ckin.inference.integrated import (
    expanded_about,
    found_modes,
    systematic,
    weighted_draws,
)
from ckin.plot import Curves, individual_fits, save
from ckin.population import Packed, pack
from ckin.reopen import OpenedFit
from ckin.solve import Grid, make_grids, paces_of, pad_grid, quickest
from ckin.solve.grid import cut_grid, usual_pace
from ckin.writing import titled, with_verdict


# Draws of η for each of the population, and draws kept.
EACH, KEPT = 32, 400
# Days of a curve; samples and steps are padded to multiples of these.
DAYS, SAMPLES, STEPS = 60, 16, 64
# Fewer independent draws than this are not enough for a 90% interval.
LEAST_ESS = 50.0
PROBABILITIES = (0.05, 0.5, 0.95)


@dataclasses.dataclass(frozen=True)
class Forecast:
    """What is foreseen of one patient.

    Attributes:
        id: of the patient.
        table: one row a day and assay: ID, DVID, TIME, q05, q50, q95 (error-free),
            again_q05, again_q95 (a reading with error), in the unit of the assay.
        parameters: one row a parameter: ID, parameter, q05, q50, q95.
        known: readings that were used.
        ess: how many independent draws these are worth.
        seconds: it took, compilation included if it was the first.
    """

    id: str
    table: pd.DataFrame
    parameters: pd.DataFrame
    known: int
    ess: float
    seconds: float


class Forecaster:
    """Forecasts from one fit; the first call compiles.

    Args:
        fit: opened; a hundred draws do.
        until_d: last day to foresee.
        day_d: readings after this day are not used.
        seed: of every random number.

    Raises:
        InputError: wells were fitted, or a last day that is not after day 0.
    """

    def __init__(
        self,
        fit: OpenedFit,
        until_d: float,
        *,
        day_d: float = np.inf,
        seed: int = 0,
    ):
        if fit.density.data.standards is not None:
            raise InputError(
                "a forecast takes readings, and this fit was made from the wells of "
                "plates; fit the readings that `ckin ct` writes"
            )
        if not 0 < until_d < np.inf:
            raise InputError(f"--until {until_d:g}: give a day after day 0")
        self._fit, self._day_d, self._key = fit, day_d, jax.random.key(seed)
        last_dose = max(
            (d.time_d for p in fit.dataset.patients for d in p.doses), default=0
        )
        dense = np.linspace(0.0, min(until_d, last_dose + 60.0), DAYS // 2 + 1)[1:]
        late = np.linspace(dense[-1], until_d, DAYS - DAYS // 2 + 1)[1:]
        self.days_d = np.unique(np.concatenate([dense, late]))
        self._pace = quickest(paces_of(fit.density.data.grid))
        # Room for newcomers who are like the patients of the fit. Whoever needs more
        # makes it for all that follow.
        data, assays = fit.density.data, len(fit.density.population.assays)
        self._like, self._steps = data, data.grid.start_d.shape[1]
        self._samples = _rounded(data.time_d.shape[1] + DAYS * assays, SAMPLES)

    def make_room(self, dataset: Dataset) -> None:
        """See who is to come, so that one compilation serves them all.

        Raises:
            InputError: as a forecast of any of them.
        """
        for patient in dataset.patients:
            self._packed(patient, dataset)

    def __call__(self, patient: Patient, dataset: Dataset) -> Forecast:
        """Forecast one patient.

        Args:
            patient: with its samples and doses.
            dataset: where it comes from.

        Raises:
            InputError: data that do not suit the fit; a patient whom no draw solves.
        """
        began = time.perf_counter()
        data, foreseen = self._packed(patient, dataset)
        density = eqx.tree_at(lambda d: d.data, self._fit.density, data)
        known = _until_known(density)
        keys = jax.random.split(self._key, 4)
        hypers = _hypers(density, jnp.asarray(self._fit.u))
        middle = jax.tree.map(lambda x: x.mean(axis=0), hypers)
        quads = expanded_about(known, middle, found_modes(known, middle, keys[0]))
        drawn = weighted_draws(known, hypers, quads, keys[1], EACH)
        log_weight = np.asarray(drawn.log_weight[..., 0]).ravel()
        if not np.isfinite(log_weight).any():
            raise InputError(
                f"{dataset.path}: patient {patient.id} could not be solved "
                "by any draw; look at its doses"
            )
        weight = np.exp(log_weight - log_weight.max())
        weight /= weight.sum()
        offset = float(jax.random.uniform(keys[2]))
        picked = systematic(offset, weight, KEPT)
        eta = np.asarray(drawn.eta).reshape(-1, *density.eta_shape)[picked]
        u = self._fit.u[picked // EACH]
        clean, noisy = predicted_samples(density, u, eta, keys[3])
        values = _values(density, jnp.asarray(u), jnp.asarray(eta))
        name = patient.id
        return Forecast(
            name,
            self._table(name, density, foreseen, clean[:, 0], noisy[:, 0]),
            _parameters(name, density, np.asarray(values)),
            int(data.present.sum()),
            float(1.0 / np.sum(weight**2)),
            time.perf_counter() - began,
        )

    def _packed(
        self, patient: Patient, dataset: Dataset
    ) -> tuple[Packed, Bool[np.ndarray, " samples"]]:
        """The patient's arrays, with the days to foresee among its samples, unread.

        Returns:
            The arrays, and which of the samples are days to foresee.
        """
        population = self._fit.density.population
        one = described(
            dataclasses.replace(dataset, patients=(patient,)),
            population,
            self._fit.analysis.from_day,
        )
        names = [assay.name for assay in population.assays]
        read = [
            s
            for s in one.patients[0].samples
            if s.assay in names and s.time_d <= self._day_d
        ]
        days = [_unread(t, name) for t in self.days_d.tolist() for name in names]
        self._samples = max(self._samples, _rounded(len(read) + len(days), SAMPLES))
        days += [days[-1]] * (self._samples - len(read) - len(days))
        every = sorted([*read, *days], key=lambda s: (s.time_d, s.after))
        patient = dataclasses.replace(one.patients[0], samples=tuple(every))
        data = pack(
            dataclasses.replace(one, patients=(patient,)), population, self._like
        )
        self._like = data
        foreseen = np.array([s.row == UNREAD for s in every])
        return dataclasses.replace(
            data,
            ids=("new",),
            grid=self._grid(data),
            present=jnp.asarray(~foreseen)[None],
        ), foreseen

    def _grid(self, data: Packed) -> Grid:
        """Steps to the last sample, as many as others have; the rest is not walked."""
        event_d = np.asarray(data.events.time_d)[0]
        grid = make_grids(
            self._fit.density.population.model,
            data.events,
            data.time_d,
            data.after,
            [quickest([self._pace, usual_pace(event_d)])],
        )
        alone = jax.tree.map(lambda rows: np.asarray(rows)[0], grid)
        last = int(alone.read_at.max())
        # Doses cut steps of their own: the next patient may have other ones.
        if last > self._steps:
            self._steps = _rounded(last + last // 4, STEPS)
        padded = jax.tree.map(
            lambda rows: jnp.asarray(rows)[None],
            pad_grid(
                cut_grid(alone, min(self._steps, alone.start_d.size)), self._steps
            ),
        )
        return dataclasses.replace(padded, until=jnp.asarray(last))

    def _table(
        self,
        name: str,
        density: Density,
        foreseen: np.ndarray,
        clean: Float[np.ndarray, "draws samples"],
        noisy: Float[np.ndarray, "draws samples"],
    ) -> pd.DataFrame:
        """Quantiles of the days to foresee, by assay."""
        low, middle, high = np.exp(np.nanquantile(clean, PROBABILITIES, axis=0))
        again_low, again_high = np.exp(np.nanquantile(noisy, (0.05, 0.95), axis=0))
        names = np.array([assay.name for assay in density.population.assays])
        table = pd.DataFrame(
            {
                "ID": name,
                "DVID": names[np.asarray(density.data.which)[0]],
                "TIME": np.asarray(density.data.time_d)[0],
                "q05": low,
                "q50": middle,
                "q95": high,
                "again_q05": again_low,
                "again_q95": again_high,
            }
        )
        return table.loc[foreseen].drop_duplicates(["DVID", "TIME"])


# Marks samples that are days to foresee.
UNREAD = -1


def _unread(time_d: float, assay: str) -> Sample:
    return Sample(time_d, assay, 1.0, False, None, False, 1, UNREAD, 1.0, 1)


def _until_known(density: Density) -> Density:
    """The same, walked to the last reading that is known: all that weighs draws."""
    data = density.data
    last = jnp.max(jnp.where(data.present, data.grid.read_at, 0))
    return eqx.tree_at(lambda d: d.data.grid.until, density, last)


def _rounded(n: int, multiple: int) -> int:
    """The next multiple, upwards."""
    return -(-n // multiple) * multiple


@eqx.filter_jit
def _hypers(density: Density, u: Array):
    return jax.vmap(density.hyper)(u)


@eqx.filter_jit
def _values(density: Density, u: Array, eta: Array) -> Array:
    of = lambda u, eta: density.population.from_phi(density.patient_phi(u, eta))
    return jax.vmap(of)(u, eta)[:, 0]


def _parameters(name: str, density: Density, values: np.ndarray) -> pd.DataFrame:
    low, middle, high = np.quantile(values, PROBABILITIES, axis=0)
    return pd.DataFrame(
        {
            "ID": name,
            "parameter": density.population.estimate,
            "q05": low,
            "q50": middle,
            "q95": high,
        }
    )


def forecast(
    fit: OpenedFit,
    dataset: Dataset,
    folder: Path,
    *,
    until_d: float,
    day_d: float = np.inf,
    seed: int = 0,
    report: Callable[[str, int, int], None] = lambda *_: None,
) -> list[Forecast]:
    """Forecast every patient of a data set, and write tables and figures.

    Writes `forecast.csv`, `parameters.csv` and a page of figures an assay.

    Args:
        fit: opened.
        dataset: the new patients.
        folder: to write to.
        until_d: last day to foresee.
        day_d: readings after this day are not used; figures show them.
        seed: of every random number.
        report: called with (stage, done, total).

    Raises:
        InputError: as `Forecaster`.
    """
    foreseer, found = Forecaster(fit, until_d, day_d=day_d, seed=seed), []
    foreseer.make_room(dataset)
    for done, patient in enumerate(dataset.patients):
        report("patients", done, len(dataset.patients))
        found.append(foreseer(patient, dataset))
    report("patients", len(found), len(found))
    folder.mkdir(parents=True, exist_ok=True)
    every = pd.concat([own.table for own in found], ignore_index=True)
    parameters = pd.concat([own.parameters for own in found])
    for name, table in (("forecast", every), ("parameters", parameters)):
        table = with_verdict(table, fit.converged)
        table.to_csv(folder / f"{name}.csv", index=False)
    title = f"Forecast from {fit.manifest['model']}"
    if np.isfinite(day_d):
        title += f", readings until day {day_d:g}"
    title = titled(title, fit.converged)
    population = fit.density.population
    synthetic = dataset.synthetic or bool(fit.manifest["synthetic_data"])
    shown = dataclasses.replace(
        described(dataset, population, fit.analysis.from_day), synthetic=synthetic
    )
    for assay in population.assays:
        unit = population.model.units[assay.quantity]
        curves = {own.id: _curve(own.table, assay.name, unit) for own in found}
        pages = individual_fits(
            shown,
            assay.name,
            curves,
            title=title,
            words=("median", "of readings to come"),
        )
        for number, page in enumerate(pages, start=1):
            save(page, folder / f"forecast_{assay.name}_{number}.png")
    return found


def _curve(table: pd.DataFrame, assay: str, unit: str) -> Curves:
    own = table.query("DVID == @assay", local_dict={"assay": assay})
    names = ("TIME", "again_q05", "q50", "again_q95")
    return Curves(*(own[name].to_numpy() for name in names), unit=unit)
