"""Writes docs/scenarios/: a page with tables and figures for every shipped scenario.

    python docs/make_scenarios.py [NAME ...]

It runs them, a minute or two each. Run it after a change of a scenario or a model.
"""

import math
import sys
from pathlib import Path

from ckin import runtime


runtime.prepare()

from ckin.library import scenario_files  # noqa: E402
from ckin.scenario import Result, compare, read_scenario  # noqa: E402
from ckin.scenario.result import Row  # noqa: E402
from ckin.scenario_report import draw, note_of  # noqa: E402


FOLDER = Path(__file__).parent / "scenarios"
# Figures of a page, in this order, by how their names end.
SHOWN = (
    "copies_per_ug",
    "copies_per_ug_ratio",
    "_response",
    "persistence_map",
    "forest",
)
CAUTION = (
    "**Caution.** Nobody was measured. The parameters of what FTC do are priors until "
    "data of FTC come: no FTC data are public, and what these numbers show is what the "
    "model's assumptions amount to. The intervals hold the uncertainty that is named "
    "and no other: not that of the model's structure."
)


def page(name: str, result: Result, figures: list[Path]) -> str:
    """The page of one scenario."""
    scenario = result.outcomes.scenario
    draws, patients = result.outcomes.people.shape
    lines = [
        "<!-- Written by docs/make_scenarios.py from the scenario's file. -->",
        "",
        f"# {scenario.title}",
        "",
        f"`ckin compare {name} --out {name}`: {len(scenario.arms)} arms, {draws} draws "
        f"of parameters, the same {patients} virtual patients in each of them and "
        f"under every arm, {scenario.follow_d:g} days. "
        f"[The scenario](../../ckin/scenario/shipped/{name}.toml).",
        "",
        f"{note_of(result)}.",
        "",
        CAUTION,
        "",
        "## Arms",
        "",
        *_arms(result),
        "",
        "## Comparisons",
        "",
        *_comparisons(result),
        "",
        *_utility(result),
        "## Figures",
        "",
    ]
    for figure in figures:
        lines += [f"![{figure.stem}]({figure.parent.name}/{figure.name})", ""]
    lines += ["## Assumed", ""]
    lines += [f"- {text}" for text in result.manifest["assumed"]]
    lines += [f"- {note}" for note in result.outcomes.notes]
    return "\n".join([*lines, ""])


def _arms(result: Result) -> list[str]:
    measures = result.outcomes.scenario.measures
    heads = ["arm"]
    for endpoint in measures:
        unit = result.unit(endpoint)
        shown = "" if unit == "1" else f", {unit.replace('*', ' × ')}"
        heads.append(f"{result.told(endpoint)}: {result.summary(endpoint)}{shown}")
    rows = []
    for arm in result.outcomes.scenario.arms:
        own = [row for row in result.arm_rows if row["arm"] == arm.name]
        named = arm.name if arm.sweep else f"{arm.name}: {arm.title}"
        rows.append([named, *(_told(row) for row in own)])
    return ["Value, and 90% interval over draws.", "", *_table(heads, rows)]


def _comparisons(result: Result) -> list[str]:
    heads = ["endpoint", "arm", "against", "ratio or difference", "P(better), patients"]
    rows = []
    for row in result.comparison_rows:
        ratio = row["measure"] == "geometric mean ratio"
        value = ("× " if ratio else "") + _told(row)
        unit = "" if row["unit"] == "1" else f" {row['unit']}"
        chance = f"{row['better_patients']:.2f}"
        rows.append([row["endpoint"], row["arm"], row["against"], value + unit, chance])
    said = (
        "× is the ratio of geometric means, else the difference of means; 90% interval "
        "over draws. P(better) is the share of persons (patient and draw) who are "
        "better off than under the other arm; ties count half."
    )
    return [said, "", *_table(heads, rows)]


def _utility(result: Result) -> list[str]:
    rows = [row for row in result.best_rows if row["endpoint"] == "utility"]
    if not rows:
        return []
    ranked = sorted(rows, key=lambda row: -row["expected"])
    heads = ["arm", "expected utility", "P(best), draws"]
    table = _table(
        heads,
        [
            [r["arm"], _told({**r, "value": r["expected"]}), f"{r['best_draws']:.2f}"]
            for r in ranked
        ],
    )
    whole, *each = result.information_rows
    most = sorted(each, key=lambda row: -row["value"])[:3]
    named = ", ".join(f"{row['parameter']} {_number(row['value'])}" for row in most)
    said = (
        f"Perfect information on the drawn parameters would be worth "
        f"{_number(whole['value'])} of utility; on one of them alone, most: {named}."
    )
    return ["## By the utility of the scenario", "", *table, "", said, ""]


def _table(heads: list[str], rows: list[list[str]]) -> list[str]:
    line = lambda cells: f"| {' | '.join(cells)} |"
    return [line(heads), line(["---"] * len(heads)), *(line(row) for row in rows)]


def _told(row: Row) -> str:
    value = _number(row["value"])
    if not math.isfinite(row["low"]):
        return value
    return f"{value} ({_number(row['low'])} to {_number(row['high'])})"


def _number(value: float) -> str:
    if not math.isfinite(value):
        return "none"
    if abs(value) >= 1000:
        digits = len(str(int(abs(value)))) - 3
        return f"{round(value, -digits):,.0f}"
    return f"{value:.3g}"


def main() -> None:
    """Run the scenarios and write their pages."""
    files = scenario_files()
    for name in sys.argv[1:] or files:
        result = compare(read_scenario(files[name]))
        drawn = {path.stem: path for path in draw(result, FOLDER / name)}
        shown = [
            path
            for end in SHOWN
            for stem, path in drawn.items()
            if stem == end
            or (end.startswith("_") and stem.endswith(end))
            or (end.endswith("_map") and stem.endswith(end))
        ]
        for path in drawn.values():
            if path not in shown:
                path.unlink()
        text = page(name, result, shown)
        (FOLDER / f"{name}.md").write_text(text, encoding="utf-8")
        print(f"{name}: {result.outcomes.seconds:.0f} s", flush=True)


if __name__ == "__main__":
    main()
