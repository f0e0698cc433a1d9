"""Who joins a packed cohort is packed alone, and is what the whole would make it."""

import dataclasses

import equinox as eqx
import jax
import numpy as np
import pytest
from toys import QPCR, Hunt, Share, dataset, made, patient, sample

from ckin.dataset import Change
from ckin.population import CovariateEffect, PackError, pack, population
from ckin.protocol import Dose


DOSES = (
    Dose(0.0, "CART", cells=3.0, duration_d=0.5),
    Dose(2.0, "FTC", cells=20.0),
    Dose(12.0, "FTC", cells=80.0, cycle=2),
)
STEROID = CovariateEffect("growth", "STEROID", form="exp", center=0.0, changes=True)
WHOLE = population(
    made(Hunt), QPCR, covariates=(CovariateEffect("growth", "WT", center=60.0), STEROID)
)


def one(name, doses, changes, weight):
    """A patient of one dose a number, with as many changes of STEROID."""
    own = patient(
        name,
        [sample(t, 50.0) for t in (1.0, 5.0, 14.0)],
        doses=DOSES[:doses],
        WT=weight,
        STEROID=0.0,
    )
    told = tuple(Change(3.0 + n, 1.0 + n, 2.0 + n, row=2) for n in range(changes))
    return dataclasses.replace(own, changes={"STEROID": told} if told else {})


COHORT = [one("a", 2, 1, 55.0), one("b", 1, 0, 70.0)]


@pytest.mark.parametrize("newcomer", [(1, 0, 80.0), (3, 2, 80.0), (2, 1, 55.0)])
def test_packed_alone_it_is_its_row_of_the_whole(newcomer):
    new = one("c", *newcomer)
    row = jax.tree.map(lambda x: x[2:], pack(dataset([*COHORT, new]), WHOLE))
    alone = pack(dataset([new]), WHOLE, pack(dataset(COHORT), WHOLE))
    assert alone.ids == ("c",)
    # Steps of others beyond its own have no length, and are laid for those who have.
    own = alone.grid.start_d.shape[1]
    steps = lambda grid: [x[:, :own] for x in jax.tree.leaves(grid) if x.ndim > 1]
    for x, y in zip(steps(row.grid), steps(alone.grid), strict=True):
        np.testing.assert_array_equal(x, y)
    assert not np.any(row.grid.length_d[:, own:])
    without = lambda data: dataclasses.replace(data, ids=(), grid=row.grid)
    assert eqx.tree_equal(without(row), without(alone))


def test_a_newcomer_is_read_as_the_cohort_was():
    share = population(made(Share), QPCR)
    light = patient("a", [sample(1.0, 300.0)])
    bare = dataclasses.replace(light, covariates={})
    told, untold = (pack(dataset([p]), share) for p in (light, bare))
    assert not pack(dataset([light]), share, untold).known
    with pytest.raises(PackError, match="patient a has no WT"):
        pack(dataset([bare]), share, told)
