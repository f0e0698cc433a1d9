"""Who is treated: draws of parameters, and in each of them the same virtual patients.

A person is a pair of draw and patient. What is random about a patient comes from a key
of the patient alone, and what is random about a draw from one of the draw alone: the
same people under every arm (common random numbers), and the first hundred the same
whether there are a hundred or a thousand.
"""

import dataclasses
import zlib
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ckin._types import Array, Float
from ckin.assay import ASSAYS, qpcr
from ckin.cohort import WEIGHT_MEDIAN_KG, WEIGHT_SD_LOG, normals
from ckin.errors import InputError, did_you_mean
from ckin.library import load_model
from ckin.model import AbstractModel, name_of, parameters
from ckin.population import Population, population
from ckin.reopen import Reopened, reopen
from ckin.scenario.newcomers import (
    Spreads,
    new_eta,
    on_cycles,
    told_of_fitted,
    told_of_new,
)
from ckin.scenario.scenario import PeopleSpec, Scenario
from ckin.writing import CONVERGED, DID_NOT


# Error SD of the natural log of a reading where no fit says: prior median of a fit.
SIGMA = 0.5
# What each key is for.
FOR_PRIOR, FOR_PATIENT, FOR_WEIGHT, FOR_READING, FOR_CYCLE = range(5)
LABELS = {
    "prior": "prior assumptions, no patient measured",
    "typical": "typical values of the model, no patient measured",
    "fit": "the posterior of a fit",
}
WHAT_PARAMETERS = {"prior": "prior of the parameters", "fit": "posterior"}


@dataclasses.dataclass(frozen=True)
class People:
    """Draws of parameters, and patients in them.

    Attributes:
        whole: the model, and which parameters differ.
        typical: φ of the typical patient of each draw.
        phi: φ of every patient of every draw, and what each cycle adds to it where
            cycles differ; of none where outcomes are on disk.
        weight_kg: of each patient.
        sigma: error SD of a reading (of the natural log) in each draw.
        ids: of the patients.
        basis: what the parameters are, in words.
        uncertainty: what differs between the numbers, in words.
        synthetic: a fit to synthetic data.
        notes: what else a reader must know.
        drawn: names of the parameters whose typical values differ between draws.
        residual: whether readings have an error.
        first: place of the first of these patients among all, from 0.
        converged: of the fit whose posterior it is; `None` without one.
        reasons: what speaks against that fit.
    """

    whole: Population
    typical: Float[np.ndarray, "draws estimated"]
    phi: Float[np.ndarray, "draws kept phi"]
    weight_kg: Float[np.ndarray, " patients"]
    sigma: Float[np.ndarray, " draws"]
    ids: tuple[str, ...]
    basis: str
    uncertainty: tuple[str, ...]
    synthetic: bool = False
    notes: tuple[str, ...] = ()
    drawn: tuple[str, ...] = ()
    residual: bool = False
    first: int = 0
    converged: bool | None = None
    reasons: tuple[str, ...] = ()

    @property
    def verdict(self) -> dict[str, Any]:
        """Of the fit, as a manifest has it; nothing without one."""
        if self.converged is None:
            return {}
        return {CONVERGED: self.converged, "reasons": list(self.reasons)}

    @property
    def shape(self) -> tuple[int, int]:
        """Number of draws and of patients."""
        return len(self.typical), len(self.weight_kg)

    def phi_with(self, values: Mapping[str, float]) -> np.ndarray:
        """φ of every patient where these typical values hold instead."""
        shifted = self.phi.copy()
        for name, value in values.items():
            if name in self.whole.estimate:
                at = self.whole.estimate.index(name)
                wanted = _phi_of(self.whole, name, value)
                shifted[..., at] += wanted - self.typical[:, None, at]
        return shifted

    def fixed(self, values: Mapping[str, float]) -> dict[str, float]:
        """Of these values, those of parameters that are the same for everyone."""
        return {n: float(v) for n, v in values.items() if n not in self.whole.estimate}


def _phi_of(whole: Population, name: str, value: float) -> float:
    at = whole.estimate.index(name)
    natural = whole.from_phi(whole.typical_phi()).at[at].set(value)
    return float(whole.to_phi(natural)[at])


