"""Files to start from: each runs as it is, and its comments say what to change.

`protocol.toml`, `scenario.toml`, `question.toml` and `model.py` beside this file are
written out as they lie.
"""

from pathlib import Path

from ckin.writing import refuse_to_write_over, writing


def write_starting_file(template: str, path: Path) -> None:
    """Write a file to start from.

    Args:
        template: one of those files.
        path: the file to write.

    Raises:
        InputError: a path with another ending, one that exists or cannot be written.
    """
    source = Path(__file__).resolve().parent / template
    refuse_to_write_over(path, source.stem, source.suffix)
    with writing(path):
        path.write_text(source.read_text(encoding="utf-8"), encoding="utf-8")
