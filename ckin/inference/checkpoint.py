"""A fit as it goes, on disk: what is done is never done again, nor differently.

A fit is a fixed sequence of steps: the start, the chains' first positions, then chunks
of transitions. Each step ends in a file of its own (`stored`), written under another
name, forced to disk and renamed, and entered by its hash into `index.json`, which is
replaced in the same way. A process that dies at any moment leaves whole steps only. To
go on is to run the same program over again with finished steps read instead of
computed, so a fit that was interrupted has the draws, bit for bit, of one that was not.
"""

import contextlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol, TypeVar, runtime_checkable

from ckin.errors import InputError
from ckin.inference.identity import differences, machine, sha256
from ckin.inference.stored import from_bytes, to_bytes
from ckin.writing import put_whole


T = TypeVar("T")

FORMAT = 1
INDEX = "index.json"
SUFFIX = ".npz"
# Of files that are being written.
# What a fit begun anew takes away: its own, whatever else lies in the folder.
OWN_FILES = ("start.npz*", "ladder.npz*", "chunk-*.npz*")


@runtime_checkable
class Memory(Protocol):
    """Steps of a fit that are known already, and a place for more."""

    def holds(self, step: str) -> bool:
        """Whether this step is known."""
        ...

    def step(self, step: str, kind: type[T], make: Callable[[], T]) -> T:
        """What this step gave, or gives now.

        Args:
            step: its name.
            kind: class of what it gives, a NamedTuple or dataclass.
            make: does it.
        """
        ...


class Forgetful:
    """No checkpoint: every step is done."""

    def holds(self, step: str) -> bool:
        """No step is known."""
        return False

    def step(self, step: str, kind: type[T], make: Callable[[], T]) -> T:
        """What this step gives now."""
        return make()


FORGETFUL = Forgetful()


class Branch:
    """Steps that come after another turn than those of the same names.

    With more draws a fit may turn later, and what came after the earlier turn is not
    what comes after this one.

    Attributes:
        after: name of the turn; goes to the end of every name.
    """

    def __init__(self, memory: Memory, after: str) -> None:
        self._memory, self.after = memory, after

    def holds(self, step: str) -> bool:
        """Whether this step is known, after this turn."""
        return self._memory.holds(f"{step}-{self.after}")

    def step(self, step: str, kind: type[T], make: Callable[[], T]) -> T:
        """What this step gave, or gives now, after this turn."""
        return self._memory.step(f"{step}-{self.after}", kind, make)


class Checkpoint:
    """The folder of a fit that goes on; see the module's docstring.

    Attributes:
        folder: holds `index.json` and the files of the steps.
        notes: what a user should know of how it was opened.
    """

    def __init__(self, folder: Path, index: dict[str, Any], notes: list[str]) -> None:
        self.folder, self.notes = folder, notes
        self._index = index
        self._recalled = self._made = 0

    def told(self) -> dict[str, Any]:
        """What became of the steps in this run, for the manifest.

        `recalled` were read, `made` were done now; `machines` are those that it ran on,
        one after another.
        """
        return {
            "recalled": self._recalled,
            "made": self._made,
            "machines": list(self._index["machines"]),
            "notes": list(self.notes),
        }

    def holds(self, step: str) -> bool:
        """Whether this step is known."""
        return step in self._index["steps"]

    def step(self, step: str, kind: type[T], make: Callable[[], T]) -> T:
        """What this step gave, read from its file, or gives now, written into one.

        Raises:
            InputError: a file is not what was written, or cannot be written.
        """
        if self.holds(step):
            content = _checked(self.folder / f"{step}{SUFFIX}", self._index["steps"])
            self._recalled += 1
            return from_bytes(kind, content)
        made = make()
        content = to_bytes(made)
        index = self._index
        steps = index["steps"] | {step: sha256(content)}
        with self._safe():
            put_whole(self.folder / f"{step}{SUFFIX}", content)
            self._index = _write_index(self.folder, index | {"steps": steps})
        self._made += 1
        return made

    @contextlib.contextmanager
    def _safe(self):
        """Say what is safe when a file cannot be written."""
        try:
            yield
        except OSError as error:
            raise InputError(
                f"{self.folder} cannot be written ({error.strerror}); "
                f"{len(self._index['steps'])} steps of the fit are safe in it. Make "
                "room, then go on with --resume (in Python: resume=True)"
            ) from None


