"""One panel: a band, samples, dose ticks, and the two axes they are read against."""

import dataclasses
import itertools
import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle
from matplotlib.ticker import FixedLocator, NullLocator

from ckin.dataset import Patient, Sample
from ckin.plot.page import FAINT, GREEN, GREY, INK, TIME_LABEL


PRODUCT_COLOURS = {"CART": INK, "FTC": GREEN}
PRODUCT_LABELS = {"CART": "CAR-T dose", "FTC": "FTC dose"}
# Share of a panel's height for the dose ticks of one product, under the data.
STRIP_ROW = 0.065
# Of the artists, for whoever looks for them.
ABOVE_GID, BELOW_GID = "samples", "below-limit"

# Follow-up longer than this is compressed after the last dose.
LONG_D = 200.0
STEPS_D = (1, 2, 7, 14, 28, 56, 84, 112, 168)
LATE_TICKS_D = (7, 14, 28, 56, 90, 180, 365, 730, 1460, 2920, 5840)
# Without samples to start from, an axis shows this many decades at most.
DECADES = 5.0
MOST_DECADE_TICKS = 6


@dataclasses.dataclass(frozen=True)
class Curves:
    """A band over time.

    Attributes:
        time_d: days from the first infusion, not decreasing.
        low: lower edge of the band.
        middle: median.
        high: upper edge of the band.
        unit: unit of the three.
        level: probability inside the band.
    """

    time_d: Float[np.ndarray, " times"]
    low: Float[np.ndarray, " times"]
    middle: Float[np.ndarray, " times"]
    high: Float[np.ndarray, " times"]
    unit: str
    level: float = 0.9

    def __post_init__(self):
        for name in ("low", "middle", "high"):
            shape = getattr(self, name).shape
            if shape != self.time_d.shape:
                raise ValueError(
                    f"{name} has shape {shape}, time_d has {self.time_d.shape}"
                )
        if np.any(np.diff(self.time_d) < 0):
            raise ValueError("the times of a curve decrease: sort them")
        if not 0 < self.level < 1:
            raise ValueError(f"level {self.level:g} is not between 0 and 1")


@dataclasses.dataclass(frozen=True)
class TimeAxis:
    """Days on the horizontal axis, compressed after the last dose of a long follow-up.

    Until the last dose a day is a day wide, then 1 / (1 + days since / `slowing_d`):
    the slope is continuous, so that no curve gets a bend from its axis.

    Attributes:
        span_d: where it ends.
        linear_d: the day from which it is compressed; `None` when it is not.
    """

    span_d: float
    linear_d: float | None

    @staticmethod
    def of(times_d: Iterable[float], doses_d: Iterable[float]) -> "TimeAxis":
        """The axis for all that is drawn at these times."""
        last_dose_d = max((0.0, *doses_d))
        span_d = max((1.0, last_dose_d, *times_d))
        long = span_d > max(LONG_D, 2 * last_dose_d)
        return TimeAxis(span_d, last_dose_d if long else None)

    @property
    def slowing_d(self) -> float:
        """Days after the last dose at which a day is half as wide as before it."""
        return max(10.0, (self.linear_d or 0.0) / 4)

    @property
    def label(self) -> str:
        """What stands under the axis."""
        if self.linear_d is None:
            return TIME_LABEL
        since = f" after day {self.linear_d:.0f}" if self.linear_d else ""
        return f"{TIME_LABEL} (compressed{since})"

    def width(self, time_d):
        """Distance of a time from the first infusion, in days of full width."""
        time_d = np.asarray(time_d, dtype=float)
        if self.linear_d is None:
            return time_d
        late = np.maximum(time_d - self.linear_d, 0.0)
        return np.minimum(time_d, self.linear_d) + self.slowing_d * np.log1p(
            late / self.slowing_d
        )

    def time_d(self, width):
        """The time at that distance: the inverse of `width`."""
        width = np.asarray(width, dtype=float)
        if self.linear_d is None:
            return width
        late = np.maximum(width - self.linear_d, 0.0)
        return np.minimum(width, self.linear_d) + self.slowing_d * np.expm1(
            late / self.slowing_d
        )

    def ticks(self, gap: float) -> list[float]:
        """Round days at least `gap` of the width apart."""
        gap *= float(self.width(self.span_d))
        linear_d = self.span_d if self.linear_d is None else self.linear_d
        steps = itertools.chain(STEPS_D, itertools.count(365, 365))
        step = next(step for step in steps if step >= gap)
        ticks = [float(day) for day in np.arange(0.0, linear_d + 1e-9, step)]
        for tick in LATE_TICKS_D:
            if linear_d < tick <= self.span_d:
                if self.width(tick) - self.width(ticks[-1]) >= gap:
                    ticks.append(float(tick))
        return ticks

    def apply(self, axes: Axes, *, gap: float) -> None:
        """Give a panel this axis, with ticks at least `gap` of its width apart."""
        axes.set_xscale("function", functions=(self.width, self.time_d))
        full = float(self.width(self.span_d))
        axes.set_xlim(-0.025 * full, float(self.time_d(1.02 * full)))
        axes.xaxis.set_major_locator(FixedLocator(self.ticks(gap)))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(lambda day, _: f"{day:g}")


