"""Has it converged? One verdict, with the reasons against it in words."""

import dataclasses

import numpy as np
import pandas as pd
import xarray as xr
from arviz_stats.sampling_diagnostics import ess, rhat, rhat_nested

from ckin.inference.referee import CLOSED_FORM, Referee


# Vehtari et al. 2021: R-hat below 1.01 and an effective sample size of 100 a chain.
RHAT_LIMIT = 1.01
ESS_LIMIT = 400.0

# A piecewise model has kinks at which a leapfrog step errs whatever its size, so a few
# divergent transitions say nothing; more than this share does.
DIVERGENT_SHARE = 0.005

# Vehtari et al. 2024: over this no number of draws makes importance weights reliable.
KHAT_LIMIT = 0.7
# Nats between the largest and the smallest log weight. A mean moves by at most the SD
# of the weights, so half of this, times its own SD: no more than the sampling error
# that the limit on the effective sample size allows. A k-hat says nothing below it: it
# is the shape of the weights' tail, whatever its size.
NEGLIGIBLE_SPREAD = 0.1


# Nats by which a grid may err at the peak: OFVs are compared by units of them.
PEAK_ERROR = 0.05


@dataclasses.dataclass(frozen=True)
class Verdict:
    """Whether a fit may be used.

    Attributes:
        converged: the answer.
        reasons: what speaks against it, one sentence each; empty if converged.
        longer_helps: more draws might mend it (they do not mend divergences).
        smaller_steps_help: too many transitions diverged.
    """

    converged: bool
    reasons: tuple[str, ...]
    longer_helps: bool = False
    smaller_steps_help: bool = False

    def also(self, reasons: tuple[str, ...]) -> "Verdict":
        """The same verdict with further reasons against it."""
        every = self.reasons + reasons
        return dataclasses.replace(self, converged=not every, reasons=every)


def diagnostics(population: xr.Dataset, together: int = 1) -> pd.DataFrame:
    """R-hat, bulk and tail effective sample size of each population parameter.

    Args:
        population: draws with dimensions (chain, draw), scalars only.
        together: neighbouring chains that started at one place (superchains): R-hat is
            then the nested one (Margossian et al. 2024, Bayesian Analysis,
            doi:10.1214/24-BA1453).

    Returns:
        One row a parameter, columns `r_hat`, `ess_bulk`, `ess_tail`.
    """
    # A number that is the same in all draws (ω at 0, a fixed half-life) has no R-hat.
    with np.errstate(divide="ignore", invalid="ignore"):
        tables = {
            "r_hat": _rhat(population, together),
            "ess_bulk": ess(population, method="bulk"),
            "ess_tail": ess(population, method="tail"),
        }
    return pd.DataFrame(
        {
            column: {name: float(table[name]) for name in population.data_vars}
            for column, table in tables.items()
        }
    )


def _rhat(population: xr.Dataset, together: int) -> xr.Dataset:
    if together == 1:
        return rhat(population)
    superchains = np.arange(population.sizes["chain"]) // together
    return rhat_nested(population, superchain_ids=list(superchains))


def verdict(
    table: pd.DataFrame, *, divergences: int, draws: int, unsolved: int
) -> Verdict:
    """Judge a sampled posterior.

    Args:
        table: from `diagnostics`.
        divergences: divergent transitions after warm-up.
        draws: draws of all chains.
        unsolved: (draw, patient) pairs whose ODE failed among those re-solved.
    """
    reasons = []
    unknown = [name for name in table.index if not np.isfinite(table.loc[name]).all()]
    if unknown:
        reasons.append(
            f"R-hat or effective sample size of {unknown[0]} cannot be computed: "
            "sample 2 chains or more, and longer (--chains, --draws)"
        )
    table = table.drop(index=unknown)
    if not (table["r_hat"].to_numpy() < RHAT_LIMIT).all():
        worst = table["r_hat"].idxmax()
        reasons.append(
            f"R-hat of {worst} is {table['r_hat'][worst]:.3f} (limit {RHAT_LIMIT}): "
            "the chains do not agree; sample longer (--draws, --warmup)"
        )
    for column, words in (("ess_bulk", "bulk"), ("ess_tail", "tail")):
        if not (table[column].to_numpy() > ESS_LIMIT).all():
            lowest = table[column].idxmin()
            reasons.append(
                f"{words} effective sample size of {lowest} is "
                f"{table[column][lowest]:.0f} (limit {ESS_LIMIT:.0f}): "
                "sample longer (--draws)"
            )
    too_few = bool(reasons)
    too_many = divergences > DIVERGENT_SHARE * draws
    if too_many:
        reasons.append(
            f"{divergences} of {draws} transitions diverged (limit "
            f"{DIVERGENT_SHARE:.1%}): the posterior has a place the sampler cannot "
            "follow; look at the parameters at their prior's edge"
        )
    if unsolved:
        reasons.append(
            f"{unsolved} solves failed among the draws: their predictions are missing"
        )
    return Verdict(
        not reasons,
        tuple(reasons),
        longer_helps=too_few,
        smaller_steps_help=too_many,
    )


def referee_reasons(judge: Referee, grid_error: float | None) -> tuple[str, ...]:
    """What the adaptive solver says against a fit, one sentence each.

    Args:
        judge: what it found.
        grid_error: the error that the fit's grid was laid for, log10 units; `None` if
            the fit had a solver of its own instead.
    """
    if judge.method == CLOSED_FORM:
        return ()
    reasons = []
    if judge.unsolved:
        most = max(judge.unsolved, key=lambda name: judge.unsolved[name])
        reasons.append(
            f"{sum(judge.unsolved.values())} solves failed with every adaptive solver "
            f"(most for patient {most}: {judge.unsolved[most]} of {len(judge.rows)} "
            "draws): these draws are not confirmed; look at this patient's doses and "
            "at the parameters at their prior's edge"
        )
    if judge.spread <= NEGLIGIBLE_SPREAD:
        return tuple(reasons)
    if np.isnan(judge.khat):
        reasons.append(
            "k-hat of the adaptive solver cannot be told from "
            f"{int(np.isfinite(judge.delta).sum())} draws: make 100 or more (--draws)"
        )
    elif judge.khat > KHAT_LIMIT:
        reasons.append(
            f"k-hat of the adaptive solver is {judge.khat:.2f} (limit {KHAT_LIMIT}; "
            f"log densities change by up to {judge.max_abs_delta:.2g}, most for "
            f"patient {judge.worst_patient}): {_finer(grid_error)}"
        )
    return tuple(reasons)


def peak_reasons(judge: Referee, grid_error: float) -> tuple[str, ...]:
    """What the adaptive solver says against a maximum of the likelihood.

    Args:
        judge: what it found at the peak, of the patients' modes.
        grid_error: the error that the fit's grid was laid for, log10 units.
    """
    if judge.unsolved:
        return (f"no adaptive solver solves patient {next(iter(judge.unsolved))}",)
    if judge.max_abs_delta <= PEAK_ERROR:
        return ()
    return (
        f"the log likelihood at the peak changes by {judge.max_abs_delta:.2g} when it "
        f"is solved adaptively (limit {PEAK_ERROR:g}; most for patient "
        f"{judge.worst_patient}): fit again with --grid-error {grid_error / 10:g}",
    )


def _finer(grid_error: float | None) -> str:
    """What to do about a fit whose solves are too coarse."""
    if grid_error is None:
        return "the solver is too coarse; fit again with smaller rtol and atol"
    return (
        "the grid is too coarse for this posterior; "
        f"fit again with --grid-error {grid_error / 10:g}"
    )
