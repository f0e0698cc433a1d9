"""Figures of checks: observed and predicted, residuals, predictive checks, η, priors.

Each is of one fit, says so in its title (and that it did not converge, if so), and
carries the tape of synthetic data.
"""

import math
import textwrap
from collections.abc import Mapping

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy import stats

from ckin.plot.page import (
    BLUE,
    FAINT,
    GREY,
    INK,
    ORANGE,
    STYLE,
    SYNTHETIC,
    TIME_LABEL,
    VERMILION,
    YELLOW,
)


# Of the lines through scattered residuals: the share of samples each point sees.
SMOOTH_SHARE = 0.4
# ±1.96 SD.
NORMAL_95 = 1.96
# Inches that the tape of synthetic data takes of the first line, and of further ones.
TAPE_WIDTH, TITLE_LINE = 2.5, 0.2
TITLE_CHARACTERS_PER_INCH, NOTE_CHARACTERS_PER_INCH = 9.5, 15.0


def _page(size: tuple[float, float], title: str, note: str, synthetic: bool) -> Figure:
    width, height = size
    beside = width - (TAPE_WIDTH if synthetic else 0.0)
    if len(title) > beside * TITLE_CHARACTERS_PER_INCH:
        title = textwrap.fill(title, int(width * TITLE_CHARACTERS_PER_INCH))
        # The tape has the first line to itself.
        title = f"\n{title}" if synthetic else title
    note = textwrap.fill(note, int(width * NOTE_CHARACTERS_PER_INCH))
    figure = Figure(
        figsize=(width, height + TITLE_LINE * title.count("\n")), layout="constrained"
    )
    figure.suptitle(title, x=0.01, ha="left", fontsize=11, fontweight="bold")
    if synthetic:
        figure.text(
            0.99,
            0.995,
            SYNTHETIC,
            ha="right",
            va="top",
            fontsize=8,
            fontweight="bold",
            bbox={"facecolor": YELLOW, "edgecolor": "none"},
        )
    figure.supxlabel(note, x=0.01, ha="left", fontsize=8, color=GREY)
    return figure


def _marks(axes: Axes, x, y, below) -> None:
    """Filled circles, open triangles for what is below its limit."""
    below = np.asarray(below, bool)
    x, y = np.asarray(x, float), np.asarray(y, float)
    axes.scatter(x[~below], y[~below], s=9, color=INK, alpha=0.6, linewidths=0)
    axes.scatter(
        x[below], y[below], s=13, marker="v", facecolors="none", edgecolors=GREY,
        linewidths=0.6,
    )  # fmt: skip


@matplotlib.rc_context(STYLE)
def observed_predicted(
    table: pd.DataFrame, *, title: str, unit: str, synthetic: bool
) -> Figure:
    """Observed against PRED and IPRED, on logarithmic axes.

    Args:
        table: rows of one assay, of `ckin.check.prediction_table`.
        title: of the figure.
        unit: of the assay.
        synthetic: the data are.
    """
    figure = _page(
        (7.6, 4.0),
        title,
        "open: below the limit, drawn at it. Individual: median of the patient's draws",
        synthetic,
    )
    panels = figure.subplots(1, 2, sharey=True)
    positive = table.query("observed > 0 and PRED > 0")
    floor = positive["observed"].to_numpy().min() / 3
    for axes, column, name in zip(
        panels, ("PRED", "IPRED"), ("population", "individual"), strict=True
    ):
        x = np.maximum(positive[column].to_numpy(), floor)
        _marks(axes, x, positive["observed"], positive["below"])
        ends = [floor, max(positive["observed"].to_numpy().max(), x.max()) * 1.5]
        axes.plot(ends, ends, color=BLUE, linewidth=1)
        axes.set(xscale="log", yscale="log", xlim=ends, ylim=ends)
        axes.set_xlabel(f"{name} prediction, {unit}")
        axes.grid(color=FAINT, linewidth=0.5)
    panels[0].set_ylabel(f"observed, {unit}")
    return figure


