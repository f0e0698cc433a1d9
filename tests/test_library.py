import hashlib
import pickle
from pathlib import Path

import pytest

from ckin import library
from ckin.dataset import read_dataset
from ckin.errors import InputError
from ckin.library import (
    dataset_path,
    list_datasets,
    list_models,
    load_model,
    load_protocol,
    load_protocols,
    protocols,
)
from ckin.model import AbstractModel, name_of, parameters, sha256_of


ROOT = Path(__file__).resolve().parents[1]

MINE = '''"""One population that grows."""
from typing import ClassVar, NamedTuple

from ckin._types import Scalar
from ckin.model import AbstractModel, parameter, state


class Cells(NamedTuple):
    cells: Scalar = state("cells", "all of them", log=True)


class Mine(AbstractModel):
    """Growth at one rate."""

    rate: Scalar = parameter(0.9, unit="1/day", source="me", doc="growth")
    State: ClassVar = Cells
    units: ClassVar = {"cells": "cells"}
    reference: ClassVar = "nowhere"

    def initial(self):
        return Cells(1.0)

    def vector_field(self, t, y, inputs):
        return Cells(self.rate * y.cells)

    def quantities(self, y):
        return {"cells": y.cells}
'''


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    path = tmp_path / "my_model.py"
    path.write_text(MINE, encoding="utf-8")
    return path


def test_every_file_in_models_is_a_model_by_its_name():
    files = sorted(path.stem for path in (ROOT / "models").glob("*.py"))
    assert list(list_models()) == files
    for name in list_models():
        model = load_model(name)
        assert isinstance(model, AbstractModel)
        assert name_of(model) == name


def test_a_shipped_file_is_the_same_model_by_its_path():
    path = ROOT / "models" / "phases_stein2019.py"
    assert type(load_model(path)) is type(load_model("phases_stein2019"))


def test_a_file_of_ones_own_is_a_model_by_its_path(
    mine: Path, monkeypatch: pytest.MonkeyPatch
):
    model = load_model(str(mine))
    assert name_of(model) == "my_model"
    assert list(parameters(model)) == ["rate"]
    monkeypatch.chdir(mine.parent)
    # One class: the same file by another path would otherwise compile again.
    assert load_model("my_model.py") is model


def test_a_model_of_ones_own_survives_pickling(mine: Path):
    model = load_model(mine)
    assert type(pickle.loads(pickle.dumps(model))) is type(model)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("feeding_szcart1", "did you mean feeding_szcart01"),
        ("nothing_like_it", "shipped are ball_leontriana2021, "),
        ("nowhere/my_model.py", "no model file .*my_model.py; check the path"),
    ],
)
def test_a_model_that_is_not_there_is_said_so(name: str, words: str):
    with pytest.raises(InputError, match=words):
        load_model(name)


@pytest.mark.parametrize(
    ("text", "words", "cause"),
    [
        ("x = 1\n", "defines no model", None),
        (MINE + "\n\nclass Twin(Mine):\n    pass\n", r"2 models \(Mine, Twin\)", None),
        ("from ckin.model import AbstractModel\n", "defines no model", None),
        ("x = 1\ny = (\n", "line 2 could not be run: SyntaxError", SyntaxError),
        ("\nimport no_such_package\n", "line 2 could", ModuleNotFoundError),
        (MINE.replace("1/day", "per day"), "unknown unit 'per day'", ValueError),
        (
            MINE.replace("parameter(0.9, ", "parameter("),
            "could not be run: TypeError",
            TypeError,
        ),
    ],
)
def test_a_file_that_is_no_model_is_explained(
    text: str, words: str, cause: type | None, tmp_path: Path
):
    path = tmp_path / "broken.py"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=words) as found:
        load_model(path)
    assert str(path) in str(found.value)
    assert cause is None or isinstance(found.value.__cause__, cause)
    # Mended, it loads: a failure is not remembered.
    path.write_text(MINE, encoding="utf-8")
    assert name_of(load_model(path)) == "broken"


