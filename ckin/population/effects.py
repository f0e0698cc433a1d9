"""How a covariate acts on a parameter: power, exponential, linear, or a category."""

import dataclasses
import math
import re
from collections.abc import Iterable

import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist

from ckin._types import Array
from ckin.dataset import Patient
from ckin.errors import InputError, did_you_mean


# Prior SD of what a covariate does, on the φ scale: of a power or a category it is the
# coefficient's, of the other forms that of what one SD of the covariate does.
BETA_PRIOR_SD = 0.5

FORMS = ("power", "exp", "linear")

# Since when a covariate that changes has its value: since the row that tells it, or
# since the row before it (NONMEM's convention).
CARRIES = ("forward", "backward")

# A linear effect leaves at least this share of the typical value to the patient at the
# end of the covariate's range.
LEAST_SHARE = 0.01

_TEXT = re.compile(
    r"""\s*(?P<parameter>\w+)\s*~\s*
    (?:(?P<form>\w+)\s*\(\s*(?P<inner>[^()=@]+?)\s*(?:@\s*(?P<at>[^()@]+?)\s*)?\)
     |(?P<column>[^()=@]+?)\s*(?:=\s*(?P<level>.+?)|@\s*(?P<center>[^()@=]+?))?)\s*$""",
    re.VERBOSE,
)
EXPECTED = (
    "expected PARAMETER~COLUMN, PARAMETER~COLUMN@CENTER, PARAMETER~exp(COLUMN), "
    "PARAMETER~linear(COLUMN@CENTER) or PARAMETER~COLUMN=LEVEL"
)


@dataclasses.dataclass(frozen=True)
class CovariateEffect:
    """Effect of one data column on one parameter.

    With x the covariate and c its centre, a positive parameter is the typical value
    times (x / c)^β (`power`), exp(β (x - c)) (`exp`), 1 + β (x - c) (`linear`), or e^β
    for the patients of a category. On another scale the same is added to φ.

    Attributes:
        parameter: parameter that depends on it.
        column: covariate column of the data.
        level: for a categorical covariate, the category whose patients get β; `None`
            for a number.
        center: value of a numeric covariate at which the effect is nil.
        form: one of `FORMS`; of no matter for a category.
        scale: SD of what β multiplies, among the patients to be fitted. Where β is per
            unit of the covariate its prior is `BETA_PRIOR_SD` per such SD, as wide for
            one in grams as in kilograms; screening counts every β so.
        reach: lowest and highest x - c of any patient, for a linear effect: β is kept
            where no patient's parameter comes out below `LEAST_SHARE` of the typical.
        changes: the covariate changes within patients; the parameter then changes too.
        carry: since when it has a value, one of `CARRIES`.
    """

    parameter: str
    column: str
    level: str | None = None
    center: float = 1.0
    form: str = "power"
    scale: float = 1.0
    reach: tuple[float, float] | None = None
    changes: bool = False
    carry: str = "forward"

    def __post_init__(self):
        if self.carry not in CARRIES:
            raise InputError(
                f"covariate {self.column} of {self.parameter}: carry {self.carry!r}; "
                f"{did_you_mean(self.carry, CARRIES)}choose {' or '.join(CARRIES)}"
            )
        if self.form not in FORMS:
            raise InputError(
                f"covariate {self.column} of {self.parameter}: "
                f"{did_you_mean(self.form, FORMS)}its form is one of {', '.join(FORMS)}"
            )
        low, high = self.reach or (0.0, 0.0)
        if self.is_linear and not low < 0.0 < high:
            raise InputError(
                f"covariate {self.column} of {self.parameter}: a linear effect needs "
                f"patients on both sides of its centre {self.center:g}; "
                + (
                    "tell `reach`, the lowest and highest difference from it"
                    if self.reach is None
                    else f"they go from {low + self.center:g} to {high + self.center:g}"
                )
            )

    @property
    def name(self) -> str:
        """Name of the coefficient in a fit."""
        level = "" if self.level is None else f"_{self.level}"
        return f"beta_{self.parameter}_{self.column}{level}"

    @property
    def is_linear(self) -> bool:
        """Whether it acts on the parameter itself and not on φ."""
        return self.level is None and self.form == "linear"

    @property
    def multiplies_ratio(self) -> bool:
        """Whether its coefficient is a power or of a category, and has no unit."""
        return self.level is not None or self.form == "power"

    @property
    def told(self) -> str:
        """The effect as a command line writes it."""
        if self.level is not None:
            return f"{self.parameter}~{self.column}={self.level}"
        inner = f"{self.column}@{self.center:g}"
        return f"{self.parameter}~" + (
            inner if self.form == "power" else f"{self.form}({inner})"
        )

    def value(self, raw: float | str) -> float:
        """Number that β multiplies for a patient with this covariate.

        Raises:
            ValueError: a numeric covariate that is not a number, or not a positive one
                where there is a power of it.
        """
        if self.level is not None:
            return float(_is_level(raw, self.level))
        try:
            number = float(raw)
        except ValueError:
            number = math.nan
        if self.form != "power":
            if not math.isfinite(number):
                raise ValueError(
                    f"covariate {self.column} is {raw!r}; {self.told} needs a number "
                    f"(for a category write {self.parameter}~{self.column}=LEVEL)"
                )
            return number - self.center
        if not number > 0:
            raise ValueError(
                f"covariate {self.column} is {raw!r}; a power effect needs a positive "
                f"number; write {self.parameter}~exp({self.column}) for any number, "
                f"{self.parameter}~{self.column}=LEVEL for a category"
            )
        return math.log(number / self.center)

    def prior(self) -> dist.Distribution:
        """Prior of the coefficient."""
        if self.multiplies_ratio:
            return dist.Normal(0.0, BETA_PRIOR_SD)
        if not self.is_linear:
            return dist.Normal(0.0, BETA_PRIOR_SD / self.scale)
        assert self.reach is not None  # checked when it was made
        low, high = self.reach
        most = 1.0 - LEAST_SHARE
        return dist.TruncatedNormal(
            0.0, BETA_PRIOR_SD / self.scale, low=-most / high, high=-most / low
        )


