"""One apheresis for a whole course: what schedules need, and what a patient yields.

The lymphocytes of a patient are collected once, before the first cycle, and every
product of every cycle is made of them. Cells of a product that are given (CAR+, or
FTC+) count at release; each of them takes

    1 / (transduction × fold × recovery × released)

of the CD3+ cells collected. Everything on the right differs between patients and is a
distribution (`Spread`); what no source gives is an assumption and says so. A patient
covers a schedule who collected at least what it takes. The same patients are drawn for
every schedule (`draw_yields`), so that the chance falls with the dose, draw by draw.
"""

import dataclasses
import math
import zlib
from collections.abc import Mapping, Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ckin._types import Array, Float
from ckin.errors import InputError, did_you_mean
from ckin.model import CHECKED
from ckin.protocol import Protocol


# Quartiles of a normal distribution lie this far from its median, in SDs.
QUARTILE_SD = 0.6744897501960817
# And 95% of it within this far.
WITHIN_95_SD = 1.959963984540054

HARVESTS = (
    "134 harvests for tisagenlecleucel in the UK, Table 3, "
    "doi:10.1038/s41408-024-01038-2"
)


@dataclasses.dataclass(frozen=True)
class Spread:
    """How a number differs between patients: normal after a logarithm or a logit.

    Attributes:
        median: of patients.
        sd: of the logarithm, or of the logit of a fraction.
        fraction: whether it is a fraction, between 0 and 1.
        source: where it is from.
        checked: how far that was checked, a key of `ckin.model.CHECKED`.
    """

    median: float
    sd: float
    fraction: bool
    source: str
    checked: str

    def __post_init__(self):
        if self.checked not in CHECKED:
            raise ValueError(f"checked={self.checked!r} is not of {', '.join(CHECKED)}")
        most = 1.0 if self.fraction else math.inf
        if not 0 <= self.median <= most:
            raise ValueError(f"a median of {self.median}, expected 0 to {most:g}")
        if not (math.isfinite(self.sd) and self.sd >= 0):
            raise ValueError(f"an SD of {self.sd} is not a number from 0")

    def at(self, z: Float[Array, " patients"]) -> Float[Array, " patients"]:
        """Values of patients whose standard normal scores are `z`."""
        z = jnp.asarray(z, float)
        # The ends of the range are certain: nothing, everything, no end.
        if self.median in (0.0, math.inf) or (self.fraction and self.median == 1.0):
            return jnp.full(z.shape, self.median)
        if self.fraction:
            odds = math.log(self.median / (1.0 - self.median))
            return jax.nn.sigmoid(odds + self.sd * z)
        return self.median * jnp.exp(self.sd * z)


def _of_quartiles(median: float, low: float, high: float, **words) -> Spread:
    """A spread by the quartiles that a source prints."""
    fraction = bool(words["fraction"])
    scale = (lambda v: math.log(v / (1.0 - v))) if fraction else math.log
    return Spread(median, (scale(high) - scale(low)) / (2.0 * QUARTILE_SD), **words)


def _of_range(median: float, low: float, high: float, **words) -> Spread:
    """A spread by a range that is taken to hold 95% of patients."""
    fraction = bool(words["fraction"])
    scale = (lambda v: math.log(v / (1.0 - v))) if fraction else math.log
    return Spread(median, (scale(high) - scale(low)) / (2.0 * WITHIN_95_SD), **words)


@dataclasses.dataclass(frozen=True)
class Making:
    """How one product comes of the cells collected.

    Attributes:
        transduction: share of cells that carry the vector.
        fold: expansion in culture.
        recovery: share that survives enrichment, washing and harvest.
        released: share left for the patient after cryopreservation and QC retains.
    """

    transduction: Spread
    fold: Spread
    recovery: Spread
    released: Spread

    @property
    def parts(self) -> dict[str, Spread]:
        """Every spread by its name."""
        return {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}


TRANSDUCTION = _of_quartiles(
    0.174, 0.12, 0.231, fraction=True, source=HARVESTS, checked="C"
)
FTC_TRANSDUCTION = dataclasses.replace(
    TRANSDUCTION,
    source="no figure for feeding T cells was found: that of a CAR is taken",
    checked="I",
)
FOLD = _of_range(
    30.0,
    10.0,
    100.0,
    fraction=False,
    source="assumption: 10 to 100 times in 7 to 14 days of culture",
    checked="U",
)
RECOVERY = Spread(0.8, 0.5, True, "assumption", "U")
RELEASED = _of_range(
    0.85,
    0.8,
    0.9,
    fraction=True,
    source="assumption: thawing and QC retains take 10 to 20%",
    checked="U",
)


