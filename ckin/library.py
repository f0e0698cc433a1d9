"""Find models, protocols and data sets by name or by path.

A shipped model is one file in `models/`, a shipped data set one folder in `data/` whose
table carries the folder's name. A user's own model is a file that lies anywhere; it
goes everywhere a shipped one goes.

    load_model("feeding_szcart01")
    load_model("my_model.py")
    read_dataset(dataset_path("szcart01_synthetic"))
"""

import functools
import importlib
import importlib.util
import inspect
import pkgutil
import sys
import traceback
from pathlib import Path
from types import ModuleType
from typing import Any

import ckin.models
from ckin.dataset.workbook import file_of
from ckin.errors import InputError, did_you_mean
from ckin.examine import faults
from ckin.model import AbstractModel
from ckin.protocol import Protocol, read_protocols


# What the module of a user's model is called: a name that no package has.
USER_PREFIX = "ckin_user_"


def list_models() -> tuple[str, ...]:
    """Names of the shipped models."""
    found = pkgutil.iter_modules(ckin.models.__path__)
    return tuple(sorted(module.name for module in found))


def load_model(name_or_path: str | Path) -> AbstractModel:
    """A model with every parameter at its default.

    Args:
        name_or_path: a shipped model (`list_models`), or the path of a `.py` file that
            defines one `AbstractModel`. A file is run once: what changes in it later
            is not seen by the same Python process.

    Raises:
        InputError: no such model, or a file that cannot be run, has no single model,
            or whose equations have faults (see `ckin.examine`).
    """
    if str(name_or_path).endswith(".py"):
        path = Path(name_or_path).resolve()
        shipped = {Path(folder).resolve() for folder in ckin.models.__path__}
        if path.parent not in shipped or path.stem not in list_models():
            return _load_file(path)
        name_or_path = path.stem
    name = str(name_or_path)
    if name not in list_models():
        raise InputError(
            f"no model {name!r}; {did_you_mean(name, list_models())}shipped are "
            f"{', '.join(list_models())}; a model of your own is a path ending in .py"
        )
    return _the_model(importlib.import_module(f"ckin.models.{name}"), name)


def settings(model: AbstractModel) -> dict[str, dict[str, float]]:
    """Named sets of values that a model's file has, as `SETTINGS`; none where not."""
    return dict(getattr(inspect.getmodule(type(model)), "SETTINGS", {}))


@functools.cache
def scenario_files() -> dict[str, Path]:
    """Files of the shipped scenarios, by name."""
    shipped = Path(__file__).resolve().parent / "scenario" / "shipped"
    return {path.stem: path for path in sorted(shipped.glob("*.toml"))}


def scenario_path(name_or_path: str) -> Path:
    """The file of a shipped scenario; a path ending in `.toml` as it is.

    Raises:
        InputError: neither a shipped scenario nor a `.toml` file.
    """
    known = scenario_files()
    if name_or_path in known:
        return known[name_or_path]
    if name_or_path.endswith(".toml"):
        return Path(name_or_path)
    raise InputError(
        f"no scenario {name_or_path!r}; {did_you_mean(name_or_path, known)}shipped are "
        f"{', '.join(known)}; a scenario of your own is a path ending in .toml"
    )


@functools.cache
def protocol_families() -> dict[str, dict[str, Protocol]]:
    """The shipped protocol files by name, and the protocols in each by name."""
    shipped = Path(__file__).resolve().parent / "protocol" / "shipped"
    return {path.stem: read_protocols(path) for path in sorted(shipped.glob("*.toml"))}


def protocols() -> dict[str, Protocol]:
    """The shipped protocols by name."""
    families = protocol_families().values()
    return {name: plan for arms in families for name, plan in arms.items()}


def load_protocols(name_or_path: str) -> dict[str, Protocol]:
    """The protocols that a name or a file stands for, by name.

    Args:
        name_or_path: a shipped protocol (`protocols`), a shipped file of several
            (`protocol_families`), the path of a `.toml` file, or `FILE.toml:ARM`.

    Raises:
        InputError: there is none of this name, or a file with faults in it.
    """
    path, toml, arm = name_or_path.rpartition(".toml")
    if toml and (not arm or arm.startswith(":")):
        arms = read_protocols(path + toml)
        return _arm(arms, arm[1:], path + toml) if arm else arms
    known, families = protocols(), protocol_families()
    if name_or_path in known:
        return {name_or_path: known[name_or_path]}
    if name_or_path in families:
        return families[name_or_path]
    raise InputError(
        f"no protocol {name_or_path!r}; {did_you_mean(name_or_path, known)}shipped are "
        f"{', '.join(known)}; a protocol of your own is a path ending in .toml"
    )


