"""What a scenario file may say: every table, every key, and what belongs there.

Strict like a protocol file, and its faults are told the same way. The description of a
field is what a message gives as expected, and what `docs/compare.md` explains.
"""

from typing import Annotated, Literal, get_args

from pydantic import Field

from ckin.protocol.schema import (
    AMOUNT,
    CYCLES,
    DAY,
    PRODUCT,
    TEXTS,
    Cells,
    ChangesTable,
    Cycle,
    Cycles,
    Day,
    Name,
    Product,
    Table,
    Text,
    Texts,
)
from ckin.scenario.asked import (
    SETTING,
    VALUES,
    AskedTable,
    Number,
    Positive,
    WhoTable,
    one_of,
)


MOST_DRAWS, MOST_PATIENTS = 10_000, 1_000_000

Spread = Literal["parameters", "between-patient", "residual"]
MetricCode = Literal[
    "CMAX",
    "TMAX",
    "AUC028",
    "AUC084",
    "AUC",
    "CEND",
    "CMIN",
    "TLST",
    "DABOVE",
    "DBELOW",
    "ABOVE",
    "BELOW",
]
Summary = Literal["geometric mean", "mean", "median", "share"]
Scale = Literal["linear", "log2", "above", "below"]


class PopulationTable(WhoTable):
    """`[population]`: who is treated."""

    draws: int = Field(
        100,
        ge=1,
        le=MOST_DRAWS,
        description=f"sets of parameters to draw, 1 to {MOST_DRAWS}",
    )
    patients: Annotated[int, Field(ge=1, le=MOST_PATIENTS)] | Literal["fitted"] = Field(
        50, description='virtual patients in each draw, 1 or more; or "fitted"'
    )


class ScenarioArmTable(ChangesTable):
    """`[arms.NAME]`: a protocol, and what is changed of it."""

    protocol: Text = Field(
        description="a name (see `ckin protocols`), a .toml file or FILE.toml:ARM"
    )
    title: Text | None = Field(None, description="a text: the arm in a line")
    assumptions: Texts = Field([], description=TEXTS)
    setting: Text | None = Field(None, description=SETTING)
    set: dict[str, Number] = Field({}, description=VALUES)


class SweepTable(ScenarioArmTable):
    """`[sweeps.NAME]`: an arm for every combination of the lists."""

    product: Product | None = Field(None, description=PRODUCT)
    of_day: Day | None = Field(None, description=DAY)
    in_cycles: Cycles | None = Field(None, description=CYCLES)
    day: list[Day] | None = Field(
        None, min_length=1, description="days to try: day = [8, 11, 14]"
    )
    cells_per_kg: list[Cells] | None = Field(
        None, min_length=1, description=f"amounts to try, each {AMOUNT}"
    )
    cells: list[Cells] | None = Field(
        None, min_length=1, description=f"amounts to try, each {AMOUNT}"
    )
    cycles: list[Cycle] | None = Field(
        None, min_length=1, description="numbers of cycles to try: cycles = [2, 3, 4]"
    )
    every_d: list[Positive] | None = Field(
        None, min_length=1, description="days between cycles to try: [28, 56]"
    )
    values: dict[str, Annotated[list[Number], Field(min_length=1)]] = Field(
        {}, description="values to try: values = { feeder_weight = [0.5, 1, 2] }"
    )


class OutcomeTable(Table):
    """`[outcomes.NAME]`: one number of each patient."""

    metric: MetricCode = Field(description=one_of(get_args(MetricCode)))
    of: Text = Field("qpcr", description="an assay or a quantity of the model")
    cycle: Cycle | Literal["last"] | None = Field(
        None, description='the number of a cycle, or "last"; none: the whole course'
    )
    level: Positive | None = Field(None, description="a level, above 0, with its unit")
    unit: Text | None = Field(None, description='its unit, such as unit = "copies/ug"')
    after_d: float = Field(
        0.0, ge=0, allow_inf_nan=False, description="days, 0 or more"
    )
    better: Literal["higher", "lower"] | None = Field(
        None, description=one_of(("higher", "lower"))
    )
    title: Text | None = Field(None, description="a text: the outcome in a line")


class EndpointTable(Table):
    """`[endpoints.NAME]`: one number of an arm."""

    outcome: Text = Field(description="the name of an outcome")
    summary: Summary = Field(description=one_of(get_args(Summary)))
    at_least: Number | None = Field(None, description="a number")
    at_most: Number | None = Field(None, description="a number")
    title: Text | None = Field(None, description="a text: the endpoint in a line")


class UtilityTable(Table):
    """An entry of `utility`: what an outcome is worth."""

    outcome: Text = Field(description="the name of an outcome")
    weight: Number = Field(description="a number; negative: it does harm")
    scale: Scale = Field("linear", description=one_of(get_args(Scale)))
    per: Positive = Field(
        1.0, description="how much of the outcome is worth the weight, above 0"
    )
    level: Positive | None = Field(
        None, description="a level of the outcome, above 0, for above and below"
    )


class ComparisonTable(Table):
    """An entry of `comparisons`: one arm against another."""

    arm: Text = Field(description="the name of an arm")
    against: Text = Field(description="the name of another arm")


class ScenarioTable(AskedTable):
    """The whole file."""

    uncertainty: list[Spread] | None = Field(
        None,
        min_length=1,
        description='a list of "parameters", "between-patient", "residual"',
    )
    population: PopulationTable = Field(description="a table: who is treated")
    arms: dict[Name, ScenarioArmTable] = Field({}, description="tables [arms.NAME]")
    sweeps: dict[Name, SweepTable] = Field({}, description="tables [sweeps.NAME]")
    reference: Text | None = Field(None, description="the name of an arm")
    comparisons: list[ComparisonTable] = Field(
        [], description='a list of tables: { arm = "one", against = "another" }'
    )
    outcomes: dict[Name, OutcomeTable] = Field(
        min_length=1, description="tables [outcomes.NAME], one at least"
    )
    endpoints: dict[Name, EndpointTable] = Field(
        {}, description="tables [endpoints.NAME]"
    )
    utility: list[UtilityTable] = Field(
        [],
        description="a list of tables: outcome, weight, per",
    )
