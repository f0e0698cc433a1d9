"""Figures of an optimum: schedules beside each other, and what more cells would buy."""

from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ckin.plot.page import BLUE, COLOURS, FAINT, GREY, INK, ORANGE, STYLE
from ckin.plot.panel import PRODUCT_COLOURS, PRODUCT_LABELS
from ckin.plot.what_if import legend_below, what_if_page


MARKERS = {"CART": "o", "FTC": "D"}
# Area of a marker of the largest dose, points squared.
LARGEST = 120.0
# Points of a grid that are drawn.
MOST_DOTS = 4000
# An axis of values spans at least this share of the largest.
LEAST_SPAN = 0.1


@matplotlib.rc_context(STYLE)
def schedules(
    rows: Mapping[str, Sequence[tuple[str, float, float]]],
    utilities: Mapping[str, float],
    reached: Sequence[float],
    *,
    span_d: tuple[float, float],
    utility: str,
    title: str,
    note: str,
) -> Figure:
    """What each schedule gives when, and what it is worth.

    Args:
        rows: by schedule, (product, day of the course, 1e6 cells/kg) of every infusion
            that is open.
        utilities: of each schedule.
        reached: utility that each start of the climb reached.
        span_d: first and last day that is drawn.
        utility: what is maximised, in words.
        title: over all.
        note: under all.
    """
    names = list(rows)
    left = 0.4 + max(map(len, names)) / 11.0
    size = (3.4, max(1.2, 0.5 * len(names)))
    figure, ((doses, worth),) = what_if_page(
        (1, 2), size, title=title, note=note, left=left, legend=True
    )
    most = max((cells for row in rows.values() for *_, cells in row), default=1.0)
    seen = set()
    for place, row in enumerate(rows.values()):
        y = len(names) - 1 - place
        doses.axhline(y, color=FAINT, lw=0.6, zorder=0)
        for side, (product, day, cells) in enumerate(row):
            if cells <= 0:
                continue
            label = None if product in seen else PRODUCT_LABELS[product]
            seen.add(product)
            doses.scatter(
                day,
                y,
                s=LARGEST * cells / most,
                marker=MARKERS[product],
                color=PRODUCT_COLOURS[product],
                label=label,
                zorder=3,
            )
            doses.annotate(
                f"{cells:g}",
                (day, y),
                (0, 9 if side % 2 == 0 else -15),
                textcoords="offset points",
                ha="center",
                fontsize=7.5,
                color=INK,
            )
    doses.set_yticks(range(len(names)), names[::-1])
    doses.set_ylim(-0.6, len(names) - 0.4)
    margin = 0.04 * (span_d[1] - span_d[0]) + 0.5
    doses.set_xlim(span_d[0] - margin, span_d[1] + margin)
    doses.set_xlabel("day of the course; 10⁶ cells/kg beside each")
    doses.set_title("what is open", loc="left")
    for place, name in enumerate(names):
        y, colour = len(names) - 1 - place, BLUE if place == 0 else GREY
        worth.plot(utilities[name], y, "o", color=colour, ms=7)
    worth.plot(
        list(reached),
        [len(names) - 1] * len(reached),
        "|",
        color=ORANGE,
        ms=12,
        mew=1.4,
        label="reached by a start, before rounding",
    )
    worth.set_yticks(range(len(names)), [])
    worth.set_ylim(-0.6, len(names) - 0.4)
    worth.grid(axis="x", color=FAINT, lw=0.5)
    worth.set_axisbelow(True)
    worth.set_xlabel(utility)
    worth.set_title("expected utility", loc="left")
    legend_below(figure, doses, worth)
    return figure


