"""What a figure shows, read off its artists."""

import dataclasses

import matplotlib.pyplot
import numpy as np
import pytest

from ckin.dataset import Dataset, Patient, Sample
from ckin.plot import (
    SYNTHETIC,
    Curves,
    ftc_doses,
    individual_fits,
    population_band,
    save,
)
from ckin.plot.panel import ABOVE_GID, BELOW_GID, TimeAxis
from ckin.protocol import Dose


LIMIT = 50.0
DOSES = (
    Dose(0.0, "CART", cells_per_kg=5e6),
    Dose(56.0, "CART", cells_per_kg=5e6, cycle=2),
    Dose(56.25, "FTC", cells_per_kg=5e6, cycle=2),
    Dose(63.0, "FTC", cells_per_kg=5e6, cycle=2),
    Dose(64.0, "FTC", cells_per_kg=0.0, cycle=2),
)
DOSES_D = {"CART": [0.0, 56.0], "FTC": [56.25, 63.0]}


def sample(time_d: float, value: float) -> Sample:
    below = value < LIMIT
    return Sample(
        time_d, "qpcr", max(value, LIMIT), below, LIMIT, False, 1, round(time_d)
    )


def band(middle: float = 1e3, unit: str = "copies/ug", level: float = 0.9) -> Curves:
    time_d = np.linspace(0.0, 90.0, 40)
    curve = middle * np.exp(-0.02 * time_d)
    return Curves(time_d, curve / 2, curve, curve * 2, unit, level)


@pytest.fixture
def dataset() -> Dataset:
    samples = (
        sample(3.0, 5.0),
        sample(10.0, 2e4),
        sample(28.0, 300.0),
        sample(80.0, 1.0),
    )
    patients = tuple(
        Patient(f"P{n:02d}", DOSES, samples, (), {}, (), (-3.0,)) for n in range(14)
    )
    return Dataset("x.csv", patients, {"qpcr": "copies/ug"}, False, (), "0")


def fits(dataset: Dataset, **options):
    curves = {patient.id: band() for patient in dataset.patients}
    return individual_fits(dataset, "qpcr", curves, title="Fits", **options)


def every_figure(dataset: Dataset):
    yield from fits(dataset)
    yield population_band(dataset, "qpcr", band(), title="Population")
    yield ftc_doses(
        {"no FTC": band(), "5e6": band(1e4)},
        title="Doses",
        note="A what-if.",
        doses_d=DOSES_D,
        synthetic=dataset.synthetic,
    )


def texts(figure) -> list[str]:
    return [text.get_text() for text in figure.texts]


def offsets(axes, gid: str) -> list[tuple[float, float]]:
    found = [artist for artist in axes.collections if artist.get_gid() == gid]
    return [tuple(point) for artist in found for point in artist.get_offsets()]


def dose_ticks(axes) -> dict[str, list[float]]:
    return {
        artist.get_gid(): [segment[0][0] for segment in artist.get_segments()]
        for artist in axes.collections
        if artist.get_gid() in DOSES_D
    }


@pytest.mark.parametrize(("per_page", "pages"), [(12, [12, 2]), (5, [5, 5, 4])])
def test_every_patient_gets_a_panel(dataset, per_page, pages):
    figures = fits(dataset, per_page=per_page)
    assert [len(figure.axes) for figure in figures] == pages
    titles = [axes.get_title("left") for figure in figures for axes in figure.axes]
    assert titles == [patient.id for patient in dataset.patients]
    assert all(len(figure.legends) == 1 for figure in figures)


def test_samples_below_their_limit_are_open_marks_at_it(dataset):
    panel = fits(dataset)[0].axes[0]
    population = population_band(dataset, "qpcr", band(), title="").axes[0]
    for axes, patients in ((panel, 1), (population, len(dataset.patients))):
        assert offsets(axes, BELOW_GID) == [(3.0, LIMIT), (80.0, LIMIT)] * patients
        assert offsets(axes, ABOVE_GID) == [(10.0, 2e4), (28.0, 300.0)] * patients
        for artist in axes.collections:
            if artist.get_gid() in (BELOW_GID, ABOVE_GID):
                fill = np.asarray(artist.get_facecolor())[:, :3]
                assert np.all(fill == 1.0) == (artist.get_gid() == BELOW_GID)


def test_doses_are_ticks_at_their_times_and_a_dose_of_nothing_is_none(dataset):
    for figure in every_figure(dataset):
        for axes in figure.axes:
            assert dose_ticks(axes) == DOSES_D