@dataclasses.dataclass(frozen=True)
class Apheresis:
    """What one apheresis yields and what products take of it.

    Attributes:
        collected: CD3+ cells collected.
        making: of each product.
        fold_correlation: correlation of the logarithms of the folds of two products of
            one patient, whose cells are the same; 0 to 1. An assumption.
    """

    collected: Spread = _of_quartiles(
        2.6e9, 1.2e9, 4.1e9, fraction=False, source=HARVESTS, checked="C"
    )
    making: Mapping[str, Making] = dataclasses.field(
        default_factory=lambda: {
            "CART": Making(TRANSDUCTION, FOLD, RECOVERY, RELEASED),
            "FTC": Making(FTC_TRANSDUCTION, FOLD, RECOVERY, RELEASED),
        }
    )
    fold_correlation: float = 0.5

    def __post_init__(self):
        if not 0 <= self.fold_correlation <= 1:
            raise ValueError(f"fold_correlation is {self.fold_correlation}, not 0 to 1")

    @property
    def parts(self) -> dict[str, Spread]:
        """Every spread by the name that `with_medians` takes."""
        return {"collected": self.collected} | {
            f"{product}.{name}": spread
            for product, making in self.making.items()
            for name, spread in making.parts.items()
        }

    def with_medians(self, medians: Mapping[str, float | str]) -> "Apheresis":
        """Other medians, by the names of `parts`; spreads between patients stay.

        Raises:
            InputError: an unknown name, or a median that cannot be.
        """
        known, changed = self.parts, {}
        for name, median in medians.items():
            if name not in known:
                hint = did_you_mean(name, known)
                raise InputError(f"no {name!r}; {hint}there are {', '.join(known)}")
            if isinstance(median, str):
                raise InputError(f"{name}={median}: expected a number")
            most, above = (1.0, "to 1") if known[name].fraction else (math.inf, "on")
            if not 0 < median <= most:
                raise InputError(
                    f"{name}={median:g}: expected a number above 0 {above}"
                )
            changed[name] = dataclasses.replace(
                known[name],
                median=float(median),
                source="given by the user",
                checked="I",
            )
        making = {
            product: dataclasses.replace(
                own,
                **{n: changed.get(f"{product}.{n}", s) for n, s in own.parts.items()},
            )
            for product, own in self.making.items()
        }
        collected = changed.get("collected", self.collected)
        return dataclasses.replace(self, collected=collected, making=making)


class Yields(eqx.Module):
    """Patients: what they collected, and what each product makes of one cell.

    Attributes:
        collected: CD3+ cells, (patients,).
        per_cell: cells of each product at release per CD3+ cell that goes into it.
    """

    collected: Float[Array, " patients"]
    per_cell: dict[str, Float[Array, " patients"]]


def draw_yields(key: Array, apheresis: Apheresis, n: int) -> Yields:
    """Yields of `n` patients: the same for every schedule that is asked about.

    A patient's scores depend on `key` and the names of the products alone, so that
    another median moves every patient the same way.
    """
    normal = lambda name: jax.random.normal(
        jax.random.fold_in(key, _number(name)), (n,)
    )
    shared = normal("fold")
    own = math.sqrt(1.0 - apheresis.fold_correlation)
    per_cell = {}
    for product, making in apheresis.making.items():
        z = {name: normal(f"{product}.{name}") for name in making.parts}
        z["fold"] = math.sqrt(apheresis.fold_correlation) * shared + own * z["fold"]
        per_cell[product] = math.prod(s.at(z[n]) for n, s in making.parts.items())
    return Yields(apheresis.collected.at(normal("collected")), per_cell)


def typical_yields(apheresis: Apheresis) -> Yields:
    """One patient at every median."""
    zero = jnp.zeros(1)
    per_cell = {}
    for product, making in apheresis.making.items():
        per_cell[product] = jnp.ones(1)
        for spread in making.parts.values():
            per_cell[product] = per_cell[product] * spread.at(zero)
    return Yields(apheresis.collected.at(zero), per_cell)


def _number(name: str) -> int:
    """A number of its own for each name (`hash` differs between runs)."""
    return zlib.crc32(name.encode())


def demand(plan: Protocol, weight_kg: float) -> dict[str, float]:
    """Cells of each product that a protocol gives over all its cycles.

    Args:
        plan: the protocol.
        weight_kg: body weight.

    Raises:
        InputError: a dose per kg, and a weight that is not a number above 0.
    """
    cells = dict.fromkeys(plan.products, 0.0)
    for dose in plan.doses:
        cells[dose.product] += dose.total(weight_kg)
    return cells


def starting_cells(
    cells: Mapping[str, float], yields: Yields
) -> Float[Array, " patients"]:
    """CD3+ cells that have to go into culture for so many cells of each product.

    Args:
        cells: of each product (`demand`).
        yields: of the patients.

    Raises:
        InputError: a product of which nobody says how it is made.
    """
    needed = jnp.zeros(yields.collected.shape)
    for product, amount in cells.items():
        if amount == 0:
            continue
        if product not in yields.per_cell:
            known = ", ".join(yields.per_cell)
            raise InputError(f"how {product} is made is not said; it is for {known}")
        needed = needed + amount / yields.per_cell[product]
    return needed


