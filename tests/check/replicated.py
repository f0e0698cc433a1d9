"""A cohort with other readings."""

import dataclasses

import numpy as np

from ckin.check import Observed


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
