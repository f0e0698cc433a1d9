"""Pieces of a patient's course in which its parameters are the same.

A piece begins with a cycle, where parameters differ between cycles, and wherever a
covariate changes that a parameter depends on. The event table numbers the pieces (its
`occasion`), and says so to every way of solving.
"""

import dataclasses
from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np

from ckin._types import Float, Int
from ckin.dataset import Patient
from ckin.errors import InputError
from ckin.model import AbstractModel, name_of
from ckin.population.effects import CovariateEffect


# Among the values that data give a patient (`Packed.known`): what β multiplies in each
# piece, (pieces, effects that change), and the cycle of each, from 0, (pieces,).
COURSE, CYCLE = "covariate course", "cycle of piece"


@dataclasses.dataclass(frozen=True)
class Pieces:
    """Of one patient.

    Attributes:
        starts_d: day on which each begins; the first one with the first event.
        cycle: of each, from 0.
        values: what β multiplies in each, by effect, those that do not change too.
    """

    starts_d: Float[np.ndarray, " pieces"]
    cycle: Int[np.ndarray, " pieces"]
    values: Float[np.ndarray, "pieces effects"]

    def padded(self, n: int) -> "Pieces":
        """The same with the last one again, never begun, up to `n`."""
        more = n - len(self.starts_d)
        return Pieces(
            np.pad(self.starts_d, (0, more), constant_values=np.inf),
            np.pad(self.cycle, (0, more), mode="edge"),
            np.pad(self.values, ((0, more), (0, 0)), mode="edge"),
        )


def pieces_of(
    patient: Patient,
    effects: Sequence[CovariateEffect],
    cycle_starts_d: Sequence[float],
    first_d: float,
) -> Pieces:
    """The pieces of a patient.

    Args:
        patient: with every covariate of the effects.
        effects: of all covariates.
        cycle_starts_d: days on which cycles begin, infinity for those it lacks; none
            where cycles do not differ.
        first_d: day of the first event.

    Raises:
        ValueError: a value that an effect cannot take; says whose, and its row.
    """
    begun = [_begun(patient, effect) for effect in effects]
    cuts = {t for course in begun for t in course} | {*cycle_starts_d}
    cuts = sorted(t for t in cuts if first_d < t < np.inf)
    starts_d = np.array([first_d, *cuts])
    cycle = np.zeros(starts_d.size, dtype=int)
    if cycle_starts_d:
        after = np.searchsorted(np.array(cycle_starts_d), starts_d, side="right")
        cycle = np.maximum(after - 1, 0)
    values = np.zeros((starts_d.size, len(effects)))
    for column, course in enumerate(begun):
        days = np.array(list(course))
        last = np.searchsorted(days, starts_d, side="right") - 1
        values[:, column] = np.array(list(course.values()))[np.maximum(last, 0)]
    return Pieces(starts_d, cycle, values)


def _begun(patient: Patient, effect: CovariateEffect) -> dict[float, float]:
    """What β multiplies from which day on, in order of time."""
    try:
        found = {-np.inf: effect.value(patient.covariates[effect.column])}
    except ValueError as error:
        raise ValueError(f"patient {patient.id}: {error}") from error
    for change in patient.changes.get(effect.column, ()) if effect.changes else ():
        since = change.time_d if effect.carry == "forward" else change.before_d
        try:
            found[since] = effect.value(change.value)
        except ValueError as error:
            where = f"patient {patient.id}, row {change.row}"
            raise ValueError(f"{where}: {error}") from error
    return found


def check_changes(
    patients: Sequence[Patient],
    effects: Sequence[CovariateEffect],
    model: AbstractModel,
    path: str,
) -> None:
    """Refuse covariates that change where the parameter cannot.

    Args:
        patients: of the cohort.
        effects: of covariates.
        model: that is solved.
        path: of the data.

    Raises:
        InputError: what changes, where, and what to do.
    """
    for effect in effects:
        column = effect.column
        patient = next((p for p in patients if p.changes.get(column)), None)
        why = "" if patient is None else _cannot(effect, model)
        if patient is not None and why:
            raise InputError(
                f"{path}, row {patient.changes[column][0].row}, column {column}: it "
                f"changes within patient {patient.id}, and --covariate {effect.told} "
                f"is of {why}"
            )


def _cannot(effect: CovariateEffect, model: AbstractModel) -> str:
    """Why a parameter cannot change on the way; "" where it can."""
    name, own = effect.parameter, name_of(model)
    one = "or keep one value per patient in a column of its own"
    if not effect.changes:
        return "one value per patient here; keep one (from Python: `changes=True`)"
    if model.closed_form(jnp.zeros(1)) is not None:
        return (
            f"{own}, a formula in one piece, which cannot change midway; take a model "
            f"that is solved step by step, {one}"
        )
    if name in model.lags.values():
        return (
            f"{name}, the lag of cells given, which is not to change on their way; "
            f"{one.removeprefix('or ')}"
        )
    moved = model.with_values(**{name: 1.01 * jnp.asarray(getattr(model, name)) + 0.01})
    pairs = zip(model.switch_times(), moved.switch_times(), strict=True)
    if any(float(a) != float(b) for a, b in pairs):
        return (
            f"{name}, by which {own} knows when its equations switch; "
            f"{one.removeprefix('or ')}"
        )
    return ""
