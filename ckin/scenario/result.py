"""What a comparison says: rows of its tables, and the folder that holds them.

A row is a dictionary by column. Every table says what its numbers rest on (`basis`) and
what differs between them (`uncertainty`): they are a model's, and nobody was measured.
"""

import csv
import dataclasses
import functools
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import h5netcdf
import numpy as np

from ckin._types import Float
from ckin.inference.results import environment
from ckin.model import name_of
from ckin.scenario.compare import Outcomes, assumed, worth
from ckin.scenario.kept import OnDisk, blocks_of, declare
from ckin.scenario.outcomes import censored
from ckin.scenario.scenario import Arm, Endpoint, Scenario, window
from ckin.scenario.statistics import (
    MIN_DRAWS,
    QUANTILES,
    chances_of_being_best,
    contrast,
    estimate,
    partial_value_of_information,
    summaries,
    value_of_information,
)
from ckin.writing import rows_with_verdict, write_texts, writing


# Persons × arms of a CSV; more go into a netCDF file.
MOST_ROWS = 200_000
MODEL_BASED = "MODEL-BASED"
UTILITY = "utility"
# What a comparison folder holds.
ARMS, COMPARISONS, BEST = "arms.csv", "comparisons.csv", "best.csv"
INFORMATION, CURVES, PATIENTS = "information.csv", "curves.csv", "patients.csv"

