"""Ranks of the truth: how far their ECDF is from uniform, with its band."""

from collections.abc import Mapping
from typing import NamedTuple

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from ckin.plot.page import BLUE, FAINT, GREY, INK, STYLE, VERMILION


COLUMNS = 3


class RankCurve(NamedTuple):
    """An ECDF less the uniform, at its places; and the band of a right fit.

    Attributes:
        place: 0 to 1, (n,).
        ecdf: (n,).
        low: (n,).
        high: (n,).
    """

    place: np.ndarray
    ecdf: np.ndarray
    low: np.ndarray
    high: np.ndarray


@matplotlib.rc_context(STYLE)
def rank_ecdfs(curves: Mapping[str, RankCurve], title: str, note: str) -> Figure:
    """A panel a parameter: ECDF of the truth's ranks less the uniform.

    Args:
        curves: by parameter.
        title: over all.
        note: under all.
    """
    rows = -(-len(curves) // COLUMNS)
    figure = Figure(figsize=(7.2, 0.9 + 1.7 * rows), layout="constrained")
    figure.suptitle(title, x=0.01, ha="left", fontsize=9.5)
    figure.supxlabel(note, x=0.01, ha="left", fontsize=7.5, color=GREY)
    axes = figure.subplots(rows, COLUMNS, sharex=True, sharey=True, squeeze=False)
    for ax, (name, curve) in zip(axes.flat, curves.items(), strict=False):
        outside = (curve.ecdf < curve.low) | (curve.ecdf > curve.high)
        place = curve.place
        ax.fill_between(
            place, curve.low - place, curve.high - place, color=FAINT, step="mid"
        )
        ax.axhline(0.0, color=GREY, lw=0.6)
        colour = VERMILION if outside.any() else BLUE
        ax.step(place, curve.ecdf - place, where="mid", color=colour, lw=1.2)
        ax.set_title(name, fontsize=8, color=INK, loc="left")
        ax.set_xlim(0.0, 1.0)
    for ax in list(axes.flat)[len(curves) :]:
        ax.set_visible(False)
    axes[-1, 0].set_xlabel("rank of the truth (share of draws below it)")
    axes[0, 0].set_ylabel("ECDF - uniform")
    return figure
