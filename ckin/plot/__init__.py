"""Figures: each patient's fit, the population band, and FTC doses side by side.

Every function returns a `matplotlib.figure.Figure` of its own (individual fits: one a
page) and leaves no global state behind; `save` writes it. A sample below its detection
limit is an open mark at the limit, never a value. Doses are ticks in a strip under the
data. Figures of synthetic data say so across the top.

    for page, figure in enumerate(individual_fits(data, "qpcr", bands, title="Fits")):
        save(figure, f"fits-{page + 1}.png")
"""

from ckin.plot.calendar import dose_calendar
from ckin.plot.figures import (
    POSTERIOR_WORDS,
    ftc_doses,
    individual_fits,
    population_band,
)
from ckin.plot.page import FIGURES, SYNTHETIC, save
from ckin.plot.panel import Curves
from ckin.plot.profiles import profile_panels


__all__ = [
    "FIGURES",
    "POSTERIOR_WORDS",
    "SYNTHETIC",
    "Curves",
    "dose_calendar",
    "ftc_doses",
    "individual_fits",
    "population_band",
    "profile_panels",
    "save",
]
