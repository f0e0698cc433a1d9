"""An identifiability answer as files and as words."""

from pathlib import Path

import numpy as np
import pandas as pd
from rich.console import Group
from rich.table import Table
from rich.text import Text

from ckin.identify import Answer, SampleDays, describe
from ckin.plot import save
from ckin.plot.designs import (
    contraction_bars,
    day_gains,
    law_matrix,
    prior_intervals,
)
from ckin.writing import writing


TITLE = "What the trial can tell, if the model's own values are about right"
CAUTION = (
    "MODEL-BASED: expected from the model's own values and priors. No patient was "
    "measured, and nothing here says which law is true."
)
# Of science: what qPCR curves after FTC are confounded with, whatever the model.
CONFOUNDERS = (
    "Lymphodepletion is repeated with every cycle: it alone lets CAR-T expand again.",
    "Cycle 1 takes the B cells: later cycles meet less antigen with and without FTC.",
    "CAR-T may be rejected from cycle 2 on (murine scFv), which hides what FTC add.",
    "A TKI held or not around the infusions blocks or frees CAR signals.",
    "Cycle 1 is each patient's own control, and not a randomised one: what changes "
    "with time changes with FTC.",
)


def tables(answer: Answer) -> dict[str, pd.DataFrame]:
    """`parameters`, `laws` and `days` of an answer."""
    whole = answer.whole.table()
    if answer.without_first is not None:
        whole["contraction_without_cycle_1"] = answer.without_first.contraction
    whole["eta_shrinkage"] = [
        answer.whole.eta_shrinkage.get(name, np.nan) for name in answer.whole.names
    ]
    separations = pd.DataFrame(
        [
            {
                "truth": s.truth,
                "other": s.other,
                "elpd_difference": s.elpd_difference,
                "standard_error": s.standard_error,
                "chance_truth_ahead": s.chance,
                "separable": s.separable,
                "largest_gap_day": s.largest_gap_day,
            }
            for s in answer.separations
        ]
    )
    days = pd.concat(
        [
            pd.DataFrame(
                {
                    "purpose": d.purpose,
                    "time_d": d.time_d,
                    "in_usual_plan": np.isin(np.arange(d.time_d.size), d.plan),
                    "in_best": np.isin(np.arange(d.time_d.size), d.best.chosen),
                    "gain_of_one_more": d.gain_of_plan,
                    "unit": d.unit,
                }
            )
            for d in answer.days
        ],
        ignore_index=True,
    )
    return {"parameters": whole, "laws": separations, "days": days}


def write_answer(
    answer: Answer, folder: Path, foreseen: pd.DataFrame | None = None
) -> list[Path]:
    """`parameters.csv`, `laws.csv`, `days.csv`, a figure of each, `report.md`.

    And `prior.csv` with its figure.

    Args:
        answer: what the trial can tell.
        folder: to write into.
        foreseen: what the prior foresees (`ckin.foreseen`), if that was asked.
    """
    folder.mkdir(parents=True, exist_ok=True)
    found, written = tables(answer), []
    if foreseen is not None:
        found = {"prior": foreseen, **found}
    title = describe(answer.question)
    figures = {
        "prior": prior_intervals,
        "parameters": contraction_bars,
        "laws": law_matrix,
        "days": day_gains,
    }
    for name, table in found.items():
        if table.empty:
            continue
        path = folder / f"{name}.csv"
        with writing(path):
            table.to_csv(path, index=False, float_format="%.6g")
        told = f"{title}: prior" if name == "prior" else title
        save(figures[name](table, told), folder / f"{name}.png")
        written += [path, folder / f"{name}.png"]
    report = folder / "report.md"
    with writing(report):
        report.write_text(as_markdown(answer, found), encoding="utf-8")
    return [*written, report]


def as_markdown(answer: Answer, found: dict[str, pd.DataFrame]) -> str:
    """The report: three questions, their tables and figures, the confounders."""
    lines = [f"# {TITLE}", "", f"{describe(answer.question)}.", "", f"*{CAUTION}*", ""]
    if "prior" in found:
        lines += ["## What the prior foresees", "", *_words_on_prior(found["prior"])]
        lines += ["", _markdown(_prior_by_cycle(found["prior"])), ""]
        lines += ["![](prior.png)", ""]
    lines += ["## Which parameters", "", *_words_on_parameters(answer), ""]
    lines += [_markdown(found["parameters"]), "", "![](parameters.png)", ""]
    if not found["laws"].empty:
        lines += ["## Which laws", "", *_words_on_laws(answer), ""]
        lines += [_markdown(found["laws"]), "", "![](laws.png)", ""]
    lines += ["## Which days", ""]
    lines += [f"- {_words_on_days(each)}" for each in answer.days]
    lines += ["", "![](days.png)", ""]
    if _has_feeders(answer):
        lines += ["## What no sampling plan resolves", ""]
        lines += [f"- {line}" for line in CONFOUNDERS] + [""]
    return "\n".join(lines)


