"""Wells drawn from a known truth, by the process that the likelihood describes."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from ckin._types import Array, ArrayLike, Float
from ckin.ct.likelihood import LN10
from ckin.ct.records import Ct, CtData


def draw_wells(
    key: Array,
    layout: CtData,
    log_copies_per_ug: Float[ArrayLike, " samples"],
    intercept: Float[ArrayLike, " plates"],
    slope: Float[ArrayLike, " plates"],
    tau: float,
    sigma: float,
) -> CtData:
    """The same plates with Ct drawn anew; the result says that it is synthetic.

    Controls without template do not amplify.

    Args:
        key: of every random number.
        layout: which wells there are; their Ct are not looked at.
        log_copies_per_ug: natural log of the error-free prediction of each sample.
        intercept: Ct of one copy, by plate of `layout`.
        slope: cycles per decade, by plate.
        tau: SD of a well, cycles.
        sigma: SD of the natural log of a sample about its prediction.
    """
    of_wells, of_samples = jax.random.split(key)
    error = jax.random.normal(of_samples, (len(layout.samples),))
    log_level = jnp.asarray(log_copies_per_ug) + sigma * error
    names = [plate.name for plate in layout.plates]
    at = [names.index(p.name) for p in layout.plates for _ in p.standards]
    mean = [well.copies for plate in layout.plates for well in plate.standards]
    for level, sample in zip(np.exp(log_level), layout.samples, strict=True):
        at += [names.index(sample.plate)] * len(sample.cts)
        mean += [float(level) * sample.dna_ug] * len(sample.cts)
    line = (np.asarray(intercept)[at], np.asarray(slope)[at])
    cts = iter(_cts(of_wells, np.array(mean, dtype=float), *line, tau))
    plates = tuple(
        dataclasses.replace(
            plate,
            standards=tuple(
                dataclasses.replace(well, ct=next(cts)) for well in plate.standards
            ),
            controls=(None,) * len(plate.controls),
        )
        for plate in layout.plates
    )
    samples = tuple(
        dataclasses.replace(sample, cts=tuple(next(cts) for _ in sample.cts))
        for sample in layout.samples
    )
    return dataclasses.replace(
        layout, plates=plates, samples=samples, synthetic=True, notes=(), sha256=""
    )


def _cts(
    key: Array, mean: np.ndarray, intercept: np.ndarray, slope: np.ndarray, tau: float
) -> list[Ct]:
    """Ct of wells that get a Poisson number of copies with these means."""
    of_number, of_noise = jax.random.split(key)
    number = np.asarray(jax.random.poisson(of_number, mean), dtype=float)
    noise = np.asarray(jax.random.normal(of_noise, mean.shape))
    ct = intercept + slope * np.log(np.maximum(number, 1.0)) / LN10 + tau * noise
    return [float(c) if n else None for c, n in zip(ct, number, strict=True)]
