"""The figures: patients one by one, the population, and doses side by side."""

from collections.abc import Collection, Iterable, Mapping, Sequence

import matplotlib
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from ckin.dataset import Dataset, Patient, Sample
from ckin.plot import panel
from ckin.plot.page import BLUE, GREY, ORANGE, PURPLE, SKY, STYLE, VERMILION, sheet
from ckin.plot.panel import Curves, TimeAxis
from ckin.units import canonical_unit


COLUMNS = 4
ASSAY_LABELS = {
    "qpcr": "CAR copies/µg gDNA",
    "ddpcr": "CAR copies/µg gDNA (ddPCR)",
    "flow": "CAR-T cells/µL",
    "wbc": "leukocytes/µL",
    "bcell": "B cells/µL",
    "bcrabl": "BCR::ABL1",
    "il6": "IL-6, pg/mL",
    "cell_index": "cell index",
}
# From the lowest dose to the highest, by how many there are to be told apart.
DOSE_COLOURS = {
    1: (BLUE,),
    2: (GREY, BLUE),
    3: (GREY, SKY, BLUE),
    4: (GREY, SKY, BLUE, VERMILION),
    5: (GREY, SKY, BLUE, ORANGE, VERMILION),
    6: (GREY, SKY, BLUE, PURPLE, ORANGE, VERMILION),
}


# What the middle and the band of a curve are called, of a posterior.
POSTERIOR_WORDS = ("posterior median", "credible band")


