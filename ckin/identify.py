"""What a trial will be able to tell: parameters, laws of the model, days to sample.

    answer = identify(Question("feeding_szcart01", "szcart01-high", n=34))
    answer.write(Path("identify"))

Nobody is fitted: readings are linearised around patients drawn from the model's own
values and ω (`ckin.design`). All of it rests on those values; it says what the design
can tell if they are about right, not what is true.
"""

import dataclasses
import itertools
from collections.abc import Callable, Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist

from ckin._types import Array
from ckin.assay import ASSAYS, Assay
from ckin.cohort import (
    FOLLOW_UP_DAYS,
    SAMPLE_DAYS,
    unread,
    virtual_patients,
    with_samples,
)
from ckin.dataset import Patient
from ckin.design import (
    Days,
    Information,
    Separation,
    as_design,
    best_days,
    gains,
    gap_between,
    information,
    nearest,
    point,
    precision_of,
    prior_sd,
    sensitivities,
    separation,
    what_is_told,
)
from ckin.errors import InputError
from ckin.inference.density import Density, make_density
from ckin.library import load_model, load_protocol
from ckin.model import AbstractModel, laws, name_of, parameters
from ckin.population import Population, pack, population
from ckin.protocol import Protocol


# Months after which nothing is learnt of expansion; candidates end here.
CANDIDATE_DAYS = (*range(29), 35, 42, 49, 56)
CANDIDATE_FOLLOW_UP = (70.0, 91.0, 120.0, 150.0, 182.0, 273.0, 365.0)
# Patients who stand for the trial's where laws are compared and days chosen.
STAND_INS = 8
# A parameter matters under a law if readings move by so much of a log unit per SD.
LEAST_MOVE = 1e-6
AS_IT_IS = "as it is"

Report = Callable[[str, int, int], None]


@dataclasses.dataclass(frozen=True)
class Alternative:
    """The model under another law, or at other values.

    Attributes:
        name: what to call it.
        values: parameters and laws that differ from the model as it is.
        free: parameters that it brings and that are estimated with it.
    """

    name: str
    values: Mapping[str, float | str]
    free: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Question:
    """What is asked.

    Attributes:
        model: name or file.
        protocol: name or file.
        n: patients.
        seed: of virtual patients.
        assays: that are read, by name.
        estimate: parameters to estimate, else those of the model file.
        values: parameters and laws of the model as it is.
        alternatives: to tell from it; every form of every law where not given.
        wanted: parameters that days are chosen for, all where not given.
        samples: samples of a patient to place, those of the usual plan where not given.
    """

    model: str
    protocol: str
    n: int = 34
    seed: int = 0
    assays: tuple[str, ...] = ("qpcr",)
    estimate: tuple[str, ...] | None = None
    values: Mapping[str, float | str] = dataclasses.field(default_factory=dict)
    alternatives: tuple[Alternative, ...] | None = None
    wanted: tuple[str, ...] = ()
    samples: int | None = None


@dataclasses.dataclass(frozen=True)
class SampleDays:
    """Where samples tell most, against the usual plan.

    Attributes:
        purpose: what they are to tell.
        time_d: candidate times, days from the first infusion.
        plan: places of the usual plan among them.
        best: what was found.
        gain_of_plan: what one more sample adds to the usual plan, by candidate.
        plan_value: the criterion of the usual plan.
        unit: of criterion and gain.
    """

    purpose: str
    time_d: np.ndarray
    plan: tuple[int, ...]
    best: Days
    gain_of_plan: np.ndarray
    plan_value: float
    unit: str


@dataclasses.dataclass(frozen=True)
class Answer:
    """What the trial can tell.

    Attributes:
        question: what was asked.
        whole: information of all cycles.
        without_first: of cycles 2 and on alone; `None` where there is one cycle.
        alternatives: what was compared.
        separations: every ordered pair.
        days: for the parameters, and for the pair of laws that is hardest to tell.
    """

    question: Question
    whole: Information
    without_first: Information | None
    alternatives: tuple[Alternative, ...]
    separations: tuple[Separation, ...]
    days: tuple[SampleDays, ...]


