"""The demonstration: the bundled synthetic cohort from file to figures.

First cycles with the empirical model and two cycles of some patients with the
flagship, both by NUTS, and the flagship's curves at the FTC doses of the registry.
Nothing here is a trial result.
"""

import dataclasses
from pathlib import Path

import jax
import numpy as np

from ckin.analysis import Analysis, Report, run_fit
from ckin.assay import qpcr
from ckin.dataset import Dataset, read_dataset
from ckin.inference import Fit
from ckin.library import dataset_path, load_model, load_protocol
from ckin.plot import Curves, ftc_doses, save
from ckin.population import population
from ckin.protocol import FTC_LEVELS_CELLS_PER_KG
from ckin.simulation import protocol_curves


DATASET = "szcart01_synthetic"
EMPIRICAL, FLAGSHIP = "phases_stein2019", "feeding_szcart01"
VIRTUAL_PATIENTS, WEIGHT_KG = 60, 62.0
CYCLES, HORIZON_D, FIT_UNTIL_D = 2, 112.0, 120.0
# Of the patients, to be quick.
EVERY = 3
# copies/µg: half of a usual detection limit.
LOGGED_FLOOR = 12.5


@dataclasses.dataclass(frozen=True)
class DemoResults:
    """What the demonstration made: fits by folder, and what to tell about the rest."""

    fits: dict[Path, Fit]
    lines: tuple[str, ...]


def run_demo(folder: Path, report: Report) -> DemoResults:
    """Run it; writes two fit folders and a figure under `folder`."""
    dataset = read_dataset(dataset_path(DATASET))

    def staged(title: str) -> Report:
        return lambda stage, done, total: report(f"{title}: {stage}", done, total)

    fits = {}
    empirical = folder / f"first_cycle_{EMPIRICAL}"
    fits[empirical] = run_fit(
        dataset.first_cycles(1),
        Analysis(model=EMPIRICAL, method="nuts", warmup=300, draws=500),
        empirical,
        staged("first cycle, NUTS"),
    )
    flagship = folder / f"two_cycles_{FLAGSHIP}"
    fits[flagship] = run_fit(
        _some_patients(dataset).first_cycles(CYCLES),
        Analysis(model=FLAGSHIP, method="nuts", warmup=150, draws=200),
        flagship,
        staged("two cycles, NUTS"),
    )
    report("FTC doses", 0, 1)
    figure = folder / "ftc_doses.png"
    ratios = ftc_dose_figure(figure)
    report("FTC doses", 1, 1)
    lines = [
        "FTC what-if, from the prior of the flagship alone (no patient informs it):",
        *(
            f"  {label}: AUC0-28d of cycle 2 is {ratio:.2f} times that without FTC "
            "(geometric mean over virtual patients)"
            for label, ratio in ratios.items()
        ),
        f"written: {figure}",
    ]
    return DemoResults(fits, tuple(lines))


def _some_patients(dataset: Dataset) -> Dataset:
    """Some patients until day `FIT_UNTIL_D`, to be quick; said in the notes."""
    short = dataset.between_days(0.0, FIT_UNTIL_D, "the demonstration is short")
    kept = short.patients[::EVERY]
    note = f"{len(kept)} of {len(short.patients)} patients: one in {EVERY}, to be quick"
    return dataclasses.replace(short, patients=kept, notes=(*short.notes, note))


def ftc_dose_figure(path: Path) -> dict[str, float]:
    """Draw the flagship at the registry's FTC doses; AUC0-28d ratios of cycle 2."""
    trial = load_protocol("szcart01-high").repeated(CYCLES)
    protocols = {"no FTC": trial.without("FTC")} | {
        f"FTC {cells_per_kg / 1e6:g}e6/kg": trial.with_dose("FTC", cells_per_kg)
        for cells_per_kg in sorted(FTC_LEVELS_CELLS_PER_KG.values())
    }
    whole = population(load_model(FLAGSHIP), qpcr())
    time_d = np.arange(0.0, HORIZON_D + 0.5, 0.5)
    readings = protocol_curves(
        jax.random.key(0),
        whole,
        protocols,
        time_d,
        n=VIRTUAL_PATIENTS,
        weight_kg=WEIGHT_KG,
    )
    curves = {}
    for label, each in readings.items():
        low, middle, high = np.nanquantile(each, (0.05, 0.5, 0.95), axis=0)
        curves[label] = Curves(
            time_d=time_d,
            low=low,
            middle=middle,
            high=high,
            unit=whole.model.units[whole.assay.quantity],
        )
    given = protocols[list(protocols)[-1]].doses
    figure = ftc_doses(
        curves,
        title="What FTC may do: the flagship model at the registry's doses",
        note=(
            f"What-if from prior assumptions, {VIRTUAL_PATIENTS} virtual patients "
            "(5-95%). No trial data; the FTC effect is unknown."
        ),
        doses_d={
            product: tuple(d.time_d for d in given if d.product == product)
            for product in ("CART", "FTC")
        },
        logged_floor=LOGGED_FLOOR,
    )
    save(figure, path)
    day1 = trial.day1_d[1]
    second = (time_d >= day1) & (time_d <= day1 + 28.0)
    areas = {
        label: np.log(np.trapezoid(each[:, second], time_d[second], axis=1))
        for label, each in readings.items()
    }
    return {
        label: float(np.exp(np.nanmean(area - areas["no FTC"])))
        for label, area in areas.items()
        if label != "no FTC"
    }
