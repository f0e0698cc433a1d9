"""A page: its panels, what stands above and under them, and how it is written."""

import textwrap
from pathlib import Path

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.legend_handler import HandlerTuple
from matplotlib.patches import Rectangle


SYNTHETIC = "SYNTHETIC DATA – not trial results"
TIME_LABEL = "days from first infusion"
# How the name of a figure ends.
FIGURES = (".png", ".svg")

# Okabe and Ito's palette, which colour-blind readers tell apart.
BLUE, SKY, ORANGE, GREEN = "#0072B2", "#56B4E9", "#E69F00", "#009E73"
VERMILION, PURPLE, YELLOW = "#D55E00", "#CC79A7", "#F0E442"
INK, GREY, FAINT = "#222222", "#767676", "#E4E4E4"
# Of what differs in kind alone, in turn.
COLOURS = (BLUE, ORANGE, GREEN, VERMILION, PURPLE, SKY, GREY)

# Every figure is built under these, whatever the reader's own matplotlibrc says.
STYLE = {
    "font.family": ["DejaVu Sans"],
    "font.size": 8.5,
    "axes.edgecolor": GREY,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.6,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": 8.5,
    "figure.facecolor": "white",
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "text.color": INK,
    "xtick.color": INK,
    "xtick.major.width": 0.6,
    "ytick.color": INK,
    "ytick.major.width": 0.6,
}

# Width and height of one panel by the number of columns, inches.
PANEL = {1: (7.0, 3.9), 2: (4.3, 2.9), 3: (3.1, 2.3), 4: (2.5, 1.85)}
# Between panels, and around them, inches.
GAP_X, GAP_Y = 0.18, 0.34
LEFT, RIGHT = 0.85, 0.2
LINE, TAPE = 0.19, 0.3
CHARACTERS_PER_INCH = 15.5
LEGEND_CHARACTERS_PER_INCH = 14.0


def sheet(
    shape: tuple[int, int],
    *,
    title: str,
    x_label: str,
    y_label: str,
    key: list[tuple],
    subtitle: str = "",
    note: str = "",
    synthetic: bool = False,
) -> tuple[Figure, list[Axes]]:
    """A page of panels that share their axes, sized from the panels outwards.

    Args:
        shape: rows and columns of panels.
        title: the first line.
        x_label: under the panels.
        y_label: along the left side.
        key: the legend under the panels: what is drawn, and what it is.
        subtitle: under the title.
        note: under everything.
        synthetic: whether the page says `SYNTHETIC` across the top.
    """
    rows, columns = shape
    panel_x, panel_y = PANEL[columns]
    width = LEFT + columns * panel_x + (columns - 1) * GAP_X + RIGHT
    titles = textwrap.wrap(title, int((width - LEFT) * 10))
    subtitles = textwrap.wrap(subtitle, int((width - LEFT) * CHARACTERS_PER_INCH))
    notes = textwrap.wrap(note, int((width - LEFT) * CHARACTERS_PER_INCH))
    key_columns = _key_columns([text for _, text in key], width)
    key_rows = -(-len(key) // key_columns)
    top = (
        (TAPE if synthetic else 0)
        + 0.16
        + 1.25 * LINE * len(titles)
        + LINE * len(subtitles)
        + (0.3 if rows * columns > 1 else 0.16)
    )
    under = 0.68 + LINE * key_rows
    bottom = under + (0.14 + LINE * len(notes) if notes else 0.06)
    height = top + rows * panel_y + (rows - 1) * GAP_Y + bottom
    figure = Figure(figsize=(width, height))
    panels = figure.subplots(
        rows,
        columns,
        sharex=True,
        sharey=True,
        squeeze=False,
        gridspec_kw={
            "left": LEFT / width,
            "right": 1 - RIGHT / width,
            "bottom": bottom / height,
            "top": 1 - top / height,
            "wspace": GAP_X / panel_x,
            "hspace": GAP_Y / panel_y,
        },
    )
    y = height
    if synthetic:
        y -= TAPE
        _tape(figure, y / height)
    y -= 0.16
    x = 0.3 / width
    for text in titles:
        figure.text(
            x, y / height, text, va="top", fontsize=11.5, fontweight="bold", color=INK
        )
        y -= 1.25 * LINE
    for text in subtitles:
        figure.text(x, y / height, text, va="top", fontsize=9, color=GREY)
        y -= LINE
    middle = (LEFT + (width - RIGHT)) / 2 / width
    figure.text(middle, (bottom - 0.45) / height, x_label, ha="center", fontsize=9.5)
    figure.text(
        0.2 / width,
        (bottom + height - top) / 2 / height,
        y_label,
        rotation=90,
        ha="center",
        va="center",
        fontsize=9.5,
    )
    figure.legend(
        [handle for handle, _ in key],
        [text for _, text in key],
        loc="upper center",
        bbox_to_anchor=(middle, (bottom - 0.56) / height),
        ncols=key_columns,
        handler_map={tuple: HandlerTuple(ndivide=1)},
        borderaxespad=0,
        columnspacing=1.6,
    )
    for row, text in enumerate(reversed(notes)):
        figure.text(
            x, (0.12 + LINE * row) / height, text, va="bottom", fontsize=9, color=INK
        )
    return figure, list(panels.flat)


def save(figure: Figure, path: str | Path, dpi: int = 140) -> Path:
    """Write a PNG, or an SVG by its name: the same bytes for the same figure.

    Makes its folder.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix.lower() == ".svg":
        with matplotlib.rc_context({"svg.hashsalt": "ckin"}):
            figure.savefig(path, format="svg", metadata={"Date": None})
    else:
        figure.savefig(path, dpi=dpi, format="png", metadata={"Software": None})
    return path


def _tape(figure: Figure, y: float) -> None:
    figure.add_artist(
        Rectangle((0, y), 1, 1 - y, transform=figure.transFigure, color=YELLOW)
    )
    figure.text(
        0.5,
        (1 + y) / 2,
        SYNTHETIC,
        ha="center",
        va="center_baseline",
        fontsize=12,
        fontweight="bold",
        color="black",
    )


def _key_columns(texts: list[str], width: float) -> int:
    """As many columns of a legend as fit, filled evenly."""
    for columns in range(len(texts), 1, -1):
        rows = -(-len(texts) // columns)
        # Legends are filled column by column.
        longest = [
            max(map(len, texts[at : at + rows])) for at in range(0, len(texts), rows)
        ]
        if sum(n / LEGEND_CHARACTERS_PER_INCH + 0.65 for n in longest) < width - LEFT:
            return len(longest)
    return 1
