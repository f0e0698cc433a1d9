"""What is kept of the levels of everyone: outcomes, in memory or on disk, and bands.

Levels themselves are never held for everyone. Outcomes of many people go to a netCDF
file block by block, and are read from it arm by arm where something is said of them.
"""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import h5netcdf
import numpy as np

from ckin._types import Float
from ckin.metrics.rows import level_on
from ckin.model import AbstractModel
from ckin.scenario.lanes import Laid
from ckin.scenario.people import People
from ckin.scenario.scenario import Scenario
from ckin.scenario.statistics import QUANTILES
from ckin.writing import writing


# People whose curves are kept for bands: edges are good to a few percent of a band.
BAND_PEOPLE = 500
# Days of a band at most.
BAND_DAYS = 400
# Numbers that are read from a file at a time.
READ_AT_ONCE = 2_000_000


@dataclasses.dataclass(frozen=True)
class OnDisk:
    """One outcome of everyone, (arms, draws, patients), in a netCDF file.

    What is asked of it is read then: `values[2]` is one arm.

    Attributes:
        path: the file.
        name: of the outcome.
        shape: arms, draws, patients.
    """

    path: Path
    name: str
    shape: tuple[int, int, int]

    def __getitem__(self, place: Any) -> np.ndarray:
        with h5netcdf.File(self.path, "r") as file:
            return np.asarray(file.variables[self.name][place])

    def __len__(self) -> int:
        return self.shape[0]

    def __iter__(self) -> Iterator[np.ndarray]:
        """Arm by arm."""
        return (self[at] for at in range(len(self)))


Values = np.ndarray | OnDisk