@matplotlib.rc_context(STYLE)
def residual_panels(
    table: pd.DataFrame, tests: Mapping[str, float], *, title: str, synthetic: bool
) -> Figure:
    """IWRES and NPDE over time and prediction, and NPDE against the normal.

    Args:
        table: rows of one assay, of `ckin.check.prediction_table`.
        tests: of its NPDE, from `ckin.check.normality`.
        title: of the figure.
        synthetic: the data are.
    """
    figure = _page(
        (9.6, 5.6),
        title,
        "open: below the limit, drawn at random under it. Line: running median. "
        f"NPDE: mean {tests['mean']:.2f}, variance {tests['variance']:.2f}, "
        f"p = {tests['p_all']:.2g} (mean 0, variance 1, normal; together)",
        synthetic,
    )
    panels = figure.subplots(2, 3)
    lowest = table.query("observed > 0")["observed"].to_numpy().min() / 100
    for row, (name, x_name) in enumerate((("IWRES", "IPRED"), ("NPDE", "PRED"))):
        for axes, column in zip(panels[row], ("TIME", x_name), strict=False):
            _marks(axes, table[column], table[name], table["below"])
            _guides(axes)
            line_x, line_y = _running(table[column].to_numpy(), table[name].to_numpy())
            axes.plot(line_x, line_y, color=VERMILION, linewidth=1.2)
            log = column != "TIME"
            axes.set_xscale("log" if log else "symlog", **({} if log else _DAYS))
            axes.set_xlabel("prediction" if log else TIME_LABEL)
            if log:
                # What is predicted far under every limit is all one.
                axes.set_xlim(left=max(table[column].min(), lowest))
            else:
                axes.set_xlim(left=0)
                axes.set_ylabel(name)
    for axes, name in zip(panels[:, 2], ("IWRES", "NPDE"), strict=True):
        own = np.sort(table[name].dropna())
        place = (np.arange(own.size) + 0.5) / own.size
        axes.plot(stats.norm.ppf(place), own, ".", color=INK, markersize=3)
        # 95% of what so many independent normal numbers would do, place by place.
        rank = np.arange(1, own.size + 1)
        edges = [stats.beta.ppf(p, rank, own.size + 1 - rank) for p in (0.025, 0.975)]
        low, high = stats.norm.ppf(edges)
        axes.fill_between(
            stats.norm.ppf(place), low, high, color=BLUE, alpha=0.18, linewidth=0
        )
        axes.axline((0, 0), slope=1, color=BLUE, linewidth=1)
        axes.set(xlabel="normal quantiles", ylabel=name)
    return figure


_DAYS = {"linthresh": 14.0, "linscale": 1.0, "base": 10}


def _guides(axes: Axes) -> None:
    axes.axhline(0.0, color=BLUE, linewidth=1)
    for edge in (-NORMAL_95, NORMAL_95):
        axes.axhline(edge, color=BLUE, linewidth=0.7, linestyle=":")


