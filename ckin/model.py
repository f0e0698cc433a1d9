"""What a model file needs: parameters as fields, a state, one vector field.

A model is a frozen Equinox module whose fields are its parameters. It describes ONE
patient; the engine does the cohort. Write the equations in plain units: a state
marked `log=True` is carried by the solver as its logarithm, and the change of
variables is the engine's business.

    class Cells(NamedTuple):
        effector: Scalar = state("cells", "dividing CAR-T cells", log=True)

    class Growth(AbstractModel):
        rate: Scalar = parameter(0.9, unit="1/day", prior=log_normal(0.9, 0.25),
                                 source="Stein 2019, Table 1")
        State = Cells
        ...

A what-if is a new object: `dataclasses.replace(model, rate=0.5)`.
"""

import abc
import dataclasses
import hashlib
import inspect
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import equinox as eqx
import jax.numpy as jnp
import numpyro.distributions as dist
from numpyro.distributions import constraints

from ckin._types import Array, Float, Scalar
from ckin.errors import InputError, did_you_mean
from ckin.units import canonical_unit


# How far a value was checked against its source (shown on the model card).
CHECKED = {
    "V": "verified in the source",
    "C": "computed from verified facts",
    "I": "modelling assumption",
    "U": "unverified",
}


@dataclasses.dataclass(frozen=True)
class ParameterInfo:
    """What is known about one parameter besides its value.

    Attributes:
        unit: unit of the value.
        source: where the default and the prior come from.
        checked: how far that was checked, a key of `CHECKED`.
        doc: what the parameter is, in a few words.
        symbol: how the source writes it.
        prior: prior of the typical value; `None` for a parameter never estimated.
        omega: prior median of the between-patient SD on the transformed scale
            (log of a positive parameter, logit of a fraction); `None` when patients
            are taken to share the value.
        estimate: whether a fit estimates the typical value unless told otherwise.
        column: data column (covariate) that gives the value of each patient.
    """

    unit: str
    source: str
    checked: str
    doc: str
    symbol: str
    prior: dist.Distribution | None
    omega: float | None
    estimate: bool
    column: str | None

    @property
    def scale(self) -> str:
        """Scale on which patients vary: `log`, `logit` or `identity`."""
        if self.prior is None or self.prior.support is constraints.positive:
            return "log"
        if self.prior.support is constraints.unit_interval:
            return "logit"
        return "identity"


@dataclasses.dataclass(frozen=True)
class StateInfo:
    """Unit, meaning and solver scale of one state.

    Attributes:
        unit: unit of the state.
        doc: what it is.
        log: carried by the solver as its logarithm.
        scale: size that the solver takes as 1 where it is not (absolute tolerance).
    """

    unit: str
    doc: str
    log: bool
    scale: float


def log_normal(median: float, sd_log: float) -> dist.Distribution:
    """Log-normal prior by its median and the SD of its logarithm."""
    return dist.LogNormal(math.log(median), sd_log)


def normal(mean: float, sd: float) -> dist.Distribution:
    """Normal prior of what may be negative."""
    return dist.Normal(mean, sd)


class LogitNormal(dist.TransformedDistribution):
    """Normal on the logit scale: the prior of a fraction."""

    def __init__(self, loc: float, scale: float):
        super().__init__(dist.Normal(loc, scale), dist.transforms.SigmoidTransform())


def logit_normal(median: float, sd_logit: float) -> dist.Distribution:
    """Logit-normal prior by its median (a fraction) and the SD of its logit."""
    return LogitNormal(math.log(median / (1.0 - median)), sd_logit)


def parameter(
    default: float,
    *,
    unit: str,
    source: str,
    doc: str,
    checked: str = "I",
    symbol: str = "",
    prior: dist.Distribution | None = None,
    omega: float | None = None,
    estimate: bool = False,
    column: str | None = None,
) -> Any:
    """A parameter of a model, with everything a reader and a fit need to know of it.

    The arguments are the attributes of `ParameterInfo`. Give a `prior` to every
    parameter that anyone might estimate, and `estimate=True` to those that a fit of
    qPCR curves estimates by default.

    Raises:
        ValueError: unknown unit, unknown `checked` tag, missing source, or a
            parameter to estimate that has no prior.
    """
    if checked not in CHECKED:
        tags = ", ".join(CHECKED)
        raise ValueError(f"checked={checked!r} is not one of {tags}")
    if not source.strip() or not doc.strip():
        raise ValueError("a parameter needs a source and a doc: write where it is from")
    if (estimate or omega is not None) and prior is None:
        raise ValueError("a parameter that is estimated or varies needs a prior")
    info = ParameterInfo(
        unit=canonical_unit(unit),
        source=source,
        checked=checked,
        doc=doc,
        symbol=symbol,
        prior=prior,
        omega=omega,
        estimate=estimate,
        column=column,
    )
    return eqx.field(default=default, converter=_as_float, metadata={"parameter": info})


