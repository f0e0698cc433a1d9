"""Scenarios on the toy of `linear.py`."""

from pathlib import Path

from ckin.library import load_protocol
from ckin.scenario import Arm, Outcome, PeopleSpec, Scenario


LINEAR = str(Path(__file__).with_name("linear.py"))
ONE = load_protocol("szcart01-cart1")
TWO = load_protocol("szcart01-high").repeated(cycles=2)
LIMIT = 5.0
OUTCOMES = (
    Outcome("peak", "CMAX"),
    Outcome("peak_d", "TMAX"),
    Outcome("later", "CMAX", after_d=4.0),
    Outcome("auc28", "AUC028"),
    Outcome("auc", "AUC"),
    Outcome("end", "CEND"),
    Outcome("lowest", "CMIN"),
    Outcome("last", "TLST", level=LIMIT),
    Outcome("above", "DABOVE", level=LIMIT),
    Outcome("below", "DBELOW", level=LIMIT),
    Outcome("at_end", "ABOVE", level=LIMIT),
    Outcome("gone", "BELOW", level=LIMIT),
    Outcome("ftc", "CMAX", of="ftc", cycle="last"),
)
ARMS = (
    Arm("one", ONE),
    Arm("same", ONE),
    Arm("double", ONE.with_dose("CART", 10e6)),
    Arm("slow", ONE, values={"loss": 0.05}),
    Arm("bright", ONE, values={"scale": 3e-6}),
    Arm("two", TWO),
)
FOLLOW_D = 100.0


def scenario(arms=ARMS, **changes) -> Scenario:
    usual = dict(
        name="toy",
        title="a toy",
        model=LINEAR,
        people=PeopleSpec(source="prior", draws=6, patients=5),
        outcomes=OUTCOMES,
        follow_d=FOLLOW_D,
        seed=3,
    )
    return Scenario(arms=tuple(arms), **{**usual, **changes})
