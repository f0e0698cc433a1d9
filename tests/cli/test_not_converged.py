"""Nothing that comes from a fit that did not converge can be taken for one that did.

Every command that makes a fit or reads one is run on fits that did not converge; a new
command has to be put among them, or among those that have no fit.
"""

import csv
import json
from pathlib import Path

import matplotlib.text
import pytest
import typer
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox
from typed import rows_of, typed

from ckin import demo
from ckin.analysis import Analysis, run_fit
from ckin.cli import app
from ckin.dataset import read_dataset
from ckin.writing import CONVERGED, DID_NOT


LINEAR = Path(__file__).resolve().parents[1] / "scenario" / "linear.py"
# What a fit folder holds of its inputs says nothing of the fit.
INPUTS = {"fitted_data.csv", "fit_settings.json"}

SCENARIO = f"""
name = "mine"
title = "twice the dose"
model = "{LINEAR}"
follow_d = 60
[population]
source = "fit"
draws = 5
patients = 2
[arms.one]
protocol = "szcart01-cart1"
[arms.double]
protocol = "szcart01-cart1"
with_dose = [{{ product = "CART", cells_per_kg = 10e6 }}]
[outcomes.auc]
metric = "AUC028"
"""

QUESTION = """
name = "apart"
title = "Two FTC, apart"
follow_d = 110
[population]
source = "fit"
people = 3
weight_kg = 60
[course]
protocol = "szcart01-medium"
repeated = { cycles = 2 }
[[open]]
product = "FTC"
cycle = 2
infusions = 2
to_day = 22
most_cells_per_kg = 5e6
[budget]
product = "FTC"
cells_per_kg = 6.5e6
[outcomes.fed]
metric = "AUC"
of = "ftc_cells_per_ul"
[[utility]]
outcome = "fed"
weight = 1.0
[grid]
cells_per_kg = [3.25e6]
[search]
starts = 2
steps = 5
"""

# Commands by what they are given; {fit} is a folder, {data} what was fitted, {out} new.
FROM_FITS = {
    "fit": (
        "fit {data} --model {model} --method nuts --chains 2 --warmup 20 --draws 25 "
        "--out {fit} --resume"
    ),
    "diagnose": "diagnose {fit} --out {out} --draws 50 --replicates 100",
    "loo": "loo {fit} --draws 50 --out {out}/loo.csv",
    "hold-out": "hold-out {fit} --draws 50 --against pooled --out {out}",
    "forecast": "forecast {fit} {data} --draws 50 --until 30 --out {out}",
    "metrics": "metrics {fit} --out {out}/metrics.csv",
    "compare": "compare {scenario} --fit {fit} --out {out}",
    "optimise": "optimise {question} --fit {fit} --pareto --out {out}",
    "demo": "demo --out {out}",
}
# Of files, models and protocols alone. `calibrate` counts the fits that did not
# converge among its replicates and is judged by its own ranks.
WITHOUT_FITS = {
    *("apheresis", "calibrate", "check", "convert", "ct", "export", "identify"),
    *("import-sbml", "models", "new-model", "new-protocol", "new-question"),
    *("new-scenario", "protocols", "scenarios", "simulate"),
}


def test_every_command_is_known_to_have_a_fit_or_none():
    commands = typer.main.get_command(app).commands  # pyright: ignore
    assert set(commands) == {*FROM_FITS} | WITHOUT_FITS
    named = {
        name
        for name, command in commands.items()
        if {"fit", "folder", "folders"} & {p.name for p in command.params}
    }
    assert named <= {*FROM_FITS}


def run(text, **given):
    words = [word.format(**given) for word in text.split()]
    result = typed(*words)
    assert isinstance(result.exception, SystemExit | None), result.exception
    return result


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    file = tmp_path_factory.mktemp("data") / "virtual.csv"
    plan = "simulate --model {model} --protocol szcart01-cart1 --n 4 --horizon 60"
    run(f"{plan} --out {{file}}", model=LINEAR, file=file)
    return file


FEW = Analysis(str(LINEAR), method="nuts", chains=2, warmup=20, draws=25)


@pytest.fixture(scope="module")
def failed(data, tmp_path_factory):
    """A folder of a fit that was sampled for too short a time, and the fit."""
    folder = tmp_path_factory.mktemp("fits") / "short"
    found = run_fit(read_dataset(data), FEW, folder, lambda *_: None)
    assert not found.verdict.converged
    return folder, found


