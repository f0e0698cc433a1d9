"""The page of a what-if: the tape of the model across its top, panels, a note below.

Every figure of a comparison or an optimum is drawn on one.
"""

import textwrap

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from ckin.plot.page import YELLOW


MODEL_BASED = "MODEL-BASED – no patient measured, not trial results"
# Inches.
LEFT, RIGHT, TAPE, LINE, GAP = 0.9, 0.25, 0.3, 0.19, 0.75
CHARACTERS_PER_INCH = 14.5


def what_if_page(
    shape: tuple[int, int],
    panel: tuple[float, float],
    *,
    title: str,
    note: str,
    left: float = LEFT,
    legend: bool = False,
    each_y: bool = False,
    head: float = 0.0,
) -> tuple[Figure, np.ndarray]:
    """A page of panels with the tape of the model across its top and a note below.

    Args:
        shape: rows and columns of panels.
        panel: width and height of each, inches.
        title: over all.
        note: under all.
        left: inches to the left of the panels.
        legend: whether to leave room for a legend under them.
        each_y: whether every panel has an axis of its own to its left.
        head: inches over every panel for what is written there.
    """
    rows, columns = shape
    gap_x = 0.75 if each_y else 0.3
    width = left + columns * panel[0] + (columns - 1) * gap_x + RIGHT
    width = max(width, 6.2)
    titles = textwrap.wrap(title, int((width - 0.4) * 10))
    notes = textwrap.wrap(note, int((width - 0.4) * CHARACTERS_PER_INCH))
    top = TAPE + 0.14 + 1.25 * LINE * len(titles) + 0.28 + head
    bottom = 0.6 + (0.5 if legend else 0.0) + LINE * len(notes) + 0.12
    gap_y = GAP + head
    height = top + rows * panel[1] + (rows - 1) * gap_y + bottom
    figure = Figure(figsize=(width, height))
    inner = width - left - RIGHT
    panel_x = (inner - (columns - 1) * gap_x) / columns
    panels = figure.subplots(
        rows,
        columns,
        squeeze=False,
        gridspec_kw={
            "left": left / width,
            "right": 1 - RIGHT / width,
            "bottom": bottom / height,
            "top": 1 - top / height,
            "wspace": gap_x / panel_x,
            "hspace": gap_y / panel[1],
        },
    )
    tape = 1 - TAPE / height
    figure.add_artist(
        Rectangle((0, tape), 1, 1 - tape, transform=figure.transFigure, color=YELLOW)
    )
    figure.text(
        *(0.5, 0.5 * (1 + tape), MODEL_BASED),
        ha="center",
        va="center_baseline",
        fontsize=11,
        fontweight="bold",
        color="black",
    )
    y = height - TAPE - 0.14
    for text in titles:
        figure.text(
            0.2 / width, y / height, text, va="top", fontsize=11.5, fontweight="bold"
        )
        y -= 1.25 * LINE
    for row, text in enumerate(reversed(notes)):
        figure.text(
            0.2 / width, (0.1 + LINE * row) / height, text, va="bottom", fontsize=8.5
        )
    figure.set_gid(f"{0.1 + LINE * len(notes):.4f}")
    return figure, panels


def legend_below(figure: Figure, *panels: Axes) -> None:
    """The legend of these panels: under them, over the note."""
    each = [axes.get_legend_handles_labels() for axes in panels]
    handles = [handle for own, _ in each for handle in own]
    labels = [label for _, own in each for label in own]
    height = figure.get_size_inches()[1]
    figure.legend(
        handles,
        labels,
        loc="lower center",
        bbox_to_anchor=(0.5, float(figure.get_gid() or 0.0) / height),
        ncols=max(1, min(4, len(labels))),
        borderaxespad=0.2,
        columnspacing=1.4,
    )
