"""Modules and named tuples as named arrays, and back: what a checkpoint file holds.

A file is NumPy's `.npz`, read without pickle: nothing in it can be executed. Numbers,
words and nothing (Python's own, not arrays) are JSON text in one entry of it.
"""

import dataclasses
import io
import json
from collections.abc import Iterator
from typing import Any, TypeVar, cast, get_args

import jax.numpy as jnp
import numpy as np


T = TypeVar("T")

# The entry of what is no array.
PLAIN = "plain"


def to_bytes(tree: Any) -> bytes:
    """A tree of arrays as the bytes of a file.

    Args:
        tree: a NamedTuple or dataclass of arrays, plain values and the like of itself.
    """
    arrays: dict[str, np.ndarray] = {}
    plain: dict[str, Any] = {}
    for path, leaf in _leaves(tree, ""):
        leaf = leaf.item() if isinstance(leaf, np.generic) else leaf
        if leaf is None or isinstance(leaf, bool | int | float | str | tuple):
            plain[path] = leaf
        else:
            arrays[path] = np.asarray(leaf)
    file = io.BytesIO()
    arrays[PLAIN] = np.array(json.dumps(plain))
    np.savez(file, allow_pickle=False, **arrays)
    return file.getvalue()


def from_bytes(kind: type[T], content: bytes) -> T:
    """The tree that `to_bytes` wrote.

    Args:
        kind: its class; leaves are JAX arrays but where it says `np.ndarray`.
        content: of the file.
    """
    with np.load(io.BytesIO(content), allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    plain = json.loads(str(arrays.pop(PLAIN)))
    return cast(T, _rebuilt(kind, arrays | plain, ""))


def _leaves(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    parts = _parts(type(value))
    if parts is None:
        yield path, value
        return
    for name in parts:
        yield from _leaves(getattr(value, name), f"{path}.{name}")


def _rebuilt(hint: Any, known: dict[str, Any], path: str) -> Any:
    if path in known:
        leaf = known[path]
        if isinstance(leaf, np.ndarray):
            return leaf if hint is np.ndarray else jnp.asarray(leaf)
        # JSON has no tuples.
        return tuple(leaf) if isinstance(leaf, list) else leaf
    # X, or X | None.
    (kind,) = [each for each in (hint, *get_args(hint)) if _parts(each) is not None]
    parts = {
        name: _rebuilt(each, known, f"{path}.{name}")
        for name, each in (_parts(kind) or {}).items()
    }
    return kind(**parts)


def _parts(kind: Any) -> dict[str, Any] | None:
    """Names and types of the fields of a NamedTuple or dataclass; `None` of others."""
    if not isinstance(kind, type):
        return None
    if dataclasses.is_dataclass(kind):
        return {field.name: field.type for field in dataclasses.fields(kind)}
    if issubclass(kind, tuple) and hasattr(kind, "_fields"):
        names: tuple[str, ...] = getattr(kind, "_fields")  # noqa: B009
        return {name: kind.__annotations__.get(name) for name in names}
    return None