@dataclasses.dataclass(frozen=True)
class LawInfo:
    """The forms that one part of a model can take.

    Attributes:
        doc: what part it is.
        options: each form by its name; the first is the default.
    """

    doc: str
    options: Mapping[str, Callable[..., Any]]


def law(*options: Callable[..., Any], doc: str) -> Any:
    """A part of a model that is open: one of several functions, the first by default.

    An option goes by the name of its function: `model.with_values(name="option")`,
    `--set name=option`. Another function of one's own: `dataclasses.replace`. The field
    holds the function; call it as the model's own code says.

    Args:
        options: the forms, functions with the same arguments.
        doc: what part of the model it is.
    """
    info = LawInfo(doc, {option.__name__: option for option in options})
    return eqx.field(static=True, default=options[0], metadata={"law": info})


def state(unit: str, doc: str, *, log: bool = False, scale: float = 1.0) -> Any:
    """A state of a model, as the default of a NamedTuple field.

    `log=True` for a population that only grows and dies (never starts empty): the
    solver carries its logarithm. A population that starts empty cannot; give it the
    `scale` of a small but noticeable amount, and the solver works in that unit.
    """
    return StateInfo(unit=canonical_unit(unit), doc=doc, log=log, scale=scale)


def _as_float(value: Any) -> Any:
    """Strong floating dtype: a Python float would be static and recompile per value."""
    if isinstance(value, float | int) or getattr(value, "weak_type", False):
        return jnp.asarray(value, dtype=jnp.result_type(float))
    return value