def _running(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Median of y among the nearest samples in order of x, at 25 places."""
    order = np.argsort(x, kind="stable")
    x_, y_ = x[order], y[order]
    width = max(5, int(SMOOTH_SHARE * x_.size / 2))
    places = np.linspace(0, x_.size - 1, 25).astype(int)
    near = [slice(max(0, at - width // 2), at + width // 2 + 1) for at in places]
    return x_[places], np.array([np.nanmedian(y_[own]) for own in near])


@matplotlib.rc_context(STYLE)
def predictive_check(
    check: pd.DataFrame,
    table: pd.DataFrame,
    *,
    title: str,
    y_label: str,
    corrected: bool,
    synthetic: bool,
) -> Figure:
    """Quantiles over time with bands of replicates; the share below the limit under it.

    Args:
        check: of `ckin.check.vpc`.
        table: rows of the assay of `ckin.check.prediction_table`: the samples.
        title: of the figure.
        y_label: what was read, with its unit.
        corrected: `check` is prediction-corrected: samples are not drawn.
        synthetic: the data are.
    """
    figure = _page(
        (7.2, 5.6),
        title,
        "lines: 10%, 50%, 90% of what was read; bands: 90% of replicates of the cohort."
        "\nBelow the limit ranks lowest; a line ends where it is below",
        synthetic,
    )
    axes, under = figure.subplots(
        2, 1, sharex=True, gridspec_kw={"height_ratios": [3, 1]}
    )
    if not corrected:
        seen = table[table["observed"] > 0]
        axes.scatter(
            seen["TIME"], seen["observed"], s=6, color=GREY, alpha=0.5, linewidths=0
        )
    floor = np.nanmin(check.loc[check["statistic"] != "below", ["observed", "low"]])
    colours = {"q10": ORANGE, "q50": BLUE, "q90": ORANGE}
    for name, colour in colours.items():
        own = check.query("statistic == @name", local_dict={"name": name})
        _steps(axes, own, colour, floor / 2)
        axes.plot(own["time_d"], own["observed"], "-o", color=colour, markersize=3.5)
        out = own.query("not inside and observed == observed")
        axes.plot(out["time_d"], out["observed"], "o", color=VERMILION, markersize=6.5,
                  mfc="none")  # fmt: skip
    axes.set(yscale="log", ylabel=y_label)
    axes.grid(axis="y", color=FAINT, linewidth=0.5)
    below = check.query("statistic == 'below'")
    _steps(under, below, BLUE, 0.0)
    under.plot(below["time_d"], below["observed"], "-o", color=INK, markersize=3.5)
    under.set(ylabel="below limit", xlabel=TIME_LABEL, ylim=(-0.02, 1.02))
    under.set_xscale("symlog", **_DAYS)
    last_d = float(check["end_d"].to_numpy().max())
    under.set_xlim(max(0.0, check["start_d"].to_numpy().min()), 1.05 * last_d)
    under.xaxis.set_major_locator(_day_ticks(last_d))
    under.xaxis.set_major_formatter(lambda day, _: f"{day:g}")
    return figure


def _day_ticks(last_d: float):
    from matplotlib.ticker import FixedLocator

    ticks = (0, 3, 7, 10, 14, 28, 56, 90, 180, 365, 730, 1460, 2920)
    return FixedLocator([day for day in ticks if day <= last_d])


def _steps(axes: Axes, own: pd.DataFrame, colour: str, floor: float) -> None:
    """A rectangle a bin; one whose lower edge is below the limit goes to the floor."""
    for row in own.to_dict("records"):
        low, middle, high = (
            floor if math.isnan(row[name]) else row[name]
            for name in ("low", "middle", "high")
        )
        edges = [row["start_d"], row["end_d"]]
        axes.fill_between(edges, low, high, color=colour, alpha=0.2, linewidth=0)
        axes.plot(edges, [middle] * 2, color=colour, linewidth=0.8, linestyle="--")


@matplotlib.rc_context(STYLE)
def eta_distributions(
    etas: pd.DataFrame, shrinkage: pd.DataFrame, *, title: str, synthetic: bool
) -> Figure:
    """Each patient's η with its interval, in order, beside the standard normal."""
    names = shrinkage["parameter"].tolist()
    columns = min(3, max(1, len(names)))
    rows = -(-max(1, len(names)) // columns)
    figure = _page(
        (3.1 * columns + 0.6, 2.5 * rows + 0.9),
        title,
        "mean and 90% of each patient's draws, in order; grey: the population's "
        "standard normal, in order",
        synthetic,
    )
    panels = np.ravel(figure.subplots(rows, columns, squeeze=False))
    for axes in panels[len(names) :]:
        axes.remove()
    for axes, (_, row) in zip(panels, shrinkage.iterrows(), strict=False):
        own = etas.query("parameter == @name", local_dict={"name": row["parameter"]})
        own = own.sort_values("mean")
        place = (np.arange(len(own)) + 0.5) / len(own)
        axes.plot(place, stats.norm.ppf(place), color=GREY, linewidth=1)
        axes.vlines(place, own["q05"], own["q95"], color=BLUE, linewidth=0.8, alpha=0.6)
        axes.plot(place, own["mean"], ".", color=BLUE, markersize=5)
        axes.set_title(
            f"{row['parameter']}: shrinkage {row['shrinkage_pct']:.0f}%", loc="left"
        )
        axes.set_xticks([])
    figure.supylabel("η, SDs of the population", fontsize=9)
    return figure


@matplotlib.rc_context(STYLE)
def eta_by_covariate(relations: pd.DataFrame, *, title: str, synthetic: bool) -> Figure:
    """Correlation of η with covariates: median and 90% over draws."""
    rows = relations.iloc[::-1].reset_index(drop=True)
    figure = _page(
        (6.4, 1.3 + 0.22 * len(rows)),
        title,
        "correlation of each draw's η with the covariate: median, 90%. Many are looked "
        "at: one in ten is off 0 by chance",
        synthetic,
    )
    axes = figure.subplots()
    place = np.arange(len(rows))
    clear = (rows["r_q05"] > 0) | (rows["r_q95"] < 0)
    for own, colour in ((clear, VERMILION), (~clear, GREY)):
        axes.hlines(
            place[own], rows["r_q05"][own], rows["r_q95"][own], color=colour,
            linewidth=1.2,
        )  # fmt: skip
        axes.plot(rows["r_q50"][own], place[own], "o", color=colour, markersize=4)
    axes.axvline(0.0, color=BLUE, linewidth=0.8)
    axes.set_yticks(place, rows["parameter"] + " ~ " + rows["covariate"])
    axes.set(xlim=(-1, 1), xlabel="correlation")
    return figure


@matplotlib.rc_context(STYLE)
def prior_posterior(table: pd.DataFrame, *, title: str, synthetic: bool) -> Figure:
    """Overlap of prior and posterior of each population parameter.

    Args:
        table: of `ckin.check.overlap`, with `prior` and `likelihood` of
            `ckin.check.power_scaling`, if they are known.
        title: of the figure.
        synthetic: the data are.
    """
    rows = table.iloc[::-1].reset_index(drop=True)
    scaled = "prior" in rows
    figure = _page(
        (8.2 if scaled else 5.2, 1.2 + 0.24 * len(rows)),
        title,
        "overlap 1: the data told nothing of it. Power-scaling over 0.05 (line): the "
        "answer moves with the prior, or the likelihood",
        synthetic,
    )
    panels = np.ravel(figure.subplots(1, 2 if scaled else 1, sharey=True))
    place = np.arange(len(rows))
    panels[0].barh(place, rows["overlap"], height=0.62, color=BLUE)
    panels[0].set(xlim=(0, 1), xlabel="overlap of prior and posterior")
    panels[0].set_yticks(place, rows["parameter"])
    if scaled:
        for column, colour, mark in (("prior", ORANGE, "o"), ("likelihood", BLUE, "D")):
            panels[1].plot(
                rows[column], place, mark, color=colour, label=column, markersize=4.5
            )
        panels[1].axvline(0.05, color=GREY, linewidth=0.8)
        panels[1].set(xlabel="sensitivity to power-scaling", xlim=(0, None))
        panels[1].legend(loc="upper right", bbox_to_anchor=(1, 1.12), ncols=2)
    return figure
