"""Files to start from: each runs as it is, and its comments say what to change.

`protocol.toml` and `model.py` beside this file are written out as they lie.
"""

from pathlib import Path

from ckin.errors import InputError


def write_starting_file(template: str, path: Path) -> None:
    """Write a file to start from.

    Args:
        template: `protocol.toml` or `model.py`.
        path: the file to write.

    Raises:
        InputError: a path with another ending, one that exists or cannot be written.
    """
    source = Path(__file__).resolve().parent / template
    if path.suffix != source.suffix:
        raise InputError(f"{path}: a {source.stem} file ends in {source.suffix}")
    if path.exists():
        raise InputError(f"{path} exists and is left as it is; choose another name")
    try:
        path.write_text(source.read_text(encoding="utf-8"), encoding="utf-8")
    except OSError as error:
        raise InputError(f"{path} cannot be written ({error.strerror})") from None
