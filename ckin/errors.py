"""A user's mistake, told in full by its message: what, where, how to mend it.

The command line prints such a message and exits with code 2. Anything else that is
raised is a fault of ckin's own, and keeps its traceback.
"""

import difflib
from collections.abc import Iterable, Mapping


# How much of a cell or an entry a message quotes.
SHOWN_CHARACTERS = 60


class InputError(ValueError):
    """What was asked cannot be done with what was given."""


def quoted(value: object) -> str:
    """A cell or an entry as a message quotes it: on one line, and not too long."""
    if isinstance(value, str) and len(value) > SHOWN_CHARACTERS:
        value = value[:SHOWN_CHARACTERS] + "..."
    shown = repr(value)
    return shown if isinstance(value, str) else shown[:SHOWN_CHARACTERS]


def nearest(
    word: str,
    known: Iterable[str],
    aliases: Mapping[str, str] | None = None,
    *,
    alike: float = 0.6,
) -> str | None:
    """The known word that was probably meant, if one is near.

    Args:
        word: what was written, in any case.
        known: words that would have been right.
        aliases: other people's words (upper case) for some of the known ones.
        alike: how near a word has to be, 0 to 1.
    """
    by_upper = {name.upper(): name for name in known}
    alias = (aliases or {}).get(word.upper())
    if alias is not None and alias.upper() in by_upper:
        return by_upper[alias.upper()]
    near = difflib.get_close_matches(word.upper(), by_upper, n=1, cutoff=alike)
    return by_upper[near[0]] if near else None


def did_you_mean(
    word: str, known: Iterable[str], aliases: Mapping[str, str] | None = None
) -> str:
    """`did you mean X? ` when a known word is near, else nothing."""
    meant = nearest(word, known, aliases)
    return f"did you mean {meant}? " if meant else ""
