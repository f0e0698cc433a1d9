"""Plates for tests: layouts without Ct, and wells drawn from a known truth."""

from collections.abc import Sequence

import jax
import numpy as np

from ckin.ct import CtData, CtSample, Plate, Standard, draw_wells


INTERCEPT, SLOPE = 37.4, -3.35
DECADES = tuple(10.0**decade for decade in range(1, 7))


def sample(
    cts: Sequence[float | None], dna_ng: float = 200.0, name: str = "s", day: float = 7
) -> CtSample:
    return CtSample(name, "p", "A", float(day), None, dna_ng, tuple(cts), 0)


def plate(levels: Sequence[float], replicates: int) -> Plate:
    wells = (Standard(float(c), None, 0) for c in levels for _ in range(replicates))
    return Plate("p", tuple(wells), (None, None))


def layout(
    samples: Sequence[CtSample] = (),
    levels: Sequence[float] = DECADES,
    replicates: int = 3,
) -> CtData:
    return CtData("wells.csv", (plate(levels, replicates),), tuple(samples))


def drawn(
    seed: int,
    empty: CtData,
    copies_per_ug: Sequence[float] | np.ndarray = (),
    *,
    tau: float = 0.2,
    sigma: float = 0.4,
    intercept: float = INTERCEPT,
    slope: float = SLOPE,
) -> CtData:
    return draw_wells(
        jax.random.key(seed),
        empty,
        np.log(np.asarray(copies_per_ug, dtype=float)),
        np.array([intercept]),
        np.array([slope]),
        tau,
        sigma,
    )
