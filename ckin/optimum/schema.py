"""What a question file may say: every table, every key, and what belongs there.

Strict like a scenario file, whose words it shares, and its faults are told the same
way. The description of a field is what a message gives as expected, and what
`docs/schedules.md` explains.
"""

from typing import Annotated, Literal, get_args

from pydantic import BeforeValidator, Field

from ckin.protocol.schema import (
    AMOUNT,
    PRODUCT,
    Cells,
    ChangesTable,
    Cycle,
    Name,
    Product,
    Table,
    Text,
    listed,
)
from ckin.scenario.asked import (
    MOST_DAYS,
    AskedTable,
    Number,
    Positive,
    WhoTable,
    one_of,
)


# Patients over whom a utility is averaged: each costs as much as every other.
MOST_PEOPLE = 1000
MOST_INFUSIONS = 20
MetricCode = Literal["AUC", "DABOVE", "CEND", "CMAX"]
Scale = Literal["linear", "log2"]
Day = Annotated[int, Field(ge=1, le=int(MOST_DAYS))]
Share = Annotated[float, Field(ge=0, lt=1, allow_inf_nan=False)]

DAY = "a protocol day of the cycle, from 1"


class PatientsTable(WhoTable):
    """`[population]`: the patients over whom a utility is averaged."""

    people: int = Field(
        32,
        ge=1,
        le=MOST_PEOPLE,
        description=f"patients to draw, 1 to {MOST_PEOPLE}",
    )


class CourseTable(ChangesTable):
    """`[course]`: the protocol in which some infusions are open."""

    protocol: Text = Field(
        description="a name (see `ckin protocols`), a .toml file or FILE.toml:ARM"
    )


class OpenTable(Table):
    """An entry of `open`: infusions of one product in one cycle, to be decided."""

    product: Product = Field(description=PRODUCT)
    cycle: Cycle = Field(1, description="the number of a cycle")
    infusions: int = Field(
        1,
        ge=1,
        le=MOST_INFUSIONS,
        description=f"how many at most, 1 to {MOST_INFUSIONS}",
    )
    from_day: Day = Field(1, description=DAY)
    to_day: Day = Field(description=DAY)
    apart_d: Day = Field(1, description="days from one to the next at the least, 1 on")
    least_cells_per_kg: float = Field(
        0.0, ge=0, allow_inf_nan=False, description="a number, 0 or more"
    )
    most_cells_per_kg: Cells = Field(description=AMOUNT)


class BudgetTable(Table):
    """`[budget]`: what everything may cost together."""

    product: Product | None = Field(None, description=PRODUCT)
    cells_per_kg: Cells | None = Field(None, description=AMOUNT)
    cells: Cells | None = Field(None, description=AMOUNT)
    apheresis: dict[str, Positive] | None = Field(
        None,
        description="a table of medians, {} for those of `ckin apheresis`: "
        'apheresis = { collected = 1.2e9, "FTC.fold" = 10 }',
    )


class OutcomeTable(Table):
    """`[outcomes.NAME]`: one number of a course, smooth in its days and doses."""

    metric: MetricCode = Field(description=one_of(get_args(MetricCode)))
    of: Text = Field("qpcr", description="an assay or a quantity of the model")
    level: Positive | None = Field(None, description="a level, above 0, with its unit")
    unit: Text | None = Field(None, description='its unit, such as unit = "copies/ug"')
    title: Text | None = Field(None, description="a text: the outcome in a line")


class UtilityTable(Table):
    """An entry of `utility`: what an outcome is worth."""

    outcome: Text = Field(description="the name of an outcome")
    weight: Number = Field(description="a number; negative: it does harm")
    scale: Scale = Field("linear", description=one_of(get_args(Scale)))
    per: Positive = Field(
        1.0, description="how much of the outcome is worth the weight, above 0"
    )


class CapTable(Table):
    """An entry of `caps`: a maximum that few patients may exceed."""

    of: Text = Field(description="an assay or a quantity of the model")
    level: Positive = Field(description="a level, above 0, with its unit")
    unit: Text = Field(description='its unit, such as unit = "copies/ug"')
    share: Share = Field(
        0.1, description="share of patients who may exceed it, 0 to less than 1"
    )
    weight: Positive = Field(
        10.0, description="utility lost per natural logarithm of excess, above 0"
    )


class GridTable(Table):
    """`[grid]`: what the gradient is held against."""

    cells_per_kg: Annotated[
        list[Annotated[float, Field(ge=0, allow_inf_nan=False)]],
        BeforeValidator(listed),
        Field(min_length=1),
    ] = Field(description="amounts of an infusion to try, such as [0, 2.5e6, 5e6]")


class SearchTable(Table):
    """`[search]`: how long to look."""

    starts: int = Field(6, ge=1, le=100, description="a whole number, 1 to 100")
    steps: int = Field(30, ge=1, le=1000, description="a whole number, 1 to 1000")


class ParetoTable(Table):
    """`[pareto]`: what more and fewer cells would buy."""

    shares: Annotated[list[Positive], BeforeValidator(listed), Field(min_length=1)] = (
        Field(
            [0.25, 0.5, 0.75, 1.0, 1.5],
            description="budgets as shares of that of the file: [0.5, 1, 1.5]",
        )
    )
    outcome: Text | None = Field(None, description="the name of an outcome")


class QuestionTable(AskedTable):
    """The whole file."""

    population: PatientsTable = Field(description="a table: who is treated")
    course: CourseTable = Field(description="a table: the protocol")
    open: list[OpenTable] = Field(
        min_length=1, description="tables [[open]]: infusions to be decided"
    )
    step_cells_per_kg: Cells = Field(
        5e4, description=f"to which a dose can be prescribed: {AMOUNT}"
    )
    budget: BudgetTable | None = Field(None, description="a table: what it may cost")
    outcomes: dict[Name, OutcomeTable] = Field(
        min_length=1, description="tables [outcomes.NAME], one at least"
    )
    utility: list[UtilityTable] = Field(
        min_length=1, description="a list of tables: outcome, weight, per"
    )
    toll_per_1e6_cells_per_kg: float = Field(
        0.0,
        ge=0,
        allow_inf_nan=False,
        description="utility that 1e6 cells/kg cost, 0 or more",
    )
    caps: list[CapTable] = Field(
        [], description="a list of tables: of, level, unit, share"
    )
    grid: GridTable | None = Field(None, description="a table: cells_per_kg = [...]")
    search: SearchTable = Field(
        SearchTable.model_construct(starts=6, steps=30),
        description="a table: starts, steps",
    )
    pareto: ParetoTable | None = Field(
        None, description="a table: shares = [0.5, 1, 1.5]"
    )