@matplotlib.rc_context(STYLE)
def pareto(
    cost: Float[np.ndarray, " budgets"],
    value: Float[np.ndarray, " budgets"],
    *,
    others: Mapping[str, tuple[float, float]],
    dots: tuple[np.ndarray, np.ndarray] | None,
    x_label: str,
    y_label: str,
    title: str,
    note: str,
) -> Figure:
    """What is gained by more cells: the best schedule of each budget.

    Args:
        cost: cells that the best schedule of each budget takes.
        value: what it gains.
        others: cost and value of schedules to show beside them, by name.
        dots: cost and value of every schedule that a grid tried.
        x_label: what the cost is.
        y_label: what the value is.
        title: over all.
        note: under all.
    """
    figure, ((axes,),) = what_if_page(
        (1, 1), (6.2, 3.5), title=title, note=note, legend=True
    )
    if dots is not None:
        step = -(-len(dots[0]) // MOST_DOTS)
        axes.plot(
            dots[0][::step],
            dots[1][::step],
            ".",
            color=GREY,
            ms=3,
            alpha=0.35,
            label="schedule of the grid",
        )
    order = np.argsort(cost)
    axes.plot(
        cost[order],
        value[order],
        "o-",
        color=BLUE,
        ms=6,
        lw=1.4,
        label="best of each budget",
    )
    for (name, (x, y)), colour in zip(others.items(), COLOURS[1:], strict=False):
        axes.plot(x, y, "s", color=colour, ms=6, label=name)
    axes.grid(color=FAINT, lw=0.5)
    axes.set_axisbelow(True)
    axes.set_xlabel(x_label, fontsize=9.5)
    axes.set_ylabel(y_label, fontsize=9.5)
    axes.margins(0.06)
    legend_below(figure, axes)
    return figure


@matplotlib.rc_context(STYLE)
def against_cells(
    cost: Float[np.ndarray, " arms"],
    panels: Mapping[str, tuple[Float[np.ndarray, " arms"], str, float]],
    *,
    names: Sequence[str],
    yields: float,
    x_label: str,
    title: str,
    note: str,
) -> Figure:
    """What each arm takes of an apheresis, and what it gains: a panel an endpoint.

    Arms that no other beats with as few cells are joined and named.

    Args:
        cost: cells that each arm takes.
        panels: by endpoint, its value in each arm, what it is of, and 1 where more is
            better, else -1.
        names: of the arms.
        yields: cells that there are, to mark.
        x_label: what the cost is.
        title: over all.
        note: under all.
    """
    columns = min(len(panels), 3)
    lines = -(-len(panels) // columns)
    figure, grid = what_if_page(
        (lines, columns), (2.9, 2.3), title=title, note=note, each_y=True, legend=True
    )
    flat = [axes for line in grid for axes in line]
    for axes, (endpoint, (value, label, sign)) in zip(
        flat, panels.items(), strict=False
    ):
        best = front_of(cost, sign * value)
        axes.plot(cost, value, "o", color=GREY, ms=4, alpha=0.6, label="arm")
        axes.plot(
            cost[best],
            value[best],
            "o-",
            color=BLUE,
            ms=5,
            lw=1.2,
            label="beaten by no arm of as few cells",
        )
        middle = 0.5 * (cost.min() + cost.max())
        for at in best:
            right = cost[at] > middle
            axes.annotate(
                names[at],
                (cost[at], value[at]),
                (-5 if right else 5, 5 if right else -11),
                textcoords="offset points",
                ha="right" if right else "left",
                fontsize=7,
                color=INK,
            )
        if yields <= 1.3 * cost.max():
            axes.axvline(yields, color=ORANGE, lw=1.0, ls="--", label="typical harvest")
        axes.set_title(endpoint, loc="left")
        axes.set_xlabel(x_label)
        axes.set_ylabel(label)
        axes.margins(0.12)
        _at_least(axes, value)
    for axes in flat[len(panels) :]:
        axes.set_axis_off()
    legend_below(figure, flat[0])
    return figure


def _at_least(axes: Axes, value: np.ndarray) -> None:
    """Room enough that arms which hardly differ are seen to."""
    known = value[np.isfinite(value)]
    low, high = axes.get_ylim()
    spare = LEAST_SPAN * np.abs(known).max(initial=0.0) - (high - low)
    if spare > 0:
        axes.set_ylim(low - 0.5 * spare, high + 0.5 * spare)


def front_of(
    cost: Float[np.ndarray, " arms"], gain: Float[np.ndarray, " arms"]
) -> list[int]:
    """Places that gain more than any other of as little cost, by cost; NaN are none."""
    found: list[int] = []
    for at in np.lexsort((-gain, cost)):
        if np.isfinite(gain[at]) and (not found or gain[at] > gain[found[-1]]):
            found.append(int(at))
    return found