def open_checkpoint(
    folder: Path, identity: Mapping[str, Any], *, draws: int, resume: bool
) -> Checkpoint:
    """The checkpoint of a fit: begun anew, or gone on with.

    Args:
        folder: of the checkpoint and of nothing else.
        identity: what the fit is (`ckin.inference.identity`).
        draws: asked of each chain: may be more than before, not fewer.
        resume: go on where there is something to go on with.

    Raises:
        InputError: the folder cannot be written, is of another fit, or a file in it
            is not what was written.
    """
    # As JSON reads it back: tuples are lists there.
    identity = json.loads(json.dumps(identity))
    index = _read_index(folder) if resume else None
    notes: list[str] = []
    if index is None:
        if resume:
            notes.append("nothing to resume: no step was finished; from the start")
        index = {"format": FORMAT, "fit": identity, "steps": {}, "machines": []}
    else:
        _refuse_another(folder, index, identity, draws)
        index["steps"] = _intact(folder, index["steps"], notes)
    here = machine()
    if not index["machines"] or index["machines"][-1] != here:
        if index["machines"]:
            notes.append(
                "gone on with on another machine: the draws are as good, but not bit "
                "for bit those of one machine"
            )
        index["machines"].append(here)
    index["draws"] = draws
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not index["steps"]:
            _clear(folder)
        index = _write_index(folder, index)
    except OSError as error:
        raise InputError(f"{folder} cannot be written ({error.strerror})") from None
    return Checkpoint(folder, index, notes)


def is_begun(folder: Path) -> bool:
    """Whether a fit was begun here."""
    return (folder / INDEX).is_file()


def _refuse_another(
    folder: Path, index: dict[str, Any], identity: Mapping[str, Any], draws: int
) -> None:
    changed = differences(index["fit"], identity)
    if draws < index["draws"]:
        changed.append(
            f"draws was {index['draws']}, is now {draws} (it may be more, not fewer)"
        )
    if changed:
        raise InputError(
            f"{folder} is of another fit: {'; '.join(changed)}. Make it as it was, or "
            "start anew (--force; in Python: resume=False)"
        )


def _intact(folder: Path, steps: dict[str, str], notes: list[str]) -> dict[str, str]:
    """The steps up to the first whose file was taken away.

    Raises:
        InputError: a file that is there is not what was written.
    """
    known: dict[str, str] = {}
    for step, told in steps.items():
        if not (folder / f"{step}{SUFFIX}").is_file():
            notes.append(f"{step} was taken away: it and what came after is done again")
            break
        _checked(folder / f"{step}{SUFFIX}", steps)
        known[step] = told
    return known


def _checked(path: Path, steps: Mapping[str, str]) -> bytes:
    """The bytes of a step's file, if they are those that were written."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror})") from None
    if sha256(content) != steps[path.stem]:
        raise InputError(
            f"{path} is not what was written (truncated or changed: its sha256 "
            "differs). Remove this file and resume: it and what came after it are "
            "done again, the same way"
        )
    return content


def _read_index(folder: Path) -> dict[str, Any] | None:
    """The index, or `None` where there is none."""
    path = folder / INDEX
    if not path.is_file():
        return None
    bad = (
        f"{path} is not what was written (truncated or changed): start anew "
        "(--force; in Python: resume=False)"
    )
    try:
        index = json.loads(path.read_text(encoding="utf-8"))
        told = index.pop("sha256")
    except (ValueError, KeyError, AttributeError, TypeError):
        raise InputError(bad) from None
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror})") from None
    if told != _hash_of(index):
        raise InputError(bad)
    if index["format"] != FORMAT:
        raise InputError(
            f"{path} has format {index['format']}, this ckin reads {FORMAT}: go on with"
            " the ckin that began it, or start anew (--force)"
        )
    return index


def _write_index(folder: Path, index: dict[str, Any]) -> dict[str, Any]:
    told = index | {"sha256": _hash_of(index)}
    text = json.dumps(told, indent=1, ensure_ascii=False)
    put_whole(folder / INDEX, text.encode())
    return index


def _hash_of(index: Mapping[str, Any]) -> str:
    return sha256(json.dumps(index, sort_keys=True).encode())


def _clear(folder: Path) -> None:
    """Take away an earlier fit's files, the index first: what is left is no fit."""
    (folder / INDEX).unlink(missing_ok=True)
    for pattern in OWN_FILES:
        for path in folder.glob(pattern):
            path.unlink()