def load_protocol(name_or_path: str) -> Protocol:
    """The one protocol that a name or a file stands for.

    Args:
        name_or_path: as `load_protocols`; of a file with several arms, `FILE.toml:ARM`.

    Raises:
        InputError: as `load_protocols`, or several protocols.
    """
    found = load_protocols(name_or_path)
    if len(found) > 1:
        own = name_or_path.endswith(".toml")
        name, first = next(iter(found.items()))
        example = f"{name_or_path}:{first.arm}" if own else name
        raise InputError(
            f"{name_or_path} has several arms: {', '.join(found)}; name one, such as "
            f"{example}"
        )
    return next(iter(found.values()))


def _arm(arms: dict[str, Protocol], wanted: str, file: str) -> dict[str, Protocol]:
    """The arm of a file, by its own name or by that of the protocol."""
    for name, plan in arms.items():
        if wanted in (name, plan.arm):
            return {name: plan}
    known = [plan.arm or name for name, plan in arms.items()]
    raise InputError(
        f"{file} has no arm {wanted!r}; {did_you_mean(wanted, known)}it has "
        f"{', '.join(known)}"
    )


def list_datasets() -> tuple[str, ...]:
    """Names of the bundled data sets."""
    return tuple(sorted(path.stem for path in _data().glob("*/*.csv") if _main(path)))


def dataset_path(name: str | Path) -> Path:
    """Path of the table of a bundled data set; a path is returned as it is.

    Args:
        name: a bundled data set (`list_datasets`), a path ending in `.csv`, or the path
            of any file that exists, of a sheet in it too (`FILE.xlsx#SHEET`).

    Raises:
        InputError: neither a bundled data set nor a file.
    """
    text, path = str(name), Path(name)
    if text in list_datasets():
        return _data() / text / f"{text}.csv"
    if path.suffix.lower() == ".csv" or file_of(path).is_file():
        return path
    raise InputError(
        f"no data set or file {text!r}; {did_you_mean(text, list_datasets())}bundled "
        f"are {', '.join(list_datasets()) or 'none'}"
    )


def _data() -> Path:
    """Folder of the data sets: of the checkout, or else of the installed package."""
    package = Path(__file__).resolve().parent
    checkout = package.parent
    if (checkout / "pyproject.toml").is_file() and (checkout / "data").is_dir():
        return checkout / "data"
    return package / "_data"


def _main(table: Path) -> bool:
    """Whether a table is the data set itself and not a table of true values."""
    return table.stem == table.parent.name


@functools.cache
def _load_file(path: Path) -> AbstractModel:
    """The model in a user's file. Cached: a class made twice would compile twice."""
    if not path.is_file():
        raise InputError(f"no model file {path}; check the path")
    name = USER_PREFIX + path.stem
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise InputError(f"{path} cannot be loaded as Python")
    module = importlib.util.module_from_spec(spec)
    # Registered while it runs: dataclasses and pickle look a class up by its module.
    before = sys.modules.get(name)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
        model = _the_model(module, str(path))
        wrong = faults(model)
    except Exception as error:
        sys.modules.pop(name)
        if before is not None:
            sys.modules[name] = before
        if isinstance(error, _NotOneModel):
            raise
        raise InputError(
            f"{path}{_line(error, path)} could not be run: "
            f"{type(error).__name__}: {error}"
        ) from error
    if wrong:
        raise InputError("\n".join(f"{path}: {fault}" for fault in wrong))
    return model


class _NotOneModel(InputError):
    """A file with no model, or with several."""


def _the_model(module: ModuleType, where: str) -> AbstractModel:
    """The one model that a module defines, at its defaults."""
    classes: list[Any] = [
        value
        for value in vars(module).values()
        if inspect.isclass(value)
        and issubclass(value, AbstractModel)
        and value.__module__ == module.__name__
        and not inspect.isabstract(value)
    ]
    if len(classes) != 1:
        names = ", ".join(cls.__name__ for cls in classes)
        found = f"{len(classes)} models ({names})" if classes else "no model"
        raise _NotOneModel(
            f"{where} defines {found}; a model file defines one complete subclass of "
            "ckin.model.AbstractModel"
        )
    return classes[0]()


def _line(error: Exception, path: Path) -> str:
    """`, line N`: where in the file an error arose, if it did there."""
    if isinstance(error, SyntaxError) and error.filename == str(path):
        return f", line {error.lineno}"
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if frame.filename == str(path)]
    return f", line {lines[-1]}" if lines else ""
