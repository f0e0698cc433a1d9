"""The shipped models, one file each, that live in the top-level folder `models/`.

In a wheel they lie beside this file. In a checkout they lie in `models/` at the root
of the repository, and this package's path is extended to it.
"""

from pathlib import Path


_root = Path(__file__).resolve().parents[2]
if (_root / "pyproject.toml").is_file() and (_root / "models").is_dir():
    __path__.append(str(_root / "models"))
