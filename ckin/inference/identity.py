"""What a fit is: everything that its draws depend on, described so that it compares.

Written into a checkpoint and held against the fit that wants to go on with it.
"""

import dataclasses
import hashlib
import json
import math
import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax
import numpy as np
import numpyro.distributions as dist

from ckin.dataset import Dataset
from ckin.inference.density import Density
from ckin.model import name_of, sha256_of


# Libraries whose version may change a draw.
LIBRARIES = (
    *("ckin", "jax", "jaxlib", "numpy", "scipy"),
    *("numpyro", "blackjax", "optax", "diffrax", "equinox"),
)

# Arrays up to this size are told in numbers, larger ones by their hash.
TOLD_NUMBERS = 8

# Faults that a message lists.
LISTED = 6


def identity(
    dataset: Dataset, density: Density, settings: Mapping[str, Any]
) -> dict[str, Any]:
    """All that the draws of a fit depend on, as JSON.

    Args:
        dataset: the patients.
        density: before its grid is refined.
        settings: method, seed and the like.
    """
    model = type(density.population.model)
    data = {
        field.name: description(getattr(density.data, field.name))
        for field in dataclasses.fields(density.data)
        # Laid from the others.
        if field.name != "grid"
    }
    return {
        "data_sha256": dataset.sha256,
        "data_as_read": data,
        "model": name_of(density.population.model),
        "model_sha256": sha256_of(model),
        "population": description(density.population),
        "solver": description(density.solver),
        "settings": description(dict(settings)),
        "float64": bool(jax.config.read("jax_enable_x64")),
        "versions": {name: version(name) for name in LIBRARIES},
        "ckin_sources_sha256": _sources(),
    }


def machine() -> dict[str, Any]:
    """Where draws are made: elsewhere the last digits may differ."""
    return {
        "platform": platform.platform(),
        "processor": platform.processor(),
        "device": jax.devices()[0].device_kind,
        "devices": len(jax.devices()),
    }


def sha256(content: bytes) -> str:
    """Hash of bytes."""
    return hashlib.sha256(content).hexdigest()


def description(value: Any) -> Any:
    """A value as JSON that is the same if and only if the value is."""
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, Mapping):
        return {str(key): description(each) for key, each in value.items()}
    if isinstance(value, dist.Distribution):
        leaves = [description(leaf) for leaf in jax.tree.leaves(value)]
        return {"kind": type(value).__name__, "values": leaves}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = [field.name for field in dataclasses.fields(value)]
        parts = {name: description(getattr(value, name)) for name in fields}
        return {"kind": type(value).__name__, **parts}
    if isinstance(value, Sequence):
        return [description(each) for each in value]
    if isinstance(value, np.ndarray | np.generic | jax.Array):
        return _of_array(np.asarray(value))
    if callable(value):
        return getattr(value, "__qualname__", type(value).__qualname__)
    raise TypeError(f"{type(value).__name__} has no description")


def _of_array(array: np.ndarray) -> Any:
    if array.size <= TOLD_NUMBERS:
        return description(array.tolist())
    told = f"{array.dtype}{array.shape}".encode()
    return f"sha256 {sha256(told + np.ascontiguousarray(array).tobytes())}"


def _sources() -> str:
    """Hash of ckin's own code: a version does not tell of a checkout that moves."""
    root = Path(__file__).parents[1]
    told = hashlib.sha256()
    for file in sorted(root.rglob("*.py")):
        told.update(str(file.relative_to(root)).encode() + file.read_bytes())
    return told.hexdigest()


def differences(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What differs, a phrase each, as a user says it; empty if nothing does."""
    before, after = _flat(then, ""), _flat(now, "")
    changed = [
        path
        for path in dict.fromkeys((*before, *after))
        if before.get(path) != after.get(path)
    ]
    found = []
    read = [path for path in changed if path.startswith("data_as_read.")]
    if "data_sha256" in changed:
        found.append("the data file has changed")
    elif read:
        names = ", ".join(dict.fromkeys(path.split(".")[1] for path in read))
        found.append(f"the data are read in another way ({names}): look at the options")
    if "model_sha256" in changed and "model" not in changed:
        found.append("the model file has changed")
    if "ckin_sources_sha256" in changed:
        found.append("ckin itself has changed")
    told = ("data_sha256", "data_as_read", "model_sha256", "ckin_sources_sha256")
    for path in changed:
        if path.split(".")[0] not in told:
            one, other = (_shown(side.get(path)) for side in (before, after))
            found.append(f"{path.removeprefix('settings.')} was {one}, is now {other}")
    if len(found) > LISTED:
        found[LISTED:] = [f"and {len(found) - LISTED} more"]
    return found


def _shown(value: Any) -> str:
    return "absent" if value is None else json.dumps(value, ensure_ascii=False)


def _flat(value: Any, path: str) -> dict[str, Any]:
    """Leaves of nested mappings and lists, by dotted path."""
    if isinstance(value, Mapping):
        items = list(value.items())
    elif isinstance(value, list):
        items = list(enumerate(value))
    else:
        return {path: value}
    dot = "." if path else ""
    flat = {}
    for name, each in items:
        flat |= _flat(each, f"{path}{dot}{name}")
    return flat