def blocks_of(values: Values) -> Iterator[slice]:
    """Patients at a time that fit into memory with every arm; all where they do."""
    arms, draws, patients = values.shape
    size = patients
    if isinstance(values, OnDisk):
        size = max(1, min(patients, READ_AT_ONCE // (arms * draws)))
    for start in range(0, patients, size):
        yield slice(start, min(start + size, patients))


class InMemory:
    """Outcomes of everyone as arrays."""

    def __init__(self, names: Sequence[str], arms: int, shape: tuple[int, int]):
        self.values: dict[str, Values] = {
            name: np.full((arms, *shape), np.nan) for name in names
        }

    def put(self, people: People, found: Mapping[str, np.ndarray]) -> None:
        """Keep the outcomes of some patients, (arms, persons) each."""
        part = slice(people.first, people.first + people.shape[1])
        for name, values in found.items():
            kept = self.values[name]
            assert isinstance(kept, np.ndarray)
            kept[:, :, part] = values.reshape(len(values), *people.shape)


class Streamed:
    """Outcomes of everyone in a netCDF file that is written block by block."""

    def __init__(
        self,
        path: Path,
        units: Mapping[str, str],
        arms: Sequence[str],
        shape: tuple[int, int],
        block: int,
        told: str,
    ):
        self._path = path
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = h5netcdf.File(path, "w")
        declare(self._file, units, arms, shape, told, block)
        whole = (len(arms), *shape)
        self.values: dict[str, Values] = {n: OnDisk(path, n, whole) for n in units}

    def put(self, people: People, found: Mapping[str, np.ndarray]) -> None:
        """Write the outcomes of some patients, (arms, persons) each."""
        part = slice(people.first, people.first + people.shape[1])
        with writing(self._path):
            self._file.variables["weight_kg"][part] = people.weight_kg
            for name, values in found.items():
                block = values.reshape(len(values), *people.shape)
                self._file.variables[name][:, :, part] = block

    def close(self, *, whole: bool) -> None:
        """Close the file; one that is not whole is removed."""
        self._file.close()
        if not whole:
            self._path.unlink()


def declare(
    file: h5netcdf.File,
    units: Mapping[str, str],
    arms: Sequence[str],
    shape: tuple[int, int],
    told: str,
    block: int,
) -> None:
    """Dimensions and variables of outcomes, (arm, draw, patient).

    Args:
        file: open for writing.
        units: of each outcome by name.
        arms: names of the arms.
        shape: draws and patients.
        told: what the numbers rest on.
        block: patients that are written at a time.
    """
    import h5py

    draws, patients = shape
    file.dimensions = {"arm": len(arms), "draw": draws, "patient": patients}
    file.attrs["data"] = told
    names = np.array(list(arms), dtype=object)
    file.create_variable("arm", ("arm",), h5py.string_dtype(), data=names)
    weight = file.create_variable("weight_kg", ("patient",), float)
    weight.attrs["units"] = "kg"
    for name, unit in units.items():
        made = file.create_variable(
            name,
            ("arm", "draw", "patient"),
            float,
            chunks=(1, draws, min(block, patients)),
            fillvalue=np.nan,
        )
        made.attrs["units"] = unit


@dataclasses.dataclass(frozen=True)
class Bands:
    """Levels of one quantity over time: 5%, 50% and 95% over persons.

    Attributes:
        quantity: of the model.
        unit: of the levels.
        days: from the first infusion.
        level: by arm, (3, days).
        ratio: by arm, the level over that of the reference within persons.
    """

    quantity: str
    unit: str
    days: Float[np.ndarray, " days"]
    level: Mapping[str, np.ndarray]
    ratio: Mapping[str, np.ndarray]


class Curves:
    """Curves of some people under every arm, on common days."""

    def __init__(
        self, scenario: Scenario, quantities: list[str], shape: tuple[int, int]
    ):
        self._scenario, self._quantities, self._shape = scenario, quantities, shape
        n_people = shape[0] * shape[1]
        kept = min(BAND_PEOPLE, n_people)
        self._rows = np.unique(np.linspace(0, n_people - 1, kept).astype(int))
        step = max(1.0, np.ceil(scenario.follow_d / BAND_DAYS))
        self._days = np.append(
            np.arange(0.0, scenario.follow_d, step), scenario.follow_d
        )
        size = (len(scenario.arms), self._rows.size, len(quantities), self._days.size)
        self._level = np.full(size, np.nan, dtype=np.float32)

    def keep(
        self,
        people: People,
        at: int,
        laid: Laid,
        rows: np.ndarray,
        levels: np.ndarray,
    ) -> None:
        """Keep what of a batch is to be drawn; `rows` are places among `people`."""
        draw, patient = np.divmod(rows, people.shape[1])
        among_all = draw * self._shape[1] + people.first + patient
        _, mine, theirs = np.intersect1d(self._rows, among_all, return_indices=True)
        for column in range(len(self._quantities)):
            chosen = levels[theirs, column]
            self._level[at, mine, column] = level_on(laid.time_d, chosen, self._days)

    def bands(self, model: AbstractModel, names: list[str]) -> dict[str, Bands]:
        """Quantiles over persons."""
        reference = names.index(self._scenario.first)
        found = {}
        for column, quantity in enumerate(self._quantities):
            level = self._level[:, :, column].astype(float)
            base = level[reference]
            with np.errstate(divide="ignore", invalid="ignore"):
                ratio = np.where(base > 0, level / base, np.nan)
            found[quantity] = Bands(
                quantity=quantity,
                unit=model.units[quantity],
                days=self._days,
                level={n: _quantiles(level[i]) for i, n in enumerate(names)},
                ratio={n: _quantiles(ratio[i]) for i, n in enumerate(names)},
            )
        return found


def _quantiles(curves: np.ndarray) -> np.ndarray:
    """5%, 50% and 95% over rows, day by day; NaN where nobody is known."""
    found = np.full((len(QUANTILES), curves.shape[1]), np.nan)
    some = np.isfinite(curves).any(axis=0)
    found[:, some] = np.nanquantile(curves[:, some], QUANTILES, axis=0)
    return found
