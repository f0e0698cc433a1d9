"""Writes docs/models/: a page and a figure for every model, from the files themselves.

    python docs/make_models.py

Run it after a change of a model; a test holds the pages to the files.
"""

from pathlib import Path

from ckin.card import card, model_listing
from ckin.card_forms import as_markdown
from ckin.library import list_models
from ckin.typical import draw_typical_course


FOLDER = Path(__file__).parent / "models"
CAPTION = (
    "Typical values, one infusion: computed from the model, nobody was measured. "
    "Each panel is one unit."
)


def page(name: str) -> str:
    """The page of one model."""
    written = "<!-- Written by docs/make_models.py from the model's file. -->\n\n"
    return written + as_markdown(card(name), f"{name}.png", CAPTION)


def index() -> str:
    """The list of all."""
    lines = [
        f"- [{name}]({name}.md): {what}" for name, what, *_ in model_listing().rows
    ]
    return "\n".join(
        [
            "# Models",
            "",
            "Each page is written from the model's own file; so is `ckin models NAME`.",
            "",
            *lines,
            "",
        ]
    )


def main() -> None:
    """Write all of it."""
    FOLDER.mkdir(exist_ok=True)
    for name in list_models():
        draw_typical_course(name, FOLDER / f"{name}.png")
        (FOLDER / f"{name}.md").write_text(page(name), encoding="utf-8")
    (FOLDER / "README.md").write_text(index(), encoding="utf-8")


if __name__ == "__main__":
    main()
