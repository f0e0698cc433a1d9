"""What every file that asks something says: its head, and whose course is asked about.

Scenarios (`ckin.scenario.schema`) and questions (`ckin.optimum.schema`) are such files.
"""

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from ckin.protocol import places
from ckin.protocol.schema import TEXTS, Name, Table, Text, Texts, listed


# Days to follow: beyond ten years nobody has data, and a slip of the unit.
MOST_DAYS = 3700.0

Number = Annotated[float, Field(allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Source = Literal["typical", "prior", "fit"]

VALUES = "a table of parameters: set = { leukaemia_0 = 1e6 }"
OMEGA = "a table of SDs of the logarithm between patients: omega = { vcn = 0.3 }"
SETTING = "a named set of values of the model's file, such as setting = 'aplasia'"


def one_of(choices: tuple[str, ...]) -> str:
    """What a choice of these is said to be."""
    return "one of " + ", ".join(f'"{choice}"' for choice in choices)


class WhoTable(Table):
    """`[population]`: where patients come from."""

    source: Source = Field(description=one_of(("typical", "prior", "fit")))
    patient: Text | None = Field(None, description="the ID of a patient of the fit")
    fit: Text | None = Field(None, description="a folder that `ckin fit` wrote")
    draw: Annotated[list[Text], BeforeValidator(listed)] | None = Field(
        None, description='names of parameters, such as ["feeder_weight"]'
    )
    setting: Text | None = Field(None, description=SETTING)
    set: dict[str, Number | Text] = Field({}, description=VALUES)
    omega: dict[str, Positive] = Field({}, description=OMEGA)
    weight_kg: Positive | None = Field(
        None, description="kg, above 0: the weight of everyone"
    )

    def conflicts(self) -> Iterator[tuple[places.Path, str]]:
        """Keys of the table that exclude each other."""
        here, beside = ("population",), f'found it beside source = "{self.source}"'
        for key in ("fit", "patient"):
            if getattr(self, key) is not None and self.source != "fit":
                yield ((*here, key), f"{beside}; remove it")
        if self.omega and self.source == "fit":
            yield (
                (*here, "omega"),
                "found it beside a fit, which has spreads of its own; remove it",
            )
        if self.draw is not None and self.source != "prior":
            yield ((*here, "draw"), f"{beside}; remove it")


class AskedTable(Table):
    """What every file that asks something begins with."""

    name: Name = Field(description="a name of letters, digits and - _ .")
    title: Text = Field(description="a text: the question in a line")
    model: Text | None = Field(
        None, description="a name (see `ckin models`) or a .py file"
    )
    source: Texts = Field([], description=TEXTS)
    assumptions: Texts = Field([], description=TEXTS)
    follow_d: float = Field(
        gt=0,
        le=MOST_DAYS,
        description="days to follow from the first infusion, above 0, to "
        f"{MOST_DAYS:g}",
    )
    seed: int = Field(0, ge=0, description="a whole number of 0 or more")