@dataclasses.dataclass(frozen=True)
class Coverage:
    """Whether one apheresis of a patient is enough for a schedule.

    Attributes:
        chance: share of patients whose apheresis covers it.
        chance_sd: its Monte Carlo error.
        needed: CD3+ cells to start from, quantiles 5, 50 and 95% of patients.
        left: CD3+ cells left over, or short where negative, the same quantiles.
    """

    chance: float
    chance_sd: float
    needed: tuple[float, float, float]
    left: tuple[float, float, float]


def coverage(cells: Mapping[str, float], yields: Yields) -> Coverage:
    """Chance that one apheresis gives so many cells of each product.

    Args:
        cells: of each product (`demand`).
        yields: of many patients (`draw_yields`).
    """
    needed = np.asarray(starting_cells(cells, yields))
    collected = np.asarray(yields.collected)
    covered = needed <= collected
    chance = float(np.mean(covered))
    # An end of the range that is certain (nothing collected, no end) leaves no noise.
    finite = np.where(np.isinf(collected), np.finfo(float).max, collected)
    quantiles = lambda values: tuple(np.quantile(values, (0.05, 0.5, 0.95)).tolist())
    capped = np.minimum(needed, np.finfo(float).max)
    return Coverage(
        chance,
        math.sqrt(chance * (1.0 - chance) / covered.size),
        quantiles(capped),
        quantiles(finite - capped),
    )


def affordable(
    cells: Mapping[str, float], product: str, yields: Yields, chance: float
) -> float:
    """Most cells of one product that this share of patients can have as well.

    Args:
        cells: of the other products, which come first.
        product: whose cells are asked for; its own entry in `cells` is passed over.
        yields: of many patients.
        chance: share of patients, 0 to 1.

    Returns:
        Cells in all; 0 where the others leave too many patients nothing.
    """
    if not 0 < chance < 1:
        raise InputError(f"a chance of {chance}: expected a number between 0 and 1")
    others = {name: amount for name, amount in cells.items() if name != product}
    spare = jnp.maximum(yields.collected - starting_cells(others, yields), 0.0)
    # `lower`: of the draws, so that at least this share of them covers it.
    most = np.asarray(spare * yields.per_cell[product])
    return float(np.quantile(most, 1.0 - chance, method="lower"))


@dataclasses.dataclass(frozen=True)
class Feasible:
    """One schedule of a table of cycles and FTC doses.

    Attributes:
        cycles: how many.
        ftc_cells_per_kg: of each infusion of FTC.
        coverage: of one apheresis.
        feasible: whether enough patients cover it.
    """

    cycles: int
    ftc_cells_per_kg: float
    coverage: Coverage
    feasible: bool


def feasible_sets(
    plan: Protocol,
    yields: Yields,
    *,
    weight_kg: float,
    levels: Sequence[float],
    cycles: Sequence[int],
    chance: float,
) -> tuple[Feasible, ...]:
    """Every number of cycles at every FTC dose, and whether one apheresis is enough.

    Args:
        plan: the protocol that is repeated (`Protocol.repeated`) and changed.
        yields: of many patients, the same in every cell of the table.
        weight_kg: body weight.
        levels: FTC cells/kg of each infusion; 0 leaves FTC out.
        cycles: numbers of cycles.
        chance: share of patients that has to be covered.
    """
    rows = []
    for n in cycles:
        course = plan.repeated(n)
        for level in levels:
            fed = "FTC" in course.products and level > 0
            own = course.with_dose("FTC", level) if fed else course.without("FTC")
            found = coverage(demand(own, weight_kg), yields)
            rows.append(Feasible(n, level, found, found.chance >= chance))
    return tuple(rows)


def cells_per_gained_day(
    cells: Mapping[str, float],
    reference: Mapping[str, float],
    yields: Yields,
    gained_d: Float[Array | np.ndarray, " draws"] | float,
) -> float:
    """Further CD3+ cells to start from, for each day of persistence that they buy.

    A ratio of means, as costs and effects are compared: patients who gain nothing pay
    as well.

    Args:
        cells: that the schedule gives (`demand`).
        reference: that the schedule it is compared with gives.
        yields: of the patients.
        gained_d: days gained over the reference.

    Returns:
        Cells per day; inf where nothing is gained for more cells, and negative where
        days are gained for fewer.
    """
    further = starting_cells(cells, yields) - starting_cells(reference, yields)
    cost, gained = float(jnp.mean(further)), float(np.mean(np.asarray(gained_d)))
    return cost / gained if gained > 0 else math.inf
