"""A fit asked again, without the last samples of each patient: `ckin hold-out`.

The same analysis is fitted to what is left, foresees what was hidden, and is set beside
fits that pool all patients into one, or none (`ckin.check.held_out`).
"""

import dataclasses
import json
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd

from ckin.analysis import fit_as, run_fit
from ckin.check import (
    alone,
    hidden_foreseen,
    hidden_samples,
    observed,
    pooled,
    without_last,
)
from ckin.check.scores import Foreseen
from ckin.dataset import Dataset
from ckin.errors import InputError, did_you_mean
from ckin.inference import Fit
from ckin.inference.by_patient import compare
from ckin.inference.density import make_density
from ckin.population import Population, pack, refined
from ckin.reopen import OpenedFit
from ckin.writing import with_verdict, writing


OWN = "population"
RIVALS: dict[str, Callable[[Population], Population]] = {
    "pooled": pooled,
    "alone": alone,
}
# Draws that the grid of the whole cohort is laid for.
GRID_DRAWS = 16


@dataclasses.dataclass(frozen=True)
class HeldOut:
    """What fits foresee of samples that were hidden from them.

    Attributes:
        title: what was hidden.
        comparison: one row a fit, the best first: elpd of the hidden samples of each
            patient together, `behind` the best, the standard `error` of that,
            `inside 90%`, and whether it `converged`.
        foreseen: by fit.
        fits: by name.
        lines: what to know, a sentence each.
    """

    title: str
    comparison: pd.DataFrame
    foreseen: dict[str, Foreseen]
    fits: dict[str, Fit]
    lines: tuple[str, ...]

    @property
    def converged(self) -> bool:
        """Whether all of the fits did."""
        return all(own.verdict.converged for own in self.fits.values())


def hold_out(
    opened: OpenedFit,
    folder: Path,
    *,
    share: float = 0.2,
    against: Sequence[str] = tuple(RIVALS),
    draws: int = 1000,
    seed: int = 0,
    report: Callable[[str, int, int], None] = lambda *_: None,
) -> HeldOut:
    """Hide the last samples of each patient, fit again, foresee them.

    Args:
        opened: the fit whose analysis is asked again.
        folder: to write: a fit folder of each fit, and the tables.
        share: of each patient's samples to hide, the last ones, rounded; the first
            sample of a patient is never hidden.
        against: keys of `RIVALS` to set beside it.
        draws: draws of each fit to foresee with, at most.
        seed: of every random number.
        report: called with (stage, done, total).

    Raises:
        InputError: a share that hides nothing or everything, a rival that is none, a
            fit of maximum likelihood (no posterior) or of wells, or a folder that
            cannot be written.
    """
    for name in against:
        if name not in RIVALS:
            told = did_you_mean(name, tuple(RIVALS))
            raise InputError(f"--against {name}: {told}choose {', '.join(RIVALS)}")
    if not 0.0 < share < 1.0:
        raise InputError(f"--share {share:g}: a number between 0 and 1, as 0.2")
    if opened.analysis.method in ("laplace", "ml"):
        raise InputError(
            f"{opened.folder} is a fit of maximum likelihood, which has no posterior "
            "to foresee with; fit with --method nuts or auto"
        )
    seen = observed(opened.density, opened.dataset)
    hidden = hidden_samples(seen, share)
    if not hidden.any():
        raise InputError(
            f"--share {share:g} hides no sample: no patient has enough of them"
        )
    analysis = dataclasses.replace(opened.analysis, seed=seed, profiles=())
    early = without_last(opened.dataset, share, seen.assays)
    fits = {OWN: run_fit(early, analysis, folder / OWN, partial(_told, report, OWN))}
    for name in against:
        whole = RIVALS[name](fits[OWN].density.population)
        fits[name] = fit_as(analysis, early, whole, partial(_told, report, name))
        with writing(folder / name):
            fits[name].write(folder / name)
    foreseen = {}
    for number, (name, own) in enumerate(fits.items()):
        report("foreseeing", number, len(fits))
        foreseen[name] = _foreseen(own, opened.dataset, hidden, draws, seed)
    report("foreseeing", len(fits), len(fits))
    found = HeldOut(
        title=f"{int(hidden.sum())} samples of {int(hidden.any(axis=1).sum())} "
        f"patients were hidden, the last {share:.0%} of each",
        comparison=_compared(fits, foreseen),
        foreseen=foreseen,
        fits=fits,
        lines=_lines(fits),
    )
    with writing(folder):
        _write(found, folder)
    return found


def _told(report: Callable, name: str, stage: str, done: int, total: int) -> None:
    report(f"{name}: {stage}", done, total)


def _foreseen(
    own: Fit, dataset: Dataset, hidden: np.ndarray, draws: int, seed: int
) -> Foreseen:
    """Of the whole cohort, by a fit that has not seen all of it."""
    whole = own.density.population
    u, eta = own.thinned(draws)
    data = pack(dataset, whole)
    if whole.on_grid:
        few = np.linspace(0, len(u) - 1, min(GRID_DRAWS, len(u))).astype(int)
        phi = jax.vmap(own.density.patient_phi)(
            jnp.asarray(u[few]), jnp.asarray(eta[few])
        )
        data, _ = refined(whole, data, phi)
    density = make_density(whole, data, own.density.solver)
    seen = observed(density, dataset)
    return hidden_foreseen(density, seen, hidden, u, eta, jax.random.key(seed))


def _compared(fits: dict[str, Fit], foreseen: dict[str, Foreseen]) -> pd.DataFrame:
    table = compare({name: own.scores for name, own in foreseen.items()})
    table["inside 90%"] = [foreseen[name].coverage for name in table.index]
    table["converged"] = [fits[name].verdict.converged for name in table.index]
    return table


def _lines(fits: dict[str, Fit]) -> tuple[str, ...]:
    told = {
        OWN: "the fit's own analysis",
        "pooled": "everyone is the same patient (naive pooling)",
        "alone": "each patient by the priors alone, with one error SD for all",
    }
    lines = [f"{name}: {told[name]}" for name in fits]
    for name, own in fits.items():
        lines += [f"{name} DID NOT CONVERGE: {r}" for r in own.verdict.reasons]
    return tuple(lines)


def _write(found: HeldOut, folder: Path) -> None:
    for what in ("patients", "readings"):
        tables = [
            with_verdict(
                getattr(own, what).assign(fit=name), found.fits[name].verdict.converged
            )
            for name, own in found.foreseen.items()
        ]
        pd.concat(tables).to_csv(folder / f"hidden_{what}.csv", index=False)
    told = {
        "converged": found.converged,
        "hidden": found.title,
        "synthetic_data": bool(found.fits[OWN].manifest["synthetic_data"]),
        "notes": found.lines,
        "fits": found.comparison.to_dict(orient="index"),
    }
    text = json.dumps(told, indent=2, ensure_ascii=False)
    (folder / "held_out.json").write_text(text + "\n", encoding="utf-8")
