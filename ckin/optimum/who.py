"""For whom a schedule is sought: many patients, or one with early samples.

Both are a batch of models of one weight. Many are drawn as `ckin compare` draws its
people (typical values, a prior, a posterior), each with parameters and a patient of its
own. Of one patient, its readings so far say who it may be (`ckin.schedule.patient`).
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from ckin.analysis import described
from ckin.assay import ASSAYS
from ckin.cohort import WEIGHT_MEDIAN_KG
from ckin.dataset import Dataset, Patient
from ckin.dosing import weighed
from ckin.errors import InputError, did_you_mean
from ckin.inference.density import Hyper
from ckin.library import load_model
from ckin.model import name_of, parameters
from ckin.optimum.inquiry import Inquiry
from ckin.population import Population, population
from ckin.protocol import Protocol, day_of_time
from ckin.reopen import reopen
from ckin.scenario.newcomers import Spreads
from ckin.scenario.people import People, find_people
from ckin.schedule import patient_draws, people_of
from ckin.solve import Patientlike
from ckin.writing import DID_NOT


# Doses of a patient's data and of the course are the same within this.
SAME_DAY_D, SAME_AMOUNT = 1.0, 0.1
# What the draws of a patient are for.
FOR_PATIENT = 11


@dataclasses.dataclass(frozen=True)
class Whom:
    """Patients over whom a schedule is averaged.

    Attributes:
        people: as one draw of so many patients.
        models: the same as models, a leading axis.
        weight_kg: of everyone.
        patient: the ID of the one patient whose readings they are drawn from, or "".
        readings: how many there were.
        ess: how many independent draws they are worth; `None` of many patients.
    """

    people: People
    models: Patientlike
    weight_kg: float
    patient: str = ""
    readings: int = 0
    ess: float | None = None

    @property
    def n(self) -> int:
        """How many."""
        return self.people.shape[1]


def many(inquiry: Inquiry) -> Whom:
    """The patients that a question draws.

    Raises:
        InputError: a model, a parameter, a fit or a patient of it that is not there.
    """
    spec = inquiry.people
    found = find_people(inquiry.scenario())
    draws, patients = found.shape
    n = draws if spec.patient is not None else int(spec.patients)
    index = np.arange(n)
    # Each with a draw and a patient of its own.
    phi = found.phi[index % draws, index % patients]
    own = spec.patient is not None and spec.weight_kg is None
    weight_kg = float(found.weight_kg[0]) if own else spec.weight_kg or WEIGHT_MEDIAN_KG
    notes = list(found.notes)
    if spec.weight_kg is None and not own:
        notes.append(f"everyone weighs {weight_kg:g} kg; weight_kg says another")
    if draws < min(n, int(spec.draws)) and spec.source == "fit":
        notes.append(f"the fit has {draws} draws: patients share them")
    people = dataclasses.replace(found, notes=tuple(notes))
    return _whom(people, phi, weight_kg)


def _whom(people: People, phi: np.ndarray, weight_kg: float, **about) -> Whom:
    """As one draw of many patients, and as models."""
    n = len(phi)
    flat = dataclasses.replace(
        people,
        typical=people.typical[:1],
        phi=phi[None],
        weight_kg=np.full(n, weight_kg),
        sigma=people.sigma[:1],
        ids=tuple(f"V{i + 1}" for i in range(n)),
        residual=False,
    )
    known = {name: jnp.asarray(weight_kg) for name in weighed(people.whole.model)}
    models = people_of(people.whole, jnp.asarray(phi), known)
    return Whom(flat, models, weight_kg, **about)


def one_patient(inquiry: Inquiry, data: Dataset, wanted: str | None = None) -> Whom:
    """Who one patient may be, given its samples before the first decision.

    Population parameters are held: the medians of the prior, or of a posterior.

    Args:
        inquiry: whose course the patient was given so far.
        data: with the patient's doses and samples; later samples are passed over.
        wanted: the ID of the patient, of data that have several.

    Raises:
        InputError: no such patient, no early sample, doses that are not those of the
            course, a weight that nobody says, or a patient who cannot be solved.
    """
    if inquiry.people.patient is not None:
        raise InputError("--patient, and population.patient of a fit: remove one")
    patient = _chosen(data, wanted)
    weight_kg = _weight(inquiry, patient, data)
    notes = [f"{patient.id} weighs {weight_kg:g} kg"]
    begins_d = inquiry.space(weight_kg).begins_d
    notes += _check_doses(inquiry.plan, patient, weight_kg, begins_d, data)
    whole, hyper, basis, verdict = _population(inquiry, data)
    alone = dataclasses.replace(data, patients=(patient,))
    early = described(alone, whole, None).between_days(
        -np.inf, begins_d, "they come after what is to be decided"
    )
    # A weight that only the question says is the patient's all the same.
    covariates = {**early.patients[0].covariates, "WT": weight_kg}
    told = dataclasses.replace(early.patients[0], covariates=covariates)
    early = dataclasses.replace(early, patients=(told,))
    if not told.samples:
        raise InputError(
            f"{data.path}: patient {patient.id} has no sample before day "
            f"{day_of_time(begins_d)} of the course, when the first decision falls"
        )
    key = jax.random.fold_in(jax.random.key(inquiry.seed), FOR_PATIENT)
    n = int(inquiry.people.patients)
    drawn = patient_draws(key, whole, early, n, hyper=hyper)
    people = People(
        whole=whole,
        typical=np.asarray(whole.typical_phi())[None],
        phi=np.asarray(drawn.phi)[None],
        weight_kg=np.full(n, weight_kg),
        sigma=np.full(1, 0.0),
        ids=(),
        basis=f"{len(told.samples)} readings of {patient.id}; {basis}"
        + (", SYNTHETIC data" if data.synthetic else ""),
        uncertainty=(f"who {patient.id} may be",),
        synthetic=data.synthetic,
        notes=(
            *notes,
            f"{len(told.samples)} readings to day "
            f"{day_of_time(max(s.time_d for s in told.samples))} of the course",
        ),
        **verdict,
    )
    return _whom(
        people,
        np.asarray(drawn.phi),
        weight_kg,
        patient=patient.id,
        readings=len(told.samples),
        ess=drawn.ess,
    )


def _chosen(data: Dataset, wanted: str | None) -> Patient:
    known = {patient.id: patient for patient in data.patients}
    if wanted is None and len(known) == 1:
        return next(iter(known.values()))
    if wanted is None:
        raise InputError(
            f"{data.path} has {len(known)} patients; name one with --id: "
            f"{', '.join(known)}"
        )
    if wanted not in known:
        raise InputError(
            f"--id {wanted}: {did_you_mean(wanted, known)}{data.path} has "
            f"{', '.join(known)}"
        )
    return known[wanted]


def _weight(inquiry: Inquiry, patient: Patient, data: Dataset) -> float:
    known = patient.covariates.get("WT", inquiry.people.weight_kg)
    if known is None:
        raise InputError(
            f"{data.path}: the weight of {patient.id} is not in it (column WT); or "
            "write weight_kg in [population] of the question"
        )
    return float(known)


def _check_doses(
    plan: Protocol, patient: Patient, weight_kg: float, begins_d: float, data: Dataset
) -> list[str]:
    """The patient was given the course so far, or it is another question."""
    first = patient.first_infusion_d
    given = sorted(
        (dose.time_d - first, dose.product, dose.total(weight_kg))
        for dose in patient.doses
        if dose.time_d - first < begins_d
    )
    planned = sorted(
        (dose.time_d, dose.product, dose.total(weight_kg))
        for dose in plan.doses
        if dose.time_d < begins_d
    )
    told = lambda rows: ", ".join(f"{p} on day {day_of_time(t)}" for t, p, _ in rows)
    alike = len(given) == len(planned) and all(
        a[1] == b[1] and abs(a[0] - b[0]) < SAME_DAY_D
        for a, b in zip(given, planned, strict=True)
    )
    if not alike:
        raise InputError(
            f"{data.path}: before the first decision {patient.id} was given "
            f"{told(given) or 'nothing'}, and the course of the question gives "
            f"{told(planned) or 'nothing'}; change [course] so that it says what was "
            "given"
        )
    return [
        f"{product} on day {day_of_time(time_d)}: the data have {amount:.3g} cells, "
        f"the course, which is taken, {other:.3g}"
        for (time_d, product, amount), (*_, other) in zip(given, planned, strict=True)
        if abs(amount - other) > SAME_AMOUNT * other
    ]


def _population(
    inquiry: Inquiry, data: Dataset
) -> tuple[Population, Hyper | None, str, dict]:
    """What varies between patients, and the population parameters that are held.

    And what these are in words, and the verdict on the fit that they are of, if any.
    """
    spec = inquiry.people
    if spec.source == "fit":
        return _of_fit(inquiry)
    assert inquiry.model is not None  # the file is asked for it
    model = load_model(inquiry.model).with_values(**spec.values)
    vary = [name for name, info in parameters(model).items() if info.omega is not None]
    vary += [name for name in spec.omega if name not in vary]
    if not vary:
        raise InputError(
            f"no parameter of {name_of(model)} differs between patients; say which do "
            "in omega of [population]"
        )
    measured = {s.assay for patient in data.patients for s in patient.samples}
    able = [
        make()
        for name, make in ASSAYS.items()
        if name in measured and make().quantity in model.units
    ]
    if not able:
        raise InputError(
            f"{data.path} has {', '.join(sorted(measured))}, and {name_of(model)} "
            f"describes {', '.join(model.units)}"
        )
    whole = population(model, able, estimate=vary, vary=vary, omega=spec.omega)
    return whole, None, "population parameters held at the medians of the prior", {}


def _of_fit(inquiry: Inquiry) -> tuple[Population, Hyper | None, str, dict]:
    spec = inquiry.people
    if spec.fit is None:
        raise InputError(
            f"question {inquiry.name} asks for a posterior; name the folder of a fit: "
            "ckin optimise ... --fit FOLDER"
        )
    fit = reopen(spec.fit, int(spec.draws))
    whole = fit.population
    if len(whole.assays) > 1 or whole.two_part or fit.data.standards is not None:
        raise InputError(
            f"{spec.fit}: a fit of several assays or of raw Ct; for one new patient "
            "give a fit of one assay"
        )
    if whole.covariates or whole.iov:
        raise InputError(
            f"{spec.fit}: a fit with covariates or --iov; for one new patient give a "
            "fit without them"
        )
    middle, spread = lambda rows: jnp.asarray(np.median(rows, axis=0)), Spreads.of(fit)
    mixing = spread.middle().mixing
    hyper = Hyper(
        centre=middle(fit.typical)[None],
        omega=middle(fit.omega),
        sigma=middle(fit.sigma)[None],
        mixing=None if mixing is None else jnp.asarray(mixing[0]),
        n_heavy=whole.n_heavy,
    )
    basis = (
        f"population parameters held at the medians of the posterior of "
        f"{fit.manifest['model']} in {spec.fit.name}"
    )
    if fit.manifest["synthetic_data"]:
        basis += " (SYNTHETIC data)"
    if not fit.converged:
        basis += f", WHICH {DID_NOT}"
    return whole, hyper, basis, {"converged": fit.converged, "reasons": fit.reasons}
