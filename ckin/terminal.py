"""What the command line prints on, and how it tells of bad input."""

import contextlib
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from ckin.errors import InputError
from ckin.writing import DID_NOT


SYNTHETIC = "SYNTHETIC DATA: simulated, not patients."
# A pipe or a log has no width of its own; tables want this much.
PLAIN_WIDTH = 110


def _console(*, stderr: bool) -> Console:
    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() else PLAIN_WIDTH
    return Console(stderr=stderr, highlight=False, soft_wrap=True, width=width)


out, err = _console(stderr=False), _console(stderr=True)

NOT_CONVERGED, BAD_INPUT = 1, 2
# As shells have it: 128 and the number of the signal.
INTERRUPTED = 130


def say_unless_converged(
    converged: bool | None,
    reasons: Iterable[str] = (),
    *,
    what: str = "THE FIT",
    then: str = "do not use these numbers",
) -> None:
    """Before anything else: what did not converge, and why; `None`: there is no fit."""
    if converged in (True, None):
        return
    out.print(f"{what} {DID_NOT}: {then}".lstrip(), style="bold red", markup=False)
    for reason in reasons:
        out.print(f"  - {reason}", markup=False)


def end_by(converged: bool | None) -> None:
    """Exit code 1 where a fit did not converge; `None` where there is none."""
    if converged not in (True, None):
        raise typer.Exit(NOT_CONVERGED)


def say_synthetic(synthetic: bool) -> None:
    """Say, where it is so, that no patient was measured."""
    if synthetic:
        out.print(SYNTHETIC, style="bold")


def say_notes(notes: Iterable[str]) -> None:
    """What was left out, assumed or read in a particular way, a line each."""
    for note in notes:
        out.print(f"note: {note}", markup=False)


@contextlib.contextmanager
def explained() -> Iterator[None]:
    """Turn what ckin says about bad input into a message and exit code 2."""
    from ckin.dataset import DataError

    try:
        yield
    except DataError as error:
        for line in error.lines():
            err.print(line, markup=False)
        err.print(f"{len(error.faults)} fault(s); nothing was read.", markup=False)
        raise typer.Exit(BAD_INPUT) from None
    except InputError as error:
        err.print(f"ckin: {error}", markup=False)
        raise typer.Exit(BAD_INPUT) from None


@contextlib.contextmanager
def progress() -> Iterator[Callable[[str, int, int], None]]:
    """A progress bar with a time estimate; yields a report(stage, done, total).

    A report raises `KeyboardInterrupt` if Ctrl-C was pressed and got lost.
    """
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed:.0f}/{task.total:.0f}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    bars = Progress(*columns, console=err, transient=False)
    with _interrupts_heard() as raise_if_lost, bars as bar:
        tasks: dict[str, TaskID] = {}

        def report(stage: str, done: int, total: int) -> None:
            raise_if_lost()
            if stage not in tasks:
                tasks[stage] = bar.add_task(stage, total=total)
            bar.update(tasks[stage], completed=done, total=total)

        yield report


@contextlib.contextmanager
def _interrupts_heard() -> Iterator[Callable[[], None]]:
    """Note every Ctrl-C; yields what raises it again if it has got lost.

    Python raises it wherever it is, and drops what is raised while garbage is
    collected, where JAX has a callback of its own.
    """
    pressed = threading.Event()

    def note(number, frame):
        pressed.set()
        signal.default_int_handler(number, frame)

    def raise_if_lost() -> None:
        if pressed.is_set():
            raise KeyboardInterrupt

    # Whoever has another handler, or none (a shell's background), keeps it.
    ours = (
        threading.current_thread() is threading.main_thread()
        and signal.getsignal(signal.SIGINT) is signal.default_int_handler
    )
    if ours:
        signal.signal(signal.SIGINT, note)
    try:
        yield raise_if_lost
    finally:
        if ours:
            signal.signal(signal.SIGINT, signal.default_int_handler)
