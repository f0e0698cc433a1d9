"""A cohort of `Line` whose every reading can be drawn again, limits and all."""

import dataclasses

import jax
import numpy as np
import pytest
from replicated import LIMIT, short_fit
from toys import QPCR, Line, dataset, line_cohort, made, patient, sample

from ckin.check import Observed, observed, replicate
from ckin.dataset import Dataset
from ckin.inference.density import Density, make_density
from ckin.population import pack, population


TIMES = np.array([1.0, 4.0, 8.0, 12.0, 16.0, 20.0])


@pytest.fixture(scope="session")
def cohort() -> Dataset:
    """30 patients with 6 samples each on the same days, every one with its limit."""
    rows = [sample(t, 400.0, limit=LIMIT) for t in TIMES.tolist()]
    return dataset([patient(f"P{i:02d}", rows) for i in range(30)])


@pytest.fixture(scope="session")
def density(cohort) -> Density:
    pop = population(made(Line), QPCR)
    return make_density(pop, pack(cohort, pop))


@pytest.fixture(scope="session")
def truth(density) -> np.ndarray:
    """Population parameters that replicates are drawn under."""
    return np.asarray(density.start)


@pytest.fixture(scope="session")
def replicates(density, truth) -> np.ndarray:
    """2000 replicates of the cohort at the truth."""
    return replicate(density, np.tile(truth, (2000, 1)), jax.random.key(1))


@pytest.fixture(scope="session")
def seen(density, cohort) -> Observed:
    return observed(density, cohort)


@pytest.fixture(scope="session")
def fitted_line():
    """Twelve patients of `Line` as they come, with their density."""
    data = line_cohort(12, (6,))
    pop = population(made(Line), QPCR)
    return data, make_density(pop, pack(data, pop))


@pytest.fixture(scope="session")
def fit_folder(tmp_path_factory):
    """Folder of a quick fit (MAP) of 16 lines; patients have an AGE that says a."""
    data = line_cohort(16, (6,))
    patients = [
        dataclasses.replace(
            p,
            covariates={"WT": 60.0, "AGE": float(np.log(p.samples[0].value))},
            samples=tuple(
                dataclasses.replace(
                    s,
                    limit=LIMIT / 4,
                    below=s.value < LIMIT / 4,
                    value=max(s.value, LIMIT / 4),
                )
                for s in p.samples
            ),
        )
        for p in data.patients
    ]
    data = dataclasses.replace(data, patients=tuple(patients))
    return short_fit(tmp_path_factory.mktemp("checked"), data)
