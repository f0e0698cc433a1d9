"""A population from what a fit asks for, every mistake told."""

from collections.abc import Mapping, Sequence

import jax.numpy as jnp
import numpyro.distributions as dist

from ckin.assay import ASSAYS, Assay
from ckin.errors import InputError, did_you_mean
from ckin.model import AbstractModel, name_of, parameters
from ckin.population.effects import CovariateEffect
from ckin.population.specification import (
    ETAS,
    IOV_OMEGA,
    OMEGA_PRIOR_SD_LOG,
    Population,
    informed,
)


def population(
    model: AbstractModel,
    assay: Assay | Sequence[Assay],
    *,
    estimate: Sequence[str] | None = None,
    vary: Sequence[str] | None = None,
    covariates: Sequence[CovariateEffect] = (),
    priors: Mapping[str, dist.Distribution] | None = None,
    omega: Mapping[str, float] | None = None,
    omega_sd_log: Mapping[str, float] | None = None,
    correlate: Sequence[Sequence[str]] = (),
    eta: str = "normal",
    screen: bool = False,
    iov: Sequence[str] = (),
    iov_omega: Mapping[str, float] | None = None,
    occasions: int = 1,
) -> Population:
    """Choose what is estimated and what varies; by default, as the model file says.

    Args:
        model: the typical patient.
        assay: what was measured, or several such on the same trajectory.
        estimate: parameters whose typical value is estimated.
        vary: parameters that vary between patients; each is estimated too.
        covariates: covariate effects, on estimated parameters.
        priors: priors of typical values to use instead of the model file's.
        omega: prior medians of ω to use instead of the model file's. Parameters that
            do not vary here are passed over.
        omega_sd_log: prior SDs of log ω to use instead of `OMEGA_PRIOR_SD_LOG`.
        correlate: groups of parameters that are correlated between patients, each with
            an LKJ prior; a parameter is in one group at most.
        eta: "normal", or "student_t": ω is then the scale of a t with 4 degrees of
            freedom, so that a patient far out does not widen it for all.
        screen: a horseshoe prior for all covariate coefficients.
        iov: parameters that differ between the cycles of a patient; each is estimated.
        iov_omega: prior medians of their ω between cycles; `IOV_OMEGA` if not given.
        occasions: cycles of the patient who has most (`Dataset.n_cycles`).

    Raises:
        InputError: a name that the model lacks, a parameter without a prior, or groups
            of parameters that do not vary.
    """
    priors, omega, omega_sd_log = priors or {}, omega or {}, omega_sd_log or {}
    acting = [effect.parameter for effect in covariates]
    for name in [*(estimate or ()), *(vary or ()), *acting, *priors]:
        _check_known(name, model)
    for name in [*omega, *omega_sd_log]:
        _check_known(name, model)
    known = informed(model, priors)
    if estimate is None:
        estimate = tuple(name for name, info in known.items() if info.estimate)
    _check_iov(iov, occasions, model)
    for name in [*estimate, *(vary or ()), *acting, *iov]:
        if known[name].prior is None:
            raise InputError(
                f"parameter {name} of {name_of(model)} has no prior, "
                "so it cannot be estimated: give it one in the model file"
            )
    if vary is None:
        vary = tuple(n for n in estimate if known[n].omega is not None)
    estimate = tuple(dict.fromkeys([*estimate, *vary, *iov]))
    for effect in covariates:
        if effect.parameter not in estimate:
            raise InputError(
                f"covariate {effect.column} acts on {effect.parameter}, which is not "
                f"estimated; estimated are {', '.join(estimate)}"
            )
        if effect.is_linear and known[effect.parameter].scale != "log":
            raise InputError(
                f"--covariate {effect.told}: 1 + β (x - c) is a factor of a positive "
                f"parameter, and {effect.parameter} is one of "
                f"{known[effect.parameter].scale} scale; write "
                f"{effect.parameter}~exp({effect.column}), which adds to it"
            )
    blocks = _blocks(correlate, tuple(vary))
    if eta not in ETAS:
        raise InputError(
            f"--eta {eta}: {did_you_mean(eta, ETAS)}choose {', '.join(ETAS)}"
        )
    _check_effects(covariates, screen)
    spread = {name: omega.get(name, known[name].omega or 0.3) for name in vary}
    doubt = {name: omega_sd_log.get(name, OMEGA_PRIOR_SD_LOG) for name in vary}
    assays = (assay,) if isinstance(assay, Assay) else tuple(assay)
    names = [each.name for each in assays]
    if not names or len(set(names)) < len(names):
        raise InputError(f"assays: {', '.join(names) or 'none'}; name each once")
    for each in assays:
        if each.quantity not in model.units:
            able = [name for name, a in ASSAYS.items() if a().quantity in model.units]
            able += model.assays
            raise InputError(
                f"assay {each.name}: {name_of(model)} does not describe "
                f"{each.quantity}; it has {', '.join(model.units)}, for the assays "
                f"{', '.join(able) or 'none'}"
            )
    return Population(
        model=model,
        assays=assays,
        estimate=estimate,
        vary=tuple(vary),
        omega=tuple(float(spread[name]) for name in vary),
        omega_sd_log=tuple(float(doubt[name]) for name in vary),
        covariates=tuple(covariates),
        priors=dict(priors),
        blocks=blocks,
        eta=eta,
        screen=screen,
        iov=tuple(iov),
        iov_omega=tuple((iov_omega or {}).get(name, IOV_OMEGA) for name in iov),
        occasions=occasions if iov else 1,
    )


