"""Cards of models, in every form, and the pages written from them."""

import importlib.util
import shutil
import subprocess
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from typed import typed

from ckin.card import card, model_listing
from ckin.card_forms import as_latex, as_markdown, write_card
from ckin.errors import InputError
from ckin.library import list_models, load_model
from ckin.model import parameters
from ckin.typical import one_infusion


DOCS = Path(__file__).parents[1] / "docs"
each_model = pytest.mark.parametrize("name", list_models())


@pytest.fixture(scope="module")
def maker() -> ModuleType:
    spec = importlib.util.spec_from_file_location("maker", DOCS / "make_models.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@each_model
def test_the_page_of_a_model_is_written_from_its_file(name: str, maker: ModuleType):
    written = (DOCS / "models" / f"{name}.md").read_text(encoding="utf-8")
    assert written == maker.page(name), "run python docs/make_models.py"
    assert (DOCS / "models" / f"{name}.png").stat().st_size > 10_000


def test_the_index_lists_every_model_and_no_page_is_left_over(maker: ModuleType):
    assert (DOCS / "models" / "README.md").read_text(encoding="utf-8") == maker.index()
    pages = {path.stem for path in (DOCS / "models").glob("*.md")} - {"README"}
    assert pages == set(list_models())


@each_model
def test_every_form_of_a_card_tells_of_every_parameter(name: str):
    found = card(name)
    told = {as_markdown(found).replace("\\", ""), as_latex(found).replace("\\", "")}
    for text in told:
        for parameter, info in parameters(load_model(name)).items():
            assert parameter in text
            assert info.unit in text
        assert load_model(name).reference.split(",")[0] in text


@each_model
def test_what_is_unverified_is_said_under_the_card(name: str):
    infos = parameters(load_model(name)).items()
    unverified = [parameter for parameter, info in infos if info.checked == "U"]
    notes = [n for n in card(name).notes if n.startswith("Unverified values: ")]
    assert notes == (
        [f"Unverified values: {', '.join(unverified)}"] if unverified else []
    )


def test_a_card_of_latex_closes_what_it_opens():
    text = as_latex(card("feeding_szcart01"))
    for environment in ("document", "verbatim", "longtable"):
        opened = text.count(rf"\begin{{{environment}}}")
        assert opened == text.count(rf"\end{{{environment}}}") > 0
    bare = text.split(r"\begin{document}")[1]
    outside = [
        part.split(r"\end{verbatim}")[-1] for part in bare.split(r"\begin{verbatim}")
    ]
    for part in outside:
        assert "_" not in part.replace(r"\_", "")


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("xelatex") is None, reason="needs xelatex")
@each_model
def test_a_card_of_latex_compiles_and_fits_its_page(name: str, tmp_path: Path):
    write_card(card(name), tmp_path / "card.tex")
    words = ["xelatex", "-interaction=nonstopmode", "-halt-on-error", "card.tex"]
    subprocess.run(words, cwd=tmp_path, check=True, capture_output=True)
    log = (tmp_path / "card.log").read_text(encoding="utf-8", errors="replace")
    assert "Overfull" not in log
    assert "Missing character" not in log


def test_every_row_of_a_listing_is_as_wide_as_its_head():
    for listing in (model_listing(), *card("feeding_szcart01").tables):
        assert {len(row) for row in listing.rows} == {len(listing.columns)}


def test_the_command_writes_a_card_and_draws_a_course(tmp_path: Path):
    for ending in (".md", ".tex", ".png"):
        path = tmp_path / f"card{ending}"
        said = typed("models", "phases_stein2019", "--out", path)
        assert said.exit_code == 0, said.output
        assert path.stat().st_size > 1000
    with pytest.raises(InputError, match=r"\.md or \.tex, a course"):
        write_card(card("phases_stein2019"), tmp_path / "card.docx")
    assert typed("models", "--out", "x.md").exit_code == 2


def test_what_is_no_patient_is_given_a_dose_of_its_own():
    for name in list_models():
        model = load_model(name)
        events, given = one_infusion(model)
        cells = float(np.sum(events.cells))
        if model.usual_cart is not None:
            assert cells == model.usual_cart
            said = [n for n in card(name).notes if n.startswith("Usual dose: ")]
            assert len(said) == 1
            assert given.startswith(said[0].removeprefix("Usual dose: ").split()[0])
        else:
            assert cells == (3e8 if model.receives else 0.0), name
