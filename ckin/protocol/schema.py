"""What a protocol file may say: every table, every key, and what belongs there.

The description of a field is what a message gives as expected, and what
`docs/protocols.md` explains. Strict: `"5"` is no number, and an unknown key is a fault.
"""

from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_core import PydanticCustomError

from ckin.errors import did_you_mean
from ckin.protocol.doses import PRODUCTS


MOST_CYCLES = 100
# Cells run in within minutes to hours; more is a slip of the unit.
MOST_HOURS = 72
# `--protocol` takes names, and FILE.toml:ARM: no colon, slash or blank in them.
NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9_.-]*$"


def listed(value: Any) -> Any:
    """One entry is a list of one."""
    return value if isinstance(value, list | dict) else [value]


def _known_product(value: str) -> str:
    if value not in PRODUCTS:
        fix = did_you_mean(value, PRODUCTS) or f"write one of {', '.join(PRODUCTS)}"
        raise PydanticCustomError("product", "no product", {"fix": fix.strip()})
    return value


def _a_day(value: int) -> int:
    if value == 0:
        fix = "there is no day 0: write day 1, or day -1 for the day before"
        raise PydanticCustomError("day", "day 0", {"fix": fix})
    return value


def _before_day_1(value: int) -> int:
    if value >= 0:
        fix = "lymphodepletion comes before day 1: write -3 for three days before"
        raise PydanticCustomError("day", "not before day 1", {"fix": fix})
    return value


Text = Annotated[str, Field(min_length=1)]
Texts = Annotated[list[Text], BeforeValidator(listed)]
Name = Annotated[str, Field(pattern=NAME_PATTERN)]
Product = Annotated[str, AfterValidator(_known_product)]
Day = Annotated[int, AfterValidator(_a_day)]
Cells = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Cycle = Annotated[int, Field(ge=1, le=MOST_CYCLES)]
Cycles = Annotated[list[Cycle], BeforeValidator(listed), Field(min_length=1)]

TEXTS = "a text in quotation marks, or a list of them"
PRODUCT = f"a product: {' or '.join(PRODUCTS)}"
DAY = "a protocol day: 1, 2, ... or, before day 1, -1, -2, ..."
AMOUNT = "a number above 0, without quotation marks, such as 5e6"
CYCLES = "numbers of cycles, such as [2, 3, 4]"