Row = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Result:
    """Outcomes of a scenario, and what follows from them."""

    outcomes: Outcomes

    @property
    def label(self) -> str:
        """What all of it is."""
        people = self.outcomes.people
        differs = ", ".join(people.uncertainty)
        return f"{MODEL_BASED}: {people.basis}. In the numbers: {differs}"

    @functools.cached_property
    def arm_rows(self) -> list[Row]:
        """An arm and endpoint a row."""
        rows = []
        for arm in self.outcomes.scenario.arms:
            for endpoint in self.outcomes.scenario.measures:
                rows.append(self._arm_row(arm, endpoint))
        return rows

    def _arm_row(self, arm: Arm, endpoint: Endpoint) -> Row:
        scenario = self.outcomes.scenario
        outcome = scenario.outcome(endpoint.outcome)
        values = self.outcomes.of(arm.name, outcome.name)
        found = estimate(summaries(endpoint, values))
        known = values[np.isfinite(values)]
        low, middle, high = (
            np.quantile(known, QUANTILES) if known.size else [np.nan] * 3
        )
        start_d, end_d = window(arm.protocol, outcome.cycle, scenario.follow_d)
        return {
            "arm": arm.name,
            **dict(arm.point),
            "endpoint": endpoint.name,
            "what": self.told(endpoint),
            "summary": self.summary(endpoint),
            "unit": self.unit(endpoint),
            "value": found.value,
            "low": found.low,
            "high": found.high,
            "patient_low": float(low),
            "patient_median": float(middle),
            "patient_high": float(high),
            "not_ended": censored(outcome, values, end_d - start_d),
            "n": int(known.size),
            "failed": self.outcomes.failed[arm.name],
            **self._said,
        }

    @functools.cached_property
    def comparison_rows(self) -> list[Row]:
        """A pair of arms and an endpoint a row."""
        rows = []
        scenario = self.outcomes.scenario
        for endpoint in scenario.measures:
            outcome = scenario.outcome(endpoint.outcome)
            for arm, against in scenario.pairs:
                one, other = (
                    self.outcomes.of(name, outcome.name) for name in (arm, against)
                )
                found = contrast(endpoint, outcome, one, other)
                ratio = found.kind == "ratio"
                rows.append(
                    {
                        "arm": arm,
                        **dict(scenario.arm(arm).point),
                        "against": against,
                        "endpoint": endpoint.name,
                        "what": self.told(endpoint),
                        "measure": "geometric mean ratio" if ratio else "difference",
                        "unit": "1" if ratio else self.unit(endpoint),
                        "value": found.estimate.value,
                        "low": found.estimate.low,
                        "high": found.estimate.high,
                        "mc_se": found.estimate.mc_se,
                        "patient_low": found.patient_low,
                        "patient_high": found.patient_high,
                        "better": outcome.better,
                        "better_patients": found.better_patients,
                        "better_draws": found.better_draws,
                        "n": found.n,
                        **self._said,
                    }
                )
        return rows

    @functools.cached_property
    def best_rows(self) -> list[Row]:
        """Chance of being the best of all arms, by endpoint and by utility."""
        scenario = self.outcomes.scenario
        rows = []
        for endpoint in scenario.measures:
            outcome = scenario.outcome(endpoint.outcome)
            values = self.outcomes.values[outcome.name]
            persons = (outcome.sign * values[:, :, part] for part in blocks_of(values))
            sign = -outcome.sign if endpoint.at_most is not None else outcome.sign
            draws = sign * np.stack([summaries(endpoint, each) for each in values])
            rows += self._best(endpoint.name, persons, draws)
        if scenario.worths:
            persons = self._utilities()
            rows += self._best(UTILITY, persons, self._expected, expected=True)
        return rows

    def _best(
        self,
        endpoint: str,
        persons: Iterable[np.ndarray],
        draws: np.ndarray,
        expected=False,
    ) -> list[Row]:
        names = [arm.name for arm in self.outcomes.scenario.arms]
        of_patients = chances_of_being_best(*persons)
        of_draws = chances_of_being_best(draws)
        rows = []
        for at, name in enumerate(names):
            row: Row = {"arm": name, "endpoint": endpoint}
            row["best_patients"] = float(of_patients[at])
            row["best_draws"] = float(of_draws[at])
            if expected:
                found = estimate(draws[at])
                row |= {"expected": float(np.nanmean(draws[at]))}
                row |= {"low": found.low, "high": found.high}
            rows.append({**row, **self._said})
        return rows

    @functools.cached_property
    def utility(self) -> Float[np.ndarray, "arms draws patients"]:
        """Utility of every person under every arm."""
        return worth(self.outcomes, self.outcomes.scenario.worths)

    def _utilities(self) -> Iterator[np.ndarray]:
        """The same, some patients at a time."""
        worths = self.outcomes.scenario.worths
        for part in blocks_of(self.outcomes.values[worths[0].outcome]):
            yield worth(self.outcomes, worths, part)

    @functools.cached_property
    def _expected(self) -> Float[np.ndarray, "arms draws"]:
        """Expected utility of each arm in each draw, over its patients."""
        total, count = 0.0, 0
        for utility in self._utilities():
            known = np.isfinite(utility)
            total = total + np.where(known, utility, 0.0).sum(axis=2)
            count = count + known.sum(axis=2)
        return np.where(count > 0, total / np.maximum(count, 1), np.nan)

    @functools.cached_property
    def information_rows(self) -> list[Row]:
        """What knowing the parameters would be worth: all of them, and one by one.

        None without a utility, or with too few draws.
        """
        outcomes = self.outcomes
        draws, _ = outcomes.people.shape
        if not outcomes.scenario.worths or draws < MIN_DRAWS:
            return []
        whole, typical = outcomes.people.whole, outcomes.people.typical
        rows = [("all drawn parameters", value_of_information(self._expected))]
        for name in outcomes.people.drawn:
            column = typical[:, whole.estimate.index(name)]
            found = partial_value_of_information(self._expected, column)
            # No parameter is worth more than all of them; a regression may think so.
            rows.append((name, float(np.minimum(found, rows[0][1]))))
        return [
            {"parameter": name, "value": value, "unit": UTILITY, **self._said}
            for name, value in rows
        ]

    @functools.cached_property
    def curve_rows(self) -> list[Row]:
        """Bands of levels over time, an arm, quantity and day a row."""
        rows = []
        for bands in self.outcomes.bands.values():
            for name, edges in bands.level.items():
                for day, low, middle, high in zip(bands.days, *edges, strict=True):
                    rows.append(
                        {
                            "arm": name,
                            "quantity": bands.quantity,
                            "unit": bands.unit,
                            "day": float(day),
                            "q05": float(low),
                            "q50": float(middle),
                            "q95": float(high),
                        }
                    )
        return rows

    def told(self, endpoint: Endpoint) -> str:
        """An endpoint in words."""
        outcome = self.outcomes.scenario.outcome(endpoint.outcome)
        return endpoint.title or outcome.title or outcome.kind.name

    def summary(self, endpoint: Endpoint) -> str:
        """How an endpoint is made of its outcome."""
        if endpoint.at_least is not None:
            return f"share of {endpoint.at_least:g} or more"
        if endpoint.at_most is not None:
            return f"share of {endpoint.at_most:g} or less"
        return endpoint.summary

    def unit(self, endpoint: Endpoint) -> str:
        """Unit of an endpoint."""
        if endpoint.summary == "share":
            return "1"
        return self.outcomes.units[endpoint.outcome]

    @property
    def _said(self) -> Row:
        people = self.outcomes.people
        return {
            "basis": f"{MODEL_BASED}: {people.basis}",
            "uncertainty": ", ".join(people.uncertainty),
        }

    @property
    def manifest(self) -> dict[str, Any]:
        """What was asked and how it was run."""
        outcomes = self.outcomes
        scenario, people = outcomes.scenario, outcomes.people
        draws, patients = people.shape
        return {
            **people.verdict,
            "scenario": scenario.name,
            "title": scenario.title,
            "scenario_sha256": hashlib.sha256(scenario.text.encode()).hexdigest(),
            "label": self.label,
            "model": name_of(people.whole.model),
            "basis": people.basis,
            "uncertainty": list(people.uncertainty),
            "synthetic_data": people.synthetic,
            "seed": scenario.seed,
            "draws": draws,
            "patients": patients,
            "drawn": list(people.drawn),
            "varying": list(people.whole.vary),
            "arms": [arm.name for arm in scenario.arms],
            "reference": scenario.first,
            "follow_d": scenario.follow_d,
            "failed": dict(outcomes.failed),
            "error_log10": outcomes.error_log10,
            "more_steps": outcomes.quick,
            "unchecked": outcomes.unchecked,
            "seconds": round(outcomes.seconds, 2),
            "notes": list(outcomes.notes),
            "assumed": assumed(scenario),
            **environment(),
        }

    def write(self, folder: Path) -> list[Path]:
        """Write tables and manifest; returns the files.

        Raises:
            InputError: a folder that cannot be written.
        """
        with writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
        tables = {
            ARMS: self.arm_rows,
            COMPARISONS: self.comparison_rows,
            BEST: self.best_rows,
            INFORMATION: self.information_rows,
            CURVES: self.curve_rows,
        }
        written = []
        for name, rows in tables.items():
            if rows:
                written.append(write_table(self.said(rows), folder / name))
        written.append(self._write_patients(folder))
        files = {
            "scenario.toml": self.outcomes.scenario.text,
            "manifest.json": json.dumps(self.manifest, indent=2, ensure_ascii=False),
        }
        return [*written, *write_texts(files, folder)]

    def _write_patients(self, folder: Path) -> Path:
        """Outcomes of every person: a table, or a netCDF file of many."""
        outcomes = self.outcomes
        draws, patients = outcomes.people.shape
        names = [arm.name for arm in outcomes.scenario.arms]
        streamed = [v.path for v in outcomes.values.values() if isinstance(v, OnDisk)]
        if streamed:
            return streamed[0]
        if courses_of(outcomes.scenario, draws, patients) > MOST_ROWS:
            return _write_netcdf(outcomes, (folder / PATIENTS).with_suffix(".nc"))
        rows = (
            {
                "arm": name,
                "draw": draw + 1,
                "patient": patient,
                "weight_kg": round(float(outcomes.people.weight_kg[at]), 2),
                **{o: float(v[arm, draw, at]) for o, v in outcomes.values.items()},
            }
            for arm, name in enumerate(names)
            for draw in range(draws)
            for at, patient in enumerate(outcomes.people.ids)
        )
        return write_table(self.said(rows), folder / PATIENTS)

    def said(self, rows: Iterable[Row]) -> list[Row]:
        """Rows with the verdict on the fit that they are made from, if any."""
        return rows_with_verdict(rows, self.outcomes.people.converged)


