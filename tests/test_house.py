"""Rules of the house that neither ruff nor import-linter can state."""

import ast
import importlib.metadata
import tomllib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest


ROOT = Path(__file__).resolve().parents[1]
ENGINE = sorted((ROOT / "ckin").rglob("*.py"))
MODELS = sorted((ROOT / "models").glob("*.py"))

# A module that outgrows this explains more than one thing.
MAX_LINES = 450
# Leaves: only these may import matplotlib while they are imported.
LEAVES = {"plot", "report", "cli"}
# What a model file may know of: the equations' own vocabulary, and nothing that
# solves, fits or reads.
MODEL_MAY_IMPORT = {
    "abc",
    "ckin._types",
    "ckin.model",
    "ckin.units",
    "collections.abc",
    "equinox",
    "jax",
    "jax.numpy",
    "math",
    "typing",
}


def named(paths: list[Path]):
    return pytest.mark.parametrize(
        "path", paths, ids=[path.relative_to(ROOT).as_posix() for path in paths]
    )


def imports(nodes: list[ast.stmt]) -> Iterator[str]:
    """Modules that these statements and the blocks in them import."""
    for top in nodes:
        for node in ast.walk(top):
            if isinstance(node, ast.Import):
                yield from (alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                yield "." * node.level + (node.module or "")


def outside_functions(nodes: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Statements that run when the module is imported."""
    for node in nodes:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        inner = [n for n in ast.iter_child_nodes(node) if isinstance(n, ast.stmt)]
        if inner:
            yield from outside_functions(inner)
        else:
            yield node


def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def test_there_is_something_to_check():
    assert len(ENGINE) > 5
    assert MODELS


@named(ENGINE)
def test_only_leaves_import_matplotlib_before_they_must(path: Path):
    room = path.relative_to(ROOT / "ckin").parts[0].removesuffix(".py")
    if room in LEAVES:
        return
    found = set(imports(list(outside_functions(parsed(path).body))))
    assert not {name for name in found if name.split(".")[0] == "matplotlib"}


@named(MODELS)
def test_a_model_file_imports_only_what_equations_need(path: Path):
    # And the model that it extends.
    others = {f"ckin.models.{other.stem}" for other in MODELS}
    assert set(imports(parsed(path).body)) <= MODEL_MAY_IMPORT | others


@named(ENGINE)
def test_a_module_is_short_enough_to_read(path: Path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MAX_LINES


@named(ENGINE + MODELS)
def test_a_module_says_what_it_is(path: Path):
    assert ast.get_docstring(parsed(path))


def test_there_are_no_drawers():
    drawers = {"utils", "util", "helpers", "common", "base", "misc"}
    assert not drawers & {path.stem for path in ENGINE + MODELS}


def test_models_and_data_are_no_packages_of_their_own():
    # An __init__.py there would put a package called `models` beside ckin.
    assert not (ROOT / "models" / "__init__.py").exists()
    assert not (ROOT / "data" / "__init__.py").exists()


def test_the_installed_version_is_the_one_in_pyproject():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert importlib.metadata.version("ckin") == project["project"]["version"]


def test_arviz_opens_what_arviz_base_wrote(tmp_path: Path):
    import arviz
    import arviz_base

    drawn = np.random.default_rng(0).normal(size=(2, 5, 3))
    written = arviz_base.from_dict(
        {"posterior": {"rate": drawn}},
        dims={"rate": ["patient"]},
        coords={"patient": ["a", "b", "c"]},
    )
    path = tmp_path / "posterior.nc"
    written.to_netcdf(path)
    opened = arviz.from_netcdf(str(path))
    np.testing.assert_array_equal(opened["posterior"]["rate"].values, drawn)
    assert opened["posterior"]["patient"].values.tolist() == ["a", "b", "c"]