def people_in_blocks(scenario: Scenario, most: int) -> Iterator[People]:
    """The people of a scenario, some patients in every draw at a time.

    A patient is the same in a block as among all. Patients of a fit come at once.

    Args:
        scenario: the question.
        most: persons (patients × draws) of a block, about.

    Raises:
        InputError: as `find_people`.
    """
    spec = scenario.people
    fit = None
    if spec.source == "fit" and spec.fit is not None:
        fit = reopen(spec.fit, spec.draws)
    n = spec.patients
    if isinstance(n, str) or spec.patient is not None:
        yield find_people(scenario, fit=fit)
        return
    alone = find_people(scenario, range(0, 1), fit)
    if "between-patient" not in alone.uncertainty:
        yield alone
        return
    blocks = -(-n * len(alone.typical) // most)
    size = -(-n // max(1, min(blocks, n)))
    for start in range(0, n, size):
        yield find_people(scenario, range(start, min(start + size, n)), fit)


def find_people(
    scenario: Scenario, which: range | None = None, fit: Reopened | None = None
) -> People:
    """The people of a scenario.

    Args:
        scenario: the question.
        which: of its virtual patients; all by default.
        fit: the fit folder of the scenario, where it is open already.

    Raises:
        InputError: a model, a parameter, a fit folder or a patient that is not there;
            an uncertainty that the people do not have.
    """
    spec, asked = scenario.people, scenario.uncertainty
    usual = ("between-patient",) if spec.source == "typical" else None
    spreads = asked or usual or ("parameters", "between-patient")
    if "parameters" in spreads and spec.source == "typical":
        raise InputError("typical values are one set: leave out parameters, or draw")
    if spec.source == "fit":
        people = _of_fit(scenario, spec, spreads, which, fit)
    else:
        people = _of_model(scenario, spec, spreads, which)
    residual = "residual" in spreads
    words = [_word(spread, spec.source) for spread in spreads]
    return dataclasses.replace(people, residual=residual, uncertainty=tuple(words))


def _word(spread: str, source: str) -> str:
    return WHAT_PARAMETERS[source] if spread == "parameters" else spread


def _of_model(
    scenario: Scenario,
    spec: PeopleSpec,
    spreads: tuple[str, ...],
    which: range | None,
) -> People:
    """Draws of a prior, or the model's own values."""
    if scenario.model is None:
        raise InputError(f"scenario {scenario.name} names no model")
    model = load_model(scenario.model).with_values(**spec.values)
    drawn = _drawn(model, spec)
    whole = population_of(model, drawn, spec.omega)
    key = jax.random.key(scenario.seed)
    if "parameters" in spreads:
        own = jax.random.fold_in(key, FOR_PRIOR)
        typical, omega = _prior(own, whole, drawn, spec.draws)
    else:
        typical = np.asarray(whole.typical_phi())[None]
        omega = np.array(whole.omega, dtype=float)[None]
    n = spec.patients if "between-patient" in spreads else 1
    assert isinstance(n, int)  # "fitted" is of a fit
    around = Spreads(omega, np.zeros((len(omega), 0)))
    return _new_patients(key, whole, typical, around, n, spec, spreads, which)


def population_of(
    model: AbstractModel, drawn: tuple[str, ...], omega: Mapping[str, float]
) -> Population:
    """The model as a population: what is drawn, and what varies between patients.

    Args:
        model: the typical patient.
        drawn: parameters that a prior draws.
        omega: SDs of the logarithm beside those of the model.
    """
    vary = [name for name, info in parameters(model).items() if info.omega is not None]
    vary += [name for name in omega if name not in vary]
    # Quantities are read by their own names here: any assay that there is will do.
    able = [make() for make in ASSAYS.values() if make().quantity in model.units]
    assays = able or qpcr()
    return population(model, assays, estimate=drawn, vary=vary, omega=omega)


def _drawn(model: AbstractModel, spec: PeopleSpec) -> tuple[str, ...]:
    """Parameters that a prior draws: what is asked for, or what a fit estimates."""
    known = parameters(model)
    if spec.draw is None:
        return tuple(name for name, info in known.items() if info.estimate)
    for name in spec.draw:
        if name not in known:
            raise InputError(
                f"population.draw has {name!r}; {did_you_mean(name, known)}"
                f"{name_of(model)} has {', '.join(known)}"
            )
    return spec.draw


def _prior(
    key: Array, whole: Population, drawn: tuple[str, ...], draws: int
) -> tuple[np.ndarray, np.ndarray]:
    """φ of typical values, and ω, of each draw; a parameter by a key of its own."""
    index = jnp.arange(draws)
    typical = whole.from_phi(whole.typical_phi())
    natural = np.tile(np.asarray(typical), (draws, 1))
    for name in drawn:
        prior = whole.info[name].prior
        assert prior is not None  # `population` refuses such a parameter
        keys = _keys(key, name, index)
        at = whole.estimate.index(name)
        natural[:, at] = jax.vmap(lambda own, p=prior: p.sample(own))(keys)
    omega = np.empty((draws, len(whole.vary)))
    for at, name in enumerate(whole.vary):
        keys = _keys(key, f"omega_{name}", index)
        spread = np.asarray(jax.vmap(jax.random.normal)(keys))
        omega[:, at] = whole.omega[at] * np.exp(whole.omega_sd_log[at] * spread)
    return np.asarray(whole.to_phi(jnp.asarray(natural))), omega


def _keys(key: Array, name: str, index: Array) -> Array:
    """Keys of a parameter, one for each draw, whatever else is drawn."""
    own = jax.random.fold_in(key, zlib.crc32(name.encode()))
    return jax.vmap(lambda draw: jax.random.fold_in(own, draw))(index)


def _new_patients(
    key: Array,
    whole: Population,
    typical: np.ndarray,
    around: Spreads,
    n: int,
    spec: PeopleSpec,
    spreads: tuple[str, ...],
    which: range | None,
) -> People:
    """The same virtual patients in every draw: these of `n`."""
    some = range(n) if which is None else range(which.start, min(which.stop, n))
    index = jnp.arange(some.start, some.stop)
    eta = np.zeros((len(some), len(whole.eta_names)))
    weight = np.full(len(some), spec.weight_kg or WEIGHT_MEDIAN_KG)
    if "between-patient" in spreads:
        eta = new_eta(jax.random.fold_in(key, FOR_PATIENT), whole, index)
        if spec.weight_kg is None:
            spread = np.asarray(normals(jax.random.fold_in(key, FOR_WEIGHT), index, ()))
            weight = WEIGHT_MEDIAN_KG * np.exp(WEIGHT_SD_LOG * spread)
    phi = np.zeros((len(typical), len(some), whole.n_phi))
    phi[..., : typical.shape[1]] = typical[:, None]
    phi[..., list(whole.vary_index)] += around.deviations(whole, eta)
    moving = np.ptp(typical, axis=0) > 0
    return People(
        whole=whole,
        typical=typical,
        phi=phi,
        weight_kg=weight,
        sigma=np.full(len(typical), SIGMA),
        ids=tuple(f"V{i + 1:0{len(str(n))}d}" for i in some),
        basis=LABELS[spec.source],
        uncertainty=(),
        drawn=tuple(
            n for n, moves in zip(whole.estimate, moving, strict=True) if moves
        ),
        first=some.start,
    )


def _of_fit(
    scenario: Scenario,
    spec: PeopleSpec,
    spreads: tuple[str, ...],
    which: range | None,
    fit: Reopened | None,
) -> People:
    """Draws of a posterior: new patients, the fitted ones, or one of them."""
    if spec.fit is None:
        raise InputError(
            f"scenario {scenario.name} asks for draws of a posterior; name the folder "
            "of a fit: ckin compare ... --fit FOLDER"
        )
    draws = spec.draws if "parameters" in spreads else 1
    fit = reopen(spec.fit, spec.draws) if fit is None else fit
    if scenario.model is not None:
        _check_same_model(scenario.model, fit, spec)
    whole, cycles = fit.population, max(arm.protocol.cycles for arm in scenario.arms)
    if whole.iov:
        whole = dataclasses.replace(whole, occasions=cycles)
    typical, around = fit.typical, Spreads.of(fit)
    if "parameters" not in spreads:
        typical, around = np.median(typical, axis=0, keepdims=True), around.middle()
    key = jax.random.key(scenario.seed)
    known = {patient.id: patient for patient in fit.dataset.patients}
    if spec.patient is not None and spec.patient not in known:
        raise InputError(
            f"population.patient = {spec.patient!r}: "
            f"{did_you_mean(spec.patient, known)}{spec.fit} has {', '.join(known)}"
        )
    if spec.patient is not None or spec.patients == "fitted":
        people = _fitted(key, fit, whole, typical, spec, draws)
    else:
        assert isinstance(spec.patients, int)
        n = spec.patients if "between-patient" in spreads else 1
        people = _new_patients(key, whole, typical, around, n, spec, spreads, which)
        people = dataclasses.replace(people, notes=told_of_new(whole))
    people = _with_values(people, spec)
    synthetic = bool(fit.manifest["synthetic_data"])
    basis = f"the posterior of {fit.manifest['model']} in {spec.fit.name}"
    notes = list(people.notes)
    if not fit.converged:
        notes.append(f"THE FIT {DID_NOT}: do not use these numbers")
    fitted = spec.patient is not None or spec.patients == "fitted"
    if whole.covariates and not fitted:
        notes.append("virtual patients have the covariates that the fit is centred at")
    if fitted and whole.changing:
        names = ", ".join(dict.fromkeys(effect.column for effect in whole.changing))
        notes.append(f"{names} stay as at the first event of each patient of the fit")
    return dataclasses.replace(
        people,
        basis=basis
        + (", SYNTHETIC data" if synthetic else "")
        + ("" if fit.converged else f", WHICH {DID_NOT}"),
        synthetic=synthetic,
        converged=fit.converged,
        reasons=fit.reasons,
        sigma=fit.sigma[: len(people.typical)],
        notes=tuple(notes),
    )


def _check_same_model(name: str, fit: Reopened, spec: PeopleSpec) -> None:
    asked, fitted = load_model(name), fit.population.model
    if type(asked) is not type(fitted):
        raise InputError(
            f"the scenario is about {name_of(asked)}, and {spec.fit} is a fit of "
            f"{name_of(fitted)}; change one of them"
        )


def _fitted(
    key: Array,
    fit: Reopened,
    whole: Population,
    typical: np.ndarray,
    spec: PeopleSpec,
    draws: int,
) -> People:
    """Patients of the fit by the draws of their own parameters."""
    ids = [patient.id for patient in fit.dataset.patients]
    rows = [ids.index(spec.patient)] if spec.patient is not None else range(len(ids))
    chosen = list(rows)
    phi = np.asarray(fit.phi)[:, chosen]
    anew = jax.random.fold_in(key, FOR_CYCLE)
    if draws == 1:
        phi, anew = np.median(phi, axis=0, keepdims=True), None
    phi = on_cycles(anew, fit, phi, chosen, whole.occasions)
    weight = [fit.dataset.patients[row].covariates.get("WT") for row in chosen]
    unknown = [ids[row] for row, w in zip(chosen, weight, strict=True) if w is None]
    if unknown and spec.weight_kg is None:
        raise InputError(
            f"the weight of patient {unknown[0]} is not in the fit; give everyone's: "
            "weight_kg = 60"
        )
    kg = [spec.weight_kg if w is None else w for w in weight]
    return People(
        whole=whole,
        typical=typical,
        phi=phi,
        weight_kg=np.array(kg, dtype=float),
        sigma=np.full(len(typical), SIGMA),
        ids=tuple(ids[row] for row in chosen),
        basis="",
        uncertainty=(),
        notes=told_of_fitted(fit, chosen, whole.occasions, anew is not None),
        drawn=tuple(whole.estimate),
    )


def _with_values(people: People, spec: PeopleSpec) -> People:
    """The people of a fit with other values of parameters that it did not estimate."""
    whole = people.whole
    if not spec.values:
        return people
    asked = [name for name in spec.values if name in whole.estimate]
    if asked:
        raise InputError(
            f"population.set has {asked[0]}, which the fit estimated; set it in an arm "
            "to ask what if it were otherwise"
        )
    model = whole.model.with_values(**spec.values)
    return dataclasses.replace(people, whole=dataclasses.replace(whole, model=model))