def _check_iov(iov: Sequence[str], occasions: int, model: AbstractModel) -> None:
    """Refuse what cannot differ between the cycles of a patient."""
    for name in iov:
        _check_known(name, model)
        told = f"--iov {name}"
        if list(iov).count(name) > 1:
            raise InputError(f"{told}: named twice")
        if name in model.lags.values():
            raise InputError(
                f"{told}: it is the lag of cells given, which belongs to no cycle; let "
                "it vary between patients instead (--vary)"
            )
    if not iov:
        return
    told = f"--iov {', '.join(iov)}"
    closed = model.closed_form(jnp.zeros(1)) is not None
    if model.one_course or closed or model.switch_times():
        raise InputError(
            f"{told}: {name_of(model)} describes one course after a first infusion, "
            "and so has no second cycle to differ in; take a model that is solved from "
            "dose to dose"
        )
    if occasions < 2:
        raise InputError(
            f"{told}: no patient has a second cycle (OCC), so nothing tells cycles "
            "apart; use --vary, or from Python say `occasions`"
        )


def _blocks(
    correlate: Sequence[Sequence[str]], vary: tuple[str, ...]
) -> tuple[tuple[str, ...], ...]:
    """The groups, each in the order of `vary`."""
    seen: set[str] = set()
    blocks = []
    for group in correlate:
        told = f"--correlate {','.join(group)}"
        for name in group:
            if name not in vary:
                raise InputError(
                    f"{told}: {name or 'a name that is missing'} does not vary between "
                    f"patients; {did_you_mean(name, vary)}varying are "
                    f"{', '.join(vary) or 'none'} (--vary)"
                )
        if len(set(group)) < 2:
            raise InputError(f"{told}: name at least two parameters, with commas")
        twice = seen & {*group} or {n for n in group if list(group).count(n) > 1}
        if twice:
            raise InputError(
                f"{told}: {min(twice)} is named twice; write one group of all that are "
                "correlated with it"
            )
        seen |= {*group}
        blocks.append(tuple(name for name in vary if name in group))
    return tuple(blocks)


def _check_effects(effects: Sequence[CovariateEffect], screen: bool) -> None:
    names = [effect.name for effect in effects]
    for effect in effects:
        if names.count(effect.name) > 1:
            raise InputError(
                f"--covariate {effect.told}: {effect.parameter} has another effect of "
                f"{effect.column}; keep one form of it"
            )
        if screen and effect.is_linear:
            raise InputError(
                f"--screen: {effect.told} is bounded by the data, so it cannot be "
                f"shrunken like the others; write {effect.parameter}"
                f"~exp({effect.column})"
            )
    if screen and not effects:
        raise InputError("--screen: name the covariates to screen (--covariate)")


def _check_known(name: str, model: AbstractModel) -> None:
    known = parameters(model)
    if name not in known:
        raise InputError(
            f"{name_of(model)} has no parameter {name!r}; it has {', '.join(known)}"
        )
