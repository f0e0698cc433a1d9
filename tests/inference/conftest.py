"""A cohort whose posterior is known on paper, and its approximation, made once."""

import jax
import pytest
from toys import QPCR, Line, line_cohort, made

from ckin.inference.density import Density, make_density
from ckin.inference.laplace import PopulationLaplace, fit_laplace
from ckin.population import pack, population


@pytest.fixture(scope="session")
def line() -> Density:
    """Four patients: two with 8 samples, two with 3."""
    pop = population(made(Line), QPCR)
    return make_density(pop, pack(line_cohort(4, (8, 3)), pop))


@pytest.fixture(scope="session")
def laplace(line) -> PopulationLaplace:
    return fit_laplace(line, jax.random.key(0))