def check_marked(folder: Path, texts: dict[str, list[str]]) -> None:
    """Every table, JSON and figure of a folder says that the fit did not converge."""
    for path in folder.rglob("*"):
        if path.name in INPUTS or "checkpoint" in path.parts:
            continue
        if path.suffix == ".csv":
            rows = rows_of(path)
            assert rows, path
            assert {row[CONVERGED] for row in rows} == {"False"}, path
            assert list(rows[0])[-1] == CONVERGED, path
        elif path.suffix == ".json":
            told = json.loads(path.read_text(encoding="utf-8"))
            assert next(iter(told)) == CONVERGED, path
            assert told[CONVERGED] is False, path
        elif path.suffix == ".png":
            assert any(DID_NOT in text for text in texts[path.name]), path


def inked(text: matplotlib.text.Text, canvas: FigureCanvasAgg) -> Bbox:
    """Where a text stands: without blank lines before it, and without its leading."""
    box, lines = text.get_window_extent(canvas.get_renderer()), text.get_text()
    blank = len(lines) - len(lines.lstrip("\n"))
    line = box.height / (1 + lines.count("\n"))
    top = box.y1 - blank * line
    return Bbox.from_extents(box.x0, box.y0 + 0.2 * line, box.x1, top - 0.2 * line)


def check_legible(figure: Figure) -> None:
    """What says so is on the page, and no other line of the page covers it."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    boxes = {text: inked(text, canvas) for text in figure.texts if text.get_text()}
    for text, box in boxes.items():
        if DID_NOT not in " ".join(text.get_text().split()):
            continue
        assert box.x0 >= 0, text
        assert box.x1 <= figure.bbox.x1, text
        for other, at in boxes.items():
            assert other is text or not box.overlaps(at), (text, other)


@pytest.fixture
def texts(monkeypatch):
    """What stands on each figure that is saved, by the name of its file."""
    seen: dict[str, list[str]] = {}
    whole = Figure.savefig

    def savefig(self, path, *args, **kwargs):
        check_legible(self)
        shown = self.findobj(matplotlib.text.Text)
        seen[Path(path).name] = [" ".join(text.get_text().split()) for text in shown]
        seen[Path(path).name].append(" ".join(seen[Path(path).name]))
        whole(self, path, *args, **kwargs)

    monkeypatch.setattr(Figure, "savefig", savefig)
    return seen


def check_said(result) -> None:
    assert result.exit_code == 1, result.output
    assert DID_NOT in result.stdout.splitlines()[0]


@pytest.mark.slow
@pytest.mark.parametrize("command", list(FROM_FITS))
def test_what_comes_of_a_fit_that_did_not_converge_says_so(
    command, failed, data, texts, tmp_path, monkeypatch
):
    fit, found = failed
    scenario, question = tmp_path / "mine.toml", tmp_path / "apart.toml"
    scenario.write_text(SCENARIO, encoding="utf-8")
    question.write_text(QUESTION, encoding="utf-8")
    out = tmp_path / "out"
    out.mkdir()
    monkeypatch.setattr(demo, "run_fit", lambda *_: found)
    monkeypatch.setattr(demo, "ftc_dose_figure", lambda *_: {})
    result = run(
        FROM_FITS[command],
        fit=fit,
        data=data,
        model=LINEAR,
        out=out,
        scenario=scenario,
        question=question,
    )
    check_said(result)
    check_marked(fit if command == "fit" else out, texts)
    assert command in ("demo", "fit") or list(out.iterdir())


@pytest.mark.slow
def test_a_likelihood_that_has_no_peak_is_no_maximum(data, texts, tmp_path):
    """Every reading below its limit: the faster cells die, the better, without end."""
    file = tmp_path / "below.csv"
    text = data.read_text(encoding="utf-8")
    start = text.index("ID,")
    rows = list(csv.DictReader(text[start:].splitlines()))
    for row in rows:
        if row["EVID"] == "0":
            row["CENS"], row["DV"] = "1", row["LIMIT"]
    with file.open("w", encoding="utf-8", newline="") as to:
        to.write(text[:start])
        writer = csv.DictWriter(to, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    how = "fit {data} --model {model} --method laplace --profile loss --out {out}"
    result = run(how, data=file, model=LINEAR, out=tmp_path / "fit")
    check_said(result)
    assert "do not determine" in result.stdout
    check_marked(tmp_path / "fit", texts)