@matplotlib.rc_context(STYLE)
def individual_fits(
    dataset: Dataset,
    assay: str,
    curves: Mapping[str, Curves],
    *,
    title: str,
    per_page: int = 12,
    words: tuple[str, str] = POSTERIOR_WORDS,
    logged_floor: float | None = None,
) -> list[Figure]:
    """Each patient's samples over the patient's own posterior: a panel each, in pages.

    Args:
        dataset: the patients; every one gets a panel.
        assay: which samples.
        curves: posterior band by patient. A patient without one is drawn without.
        title: of every page.
        per_page: panels on a page, four in a row.
        words: what the middle and the band of a curve are called.
        logged_floor: where the data start on the logarithmic axis; by default half
            the smallest detection limit.
    """
    patients = dataset.patients
    strangers = curves.keys() - {patient.id for patient in patients}
    if strangers:
        raise ValueError(f"curves of {sorted(strangers)}, who are not in the data")
    _check_units(dataset, assay, curves.values())
    samples = {patient.id: _of(patient, assay) for patient in patients}
    everything = [sample for own in samples.values() for sample in own]
    doses_d = _doses(patients)
    strip = panel.strip_of(doses_d)
    limits = panel.value_range(everything, curves.values(), logged_floor)
    time_axis = _time_axis(everything, curves.values(), doses_d)
    key = panel.key(
        everything,
        strip,
        colour=BLUE,
        middle=words[0],
        band=f"{_level(curves.values())} {words[1]}",
    )
    pages = [patients[at : at + per_page] for at in range(0, len(patients), per_page)]
    fullest = max(map(len, pages), default=1)
    columns = -(-fullest // -(-fullest // COLUMNS))
    figures = []
    for number, page in enumerate(pages, start=1):
        figure, panels = sheet(
            (-(-len(page) // columns), columns),
            title=title,
            subtitle=f"page {number} of {len(pages)}" if len(pages) > 1 else "",
            synthetic=dataset.synthetic,
            key=key,
            x_label=time_axis.label,
            y_label=_label(dataset, assay),
        )
        for axes in panels[len(page) :]:
            axes.remove()
        for place, (patient, axes) in enumerate(zip(page, panels, strict=False)):
            axes.set_title(patient.id, loc="left", pad=4)
            absent = []
            panel.draw_cycles(axes, patient)
            if patient.id in curves:
                panel.draw_band(axes, curves[patient.id], BLUE, alpha=0.22)
            else:
                absent.append("no fit")
            if samples[patient.id]:
                panel.draw_samples(axes, samples[patient.id], size=14.0)
            else:
                absent.append("no samples")
            axes.set_title(", ".join(absent), loc="right", pad=4, color=GREY)
            panel.draw_doses(axes, _doses([patient]), strip)
            panel.value_axis(axes, limits, len(strip))
            time_axis.apply(axes, gap=0.115)
            axes.tick_params(labelbottom=place + columns >= len(page))
        figures.append(figure)
    return figures


@matplotlib.rc_context(STYLE)
def population_band(
    dataset: Dataset,
    assay: str,
    curve: Curves,
    *,
    title: str,
    logged_floor: float | None = None,
) -> Figure:
    """Everyone's samples over the model's band for the population.

    Args:
        dataset: the patients; a thin line joins the samples of each.
        assay: which samples.
        curve: median and band of the population.
        title: of the figure.
        logged_floor: as for `individual_fits`.
    """
    _check_units(dataset, assay, [curve])
    samples = [own for patient in dataset.patients if (own := _of(patient, assay))]
    everything = [sample for own in samples for sample in own]
    below = sum(sample.below for sample in everything)
    told = f"{len(samples)} patients, {len(everything)} samples"
    if below:
        told += f", {below} of them below the detection limit"
    doses_d = _doses(dataset.patients)
    strip = panel.strip_of(doses_d)
    time_axis = _time_axis(everything, [curve], doses_d)
    figure, (axes,) = sheet(
        (1, 1),
        title=title,
        subtitle=told,
        synthetic=dataset.synthetic,
        key=panel.key(
            everything,
            strip,
            colour=BLUE,
            middle="population median",
            band=f"{curve.level:.0%} of the population",
        ),
        x_label=time_axis.label,
        y_label=_label(dataset, assay),
    )
    panel.draw_band(axes, curve, BLUE, alpha=0.22, on_top=True)
    for own in samples:
        axes.plot(
            [sample.time_d for sample in own],
            [sample.value for sample in own],
            color=GREY,
            linewidth=0.5,
            alpha=0.5,
        )
    panel.draw_samples(axes, everything, size=10.0, alpha=0.7)
    panel.draw_doses(axes, doses_d, strip)
    limits = panel.value_range(everything, [curve], logged_floor)
    panel.value_axis(axes, limits, len(strip))
    time_axis.apply(axes, gap=0.05)
    return figure


@matplotlib.rc_context(STYLE)
def ftc_doses(
    curves: Mapping[str, Curves],
    *,
    title: str,
    note: str,
    doses_d: Mapping[str, Sequence[float]],
    synthetic: bool = False,
    y_label: str = ASSAY_LABELS["qpcr"],
    logged_floor: float | None = None,
) -> Figure:
    """One course at several FTC doses.

    Args:
        curves: a band by label of the dose, from the lowest dose to the highest.
        title: of the figure.
        note: what the curves are (prior, what-if, not data); written under the plot.
        doses_d: days of the doses by product (`CART`, `FTC`).
        synthetic: the curves come from a fit to synthetic data.
        y_label: what the curves are of.
        logged_floor: where the axis starts; by default at the lowest edge of a band,
            but five decades under the highest at most.
    """
    if len(curves) not in DOSE_COLOURS:
        raise ValueError(f"{len(curves)} doses in one figure: 1 to {max(DOSE_COLOURS)}")
    _check_same({curve.unit for curve in curves.values()}, "units")
    colours = dict(zip(curves, DOSE_COLOURS[len(curves)], strict=True))
    entries = [
        ((Patch(color=hue, alpha=0.2, linewidth=0), Line2D([], [], color=hue)), label)
        for label, hue in colours.items()
    ]
    time_axis = _time_axis([], curves.values(), doses_d)
    strip = panel.strip_of(doses_d)
    figure, (axes,) = sheet(
        (1, 1),
        title=title,
        subtitle=f"median and {_level(curves.values())} band at each FTC dose",
        synthetic=synthetic,
        key=entries + panel.product_key(strip),
        x_label=time_axis.label,
        y_label=y_label,
        note=note,
    )
    for label, curve in curves.items():
        panel.draw_band(axes, curve, colours[label], alpha=0.13)
    panel.draw_doses(axes, doses_d, strip)
    limits = panel.value_range([], curves.values(), logged_floor)
    panel.value_axis(axes, limits, len(strip))
    time_axis.apply(axes, gap=0.05)
    return figure


def _of(patient: Patient, assay: str) -> list[Sample]:
    return [sample for sample in patient.samples if sample.assay == assay]


def _doses(patients: Iterable[Patient]) -> dict[str, list[float]]:
    """Days of the doses by product, each day once; a dose of nothing is none."""
    days: dict[str, set[float]] = {}
    for patient in patients:
        for dose in patient.doses:
            if dose.cells or dose.cells_per_kg:
                days.setdefault(dose.product, set()).add(dose.time_d)
    return {product: sorted(times) for product, times in days.items()}


def _time_axis(
    samples: Iterable[Sample],
    curves: Iterable[Curves],
    doses_d: Mapping[str, Sequence[float]],
) -> TimeAxis:
    ends = [float(curve.time_d[-1]) for curve in curves if curve.time_d.size]
    return TimeAxis.of(
        ends + [sample.time_d for sample in samples],
        [time_d for times in doses_d.values() for time_d in times],
    )


def _label(dataset: Dataset, assay: str) -> str:
    label = ASSAY_LABELS.get(assay, assay)
    tell = assay == "bcrabl" or assay not in ASSAY_LABELS
    return f"{label}, {dataset.units[assay]}" if tell else label


def _level(curves: Iterable[Curves]) -> str:
    levels = {curve.level for curve in curves}
    _check_same(levels, "levels")
    return f"{max(levels, default=0.9):.0%}"


def _check_units(dataset: Dataset, assay: str, curves: Iterable[Curves]) -> None:
    if assay not in dataset.units:
        known = ", ".join(dataset.units) or "nothing"
        raise ValueError(f"the data have no {assay!r}; they have {known}")
    for curve in curves:
        if canonical_unit(curve.unit) != dataset.units[assay]:
            raise ValueError(
                f"{assay} is in {dataset.units[assay]}, a curve in {curve.unit}"
            )


def _check_same(found: Collection[object], what: str) -> None:
    if len(found) > 1:
        raise ValueError(f"curves of different {what}: {sorted(map(str, found))}")
