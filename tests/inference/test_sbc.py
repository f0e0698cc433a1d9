"""Simulation-based calibration: where the truth comes from the prior, its rank among
the draws is as likely to be any as any other (Talts et al. 2018, arXiv:1804.06788)."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpyro.infer import Predictive
from scipy import stats
from toys import QPCR, Line, dataset, line_cohort, made, patient, sample

from ckin.inference import fit
from ckin.inference.density import make_density
from ckin.population import pack, population, population_model


pytestmark = pytest.mark.slow

REPLICATES, PATIENTS = 100, 6
# Rich and poor patients, so that both ends of the parametrisation are used.
TIMES = (6, 1)
# Of 4 x 200 draws every 8th: nearly independent.
THIN = 8
# Readings below this are censored; about a quarter are.
LIMIT = 100.0
WHOLE = population(made(Line), QPCR)


def simulated(seed: int):
    """A cohort drawn from the prior, and the truth by name."""
    template = line_cohort(PATIENTS, TIMES)
    packed = pack(template, WHOLE)
    drawn = Predictive(population_model, num_samples=1)(
        jax.random.key(seed), WHOLE, packed, observed=False
    )
    readings = np.exp(np.asarray(drawn["qpcr"][0]))
    people = []
    for row, person in enumerate(template.patients):
        samples = [
            sample(each.time_d, max(value, LIMIT), below=value < LIMIT)
            for each, value in zip(person.samples, readings[row].tolist(), strict=False)
        ]
        people.append(patient(person.id, samples))
    return dataset(people), {name: float(drawn[name][0]) for name in NAMES}


NAMES = make_density(WHOLE, pack(line_cohort(PATIENTS, TIMES), WHOLE)).names


@pytest.fixture(scope="module")
def ranks():
    found = []
    for seed in range(REPLICATES):
        data, truth = simulated(seed)
        result = fit(data, WHOLE, warmup=150, draws=200, seed=seed)
        u = result.u[:, ::THIN].reshape(-1, result.u.shape[-1])
        values = jax.vmap(result.density.constrain)(jnp.asarray(u))
        n = len(u)
        found.append([(np.asarray(values[k]) < truth[k]).sum() / n for k in NAMES])
    return np.array(found)


def test_the_ranks_of_the_truth_are_uniform(ranks):
    for name, each in zip(NAMES, ranks.T, strict=True):
        # One test a parameter; a family-wise error of 1% over them.
        assert stats.kstest(each, "uniform").pvalue > 0.01 / len(NAMES), name


def test_the_truth_is_in_90_percent_of_the_90_percent_intervals(ranks):
    inside = ((ranks > 0.05) & (ranks < 0.95)).mean(axis=0)
    # Binomial of 100 at 0.9: 0.83 to 0.97 hold 98% for one parameter.
    assert (inside > 0.80).all(), dict(zip(NAMES, inside, strict=True))
