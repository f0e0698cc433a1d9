"""Figures of a comparison: arms over time, ratios, forests, dose-response, heat map.

Each says across the top that it is a model's, and under the panels what it rests on.
"""

import itertools
from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np
from jaxtyping import Float
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from ckin.plot.page import (
    BLUE,
    COLOURS,
    FAINT,
    GREEN,
    GREY,
    INK,
    SKY,
    STYLE,
    TIME_LABEL,
)
from ckin.plot.panel import PRODUCT_COLOURS, PRODUCT_LABELS
from ckin.plot.what_if import legend_below, what_if_page


# Arms whose bands are drawn; of more, medians only.
MOST_BANDS = 4
# Decades that a panel shows under its highest median.
DECADES = 5.0
# Inches over a panel for the names of what is marked.
MARK_HEAD = 0.3
# Values of a sweep that are all ticks of its axis.
MOST_TICKS = 8
# Ratios from end to end of an axis from which on ticks next to 1 would touch it.
WIDE = 8.0
# And those under which there is room for ticks a twentieth apart.
NARROW = 1.4


@matplotlib.rc_context(STYLE)
def arms_over_time(
    days: Float[np.ndarray, " days"],
    bands: Mapping[str, Float[np.ndarray, "3 days"]],
    *,
    y_label: str,
    title: str,
    note: str,
    doses_d: Mapping[str, Sequence[float]],
    ratio: bool = False,
    skipped: int = 0,
) -> Figure:
    """Levels of every arm over time, or their ratios to a reference.

    Args:
        days: from the first infusion.
        bands: by arm, 5%, 50% and 95% over persons.
        y_label: what they are of.
        title: over all.
        note: under all.
        doses_d: days of doses by product, as ticks.
        ratio: draw a line at 1.
        skipped: colours that are those of other arms.
    """
    figure, ((axes,),) = what_if_page(
        (1, 1), (7.2, 3.7), title=title, note=note, legend=True
    )
    colours = itertools.islice(itertools.cycle(COLOURS), skipped, None)
    seen = []
    for (name, band), colour in zip(bands.items(), colours, strict=False):
        low, middle, high = np.where(band > 0, band, np.nan)
        if len(bands) <= MOST_BANDS:
            axes.fill_between(days, low, high, color=colour, alpha=0.13, linewidth=0)
            seen += [low, high]
        axes.plot(days, middle, color=colour, lw=1.5, label=name)
        seen.append(middle)
    shown = np.concatenate(seen)
    shown = shown[np.isfinite(shown)]
    axes.set_yscale("log")
    if shown.size and ratio:
        axes.axhline(1.0, color=INK, lw=0.7, ls="--")
        low, high = np.quantile(shown, [0.005, 0.995])
        _ratio_axis(axes.yaxis, min(low, 0.9) / 1.15, max(high, 1.1) * 1.1)
    elif shown.size:
        top = float(shown.max())
        axes.set_ylim(max(float(shown.min()), top * 10.0**-DECADES) / 3, top * 2)
    axes.set_xlim(float(days[0]), float(days[-1]))
    axes.set_ylabel(y_label, fontsize=9.5)
    axes.set_xlabel(TIME_LABEL, fontsize=9.5)
    for row, (product, times) in enumerate(doses_d.items()):
        y = 0.02 + 0.04 * row
        axes.plot(
            list(times),
            [y] * len(times),
            marker="|",
            ms=9,
            mew=1.4,
            ls="",
            color=PRODUCT_COLOURS[product],
            transform=axes.get_xaxis_transform(),
            label=f"{PRODUCT_LABELS[product]} (any arm)",
        )
    legend_below(figure, axes)
    return figure