class AbstractModel(eqx.Module):
    """One patient's kinetics. Subclass it once, finally, in a file of its own.

    A subclass has `parameter` fields and defines `State`, `initial`, `vector_field`
    and `quantities`; the rest has defaults. Attributes of the class:

    - `State`: NamedTuple whose fields are `state(...)`.
    - `receives`: product name to the name of the state that its cells enter. A product
      of one's own (`DRUG`) enters in the unit of that state.
    - `assays`: name of an assay of one's own in data (DVID) to the quantity it reads.
    - `errors`: name of an assay to its usual error law, a key of `ckin.assay.ERRORS`.
    - `viable`: product name to the parameter that is the fraction of the cells given
      which arrive alive; all of them where a product is not named.
    - `lags`: product name to the parameter that is the days from giving to arriving.
    - `inputs`: name of each time-dependent input to its level when nobody says
      otherwise (a TKI: 0, not taken).
    - `units`: name of each quantity that `quantities` returns to its unit.
    - `derived_units`: name of each number that `derived` returns to its unit.
    - `omega_readings`: named ways to read the source's between-patient SDs, where it
      leaves room for more than one; the first is the default.
    - `one_course`: the model describes the curve after a first infusion only.
    - `described_from_d`: days after the first infusion from which it describes it; a
      fit leaves earlier samples out, and says so. `-math.inf`: what is there before the
      first dose too, samples at the time of it among them.
    - `usual_cart`, `usual_days`: CAR-T cells given in what a model describes where that
      is no patient (a mouse, a well), and days it is followed: for figures and tests.
    - `reference`, `caution`: for the card.
    """

    State: eqx.AbstractClassVar[type]
    units: eqx.AbstractClassVar[Mapping[str, str]]
    reference: eqx.AbstractClassVar[str]
    receives: ClassVar[Mapping[str, str]] = {}
    assays: ClassVar[Mapping[str, str]] = {}
    errors: ClassVar[Mapping[str, str]] = {}
    viable: ClassVar[Mapping[str, str]] = {}
    lags: ClassVar[Mapping[str, str]] = {}
    inputs: ClassVar[Mapping[str, float]] = {}
    derived_units: ClassVar[Mapping[str, str]] = {}
    omega_readings: ClassVar[Mapping[str, Mapping[str, float]]] = {}
    one_course: ClassVar[bool] = False
    described_from_d: ClassVar[float] = 0.0
    usual_cart: ClassVar[float | None] = None
    usual_days: ClassVar[float] = 180.0
    caution: ClassVar[str] = ""

    @abc.abstractmethod
    def initial(self) -> Any:
        """State before the first event, in plain units."""

    @abc.abstractmethod
    def vector_field(self, t: Scalar, y: Any, inputs: Mapping[str, Scalar]) -> Any:
        """Time derivative of the state in its own units per day.

        Args:
            t: days from the first infusion.
            y: state in plain units (never its logarithm).
            inputs: level of each of the model's inputs now.
        """

    @abc.abstractmethod
    def quantities(self, y: Any) -> dict[str, Scalar]:
        """What an assay can see of a state, by name; units are in `units`."""

    def lymphodeplete(self, y: Any) -> Any:
        """State after lymphodepletion; nothing happens unless a model says so."""
        return y

    def switch_times(self) -> tuple[Scalar, ...]:
        """Times at which the vector field jumps, so the solver steps onto them."""
        return ()

    def closed_form(self, time_d: Float[Array, " times"]) -> Any:
        """Exact state at `time_d`, arrays of shape (times,); None if there is none."""
        del time_d

    def derived(self) -> dict[str, Scalar]:
        """Numbers that follow from the parameters and that people quote."""
        return {}

    def with_values(self, **values: Any) -> "AbstractModel":
        """The same model with some parameters at other values, or laws of other names.

        Raises:
            InputError: no such parameter, no such law, or a number for a law and a
                word for a parameter.
        """
        known = {**parameters(self), **laws(self)}
        for name, value in values.items():
            if name not in known:
                raise InputError(
                    f"{name_of(self)} has no parameter {name!r}; "
                    f"{did_you_mean(name, known)}it has {', '.join(known)}"
                )
            if isinstance(value, str) and name not in laws(self):
                raise InputError(f"{name}={value}: expected a number")
        chosen = {
            name: _option(self, name, value) if name in laws(self) else value
            for name, value in values.items()
        }
        return dataclasses.replace(self, **chosen)


def parameters(model: AbstractModel | type[AbstractModel]) -> dict[str, ParameterInfo]:
    """Parameters of a model by name, in the order of its fields."""
    return {
        field.name: field.metadata["parameter"]
        for field in dataclasses.fields(model)
        if "parameter" in field.metadata
    }


def laws(model: AbstractModel | type[AbstractModel]) -> dict[str, LawInfo]:
    """Open parts of a model by name, in the order of its fields."""
    return {
        field.name: field.metadata["law"]
        for field in dataclasses.fields(model)
        if "law" in field.metadata
    }


def _option(model: AbstractModel, name: str, value: Any) -> Any:
    """The function that an option's name stands for; a function as it is."""
    options = laws(model)[name].options
    if callable(value):
        return value
    if value not in options:
        raise InputError(
            f"{name}={value}: {name_of(model)} knows {', '.join(options)}; "
            f"{did_you_mean(str(value), options)}choose one"
        )
    return options[value]


def states(model: AbstractModel | type[AbstractModel]) -> dict[str, StateInfo]:
    """States of a model by name, in the order of its NamedTuple."""
    return dict(model.State._field_defaults)


def name_of(model: AbstractModel | type[AbstractModel]) -> str:
    """Name of a model: that of the file it was written in."""
    cls = model if isinstance(model, type) else type(model)
    return cls.__module__.rpartition(".")[2].removeprefix("ckin_user_")


def files_of(model: AbstractModel | type[AbstractModel]) -> tuple[Path, ...]:
    """The file a model was written in, then those of the models it extends."""
    cls = model if isinstance(model, type) else type(model)
    written = [
        one
        for one in cls.__mro__
        if issubclass(one, AbstractModel) and one is not AbstractModel
    ]
    return tuple(dict.fromkeys(Path(inspect.getfile(one)) for one in written))


def sha256_of(model: AbstractModel | type[AbstractModel]) -> str:
    """Hash of the bytes of a model's files."""
    whole = hashlib.sha256()
    for file in files_of(model):
        whole.update(file.read_bytes())
    return whole.hexdigest()
