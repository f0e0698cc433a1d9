"""Wells of the samples of a cohort as padded arrays."""

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np

from ckin._types import Array
from ckin.ct import SampleWells, Standards
from ckin.ct.likelihood import pack_samples
from ckin.dataset.wells import Wells


def packed_wells(
    samples: Sequence[Sequence[Wells | None]], width: int, standards: Standards
) -> SampleWells:
    """Wells of the samples of patients, padded with samples that have no wells.

    Args:
        samples: of each patient.
        width: samples of a patient, padding included.
        standards: of the plates.
    """
    having = [
        (row, column, wells)
        for row, mine in enumerate(samples)
        for column, wells in enumerate(mine)
        if wells is not None
    ]
    flat = pack_samples([wells for *_, wells in having], standards)
    rows = np.array([row for row, *_ in having], dtype=int)
    columns = np.array([column for _, column, _ in having], dtype=int)
    shape = (len(samples), width)

    def placed(each: Array) -> Array:
        empty = jnp.zeros((*shape, *each.shape[1:]), each.dtype)
        return empty.at[rows, columns].set(each)

    return SampleWells(
        plate=placed(flat.plate),
        log_ug=placed(flat.log_ug),
        ct=placed(flat.ct),
        amplified=placed(flat.amplified),
        silent=placed(flat.silent),
        # Where there is nothing to scatter: no division by it comes to harm.
        scatter=jnp.ones(shape).at[rows, columns].set(flat.scatter),
    )
