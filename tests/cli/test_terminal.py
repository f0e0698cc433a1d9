"""What the command line does with the keyboard."""

import contextlib
import signal

import pytest

from ckin.terminal import progress


@pytest.fixture
def keyboard():
    """The handler that Python starts with."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield signal.default_int_handler
    signal.signal(signal.SIGINT, before)


def lost():
    with progress() as report:
        report("a stage", 1, 3)
        # As Python does where garbage is collected.
        with contextlib.suppress(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        report("a stage", 2, 3)


def raised():
    with progress():
        signal.raise_signal(signal.SIGINT)


@pytest.mark.parametrize("pressed", [lost, raised])
def test_ctrl_c_is_heard_where_it_comes_or_at_the_next_report(keyboard, pressed):
    with pytest.raises(KeyboardInterrupt):
        pressed()
    assert signal.getsignal(signal.SIGINT) is keyboard


def test_whoever_is_deaf_to_ctrl_c_stays_so(keyboard):
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with progress() as report:
        signal.raise_signal(signal.SIGINT)
        report("a stage", 1, 1)
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
