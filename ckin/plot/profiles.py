"""Profile likelihoods, a panel each, with the normal approximation behind them."""

import textwrap
from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy import stats

from ckin.inference import Profile
from ckin.plot.page import BLUE, GREY, ORANGE, STYLE, VERMILION


COLUMNS, PANEL = 3, (2.7, 2.3)
TITLE_CHARACTERS_PER_INCH = 13
# Of a fall so much more is shown than what limits are at.
SHOWN = 1.3
# What is positive and moves by more than this factor is on a log scale.
WIDE = 4.0


@matplotlib.rc_context(STYLE)
def profile_panels(
    profiles: Sequence[Profile], units: Mapping[str, str], title: str
) -> Figure:
    """Log likelihood below its maximum over each parameter, and where the limits are.

    Args:
        profiles: one a panel.
        units: of each parameter.
        title: over all.
    """
    columns = min(COLUMNS, len(profiles))
    rows = -(-len(profiles) // columns)
    width = max(columns, 2) * PANEL[0]
    title = textwrap.fill(title, int(width * TITLE_CHARACTERS_PER_INCH))
    height = rows * PANEL[1] + 0.9 + 0.16 * title.count("\n")
    figure = Figure(figsize=(width, height), layout="constrained")
    figure.suptitle(title, x=0.01, ha="left", fontsize=9.5)
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for ax, each in zip(axes, profiles, strict=False):
        _panel(ax, each, units[each.name])
    for ax in axes[len(profiles) :]:
        ax.set_visible(False)
    for ax in axes[::columns]:
        ax.set_ylabel("log likelihood\nbelow its maximum")
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower left", ncols=len(labels))
    return figure


def _panel(ax: Axes, each: Profile, unit: str) -> None:
    fall = 0.5 * float(stats.chi2.ppf(each.level, 1))
    ax.axhline(-fall, color=GREY, lw=0.8, ls=":")
    ax.plot(
        each.value, each.wald_delta, color=ORANGE, lw=1.2, ls="--", label="normal (SE)"
    )
    ax.plot(each.value, each.delta, color=BLUE, marker="o", ms=2.5, label="profile")
    limits = [x.value for x in (each.lower, each.upper) if x.value == x.value]
    ax.plot(
        limits, np.full(len(limits), -fall), ls="", marker="|", ms=11, mew=1.6,
        color=VERMILION, label=f"{100 * each.level:g}% limits",
    )  # fmt: skip
    ax.set_ylim(-SHOWN * fall, 0.12 * fall)
    low, high = float(each.value.min()), float(each.value.max())
    if low > 0.0 and high > WIDE * low:
        ax.set_xscale("log")
    ax.set_title(each.name, loc="left")
    ax.set_xlabel(unit)
    for limit, x, side in ((each.lower, 0.03, "left"), (each.upper, 0.97, "right")):
        if limit.value != limit.value:
            word = "lower" if side == "left" else "upper"
            ax.text(
                x, 0.04, f"no {word} limit", transform=ax.transAxes, ha=side,
                color=VERMILION, fontsize=7.5,
            )  # fmt: skip