def identify(question: Question, report: Report = lambda *_: None) -> Answer:
    """Answer a question about a design.

    Raises:
        InputError: a model, protocol, law, parameter or assay that does not exist.
    """
    model = load_model(question.model).with_values(**question.values)
    plan = load_protocol(question.protocol)
    key = jax.random.key(question.seed)
    chosen = _alternatives(question, model)
    people = _read_by(question, virtual_patients(key, plan, question.n))
    few, scale = people[:STAND_INS], max(1.0, question.n / STAND_INS)
    stages = len(chosen) + 2
    posed = _with_what_they_free(question, model, chosen, people[:1])
    densities = {}
    for done, alternative in enumerate(posed):
        report("laws", done, stages)
        densities[alternative.name] = _posed(question, model, alternative, few)
    sigma = _sigma(question)
    separations = tuple(
        separation(
            densities[truth.name],
            densities[other.name],
            (truth.name, other.name),
            sigma=sigma,
            scale=scale,
            key=key,
        )
        for truth, other in itertools.permutations(posed, 2)
    )
    report("parameters", 0, 2)
    whole = _told_of(question, model, posed[0], people, key)
    later = _without_cycle_1(people)
    without = None
    if later is not None:
        without = _told_of(question, model, posed[0], later, key)
    report("parameters", 1, 2)
    days = _days(question, model, plan, posed, separations, key)
    report("parameters", 2, 2)
    return Answer(question, whole, without, posed, separations, days)


def _told_of(question, model, alternative, people, key) -> Information:
    density = _posed(question, model, alternative, people)
    return information(density, point(density, sigma=_sigma(question)), key)


def _sigma(question: Question) -> dict[str, float]:
    """Error SD of each assay: the median of its prior."""
    return {name: ASSAYS[name]().typical_sigma for name in question.assays}


def _read_by(question: Question, people: Sequence[Patient]) -> tuple[Patient, ...]:
    unknown = [name for name in question.assays if name not in ASSAYS]
    if unknown:
        raise InputError(f"--assay {unknown[0]}: choose {', '.join(ASSAYS)}")
    first, *others = question.assays
    read = tuple(people)
    if first != "qpcr":
        read = with_samples(read, first)
        read = tuple(_only(patient, first) for patient in read)
    for name in others:
        read = with_samples(read, name)
    return tuple(read)


def _only(patient: Patient, assay: str) -> Patient:
    keep = lambda samples: tuple(s for s in samples if s.assay == assay)
    return dataclasses.replace(
        patient, samples=keep(patient.samples), baseline=keep(patient.baseline)
    )


def _alternatives(question: Question, model: AbstractModel) -> list[Alternative]:
    """The model as it is, and what it is to be told from."""
    if question.alternatives is not None:
        others = list(question.alternatives)
    else:
        others = [
            Alternative(f"{name}={form}", {name: form})
            for name, info in laws(model).items()
            for form in info.options
            if form != getattr(model, name).__name__
        ]
    return [Alternative(AS_IT_IS, {}), *others]


def _with_what_they_free(
    question: Question,
    model: AbstractModel,
    alternatives: Sequence[Alternative],
    people: Sequence[Patient],
) -> tuple[Alternative, ...]:
    """Each alternative with the parameters that act under it and not as it is."""

    def acting(alternative: Alternative) -> set[str]:
        changed = model.with_values(**alternative.values)
        priors = [
            n for n, info in parameters(changed).items() if info.prior is not None
        ]
        whole = population(
            changed,
            [ASSAYS[name]() for name in question.assays],
            estimate=priors,
            vary=(),
        )
        design = pack(as_design(unread(whole, people)), whole)
        moved = sensitivities(whole, design, whole.typical_phi()[None]).jacobian
        largest = np.asarray(np.abs(moved)).max(axis=(0, 1))
        return {
            n for n, m in zip(whole.estimate, largest, strict=True) if m > LEAST_MOVE
        }

    usual = acting(alternatives[0])
    return tuple(
        dataclasses.replace(each, free=tuple(sorted(acting(each) - usual)))
        if each.name != AS_IT_IS and not each.free
        else each
        for each in alternatives
    )


def _posed(
    question: Question,
    model: AbstractModel,
    alternative: Alternative,
    people: Sequence[Patient],
) -> Density:
    """The density of an alternative on a design."""
    assays = [ASSAYS[name]() for name in question.assays]
    whole = under(model, assays, alternative, question.estimate)
    return make_density(whole, pack(as_design(unread(whole, people)), whole))