@matplotlib.rc_context(STYLE)
def forest(
    rows: Mapping[str, Sequence[Mapping]],
    *,
    title: str,
    note: str,
) -> Figure:
    """Arms against their reference: a panel for each endpoint.

    Args:
        rows: comparison rows by endpoint, in the order of drawing: arm, against, value,
            low, high, patient_low, patient_high, measure, unit.
        title: over all.
        note: under all.
    """
    longest = max((len(r) for r in rows.values()), default=1)
    labels = list(dict.fromkeys(_pair(row) for each in rows.values() for row in each))
    places = {label: len(labels) - 1 - at for at, label in enumerate(labels)}
    columns = min(len(rows), 3)
    lines = -(-len(rows) // columns)
    shape = (lines, columns)
    size = (2.7, max(1.0, 0.3 * max(longest, len(labels)) + 0.3))
    left = 0.45 + max(len(label) for label in labels) / 13.5
    figure, panels = what_if_page(shape, size, title=title, note=note, left=left)
    flat = [axes for line in panels for axes in line]
    for at, (axes, (endpoint, each)) in enumerate(
        zip(flat, rows.items(), strict=False)
    ):
        ratio = each[0]["measure"] == "geometric mean ratio"
        axes.axvline(1.0 if ratio else 0.0, color=INK, lw=0.7, ls="--")
        for row in each:
            y = places[_pair(row)]
            axes.plot(
                [row["patient_low"], row["patient_high"]],
                [y, y],
                color=SKY,
                lw=4.0,
                alpha=0.45,
                solid_capstyle="butt",
            )
            if np.isfinite(row["low"]):
                axes.plot([row["low"], row["high"]], [y, y], color=BLUE, lw=1.5)
            axes.plot(row["value"], y, "o", color=BLUE, ms=5)
        if ratio:
            names = ("low", "high", "patient_low", "patient_high")
            ends = [row[name] for row in each for name in names]
            ends = [end for end in ends if np.isfinite(end) and end > 0]
            low, high = min([1.0, *ends]), max([1.0, *ends])
            _ratio_axis(axes.xaxis, low / 1.1, high * 1.1)
        unit = "ratio" if ratio else f"difference, {each[0]['unit']}"
        axes.set_xlabel(unit if each[0]["unit"] != "1" or ratio else "difference")
        axes.set_title(endpoint, loc="left")
        axes.set_ylim(-0.6, len(labels) - 0.4)
        shown = at % columns == 0
        axes.set_yticks(list(places.values()), list(places) if shown else [])
        axes.grid(axis="x", color=FAINT, lw=0.5)
        axes.set_axisbelow(True)
    for axes in flat[len(rows) :]:
        axes.set_axis_off()
    return figure


@matplotlib.rc_context(STYLE)
def response(
    x: Float[np.ndarray, " points"],
    endpoints: Mapping[str, tuple[Float[np.ndarray, "3 points"], str, bool]],
    *,
    x_label: str,
    marks: Mapping[str, float],
    title: str,
    note: str,
    cells: bool = False,
) -> Figure:
    """Endpoints along one axis of a sweep: a panel for each.

    Args:
        x: values that were tried.
        endpoints: by name, (low, value, high) at each, what it is of, and whether it is
            drawn on a logarithmic scale.
        x_label: what was tried.
        marks: values of `x` to mark, by label.
        title: over all.
        note: under all.
        cells: `x` are numbers of cells: millions on a logarithmic axis.
    """
    columns = min(len(endpoints), 3)
    lines = -(-len(endpoints) // columns)
    figure, panels = what_if_page(
        (lines, columns),
        (2.7, 2.2),
        title=title,
        note=note,
        each_y=True,
        head=MARK_HEAD if marks else 0.0,
    )
    flat = [axes for line in panels for axes in line]
    order = np.argsort(x)
    for axes, (name, (edges, label, logged)) in zip(
        flat, endpoints.items(), strict=False
    ):
        low, value, high = (edge[order] for edge in edges)
        if np.isfinite(low).any():
            axes.fill_between(x[order], low, high, color=BLUE, alpha=0.15, lw=0)
        axes.plot(x[order], value, "o-", color=BLUE, ms=4, lw=1.2)
        if logged and np.nanmin(value) > 0:
            axes.set_yscale("log")
        for text, at in marks.items():
            axes.axvline(at, color=GREEN, lw=0.8, ls=":")
            axes.text(
                at,
                1.01,
                text,
                color=GREEN,
                fontsize=7,
                ha="center",
                va="bottom",
                rotation=35,
                transform=axes.get_xaxis_transform(),
            )
        axes.set_title(name, loc="left", pad=24 if marks else None)
        axes.set_xlabel(x_label)
        if cells:
            axes.set_xscale("log")
            axes.set_xticks(x, [f"{value / 1e6:g}" for value in x], fontsize=7)
            axes.xaxis.set_minor_locator(NullLocator())
        elif len(x) <= MOST_TICKS:
            # What was tried, and nothing between: half a cycle is none.
            axes.set_xticks(x, [f"{value:g}" for value in x])
        axes.set_ylabel(label)
    for axes in flat[len(endpoints) :]:
        axes.set_axis_off()
    return figure


@matplotlib.rc_context(STYLE)
def heat_map(
    x: Sequence[float],
    y: Sequence[float],
    values: Float[np.ndarray, "y x"],
    *,
    x_label: str,
    y_label: str,
    label: str,
    title: str,
    note: str,
    logged: bool = False,
) -> Figure:
    """One endpoint over two axes of a sweep; a number in each cell.

    Args:
        x: values of one axis.
        y: values of the other.
        values: of the endpoint; NaN where it is not known.
        x_label: what `x` is.
        y_label: what `y` is.
        label: what the endpoint is.
        title: over all.
        note: under all.
        logged: whether colours are those of logarithms.
    """
    size = (max(3.0, 0.75 * len(x)) + 0.9, max(1.8, 0.5 * len(y)))
    figure, ((axes,),) = what_if_page((1, 1), size, title=title, note=note)
    shown = np.log10(values) if logged and np.nanmin(values) > 0 else values
    image = axes.imshow(shown, origin="lower", aspect="auto", cmap="cividis")
    middle = 0.5 * (np.nanmin(shown) + np.nanmax(shown))
    for row, column in itertools.product(range(len(y)), range(len(x))):
        if np.isfinite(values[row, column]):
            dark = shown[row, column] < middle
            axes.text(
                column,
                row,
                f"{values[row, column]:.4g}",
                ha="center",
                va="center",
                color="white" if dark else "black",
            )
    axes.set_xticks(range(len(x)), [_axis_text(v) for v in x])
    axes.set_yticks(range(len(y)), [_axis_text(v) for v in y])
    axes.set_xlabel(x_label, fontsize=9.5)
    axes.set_ylabel(y_label, fontsize=9.5)
    axes.set_title(label, loc="left")
    bar = figure.colorbar(image, ax=axes, fraction=0.06, pad=0.02)
    bar.set_ticks([])
    return figure


@matplotlib.rc_context(STYLE)
def influence(
    panels: Mapping[str, Sequence[Mapping]], *, title: str, note: str
) -> Figure:
    """What moves each endpoint: bars of a tornado, or Sobol's indices.

    Args:
        panels: sensitivity rows by endpoint, one a parameter.
        title: over all.
        note: under all.
    """
    every = [row for each in panels.values() for row in each]
    names = list(dict.fromkeys(row["parameter"] for row in every))
    columns = min(len(panels), 3)
    lines = -(-len(panels) // columns)
    left = 0.5 + max(map(len, names)) / 13.5
    size = (2.5, max(1.2, 0.24 * len(names)))
    figure, grid = what_if_page(
        (lines, columns), size, title=title, note=note, left=left
    )
    flat = [axes for line in grid for axes in line]
    places = {name: len(names) - 1 - at for at, name in enumerate(names)}
    for at, (axes, (endpoint, rows)) in enumerate(
        zip(flat, panels.items(), strict=False)
    ):
        tornado = "reach" in rows[0]
        for row in rows:
            y = places[row["parameter"]]
            if tornado:
                for end, colour in (("value_low", SKY), ("value_high", BLUE)):
                    axes.barh(y, row[end] - row["base"], left=row["base"], color=colour)
            else:
                axes.barh(y, row["total"], color=SKY, xerr=row["total_error"])
                axes.barh(y, row["first"], color=BLUE, height=0.4)
        if tornado:
            axes.axvline(rows[0]["base"], color=INK, lw=0.7)
        axes.set_title(endpoint, loc="left")
        axes.set_xlabel(rows[0]["measure"] if tornado else "share of the variance")
        shown = at % columns == 0
        axes.set_yticks(list(places.values()), list(places) if shown else [])
    for axes in flat[len(panels) :]:
        axes.set_axis_off()
    ends = "light: at 5% of the prior, dark: at 95%"
    shares = "dark: alone (first), light: with others (total), 90% interval"
    figure.text(
        0.99,
        0.012,
        ends if "reach" in every[0] else shares,
        ha="right",
        fontsize=8,
        color=GREY,
    )
    return figure


def _pair(row: Mapping) -> str:
    return f"{row['arm']} / {row['against']}"


def _axis_text(value: float) -> str:
    return f"{value / 1e6:g}" if abs(value) >= 1e5 else f"{value:g}"


def _ratio_axis(axis: Axis, low: float, high: float) -> None:
    """A logarithmic axis with ticks that people read as ratios."""
    known = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 0.8, 1.0, 1.25, 2, 5, 10, 20, 50, 100)
    between, near_1 = (0.6, 0.7, 0.9, 1.1, 1.5), (0.95, 1.05)
    low, high = max(low, 0.008), min(high, 120.0)
    ticks = [tick for tick in known if low <= tick <= high]
    if high / low > WIDE:
        ticks = [tick for tick in ticks if tick not in (0.8, 1.25)]
    if len(ticks) < 3:
        more = (*between, *near_1) if high / low < NARROW else between
        ticks = sorted({*ticks, *(t for t in more if low <= t <= high)})
    scale, limit = axis.axes.set_xscale, axis.axes.set_xlim
    if axis is axis.axes.yaxis:
        scale, limit = axis.axes.set_yscale, axis.axes.set_ylim
    scale("log")
    limit(low, high)
    axis.set_ticks(ticks, labels=[f"{tick:g}" for tick in ticks])
    axis.set_minor_locator(NullLocator())