def value_range(
    samples: Sequence[Sample], curves: Iterable[Curves], floor: float | None
) -> tuple[float, float]:
    """Where the logarithmic axis starts (half the smallest limit) and ends."""
    curves = tuple(curves)
    measured = [sample.value for sample in samples if sample.value > 0]
    highest = np.concatenate([np.array(measured), *(curve.high for curve in curves)])
    highest = highest[np.isfinite(highest) & (highest > 0)]
    top = 2.0 * float(highest.max()) if highest.size else 1.0
    limits = [sample.limit for sample in samples if sample.limit]
    if floor is None and (limits or measured):
        floor = min(limits or measured) / 2
    elif floor is None:
        edges = [float(edge) for curve in curves for edge in curve.low if edge > 0]
        floor = max(min(edges, default=0.0), top / 10**DECADES)
    if not 0 < floor < top:
        raise ValueError(f"a logarithmic axis cannot run from {floor:g} to {top:g}")
    return floor, top


def value_axis(axes: Axes, limits: tuple[float, float], strip_rows: int) -> None:
    """A logarithmic axis over these values, and a strip for doses under them."""
    floor, top = limits
    strip = STRIP_ROW * strip_rows
    axes.set_yscale("log", nonpositive="clip")
    axes.set_ylim(floor * (floor / top) ** (strip / (1 - strip)), top)
    decades = range(math.ceil(math.log10(floor)), math.floor(math.log10(top)) + 1)
    every = max(1, math.ceil(len(decades) / MOST_DECADE_TICKS))
    axes.yaxis.set_major_locator(FixedLocator([10.0**n for n in decades[::every]]))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.grid(visible=True, axis="y", color=FAINT, linewidth=0.5)
    axes.set_axisbelow(True)
    axes.spines["left"].set_bounds(floor, top)
    axes.add_patch(
        Rectangle(
            (0, 0),
            1,
            strip,
            transform=axes.transAxes,
            facecolor="white",
            edgecolor="none",
            zorder=4.7,
        )
    )


def draw_band(
    axes: Axes, curve: Curves, colour: str, *, alpha: float, on_top: bool = False
) -> None:
    """The band and its median, which may go on top of the samples."""
    axes.fill_between(
        curve.time_d, curve.low, curve.high, color=colour, alpha=alpha, linewidth=0
    )
    axes.plot(
        curve.time_d,
        curve.middle,
        color=colour,
        linewidth=2.0 if on_top else 1.4,
        zorder=4.5 if on_top else 2,
    )


def draw_samples(
    axes: Axes, samples: Sequence[Sample], *, size: float, alpha: float = 1.0
) -> None:
    """Filled circles; open marks at the limit for samples below it."""
    for below in (False, True):
        those = [sample for sample in samples if sample.below == below]
        if not those:
            continue
        axes.scatter(
            [sample.time_d for sample in those],
            [sample.value for sample in those],
            s=1.3 * size if below else size,
            marker="v" if below else "o",
            facecolors="white" if below else INK,
            edgecolors=INK if below else "none",
            linewidths=0.7,
            alpha=alpha,
            zorder=4,
            gid=BELOW_GID if below else ABOVE_GID,
        )


def draw_doses(
    axes: Axes, doses_d: Mapping[str, Sequence[float]], strip: Sequence[str]
) -> None:
    """Ticks in the strip under the data: a row for each of the products in `strip`."""
    for row, product in enumerate(strip):
        axes.vlines(
            sorted(doses_d.get(product, ())),
            STRIP_ROW * (row + 0.1),
            STRIP_ROW * (row + 0.75),
            colors=PRODUCT_COLOURS[product],
            linewidth=1.6,
            transform=axes.get_xaxis_transform(),
            zorder=5,
            gid=product,
        )


def draw_cycles(axes: Axes, patient: Patient) -> None:
    """A light line where each cycle after the first begins."""
    starts: dict[int, float] = {}
    for dose in patient.doses:
        starts[dose.cycle] = min(dose.time_d, starts.get(dose.cycle, math.inf))
    first = min(starts, default=1)
    for cycle, start in starts.items():
        if cycle > first:
            axes.axvline(start, color=GREY, linewidth=0.6, linestyle=(0, (1, 3)))


def key(
    samples: Sequence[Sample],
    products: Iterable[str],
    *,
    colour: str,
    middle: str,
    band: str,
) -> list[tuple]:
    """Legend of samples over a band: only what occurs."""
    entries: list[tuple] = [
        (Line2D([], [], color=colour, linewidth=1.4), middle),
        (Patch(color=colour, alpha=0.22, linewidth=0), band),
    ]
    circle = Line2D([], [], color=INK, marker="o", markersize=4, linestyle="none")
    open_mark = Line2D(
        [], [], color=INK, marker="v", markersize=5, linestyle="none", mfc="white"
    )
    if any(not sample.below for sample in samples):
        entries.append((circle, "sample"))
    if any(sample.below for sample in samples):
        entries.append((open_mark, "below the limit, drawn at it"))
    return entries + product_key(products)


def strip_of(doses_d: Mapping[str, Sequence[float]]) -> list[str]:
    """The products that need a row of the strip, from the bottom."""
    return [product for product in PRODUCT_COLOURS if doses_d.get(product)]


def product_key(products: Iterable[str]) -> list[tuple]:
    """Legend of the dose ticks."""
    return [
        (
            Line2D(
                [],
                [],
                color=PRODUCT_COLOURS[product],
                marker="|",
                markersize=9,
                markeredgewidth=1.8,
                linestyle="none",
            ),
            PRODUCT_LABELS[product],
        )
        for product in products
    ]
