"""FTC on day 8 or later: the flagship in typical patients. Prior assumptions, not data.

Run: python examples/what_if_ftc.py
From a file, with the uncertainty of the priors: ckin compare ftc-days --out compared
"""

from ckin.library import load_protocol
from ckin.scenario import Arm, Outcome, PeopleSpec, Scenario, compare


trial = load_protocol("szcart01-two-cycles")
days = (8, 11, 14, 21, 28)
result = compare(
    Scenario(
        name="what-if-ftc",
        title="The second FTC of cycle 2, on day 8 or later",
        model="feeding_szcart01",
        people=PeopleSpec(source="typical", patients=40),
        arms=tuple(
            Arm(f"day {day}", trial.moved("FTC", day=8, to_day=day)) for day in days
        ),
        outcomes=(
            Outcome("peak", "CMAX", cycle=2, after_d=4.0),
            Outcome("auc28", "AUC028", cycle=2),
            Outcome("above", "DABOVE", cycle=2, level=100.0),
        ),
        follow_d=140.0,
    )
)
print(result.label)
for note in result.outcomes.notes:
    print(f"note: {note}")
for row in result.comparison_rows:
    value, than = row["value"], row["against"]
    ratio = row["measure"] == "geometric mean ratio"
    said = f"{value:.3g} times" if ratio else f"{value:+.2g} days"
    print(
        f"{row['endpoint']:>6} with FTC on {row['arm']}, against {than}: {said}; "
        f"better in {row['better_patients']:.0%} of patients"
    )