def _is_level(raw: float | str, level: str) -> bool:
    """Whether a value is of a category: the same word, or the same number."""
    try:
        return str(raw) == level or float(raw) == float(level)
    except ValueError:
        return False


def contributions(
    effects: Iterable[CovariateEffect], values: Array, beta: Array
) -> Array:
    """What each effect adds to φ: β times its value, or log(1 + that) if linear.

    Args:
        effects: in the order of the last axis.
        values: what β multiplies, (patients, ..., effects).
        beta: (effects,).
    """
    added = values * beta
    linear = np.array([effect.is_linear for effect in effects], dtype=bool)
    if not linear.any():
        return added
    # `where` twice: the branch that is not taken must have a finite gradient as well.
    # A step of an engine may leave what the prior of β allows; nothing is solved there.
    inner = jnp.maximum(jnp.where(linear, added, 0.0), LEAST_SHARE - 1.0)
    return jnp.where(linear, jnp.log1p(inner), added)


def effect(
    text: str, patients: Iterable[Patient], carry: str = "forward"
) -> CovariateEffect:
    """Covariate effect from its text, centred at the patients' median unless told.

    Args:
        text: `EXPECTED`.
        patients: the cohort; says the median (of first values), how far the covariate
            reaches, and whether it changes.
        carry: since when one that changes has a value, one of `CARRIES`.

    Raises:
        InputError: another text, a form that is not known, or a column that is not in
            the data, has words in it or is the same for everyone.
    """
    found = _TEXT.match(text)
    if found is None:
        raise InputError(f"--covariate {text}: {EXPECTED}")
    parameter, form = found["parameter"], found["form"] or "power"
    column = found["inner"] or found["column"]
    if form not in FORMS:
        raise InputError(
            f"--covariate {text}: {did_you_mean(form, FORMS)}choose {', '.join(FORMS)}"
        )
    first, every, changes = _column(column, patients)
    made = CovariateEffect(parameter, column, changes=changes, carry=carry)
    if found["level"] is not None:
        return _scaled(dataclasses.replace(made, level=found["level"]), every)
    numbers = [value for value in every if isinstance(value, float | int)]
    if not every or len(numbers) < len(every):
        words = "has words in it" if every else "is not in the data"
        raise InputError(
            f"--covariate {text}: {column} {words}; for a category write "
            f"{parameter}~{column}=LEVEL"
        )
    center = _center(text, found, first, form)
    if form == "power":
        made = dataclasses.replace(made, center=center)
        return _scaled(made, [x for x in numbers if x > 0])
    off = np.array(numbers) - center
    if not np.ptp(off) > 0:
        form = "exp"  # `pack` says that it is the same for everyone
    reach = (float(off.min()), float(off.max()))
    made = dataclasses.replace(made, center=center, form=form, reach=reach)
    return _scaled(made, numbers)


def _column(column: str, patients: Iterable[Patient]) -> tuple[list, list, bool]:
    """First values of patients, all their values, and whether any changes."""
    first, later = [], []
    for patient in patients:
        if column in patient.covariates:
            first.append(patient.covariates[column])
            later += [change.value for change in patient.changes.get(column, ())]
    return first, first + later, bool(later)


def _scaled(made: CovariateEffect, values: list) -> CovariateEffect:
    """The effect with the SD of what β multiplies; 1 where all are alike."""
    sd = float(np.std([made.value(value) for value in values])) if values else 0.0
    return dataclasses.replace(made, scale=sd) if sd > 0 else made


def _center(text: str, found: re.Match, numbers: list, form: str) -> float:
    told = found["at"] or found["center"]
    if told is None or told == "median":
        return float(np.median(numbers))
    try:
        center = float(told)
    except ValueError:
        center = math.nan
    if not math.isfinite(center) or (form == "power" and center <= 0):
        wanted = "a number above 0" if form == "power" else "a number"
        raise InputError(f"--covariate {text}: expected {wanted} after @, got {told!r}")
    return center
