"""A cohort with other readings, and quick fits."""

import dataclasses
import inspect
from pathlib import Path

import numpy as np
from toys import Level, Line

from ckin.analysis import Analysis, run_fit
from ckin.check import Observed
from ckin.dataset import Dataset


LIMIT = 200.0


def read_as(seen: Observed, log_value: np.ndarray, limit: float = LIMIT) -> Observed:
    """The cohort with these readings instead, and what is below the limit, below."""
    log_limit = np.full(log_value.shape, np.log(limit) if limit else -np.inf)
    below = log_value < log_limit
    return dataclasses.replace(
        seen,
        log_value=np.where(below, log_limit, log_value),
        below=below,
        log_limit=log_limit,
    )


HEADER = '''"""A straight line, as a file."""
from typing import ClassVar, NamedTuple
import jax.numpy as jnp
import numpyro.distributions as dist
from ckin._types import Scalar
from ckin.model import AbstractModel, parameter, state
TOY = "made up for a test"

'''


def short_fit(folder: Path, data: Dataset, **options) -> Path:
    """Fit `Line`, from a file of its own, to a data set."""
    model = folder / "line.py"
    source = f"{inspect.getsource(Level)}\n\n{inspect.getsource(Line)}"
    model.write_text(HEADER + source, encoding="utf-8")
    chosen = {"method": "map", "chains": 2, "draws": 100} | options
    analysis = Analysis(str(model), from_day=0.0, **chosen)
    run_fit(data, analysis, folder / "fit", lambda *_: None)
    return folder / "fit"
