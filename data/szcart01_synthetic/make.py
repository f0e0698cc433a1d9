"""Make the synthetic cohort (python data/szcart01_synthetic/make.py).

34 virtual patients in the groups that the registry of NCT03984968 names, simulated from
ckin's own model `feeding_szcart01`. No patient was measured, and nothing here is a
result of that trial. The same seed gives the same table, to rounding.
"""

import dataclasses
import hashlib
import importlib.metadata
import json
from collections.abc import Mapping
from pathlib import Path

import jax
import numpy as np

import ckin
from ckin.assay import qpcr
from ckin.cohort import Simulated, simulate, virtual_patients
from ckin.dataset import Dataset, Patient, write_dataset
from ckin.library import load_model, load_protocol
from ckin.population import Population, population


NAME = "szcart01_synthetic"
MODEL = "feeding_szcart01"
SEED = 3984968
# SD of the error of the natural logarithm.
SIGMA = 0.4
# Significant digits of readings.
DIGITS = 4

# Groups of the registry: FTC level, and patients (the registry gives 34 in all).
GROUPS = {
    "P1-high": ("high", 6),
    "P1-medium": ("medium", 6),
    "P1-low": ("low", 6),
    "P2-high": ("high", 16),
}
# Share of patients with 2, 3 and 4 cycles.
CYCLES = {2: 0.3, 3: 0.4, 4: 0.3}
# Days between cycles: 56, and up to a week earlier or two weeks later.
GAP_D = (49, 70)
AGE_YEARS = (15, 65)

ASSUMPTIONS = (
    "groups of 6, 6, 6 and 16 patients; the registry gives 34 in all",
    "2, 3 or 4 cycles with chances 0.3, 0.4 and 0.3",
    "cycles 49 to 70 days apart, the same gap throughout a patient",
    "5e6 CAR-T per kg in every cycle, lymphodepletion 3 days before, TKI held",
    "sampling days, weights and detection limits of ckin.cohort",
    "AGE and SEX have no effect; WT scales doses and blood volume",
    "qPCR of the CAR sequence; it does not see FTC",
)


def patients() -> tuple[Patient, ...]:
    """Doses, covariates and sampling plan of everyone."""
    rng = np.random.default_rng(SEED)
    key = jax.random.key(SEED)
    made = []
    groups = [(arm, level) for arm, (level, n) in GROUPS.items() for _ in range(n)]
    for number, (arm, level) in enumerate(groups, start=1):
        trial = load_protocol(f"szcart01-{level}").repeated(
            cycles=int(rng.choice(list(CYCLES), p=list(CYCLES.values()))),
            every_d=float(rng.triangular(GAP_D[0], 56, GAP_D[1] + 1) // 1),
        )
        own = jax.random.fold_in(key, number)
        (patient,) = virtual_patients(own, trial, 1, arm=arm)
        covariates = dict(patient.covariates) | {
            "AGE": float(rng.integers(AGE_YEARS[0], AGE_YEARS[1] + 1)),
            "SEX": str(rng.choice(["F", "M"])),
        }
        made.append(
            dataclasses.replace(patient, id=f"S{number:02d}", covariates=covariates)
        )
    return tuple(made)


def model_population() -> Population:
    """The population the patients are drawn from: the model file's own."""
    return population(load_model(MODEL), qpcr(target="car"))


def cohort() -> Simulated:
    """The patients and their readings."""
    key = jax.random.key(SEED)
    return simulate(key, model_population(), patients(), sigma=SIGMA)


def write(simulated: Simulated, folder: Path) -> None:
    """Write the table, the true values and where they are from."""
    table = folder / f"{NAME}.csv"
    write_dataset(simulated.dataset, table, simulated.ipred, digits=DIGITS)
    who = model_population()
    spread = dict(zip(who.vary, who.omega, strict=True))
    lines = ["parameter,typical,omega,unit"]
    for name, info in who.info.items():
        typical = float(getattr(who.model, name))
        omega = f"{spread[name]:g}" if name in spread else ""
        lines.append(f"{name},{typical:g},{omega},{info.unit}")
    lines.append(f"sigma_qpcr,{SIGMA:g},,1")
    _write(folder / "truth_population.csv", lines)
    lines = ["ID,parameter,value"]
    for row, patient in enumerate(simulated.dataset.patients):
        for name, values in simulated.parameters.items():
            lines.append(f"{patient.id},{name},{values[row]:.6g}")
    _write(folder / "truth_individual.csv", lines)
    _write(folder / "SOURCE.toml", source(folder))


def source(folder: Path) -> list[str]:
    """Lines of SOURCE.toml."""
    entries = {
        "title": "Synthetic cohort in the design of NCT03984968 (SZCART01)",
        "synthetic": True,
        "what": "34 virtual patients simulated from ckin's own model; no patient was "
        "measured, and nothing here is a result of the trial",
        "made_by": "make.py",
        "seed": SEED,
        "ckin_version": ckin_version(),
        "model": MODEL,
        "sigma_log": SIGMA,
        "patients": sum(n for _, n in GROUPS.values()),
        "design": "https://clinicaltrials.gov/study/NCT03984968",
        "licence": "CC0-1.0",
        "assumptions": list(ASSUMPTIONS),
    }
    tables: dict[str, Mapping[str, str]] = {
        "units": {
            "TIME": "day",
            "AMT": "cells",
            "qpcr": "copies/ug",
            "WT": "kg",
            "AGE": "year",
        },
        "sha256": {
            path.name: hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(folder.glob("*.csv"))
        },
    }
    lines = ["# Written by make.py: change that and run it again."]
    lines += [f"{key} = {_toml(value)}" for key, value in entries.items()]
    for name, table in tables.items():
        lines += ["", f"[{name}]"]
        lines += [f"{_toml(key)} = {_toml(value)}" for key, value in table.items()]
    return lines


def ckin_version() -> str:
    """Version that made the table."""
    return importlib.metadata.version(ckin.__name__)


def summary(dataset: Dataset) -> list[str]:
    """What a reader checks first: peaks by cycle, and how much is below the limit."""
    lines = []
    for cycle in range(1, dataset.n_cycles + 1):
        peaks = [
            max(s.value for s in patient.samples if s.cycle == cycle)
            for patient in dataset.patients
            if any(s.cycle == cycle for s in patient.samples)
        ]
        low, middle, high = np.quantile(peaks, [0.1, 0.5, 0.9])
        lines.append(
            f"cycle {cycle}: {len(peaks)} patients, median peak {middle:.0f} copies/ug "
            f"(80% {low:.0f} to {high:.0f})"
        )
    below = [s.below for patient in dataset.patients for s in patient.samples]
    lines.append(f"{len(below)} samples, {100 * np.mean(below):.0f}% below their limit")
    return lines


def _toml(value: bool | float | str | list[str]) -> str:
    """A value in TOML, which these types write as JSON does."""
    return json.dumps(value, ensure_ascii=False)


def _write(path: Path, lines: list[str]) -> None:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8", newline="\n")


if __name__ == "__main__":
    simulated = cohort()
    if simulated.failed:
        raise SystemExit(f"not solved: {', '.join(simulated.failed)}")
    write(simulated, Path(__file__).resolve().parent)
    print("\n".join(summary(simulated.dataset)))