def test_the_axis_starts_at_half_the_limit_above_the_strip_of_doses(dataset):
    axes = fits(dataset)[0].axes[0]
    assert axes.get_yscale() == "log"
    assert axes.spines["left"].get_bounds() == pytest.approx((LIMIT / 2, 4e4))
    axes = fits(dataset, logged_floor=5.0)[0].axes[0]
    assert axes.spines["left"].get_bounds() == pytest.approx((5.0, 4e4))


@pytest.mark.parametrize("synthetic", [True, False])
def test_a_figure_says_synthetic_exactly_when_the_data_are(dataset, synthetic):
    dataset = dataclasses.replace(dataset, synthetic=synthetic)
    for figure in every_figure(dataset):
        assert (SYNTHETIC in texts(figure)) == synthetic


def test_a_patient_without_a_fit_or_samples_is_drawn_and_says_so(dataset):
    first, second, *_ = dataset.patients
    second = dataclasses.replace(second, samples=())
    dataset = dataclasses.replace(dataset, patients=(first, second))
    (figure,) = individual_fits(dataset, "qpcr", {"P01": band()}, title="Fits")
    assert [axes.get_title("right") for axes in figure.axes] == ["no fit", "no samples"]


def test_the_note_of_a_what_if_and_all_its_doses_are_in_the_figure():
    curves = {"no FTC": band(), "2e6": band(2e3), "5e6": band(5e3)}
    note = "A what-if drawn from the prior, not data: " + "nothing was measured. " * 9
    figure = ftc_doses(curves, title="Doses", note=note, doses_d=DOSES_D)
    assert set(note.split()) <= set(" ".join(texts(figure)).split())
    (legend,) = figure.legends
    labels = [text.get_text() for text in legend.get_texts()]
    assert labels == [*curves, "CAR-T dose", "FTC dose"]
    lines = figure.axes[0].lines
    assert len({line.get_color() for line in lines}) == len(lines) == 3


def test_nothing_is_left_with_pyplot_and_the_same_figure_is_the_same_file(
    dataset, tmp_path
):
    for number, figure in enumerate(every_figure(dataset)):
        path = save(figure, tmp_path / "new" / f"{number}.png", dpi=50)
        again = save(figure, tmp_path / "again.png", dpi=50)
        assert path.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
        assert path.read_bytes() == again.read_bytes()
        assert b"Software" not in path.read_bytes()
    assert matplotlib.pyplot.get_fignums() == []


@pytest.mark.parametrize("last_dose_d", [0.0, 119.0])
def test_a_compressed_axis_has_an_inverse_no_bend_and_says_so(last_dose_d):
    axis = TimeAxis.of([800.0], [last_dose_d])
    days = np.linspace(-5.0, 800.0, 2000)
    np.testing.assert_allclose(axis.time_d(axis.width(days)), days, atol=1e-9)
    slope = np.diff(axis.width(days)) / np.diff(days)
    assert np.all(slope > 0)
    assert np.max(np.abs(np.diff(slope))) < 0.05
    assert "compressed" in axis.label
    short = TimeAxis.of([150.0], [last_dose_d])
    np.testing.assert_array_equal(short.width(days), days)
    assert "compressed" not in short.label


@pytest.mark.parametrize("span_d", [0.5, 20.0, 56.0, 168.0, 300.0, 800.0, 6000.0])
def test_ticks_are_days_on_the_axis_and_not_crowded(span_d):
    axis = TimeAxis.of([span_d], [0.0])
    ticks = axis.ticks(0.13)
    assert ticks[0] == 0.0
    assert ticks[-1] <= max(span_d, 1.0)
    gaps = np.diff([float(axis.width(day)) for day in ticks])
    assert np.all(gaps >= 0.13 * axis.width(axis.span_d))


@pytest.mark.parametrize(
    ("build", "says"),
    [
        (lambda d: individual_fits(d, "qpcr", {"X": band()}, title=""), "X"),
        (lambda d: individual_fits(d, "flow", {}, title=""), "no 'flow'"),
        (
            lambda d: population_band(d, "qpcr", band(unit="cells/uL"), title=""),
            "cells/uL",
        ),
        (
            lambda d: individual_fits(
                d, "qpcr", {"P00": band(), "P01": band(level=0.5)}, title=""
            ),
            "different levels",
        ),
        (lambda d: fits(d, logged_floor=1e9), "cannot run from"),
        (lambda d: band(level=90.0), "level 90"),
        (lambda d: ftc_doses({}, title="", note="", doses_d={}), "0 doses"),
    ],
)
def test_what_cannot_be_drawn_is_refused(dataset, build, says):
    with pytest.raises(ValueError, match=says):
        build(dataset)
