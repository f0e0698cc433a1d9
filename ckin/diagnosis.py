"""All checks of a fit folder: tables, figures, and what they say in short."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pandas as pd

from ckin.check import (
    Observed,
    covariate_columns,
    eta_covariates,
    eta_table,
    normality,
    observed,
    overlap,
    power_scaling,
    prediction_errors,
    prediction_table,
    replicate,
    shrinkage_table,
    typical_prediction,
    vpc,
)
from ckin.check.scores import marginals
from ckin.plot import save
from ckin.plot.checks import (
    eta_by_covariate,
    eta_distributions,
    observed_predicted,
    predictive_check,
    prior_posterior,
    residual_panels,
)
from ckin.plot.figures import ASSAY_LABELS
from ckin.reopen import OpenedFit
from ckin.writing import CONVERGED, titled, with_verdict


NOT_CONVERGED = "THE FIT DID NOT CONVERGE: what follows is of no fit"
# Cumulative Jensen-Shannon distance from which a prior is worth a look (Kallioinen).
SENSITIVE = 0.05
# p-value under which prediction errors are said not to be standard normal.
UNLIKELY = 0.01


@dataclasses.dataclass(frozen=True)
class Diagnosis:
    """What the checks of a fit found.

    Attributes:
        converged: whether the fit had.
        synthetic: its data are.
        lines: the findings, one sentence each; the first says so where the fit did not
            converge.
        tables: by file name without `.csv`.
        summary: the numbers of the findings, for `checks.json`.
    """

    converged: bool
    synthetic: bool
    lines: tuple[str, ...]
    tables: dict[str, pd.DataFrame]
    summary: dict[str, Any]


def diagnose(
    fit: OpenedFit,
    folder: Path,
    *,
    seed: int = 0,
    replicates: int = 1000,
    bins: int | None = None,
    report: Callable[[str, int, int], None] = lambda *_: None,
) -> Diagnosis:
    """Check a fit, and write tables, figures and `checks.json`.

    Args:
        fit: opened, with as many draws as are to be looked at.
        folder: to write to.
        seed: of replicates and of random places below limits.
        replicates: cohorts to simulate, each from a draw of the posterior.
        bins: of the predictive checks, at most; by the number of samples unless told.
        report: called with (stage, done, total).

    Raises:
        InputError: wells were fitted.
    """
    density, synthetic = fit.density, bool(fit.manifest["synthetic_data"])
    seen = observed(density, fit.dataset)
    keys = jax.random.split(jax.random.key(seed), 3)
    report("replicates", 0, 1)
    rows = np.arange(replicates) % len(fit.u)
    drawn = replicate(density, fit.u[rows], keys[0])
    errors = prediction_errors(seen, drawn, seed)
    report("replicates", 1, 1)
    report("predictions", 0, 1)
    table = prediction_table(
        density, fit.dataset, seen, (fit.u, fit.eta), errors, keys[1]
    )
    typical = typical_prediction(density, fit.u.mean(axis=0))
    report("predictions", 1, 1)
    report("priors", 0, 1)
    each = marginals(density, fit.u, fit.eta, keys[2])
    scaled = power_scaling(density, fit.u, np.asarray(each.log_marginal))
    priors = overlap(density, fit.u).merge(scaled, on="parameter")
    report("priors", 1, 1)
    varying = density.population.eta_names
    tables = {
        "predictions": table,
        "priors": priors,
        "eta": eta_table(seen.ids, varying, fit.eta),
        "shrinkage": shrinkage_table(varying, fit.eta),
        "eta_covariates": eta_covariates(
            varying, fit.eta, covariate_columns(fit.dataset)
        ),
    }
    tests = {}
    for place, name in enumerate(seen.assays):
        tests[name] = normality(table.loc[table["DVID"] == name, "NPDE"].to_numpy())
        tables[f"vpc_{name}"] = vpc(seen, drawn, place, bins=bins)
        tables[f"pcvpc_{name}"] = vpc(seen, drawn, place, typical=typical, bins=bins)
    tables["npde"] = pd.DataFrame([{"assay": n, **t} for n, t in tests.items()])
    unsolved = int(np.isnan(drawn[:, :, 0]).sum())
    summary = _summary(fit, seen, tables, tests, unsolved)
    found = Diagnosis(
        fit.converged, synthetic, _lines(fit, seen, tables, summary), tables, summary
    )
    _write(found, folder)
    report("figures", 0, 1)
    _figures(fit, seen, tables, tests, folder)
    report("figures", 1, 1)
    return found


def _summary(fit: OpenedFit, seen: Observed, tables, tests, unsolved: int) -> dict:
    inside = {}
    for name in seen.assays:
        for kind in ("vpc", "pcvpc"):
            check = tables[f"{kind}_{name}"]
            quantile = check["statistic"] != "below"
            inside[f"{kind}_{name}"] = {
                "quantiles_inside": int(check[quantile]["inside"].sum()),
                "quantiles": int(quantile.sum()),
                "below_inside": int(check[~quantile]["inside"].sum()),
                "bins": int((~quantile).sum()),
            }
    own = tables["predictions"]
    covered = ~own["below"] & own["observed"].between(
        own["again_q05"], own["again_q95"]
    )
    return {
        "converged": fit.converged,
        "reasons": list(fit.reasons),
        "synthetic_data": bool(fit.manifest["synthetic_data"]),
        "model": fit.manifest["model"],
        "method": fit.manifest["method"],
        "draws": len(fit.u),
        "npde": tests,
        "predictive_checks": inside,
        "readings_inside_their_90_pct": float(covered.sum() / (~own["below"]).sum()),
        "replicates_unsolved": unsolved,
        "sensitive_to_prior": tables["priors"]
        .query("prior > @SENSITIVE", local_dict={"SENSITIVE": SENSITIVE})["parameter"]
        .tolist(),
        "notes": list(seen.notes),
    }


def _lines(fit: OpenedFit, seen: Observed, tables, summary) -> tuple[str, ...]:
    """The findings in words."""
    lines = [] if fit.converged else [NOT_CONVERGED, *fit.reasons]
    for name, test in summary["npde"].items():
        word = (
            "not standard normal" if test["p_all"] < UNLIKELY else "as they should be"
        )
        lines.append(
            f"{name}: NPDE of {test['n']:.0f} readings have mean {test['mean']:.2f} "
            f"and variance {test['variance']:.2f} (p = {test['p_all']:.2g}): {word}"
        )
        for kind, words in (("vpc", "VPC"), ("pcvpc", "prediction-corrected VPC")):
            own = summary["predictive_checks"][f"{kind}_{name}"]
            lines.append(
                f"{name}: {words}: {own['quantiles_inside']} of {own['quantiles']} "
                f"quantiles and {own['below_inside']} of {own['bins']} shares below "
                "the limit lie in the 90% bands of replicates"
            )
    lines.append(
        f"{summary['readings_inside_their_90_pct']:.0%} of quantified readings lie in "
        "the 90% interval of their own patient (drawn from data that hold them: over "
        "90% is usual)"
    )
    shrinkage = tables["shrinkage"].sort_values("shrinkage_pct", ascending=False)
    if len(shrinkage):
        most = shrinkage.iloc[0]
        lines.append(
            f"largest shrinkage: {most['parameter']}, {most['shrinkage_pct']:.0f}%"
        )
    relations = tables["eta_covariates"]
    if len(relations):
        clear = relations.query("r_q05 > 0 or r_q95 < 0")
        pairs = ", ".join(
            f"{row.parameter} ~ {row.covariate} ({row.r_q50:.2f})"
            for row in clear.itertuples(index=False)
        )
        lines.append(
            f"{len(clear)} of {len(relations)} correlations of η with covariates are "
            f"off 0 (one in ten is by chance): {pairs or 'none'}"
        )
    moved = ", ".join(summary["sensitive_to_prior"]) or "none"
    lines.append(f"moved by the prior (power-scaling over {SENSITIVE:g}): {moved}")
    if summary["replicates_unsolved"]:
        lines.append(
            f"{summary['replicates_unsolved']} simulated patients could not be solved "
            "and are left out"
        )
    return (*lines, *seen.notes)


def _write(found: Diagnosis, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, table in found.tables.items():
        table = with_verdict(table, found.converged)
        table.to_csv(folder / f"{name}.csv", index=False)
    told = {CONVERGED: found.converged, "findings": list(found.lines)} | found.summary
    text = json.dumps(told, indent=2, ensure_ascii=False)
    (folder / "checks.json").write_text(text + "\n", encoding="utf-8")


def _figures(fit: OpenedFit, seen: Observed, tables, tests, folder: Path) -> None:
    synthetic = bool(fit.manifest["synthetic_data"])
    title = f"{fit.manifest['model']} ({fit.manifest['method']})"
    title = titled(title, fit.converged)
    population = fit.density.population
    for place, name in enumerate(seen.assays):
        unit = population.model.units[population.assays[place].quantity]
        own = tables["predictions"].query("DVID == @name", local_dict={"name": name})
        label = ASSAY_LABELS.get(name, f"{name}, {unit}")
        pages = {
            "observed_predicted": observed_predicted(
                own, title=f"Observed and predicted: {title}", unit=unit,
                synthetic=synthetic,
            ),
            "residuals": residual_panels(
                own, tests[name], title=f"Residuals: {title}", synthetic=synthetic
            ),
        }  # fmt: skip
        for kind, words in (("vpc", "VPC"), ("pcvpc", "Prediction-corrected VPC")):
            pages[kind] = predictive_check(
                tables[f"{kind}_{name}"],
                own,
                title=f"{words}: {title}",
                y_label=label,
                corrected=kind == "pcvpc",
                synthetic=synthetic,
            )
        for kind, page in pages.items():
            save(page, folder / f"{kind}_{name}.png")
    about = {"synthetic": synthetic}
    if len(tables["shrinkage"]):
        page = eta_distributions(
            tables["eta"], tables["shrinkage"], title=f"η: {title}", **about
        )
        save(page, folder / "eta.png")
    if len(tables["eta_covariates"]):
        page = eta_by_covariate(
            tables["eta_covariates"], title=f"η and covariates: {title}", **about
        )
        save(page, folder / "eta_covariates.png")
    page = prior_posterior(tables["priors"], title=f"Priors: {title}", **about)
    save(page, folder / "priors.png")