def courses_of(scenario: Scenario, draws: int, patients: int) -> int:
    """Rows of a table of persons: each under every arm."""
    return len(scenario.arms) * draws * patients


def _write_netcdf(outcomes: Outcomes, path: Path) -> Path:
    """Outcomes of every person, (arm, draw, patient)."""
    shape = outcomes.people.shape
    arms = [arm.name for arm in outcomes.scenario.arms]
    told = f"{MODEL_BASED}: {outcomes.people.basis}"
    with writing(path), h5netcdf.File(path, "w") as file:
        declare(file, outcomes.units, arms, shape, told, shape[1])
        file.variables["weight_kg"][:] = outcomes.people.weight_kg
        for name, values in outcomes.values.items():
            file.variables[name][:] = values[:]
    return path


def write_table(rows: Iterable[Mapping[str, Any]], path: Path) -> Path:
    """Rows as CSV; columns are those of any row, numbers with ten digits.

    Raises:
        InputError: a file that cannot be written.
    """
    rows = list(rows)
    columns = list(dict.fromkeys(name for row in rows for name in row))
    with writing(path), path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(_cells(row, columns) for row in rows)
    return path


def _cells(row: Mapping[str, Any], columns: Sequence[str]) -> list[str]:
    return [_cell(row.get(name, "")) for name in columns]


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.10g}" if np.isfinite(value) else ""
    return str(value)