def test_every_shipped_protocol_is_found_by_its_name():
    files = {path.stem for path in (ROOT / "ckin/protocol/shipped").glob("*.toml")}
    assert files == {name.split("-")[0] for name in protocols()}
    for name, protocol in protocols().items():
        assert load_protocol(name) == protocol
        assert protocol.name == name


def test_a_protocol_that_is_not_there_is_said_so():
    with pytest.raises(InputError, match="did you mean szcart01-high"):
        load_protocol("szcart01_high")


def test_a_file_of_ones_own_is_a_protocol_by_its_path(tmp_path: Path):
    path = tmp_path / "mine.toml"
    path.write_text(
        'name = "mine"\ntitle = "one dose"\nsource = "me"\n'
        '[[doses]]\nproduct = "CART"\nday = 1\ncells = 1e8\n',
        encoding="utf-8",
    )
    assert load_protocol(str(path)).name == "mine"
    with path.open("a", encoding="utf-8") as file:
        file.write('[arms.a]\ntitle = "A"\n[arms.b-a]\ntitle = "B"\n')
    assert load_protocol(f"{path}:a").name == "mine-a"
    assert load_protocol(f"{path}:mine-b-a").name == "mine-b-a"
    with pytest.raises(InputError, match="several arms: mine-a, mine-b-a; name one"):
        load_protocol(str(path))
    with pytest.raises(InputError, match="no arm 'c'; it has a, b-a"):
        load_protocol(f"{path}:c")


def test_a_family_of_protocols_is_several():
    assert set(load_protocols("szcart01")) < set(protocols())
    with pytest.raises(InputError, match="name one, such as szcart01-high"):
        load_protocol("szcart01")


def test_every_folder_in_data_is_a_data_set_by_its_name():
    folders = sorted(path.parent.name for path in ROOT.glob("data/*/SOURCE.toml"))
    assert list(list_datasets()) == folders
    for name in list_datasets():
        assert dataset_path(name) == ROOT / "data" / name / f"{name}.csv"


def test_a_path_is_taken_as_it_is(tmp_path: Path):
    # A table that is not there is for the reader to say.
    assert dataset_path("no_such.csv") == Path("no_such.csv")
    there = tmp_path / "trial.txt"
    there.touch()
    assert dataset_path(there) == there


def test_a_data_set_that_is_not_there_is_said_so():
    with pytest.raises(InputError, match="did you mean szcart01_synthetic"):
        dataset_path("szcart01_syntetic")


def test_an_installed_package_finds_its_own_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    package = tmp_path / "site-packages" / "ckin"
    table = package / "_data" / "trial" / "trial.csv"
    table.parent.mkdir(parents=True)
    text = "# unit qpcr copies/ug\nID,TIME,DV\n1,7,5\n"
    table.write_text(text, encoding="utf-8")
    # A stranger's folder beside the package is not ours.
    (tmp_path / "site-packages" / "data").mkdir()
    monkeypatch.setattr(library, "__file__", str(package / "library.py"))
    assert list_datasets() == ("trial",)
    assert len(read_dataset(dataset_path("trial")).patients) == 1


def test_the_hash_of_a_model_is_of_all_files_that_it_was_written_in(
    tmp_path: Path, monkeypatch
):
    monkeypatch.syspath_prepend(str(tmp_path))
    extends = "from a_model_extended import Mine\n\n\nclass Own(Mine):\n    pass\n"
    written = {"a_model_extended.py": MINE, "own.py": extends}
    for name, text in written.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    model = load_model(tmp_path / "own.py")
    found = sha256_of(model)
    for name, text in written.items():
        (tmp_path / name).write_text(text + "# another\n", encoding="utf-8")
        assert sha256_of(model) != found, name
        (tmp_path / name).write_text(text, encoding="utf-8")
        assert sha256_of(model) == found


def test_the_hash_of_a_model_in_one_file_is_of_that_file(mine: Path):
    found = sha256_of(load_model(mine))
    assert found == hashlib.sha256(mine.read_bytes()).hexdigest()
