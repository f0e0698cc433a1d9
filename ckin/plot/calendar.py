"""The dose calendar as a figure: a row for each cycle, or for each arm of several."""

import dataclasses
import os
from collections.abc import Iterable, Mapping

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FixedLocator, NullLocator

from ckin.plot.page import FAINT, GREY, INK, ORANGE, SKY, STYLE
from ckin.plot.panel import PRODUCT_COLOURS, PRODUCT_LABELS
from ckin.protocol import TKI_INPUTS, Protocol, amount_text, day_of_time, hours_of_time


MARKERS = {"CART": "o", "FTC": "D"}
# Inches.
PANEL, TOP, BOTTOM = 6.6, 0.75, 0.95
ROW, SUBROW = 0.55, 0.31
CHARACTERS_PER_INCH = 12.0
# Height within a row, from 0 (bottom) to 1, of what lies in it.
TKI_LOW, TKI_HIGH = 0.06, 0.2
STEPS_D = (1, 2, 7, 14, 28, 56, 84, 168, 365)


@dataclasses.dataclass(frozen=True)
class _Lane:
    """A row of the figure; times in days from its own day 1.

    Attributes:
        label: to its left.
        note: to its right.
        doses: time, product and amount of each.
        depletion_d: when drugs of lymphodepletion are given.
        taken_d: when a TKI is taken.
        held_d: when it is held.
        span_d: times that the axis must show.
    """

    label: str
    note: str
    doses: tuple[tuple[float, str, str], ...]
    depletion_d: tuple[float, ...]
    taken_d: tuple[tuple[float, float], ...]
    held_d: tuple[tuple[float, float], ...]
    span_d: tuple[float, ...]


@matplotlib.rc_context(STYLE)
def dose_calendar(protocols: Mapping[str, Protocol]) -> Figure:
    """Doses, lymphodepletion and TKI of one protocol by cycle, or of several by arm.

    Args:
        protocols: by name; of one, every cycle has a row and days count from its day 1.
    """
    if not protocols:
        raise ValueError("a calendar of no protocol")
    plans = list(protocols.values())
    alone = len(plans) == 1
    lanes = _cycles(plans[0]) if alone else [_arm(n, p) for n, p in protocols.items()]
    products = [p for p in PRODUCT_COLOURS if any(p in plan.products for plan in plans)]
    row = ROW + SUBROW * (len(products) - 1)
    height = TOP + row * len(lanes) + BOTTOM
    left = _inches(lane.label for lane in lanes)
    width = left + PANEL + _inches(lane.note for lane in lanes)
    figure = Figure(figsize=(width, height))
    axes = figure.add_axes(
        (
            left / width,
            BOTTOM / height,
            PANEL / width,
            1 - (TOP + BOTTOM) / height,
        )
    )
    for place, lane in enumerate(reversed(lanes)):
        _draw(axes, lane, float(place), products, labelled=alone)
    _axis(axes, lanes, "day of the cycle" if alone else "day of the course")
    title = plans[0].name if alone else _shared(protocols)
    subtitle = plans[0].title if alone else f"{len(lanes)} arms"
    x, y = 0.2 / width, 1 - 0.14 / height
    figure.text(x, y, title, va="top", fontsize=12, weight="bold", color=INK)
    y -= 0.26 / height
    figure.text(x, y, subtitle, va="top", fontsize=9, color=GREY)
    figure.legend(
        *zip(*_key(lanes, products), strict=True),
        loc="lower center",
        bbox_to_anchor=(0.5, 0.06 / height),
        ncols=6,
        columnspacing=1.6,
        borderaxespad=0,
    )
    return figure


def _cycles(plan: Protocol) -> list[_Lane]:
    """A lane for each cycle."""
    lanes = []
    for cycle, day1 in enumerate(plan.day1_d, start=1):
        own = [dose for dose in plan.doses if dose.cycle == cycle]
        doses = []
        for dose in own:
            hours = hours_of_time(dose.time_d - day1)
            told = amount_text(dose) + (f"\nhour {hours:g}" if hours else "")
            doses.append((dose.time_d - day1, dose.product, told))
        holds = [(a - day1, b - day1) for a, b in _held(plan)]
        drugs_d = tuple(t - day1 for t in plan.depletion_drugs_d(cycle))
        # Holds of the cycles before and after may be seen at the edges.
        near = min(holds, key=lambda hold: abs(hold[0]), default=())
        lanes.append(
            _Lane(
                label=f"cycle {cycle}",
                note=f"day 1 = day {day_of_time(day1)}",
                doses=tuple(doses),
                depletion_d=drugs_d,
                taken_d=tuple((a - day1, b - day1) for a, b in _taken(plan)),
                held_d=tuple(holds),
                span_d=(0.0, *drugs_d, *near, *(time_d for time_d, _, _ in doses)),
            )
        )
    return lanes


def _arm(name: str, plan: Protocol) -> _Lane:
    """A lane for a whole protocol."""
    amounts: dict[str, list[str]] = {}
    for dose in plan.doses:
        told = amounts.setdefault(dose.product, [])
        if amount_text(dose) not in told:
            told.append(amount_text(dose))
    drugs_d = tuple(
        time_d
        for cycle in range(1, plan.cycles + 1)
        for time_d in plan.depletion_drugs_d(cycle)
    )
    held_d = _held(plan)
    return _Lane(
        label=name,
        note="\n".join(f"{p} {', '.join(told)}" for p, told in amounts.items()),
        doses=tuple((d.time_d, d.product, "") for d in plan.doses),
        depletion_d=drugs_d,
        taken_d=_taken(plan),
        held_d=held_d,
        span_d=(
            0.0,
            *drugs_d,
            *(day for hold in held_d for day in hold),
            *(dose.time_d for dose in plan.doses),
        ),
    )