def on_terminal(answer: Answer, foreseen: pd.DataFrame | None = None) -> Group:
    """The same, shorter."""
    found = tables(answer)
    parts: list[Text | Table] = [Text(CAUTION, style="bold"), Text()]
    if foreseen is not None:
        title = "Prior: median of persons (5% to 95%)"
        parts.append(_table(_prior_by_cycle(foreseen), title))
        parts += [*map(Text, _words_on_prior(foreseen)), Text()]
    columns = ["parameter", "value", "prior_sd", "sd_posterior", "contraction"]
    if "contraction_without_cycle_1" in found["parameters"]:
        columns.append("contraction_without_cycle_1")
    parts.append(_table(found["parameters"].loc[:, columns], "Parameters"))
    parts += [Text(line) for line in _words_on_parameters(answer)]
    if answer.separations:
        kept = found["laws"].drop(columns=["largest_gap_day"])
        parts += [Text(), _table(kept, "Laws: what is won if the first is true")]
        parts += [Text(line) for line in _words_on_laws(answer)]
    parts += [Text(), *(Text(_words_on_days(each)) for each in answer.days)]
    if _has_feeders(answer):
        parts += [Text(), Text("What no sampling plan resolves:", style="bold")]
        parts += [Text(f"  - {line}") for line in CONFOUNDERS]
    return Group(*parts)


def _has_feeders(answer: Answer) -> bool:
    from ckin.library import load_model

    return "FTC" in load_model(answer.question.model).receives


def _words_on_prior(foreseen: pd.DataFrame) -> list[str]:
    """What is drawn, and who could not be solved."""
    laws = dict.fromkeys(foreseen["law"])
    failed = dict(zip(foreseen["law"], foreseen["failed"], strict=True))
    n = int(np.max(foreseen["n"].to_numpy() + foreseen["failed"].to_numpy()))
    lines = [
        f"PRIOR: {n} persons under each law, drawn from the priors of typical values "
        "and ω and from patients; nobody was measured. Median, and in brackets 5% and "
        "95% of persons."
    ]
    lines += [
        f"{law}: {failed[law]} of them could not be solved and are left out."
        for law in laws
        if failed[law]
    ]
    persistence = foreseen.loc[foreseen["not_ended"] > 0.5]
    cut: dict[str, list[str]] = {}
    for law, cycle in zip(persistence["law"], persistence["cycle"], strict=True):
        cut.setdefault(law, []).append(str(cycle))
    if cut:
        where = "; ".join(f"{law}: {', '.join(cycles)}" for law, cycles in cut.items())
        lines.append(
            "In more than half of them persistence is cut off by the next cycle or the "
            f"end of follow-up in cycles {where}."
        )
    return lines


def _prior_by_cycle(foreseen: pd.DataFrame) -> pd.DataFrame:
    """A law and cycle a row, a metric a column."""
    cells: dict[tuple[str, int], dict[str, object]] = {}
    for row in foreseen.to_dict("records"):
        own = cells.setdefault((row["law"], row["cycle"]), {})
        low, middle, high = (_short(row[name]) for name in ("q05", "q50", "q95"))
        told = f"{middle} ({low} to {high})"
        own[f"{row['what']}, {row['unit']}"] = told
    return pd.DataFrame(
        [{"law": law, "cycle": cycle, **own} for (law, cycle), own in cells.items()]
    ).fillna("")


def _short(value: float) -> str:
    """Three digits, without an exponent."""
    rounded = float(f"{value:.3g}")
    return f"{rounded:,.0f}" if abs(rounded) >= 100.0 else f"{rounded:.3g}"


def _words_on_parameters(answer: Answer) -> list[str]:
    whole = answer.whole
    known = [n for n, c in zip(whole.names, whole.contraction, strict=True) if c > 0.5]
    lines = [f"Known better than half (variance): {', '.join(known) or 'none'}."]
    for direction in whole.weak_directions():
        told = " ".join(f"{load:+.2f} {name}" for name, load in direction.items())
        lines.append(f"Left as the prior has it: {told} (in prior SDs).")
    if whole.unsolved:
        lines.append(f"{whole.unsolved} patients could not be solved and tell nothing.")
    return lines


def _words_on_laws(answer: Answer) -> list[str]:
    lines = []
    freed = {a.name: a.free for a in answer.alternatives if a.free}
    for name, free in freed.items():
        lines.append(f"{name} estimates {', '.join(free)} besides.")
    apart = [s for s in answer.separations if not s.separable]
    if not apart:
        return [*lines, "LOO can be expected to tell every pair apart."]
    pairs = "; ".join(f"{s.truth} from {s.other}" for s in apart)
    return [*lines, f"LOO cannot be expected to tell: {pairs}."]


def _words_on_days(days: SampleDays) -> str:
    best = days.best
    more = best.value - days.plan_value
    at = ", ".join(f"{days.time_d[i]:g}" for i in best.chosen)
    extra = int(days.gain_of_plan.argmax())
    return (
        f"To tell {days.purpose}: {len(best.chosen)} samples tell most on days {at} "
        f"({best.value:.4g} against {days.plan_value:.4g} of the usual plan, "
        f"{more:+.3g} {days.unit}; if weights need not be whole: {best.relaxed:.4g}). "
        f"One more in the usual plan tells most on day {days.time_d[extra]:g} "
        f"({days.gain_of_plan[extra]:+.3g})."
    )


def _cell(value: object) -> str:
    if isinstance(value, float):
        return "" if value != value else f"{value:.3g}"
    return str(value)


def _table(frame: pd.DataFrame, title: str) -> Table:
    shown = Table(title=title, title_justify="left")
    for column in frame:
        shown.add_column(str(column).replace("_", " "))
    for row in frame.itertuples(index=False):
        shown.add_row(*map(_cell, row))
    return shown


def _markdown(frame: pd.DataFrame) -> str:
    head = " | ".join(str(column).replace("_", " ") for column in frame)
    rows = [" | ".join(map(_cell, row)) for row in frame.itertuples(index=False)]
    rule = "|" + " --- |" * len(frame.columns)
    return "\n".join([f"| {head} |", rule, *(f"| {row} |" for row in rows)])
