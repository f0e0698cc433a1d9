"""Profile likelihoods of a fit: which are wanted, and the fit with them."""

import dataclasses
from collections.abc import Sequence

import jax

from ckin.dataset import Dataset
from ckin.errors import InputError
from ckin.inference.density import coordinates, make_density
from ckin.inference.fit import SPOKEN, Report, silent
from ckin.inference.profile import places_of, profile
from ckin.inference.results import Fit
from ckin.population import Population, pack


EVERY = "all"


def wanted_profiles(
    asked: Sequence[str], method: str, population: Population, dataset: Dataset
) -> tuple[str, ...]:
    """Parameters to profile, told before anything is fitted.

    Args:
        asked: names, or "all".
        method: of the fit.
        population: what will be fitted.
        dataset: to what.

    Raises:
        InputError: no such parameter, or a method without a likelihood to profile.
    """
    if not asked:
        return ()
    if SPOKEN.get(method, method) != "laplace":
        raise InputError(
            f"--profile {asked[0]}: a profile is of the likelihood, which --method "
            f"{method} does not maximise; add --method laplace"
        )
    density = make_density(population, pack(dataset, population))
    alone = coordinates(density)
    if EVERY in asked:
        return tuple(alone)
    places_of(density.names, asked)
    for name in asked:
        if name not in alone:
            raise InputError(
                f"--profile {name}: of a block of correlations those with its first "
                "parameter have profiles; name one of the two first in --vary, or "
                "leave it out"
            )
    return tuple(dict.fromkeys(asked))


def with_profiles(
    found: Fit, names: Sequence[str], *, seed: int = 0, report: Report = silent
) -> Fit:
    """A fit by maximum likelihood with profile likelihoods of some parameters.

    Where one of them goes higher than the maximum, the fit has not converged.

    Args:
        found: the fit.
        names: population parameters.
        seed: of the fresh starts of patients' modes.
        report: called with (stage, done, total) as it goes.

    Raises:
        ValueError: the fit was by another method.
        InputError: no such parameter.
    """
    if not names:
        return found
    if found.maximum is None:
        raise ValueError("profiles are of a likelihood: fit with method='laplace'")
    key = jax.random.key(seed)
    profiles = []
    for done, name in enumerate(names):
        report("profiles", done, len(names))
        profiles.append(profile(found.density, found.maximum, name, key=key))
    report("profiles", len(names), len(names))
    judged = found.verdict.also(tuple(r for each in profiles for r in each.reasons))
    return dataclasses.replace(
        found,
        profiles=tuple(profiles),
        verdict=judged,
        manifest={
            **found.manifest,
            "converged": judged.converged,
            "reasons": list(judged.reasons),
        },
    )