def _taken(plan: Protocol) -> tuple[tuple[float, float], ...]:
    return tuple((w.start_d, w.stop_d) for w in plan.windows if w.name in TKI_INPUTS)


def _held(plan: Protocol) -> tuple[tuple[float, float], ...]:
    return plan.tki.holds_d(plan.day1_d) if plan.tki else ()


def _draw(
    axes: Axes, lane: _Lane, bottom: float, products: list[str], *, labelled: bool
) -> None:
    """One lane between `bottom` and `bottom` + 1."""
    if int(bottom) % 2 == 0:
        axes.axhspan(bottom, bottom + 1, color=FAINT, alpha=0.35, linewidth=0)
    low, high = bottom + TKI_LOW, bottom + TKI_HIGH
    for start, stop in lane.taken_d:
        axes.fill_between([start, stop], low, high, color=SKY, linewidth=0)
    for start, stop in lane.held_d:
        axes.fill_between(
            [start, stop],
            low,
            high,
            facecolor="white",
            edgecolor=SKY,
            hatch="/////",
            linewidth=0.6,
        )
    for time_d in lane.depletion_d:
        # A day wide, and never too thin to see.
        axes.fill_between(
            [time_d + 0.15, time_d + 0.85],
            bottom + 0.4,
            bottom + 0.8,
            color=ORANGE,
            linewidth=0.4,
        )
    # From the top: the product that comes first in PRODUCT_COLOURS.
    heights = np.linspace(0.76, 0.42, len(products)) if len(products) > 1 else [0.6]
    for product, height in zip(products, heights, strict=True):
        own = [(t, told) for t, given, told in lane.doses if given == product]
        axes.plot(
            [time_d for time_d, _ in own],
            [bottom + height] * len(own),
            linestyle="none",
            marker=MARKERS[product],
            markersize=7.5 if labelled else 5.5,
            color=PRODUCT_COLOURS[product],
            zorder=4,
            gid=product,
        )
        for time_d, told in own:
            axes.annotate(
                told,
                (time_d, bottom + height),
                xytext=(7, 0),
                textcoords="offset points",
                va="center",
                fontsize=7.5,
                linespacing=1.0,
                color=PRODUCT_COLOURS[product],
            )
    axes.annotate(
        lane.note,
        (1.0, bottom + 0.5),
        xycoords=("axes fraction", "data"),
        xytext=(8, 0),
        textcoords="offset points",
        va="center",
        fontsize=8,
        color=GREY,
    )


def _axis(axes: Axes, lanes: list[_Lane], label: str) -> None:
    """Days from just before what comes first to just after what comes last.

    A TKI may be taken for a year: the band of it is cut at the edges.
    """
    times = [time_d for lane in lanes for time_d in lane.span_d]
    first, last = min(times), max(*times, 7.0)
    pad = 0.04 * (last - first)
    # To the right there is room for the amount of the last dose.
    axes.set_xlim(first - pad, last + 3 * pad)
    axes.set_ylim(0, len(lanes))
    step = next((s for s in STEPS_D if (last - first) / s <= 9), STEPS_D[-1])
    ticks = np.arange(np.ceil(first / step) * step, last + pad, step)
    axes.xaxis.set_major_locator(FixedLocator([float(tick) for tick in ticks]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(lambda time_d, _: f"{day_of_time(time_d)}")
    axes.set_xlabel(f"{label} (day 1: time 0; there is no day 0)", fontsize=9)
    axes.yaxis.set_major_locator(FixedLocator([n + 0.5 for n in range(len(lanes))]))
    axes.set_yticklabels([lane.label for lane in reversed(lanes)], fontsize=9)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.grid(visible=True, axis="x", color=FAINT, linewidth=0.6)
    axes.set_axisbelow(True)


def _key(lanes: list[_Lane], products: list[str]) -> list[tuple]:
    """Legend of what occurs."""
    entries: list[tuple] = [
        (
            Line2D(
                [],
                [],
                linestyle="none",
                marker=MARKERS[product],
                color=PRODUCT_COLOURS[product],
            ),
            PRODUCT_LABELS[product],
        )
        for product in products
    ]
    if any(lane.depletion_d for lane in lanes):
        entries.append((Patch(color=ORANGE), "lymphodepletion"))
    if any(lane.taken_d for lane in lanes):
        entries.append((Patch(color=SKY), "TKI taken"))
    if any(lane.held_d for lane in lanes):
        held = Patch(facecolor="white", edgecolor=SKY, hatch="/////", linewidth=0.6)
        entries.append((held, "TKI held"))
    return entries


def _inches(texts: Iterable[str]) -> float:
    """Width of the longest line of these, and a margin."""
    longest = max(len(line) for text in texts for line in (text or " ").split("\n"))
    return 0.3 + longest / CHARACTERS_PER_INCH


def _shared(protocols: Mapping[str, Protocol]) -> str:
    """What the names of several arms begin with."""
    start = os.path.commonprefix(list(protocols)).rpartition("-")[0]
    return start or "Protocols"