def under(
    model: AbstractModel,
    assays: Sequence[Assay],
    alternative: Alternative,
    estimate: Sequence[str] | None = None,
    priors: Mapping[str, dist.Distribution] | None = None,
) -> Population:
    """The population of an alternative: what it frees is estimated and does not vary.

    Args:
        model: as it is.
        assays: that are read.
        alternative: what differs.
        estimate: parameters to estimate besides, else those of the model file.
        priors: to use instead of the model file's.
    """
    changed = model.with_values(**alternative.values)
    usual = population(changed, assays, estimate=estimate)
    free = [name for name in alternative.free if name not in usual.estimate]
    return population(
        changed,
        assays,
        estimate=(*usual.estimate, *free),
        vary=usual.vary,
        priors=priors,
    )


def _without_cycle_1(people: Sequence[Patient]) -> tuple[Patient, ...] | None:
    """The same patients, sampled from cycle 2 on; `None` where there is none."""
    kept = [
        dataclasses.replace(
            p, samples=tuple(s for s in p.samples if s.cycle > 1), baseline=()
        )
        for p in people
    ]
    return tuple(kept) if all(p.samples for p in kept) else None


def _days(
    question: Question,
    model: AbstractModel,
    plan: Protocol,
    alternatives: Sequence[Alternative],
    separations: Sequence[Separation],
    key: Array,
) -> tuple[SampleDays, ...]:
    """Days for the parameters, and for the two laws that are hardest to tell apart."""
    days = sorted({*map(float, CANDIDATE_DAYS), *SAMPLE_DAYS} - {0.0})
    follow_up = sorted({*CANDIDATE_FOLLOW_UP, *FOLLOW_UP_DAYS})
    wide = virtual_patients(
        key, plan, STAND_INS, sample_days=days, follow_up_days=follow_up
    )
    usual = virtual_patients(key, plan, 1)[0]
    wide = _read_by(question, wide)
    sigma, scale = _sigma(question), question.n / STAND_INS
    density = _posed(question, model, alternatives[0], wide)
    time_d = np.asarray(density.data.time_d[0])
    planned = {s.time_d for s in usual.samples}
    taken = tuple(int(i) for i in np.flatnonzero(np.isin(time_d, list(planned))))
    count = question.samples or len(taken)
    told = what_is_told(density, point(density, sigma=sigma), key)
    unknown = [n for n in question.wanted if n not in density.names]
    if unknown:
        raise InputError(
            f"--for {unknown[0]}: not among what is estimated: "
            f"{', '.join(density.names)}"
        )
    if count > time_d.size:
        raise InputError(
            f"--samples: {count} samples cannot be placed on {time_d.size} days"
        )
    wanted = [density.names.index(n) for n in question.wanted or density.names]
    for_what = ", ".join(question.wanted) or "all parameters"
    asked = [
        (
            for_what,
            "log precision",
            precision_of(told, prior_sd(density), wanted, scale),
        )
    ]
    hardest = _hardest(separations)
    if hardest is not None:
        by_name = {each.name: each for each in alternatives}
        a, b = (
            _posed(question, model, by_name[name], wide)
            for name in (hardest.truth, hardest.other)
        )
        near = nearest(a, b, sigma, key)
        title = f"{hardest.truth} from {hardest.other}"
        asked.append((title, "elpd", gap_between(near, scale)))
    found = []
    for purpose, unit, criterion in asked:
        best = best_days(criterion, time_d.size, count, key)
        weights = np.zeros(time_d.size)
        weights[list(taken)] = 1.0
        found.append(
            SampleDays(
                purpose=purpose,
                time_d=time_d,
                plan=taken,
                best=best,
                gain_of_plan=gains(criterion, taken, time_d.size),
                plan_value=float(criterion(jnp.asarray(weights))),
                unit=unit,
            )
        )
    return tuple(found)


def _hardest(separations: Sequence[Separation]) -> Separation | None:
    """The pair with least advantage for its scatter, of those that differ at all."""
    differing = [s for s in separations if s.elpd_difference > 0.5]
    by_scatter = lambda s: s.elpd_difference / max(s.standard_error, 1e-9)
    return min(differing, key=by_scatter, default=None)


def describe(question: Question) -> str:
    """One line on what was asked."""
    return (
        f"{name_of(load_model(question.model))}, {question.protocol}, {question.n} "
        f"patients, {' and '.join(question.assays)}, seed {question.seed}"
    )
