"""The forms of a model card: a terminal's, Markdown, LaTeX."""

from pathlib import Path

from rich.console import Group
from rich.table import Table
from rich.text import Text

from ckin.card import Card, Listing
from ckin.errors import InputError
from ckin.writing import writing


# Of a table's column in LaTeX: what runs on is wrapped, the rest is as wide as it is.
WRAPPED = ("what", "what; source", "what it is", "source", "law")
LATEX = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
}
PREAMBLE = r"""% Compile with lualatex or xelatex: the equations are in Unicode.
\documentclass{article}
\usepackage[margin=1.5cm,landscape]{geometry}
\usepackage{fontspec,longtable,array}
\setmainfont{DejaVu Sans}
\setmonofont{DejaVu Sans Mono}
\begin{document}
\footnotesize
"""


def on_terminal(card: Card) -> Group:
    """The card as `ckin models NAME` prints it."""
    return Group(
        Text(card.name, style="bold"),
        Text(f"{card.headline}\n\n{card.equations}\n"),
        *(listing_on_terminal(table) for table in card.tables),
        *(Text(note) for note in card.notes),
    )


def listing_on_terminal(listing: Listing) -> Table:
    """One table of a card, or the list of models."""
    table = Table(title=listing.title, title_justify="left")
    for column in listing.columns:
        table.add_column(column, overflow="fold")
    for row in listing.rows:
        table.add_row(*(Text(cell) for cell in row))
    return table


def as_markdown(card: Card, figure: str = "", caption: str = "") -> str:
    """The card as a Markdown page.

    Args:
        card: the card.
        figure: file of a figure to show, relative to the page.
        caption: under it.
    """
    parts = [f"# {card.name}", card.headline]
    for block, laid_out in _blocks(card.equations):
        parts.append(f"```text\n{block}\n```" if laid_out else block)
    if figure:
        parts += [f"![{caption}]({figure})", f"*{caption}*"]
    for table in card.tables:
        cells = [table.columns, ("---",) * len(table.columns), *table.rows]
        lines = ["| " + " | ".join(map(_markdown, row)) + " |" for row in cells]
        parts += [f"## {table.title}", "\n".join(lines)]
    parts += [
        "## Source and cautions",
        *(note.replace("|", "\\|") for note in card.notes),
    ]
    return "\n\n".join(parts) + "\n"


def as_latex(card: Card) -> str:
    """The card as a LaTeX document that compiles by itself."""
    parts = [PREAMBLE + rf"\section*{{{_latex(card.name)}}}", _latex(card.headline)]
    for block, laid_out in _blocks(card.equations):
        verbatim = f"\\begin{{verbatim}}\n{block}\n\\end{{verbatim}}"
        parts.append(verbatim if laid_out else _latex(block))
    for table in card.tables:
        widths = " ".join(
            r">{\raggedright\arraybackslash}p{5.5cm}" if head in WRAPPED else "l"
            for head in table.columns
        )
        rows = [" & ".join(map(_latex, row)) + r" \\" for row in table.rows]
        head = " & ".join(map(_latex, table.columns)) + r" \\ \hline\endhead"
        parts += [
            rf"\subsection*{{{_latex(table.title)}}}",
            "\n".join(
                [rf"\begin{{longtable}}{{{widths}}}", head, *rows, r"\end{longtable}"]
            ),
        ]
    parts += [_latex(note) for note in card.notes]
    return "\n\n".join(parts) + "\n\n\\end{document}\n"


FORMS = {".md": as_markdown, ".tex": as_latex}


def write_card(card: Card, path: Path) -> None:
    """Write a card as a file, in the form that its ending says.

    Raises:
        InputError: another ending than `.md` or `.tex`, or not writable.
    """
    if path.suffix not in FORMS:
        raise InputError(
            f"{path}: a card is written as {' or '.join(FORMS)}, a "
            "course drawn as .png or .svg"
        )
    with writing(path):
        path.write_text(FORMS[path.suffix](card), encoding="utf-8")


def _blocks(text: str) -> list[tuple[str, bool]]:
    """Paragraphs, and whether each is laid out by hand (indented) and stays so."""
    found: list[tuple[str, bool]] = []
    for paragraph in text.split("\n\n"):
        lines = paragraph.splitlines()
        laid_out = bool(lines) and all(line.startswith("    ") for line in lines)
        block = "\n".join(line[4:] if laid_out else line for line in lines)
        if laid_out and found and found[-1][1]:
            block = f"{found.pop()[0]}\n\n{block}"
        if block:
            found.append((block, laid_out))
    return found


def _markdown(cell: str) -> str:
    for character in r"\|*_<`":
        cell = cell.replace(character, "\\" + character)
    return cell


def _latex(text: str) -> str:
    return "".join(LATEX.get(character, character) for character in text)
