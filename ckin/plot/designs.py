"""Figures of what a design can tell: parameters, laws, days."""

import textwrap

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from ckin.plot.page import (
    BLUE,
    FAINT,
    GREEN,
    GREY,
    INK,
    ORANGE,
    PURPLE,
    STYLE,
    VERMILION,
)


CYCLES = (BLUE, ORANGE, GREEN, PURPLE)
NOTE = "Expected from the model's own values; nobody was measured."


def _sheet(width: float, height: float, title: str) -> Figure:
    figure = Figure(figsize=(width, height), layout="constrained")
    figure.suptitle(title, x=0.01, ha="left", fontsize=9.5)
    figure.supxlabel(NOTE, x=0.01, ha="left", fontsize=7.5, color=GREY)
    return figure


@matplotlib.rc_context(STYLE)
def contraction_bars(parameters: pd.DataFrame, title: str) -> Figure:
    """Bars of contraction, with cycle 1 and (hollow) without it.

    Args:
        parameters: `ckin.identify_report.tables(answer)["parameters"]`.
        title: over all.
    """
    rows = parameters.iloc[::-1]
    figure = _sheet(6.0, 0.9 + 0.24 * len(rows), title)
    ax = figure.subplots()
    place = np.arange(len(rows))
    ax.barh(place, rows["contraction"], height=0.62, color=BLUE, label="all cycles")
    if "contraction_without_cycle_1" in rows:
        ax.plot(
            rows["contraction_without_cycle_1"],
            place,
            ls="",
            marker="o",
            mfc="white",
            mec=ORANGE,
            label="without cycle 1",
        )
    ax.set_yticks(place, rows["parameter"])
    ax.set_xlim(0.0, 1.0)
    ax.set_xlabel("contraction: 0, as the prior has it; 1, known")
    ax.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=2)
    return figure


@matplotlib.rc_context(STYLE)
def law_matrix(laws: pd.DataFrame, title: str) -> Figure:
    """Expected advantage of the true law over each other, and its standard error.

    Args:
        laws: `ckin.identify_report.tables(answer)["laws"]`.
        title: over all.
    """
    names = list(dict.fromkeys([*laws["truth"], *laws["other"]]))
    figure = _sheet(2.6 + 0.78 * len(names), 1.9 + 0.5 * len(names), title)
    ax = figure.subplots()
    columns = ("truth", "other", "elpd_difference", "standard_error", "separable")
    for truth, other, won, error, told in zip(*(laws[c] for c in columns), strict=True):
        y, x = names.index(truth), names.index(other)
        ax.add_patch(
            Rectangle((x - 0.5, y - 0.5), 1, 1, fc=BLUE if told else FAINT, ec="white")
        )
        ax.text(
            x,
            y,
            f"{won:.3g}\n± {error:.2g}",
            ha="center",
            va="center",
            fontsize=7,
            color="white" if told else INK,
        )
    ax.set_xlim(-0.5, len(names) - 0.5)
    ax.set_ylim(len(names) - 0.5, -0.5)
    ax.set_xticks(range(len(names)), names, rotation=40, ha="left")
    ax.xaxis.tick_top()
    ax.set_yticks(range(len(names)), names)
    ax.tick_params(length=0)
    for side in ax.spines.values():
        side.set_visible(False)
    ax.set_ylabel("if this is true ...")
    ax.set_xlabel("... it beats this by (elpd); blue: by more than two standard errors")
    return figure


@matplotlib.rc_context(STYLE)
def day_gains(days: pd.DataFrame, title: str) -> Figure:
    """What one more sample adds, by day, and where samples tell most.

    Args:
        days: `ckin.identify_report.tables(answer)["days"]`.
        title: over all.
    """
    purposes = list(dict.fromkeys(days["purpose"]))
    figure = _sheet(8.0, 0.6 + 2.1 * len(purposes), title)
    axes = figure.subplots(len(purposes), squeeze=False)[:, 0]
    for ax, purpose in zip(axes, purposes, strict=True):
        rows = days.loc[days["purpose"] == purpose]
        top = float(np.max(rows["gain_of_one_more"].to_numpy())) or 1.0
        bars = (rows["time_d"].to_numpy(), rows["gain_of_one_more"].to_numpy())
        ax.vlines(bars[0], 0.0, bars[1], color=GREY, lw=1.2)
        for column, height, colour, label in (
            ("in_usual_plan", -0.08, INK, "usual plan"),
            ("in_best", -0.2, VERMILION, "tells most, as many samples"),
        ):
            at = rows.loc[rows[column], "time_d"]
            ax.plot(
                at, np.full(len(at), height * top), ls="", marker="|", ms=7,
                mew=1.3, color=colour, label=label,
            )  # fmt: skip
        ax.set_ylim(-0.3 * top, 1.08 * top)
        ax.set_ylabel(f"one more sample\nadds ({rows['unit'].to_list()[0]})")
        ax.set_title(f"to tell {purpose}", loc="left")
        ax.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=2)
    axes[-1].set_xlabel("days from first infusion")
    return figure


@matplotlib.rc_context(STYLE)
def prior_intervals(foreseen: pd.DataFrame, title: str) -> Figure:
    """Medians and 5-95% of what the prior foresees: a panel a metric, a row a law.

    Args:
        foreseen: `ckin.foreseen.foresee(...)`.
        title: over all.
    """
    laws = list(dict.fromkeys(foreseen["law"]))
    metrics = list(dict.fromkeys(foreseen["metric"]))
    cycles = sorted(set(foreseen["cycle"]))
    height = 1.3 + len(laws) * (0.16 + 0.11 * len(cycles))
    figure = _sheet(1.6 + 2.1 * len(metrics), height, title)
    figure.supxlabel(
        "PRIOR: median and 5 to 95% of persons drawn from it; nobody was measured. "
        "Hollow: most are cut off by the next cycle or the end.",
        x=0.01, ha="left", fontsize=7.5, color=GREY,
    )  # fmt: skip
    axes = figure.subplots(1, len(metrics), sharey=True, squeeze=False)[0]
    for ax, metric in zip(axes, metrics, strict=True):
        rows = foreseen.loc[foreseen["metric"] == metric]
        for cycle in cycles:
            colour = CYCLES[(cycle - 1) % len(CYCLES)]
            own = rows.loc[rows["cycle"] == cycle]
            shift = (cycle - 1 - 0.5 * (len(cycles) - 1)) * 0.7 / len(cycles)
            place = np.array([laws.index(law) for law in own["law"]]) + shift
            ax.hlines(place, own["q05"], own["q95"], color=colour, lw=1.6)
            cut = own["not_ended"].to_numpy() > 0.5
            middle = own["q50"].to_numpy()
            ax.plot(
                middle[~cut], place[~cut], ls="", marker="o", ms=3.4, color=colour,
                label=f"cycle {cycle}",
            )  # fmt: skip
            ax.plot(
                middle[cut], place[cut], ls="", marker="o", ms=3.4, color=colour,
                mfc="white",
            )  # fmt: skip
        if metric in ("CMAX", "AUC028"):
            ax.set_xscale("log")
        ax.set_title(textwrap.fill(rows["what"].to_list()[0], 32), loc="left")
        ax.set_xlabel(rows["unit"].to_list()[0])
        ax.set_ylim(len(laws) - 0.5, -0.5)
    axes[0].set_yticks(range(len(laws)), laws)
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper right", ncols=len(labels))
    return figure
