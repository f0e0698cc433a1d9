"""The typical course of a model: a panel for each unit that its quantities have."""

import itertools
from collections.abc import Mapping

import matplotlib
import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure

from ckin.plot.page import COLOURS, GREY, STYLE, TIME_LABEL
from ckin.plot.panel import PRODUCT_COLOURS, PRODUCT_LABELS


# Decades that a panel shows under its highest value.
DECADES = 8.0
# What varies less than this is shown from zero up.
FLAT = 30.0
# Inches.
PANEL, MARGIN = (3.6, 2.6), 0.9


@matplotlib.rc_context(STYLE)
def typical_course(
    time_d: Float[np.ndarray, " times"],
    quantities: Mapping[str, Float[np.ndarray, " times"]],
    units: Mapping[str, str],
    doses: Mapping[str, tuple[float, ...]],
    title: str,
    note: str,
) -> Figure:
    """Quantities over time, those of one unit in one panel, on log scale if they vary.

    What is never above zero is left out.

    Args:
        time_d: days from the first infusion.
        quantities: values by name.
        units: unit of each quantity.
        doses: days on which each product is given.
        title: over all.
        note: under all: what was given, and that nobody was measured.
    """
    quantities = {name: v for name, v in quantities.items() if np.any(v > 0.0)}
    panels = list(dict.fromkeys(units[name] for name in quantities)) or ["nothing"]
    width, height = PANEL
    figure = Figure(figsize=(width * len(panels) + MARGIN, height + MARGIN))
    axes = figure.subplots(1, len(panels), squeeze=False)[0]
    for ax, unit in zip(axes, panels, strict=True):
        shown = {name: v for name, v in quantities.items() if units[name] == unit}
        top = max((float(np.max(values)) for values in shown.values()), default=1.0)
        floor = top * 10.0**-DECADES
        for colour, (name, values) in zip(itertools.cycle(COLOURS), shown.items()):
            seen = np.where(values > floor, values, np.nan)
            ax.plot(time_d, seen, color=colour, lw=1.4, label=name.replace("_", " "))
        for product, days in doses.items():
            for row, day in enumerate(days):
                ax.axvline(
                    day,
                    color=PRODUCT_COLOURS[product],
                    lw=0.7,
                    ls=":",
                    label="" if row else PRODUCT_LABELS[product],
                )
        ax.set_xlim(float(time_d[0]), float(time_d[-1]))
        lowest = min((float(np.min(v[v > floor])) for v in shown.values()), default=0.0)
        if top < FLAT * lowest:
            ax.set_ylim(bottom=0.0)
        else:
            ax.set_yscale("log")
        ax.set_xlabel(TIME_LABEL)
        ax.set_title(unit if unit not in ("", "1") else "arbitrary units", loc="left")
        ax.legend(fontsize=7)
    figure.suptitle(title, x=0.02, ha="left")
    figure.text(0.02, 0.01, note, color=GREY, fontsize=7.5)
    figure.tight_layout(rect=(0.0, 0.04, 1.0, 1.0))
    return figure