class Table(BaseModel):
    """A table of the file: strict, no other keys, frozen."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class CyclesTable(Table):
    """`[cycles]`: how many, how far apart."""

    count: Cycle = Field(1, description=f"a whole number from 1 to {MOST_CYCLES}")
    every_d: float | None = Field(
        None,
        gt=0,
        allow_inf_nan=False,
        description="days from day 1 of a cycle to day 1 of the next, above 0",
    )
    only_if: Text | None = Field(
        None, description="a text: what must hold before the next cycle is given"
    )


class DoseTable(Table):
    """An entry of `doses`: cells of one product, in some cycles, on some days."""

    product: Product = Field(description=PRODUCT)
    day: Annotated[list[Day], BeforeValidator(listed), Field(min_length=1)] = Field(
        description=f"{DAY} (or a list of them)"
    )
    hours: float = Field(
        0.0,
        ge=0,
        lt=24,
        description="hours after the start of the day, from 0 to less than 24",
    )
    over_h: float = Field(
        0.0,
        ge=0,
        le=MOST_HOURS,
        description=f"hours over which it runs in, 0 (at once) to {MOST_HOURS}",
    )
    cells_per_kg: Cells | None = Field(None, description=AMOUNT)
    cells: Cells | None = Field(None, description=AMOUNT)
    cycles: Cycles | None = Field(None, description=CYCLES)
    from_cycle: Cycle | None = Field(None, description="the number of a cycle")
    only_if: Text | None = Field(
        None, description="a text: what must hold before this is given"
    )


class LymphodepletionTable(Table):
    """`[lymphodepletion]`: drugs and days before day 1."""

    drugs: Text | None = Field(None, description="a text: names and doses of the drugs")
    days: Annotated[
        list[Annotated[int, AfterValidator(_before_day_1)]],
        BeforeValidator(listed),
        Field(min_length=1),
    ] = Field(description="days before day 1 of each cycle, such as [-5, -4, -3]")
    cycles: Cycles | None = Field(None, description=CYCLES)
    from_cycle: Cycle | None = Field(None, description="the number of a cycle")


class HoldTable(Table):
    """`[tki.held]`: days of each cycle without the TKI."""

    stop_day: Day = Field(description=f"the first day without it, {DAY}")
    resume_day: Day = Field(description=f"the first day with it again, {DAY}")
    cycles: Cycles | None = Field(None, description=CYCLES)


class TkiTable(Table):
    """`[tki]`: a tyrosine kinase inhibitor."""

    drug: Text = Field(description="the name of the drug")
    level: float = Field(
        1.0, ge=0, le=1, description="a number from 0 (none) to 1 (the full dose)"
    )
    start_day: Day = Field(description=f"the first day with it, {DAY}")
    stop_day: Day = Field(description=f"the first day without it, {DAY}")
    held: HoldTable | None = Field(
        None, description="a table: held = { stop_day = -5, resume_day = 29 }"
    )


class RepeatedTable(Table):
    """`repeated` of an arm: other cycles."""

    cycles: Cycle = Field(description=f"a whole number from 1 to {MOST_CYCLES}")
    every_d: float | None = Field(
        None,
        gt=0,
        allow_inf_nan=False,
        description="days from day 1 of a cycle to day 1 of the next, above 0",
    )


class WithoutTable(Table):
    """An entry of `without` of an arm: a product left out."""

    product: Product = Field(description=PRODUCT)
    day: Day | None = Field(None, description=DAY)
    cycles: Cycles | None = Field(None, description=CYCLES)


class MovedTable(Table):
    """An entry of `moved` of an arm: doses of one day on another."""

    product: Product = Field(description=PRODUCT)
    day: Day = Field(description=DAY)
    to_day: Day = Field(description=DAY)
    cycles: Cycles | None = Field(None, description=CYCLES)


class SplitTable(Table):
    """An entry of `split` of an arm: doses of one day in equal parts on several."""

    product: Product = Field(description=PRODUCT)
    day: Day = Field(description=DAY)
    on_days: Annotated[list[Day], BeforeValidator(listed), Field(min_length=1)] = Field(
        description="the days of the parts, such as [8, 11]"
    )
    cycles: Cycles | None = Field(None, description=CYCLES)


class DelayedTable(Table):
    """An entry of `delayed` of an arm: doses moved."""

    product: Product = Field(description=PRODUCT)
    by_days: float = Field(
        allow_inf_nan=False, description="days later; negative: earlier"
    )
    day: Day | None = Field(None, description=DAY)
    cycles: Cycles | None = Field(None, description=CYCLES)


class WithDoseTable(Table):
    """An entry of `with_dose` of an arm: another amount."""

    product: Product = Field(description=PRODUCT)
    cells_per_kg: Cells | None = Field(None, description=AMOUNT)
    cells: Cells | None = Field(None, description=AMOUNT)
    day: Day | None = Field(None, description=DAY)
    cycles: Cycles | None = Field(None, description=CYCLES)


class ChangesTable(Table):
    """What an arm may change of a protocol, in the order in which it is done."""

    repeated: RepeatedTable | None = Field(
        None, description="a table: repeated = { cycles = 2, every_d = 56 }"
    )
    without: list[WithoutTable] = Field(
        [], description='a list of tables: without = [{ product = "FTC" }]'
    )
    no_lymphodepletion: Cycles | None = Field(None, description=CYCLES)
    delayed: list[DelayedTable] = Field(
        [],
        description="a list of tables: "
        'delayed = [{ product = "FTC", day = 8, by_days = 6 }]',
    )
    moved: list[MovedTable] = Field(
        [],
        description="a list of tables: "
        'moved = [{ product = "FTC", day = 8, to_day = 14 }]',
    )
    split: list[SplitTable] = Field(
        [],
        description="a list of tables: "
        'split = [{ product = "FTC", day = 8, on_days = [8, 11] }]',
    )
    with_dose: list[WithDoseTable] = Field(
        [],
        description="a list of tables: "
        'with_dose = [{ product = "FTC", cells_per_kg = 2e6 }]',
    )
    tki: TkiTable | None = Field(None, description="a table, as [tki]")


class ArmTable(ChangesTable):
    """`[arms.NAME]`: how one arm differs from the rest of the file."""

    title: Text = Field(description="a text: the arm in a line")
    stated: Texts = Field([], description=TEXTS)
    assumptions: Texts = Field([], description=TEXTS)


class ProtocolTable(Table):
    """The whole file."""

    name: Name = Field(description="a name of letters, digits and - _ .")
    title: Text = Field(description="a text: the protocol in a line")
    source: Texts = Field(description=TEXTS)
    stated: Texts = Field([], description=TEXTS)
    assumptions: Texts = Field([], description=TEXTS)
    products: dict[Product, Text] = Field(
        {}, description='what a product is here: CART = "ssCART-19"'
    )
    cycles: CyclesTable = Field(
        CyclesTable(count=1, every_d=None, only_if=None),
        description="a table: count and every_d",
    )
    doses: list[DoseTable] = Field(
        min_length=1,
        description="a list of doses, each with product, day and cells_per_kg or cells",
    )
    lymphodepletion: LymphodepletionTable | None = Field(
        None, description="a table: days and drugs"
    )
    tki: TkiTable | None = Field(None, description="a table: drug, start_day, stop_day")
    arms: dict[Name, ArmTable] = Field({}, description="tables [arms.NAME]")
