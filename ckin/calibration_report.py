"""A calibration as a figure and as sentences."""

from pathlib import Path

import numpy as np

from ckin.calibration import LABEL, Design
from ckin.plot import save
from ckin.plot.ranks import RankCurve, rank_ecdfs
from ckin.ranked import FALSE_ALARM, Calibration, by_name, ecdf, uniforms


FIGURE = "rank_ecdf.png"


def write_report(design: Design, found: Calibration, folder: Path) -> list[str]:
    """Write the figure; what to tell of the replicates."""
    each = by_name(found.ranks)
    curves = {
        name: RankCurve(*ecdf(uniforms(own), len(each))) for name, own in each.items()
    }
    ranked = [r for r in found.replicates if r["ranks"]]
    figure = rank_ecdfs(
        curves,
        f"Ranks of the truth: {design.model}, {design.protocol}, {design.method}, "
        f"{len(ranked)} cohorts of {design.patients}",
        f"{LABEL}. Band: {100 * (1 - FALSE_ALARM):.0f}% over all panels.",
    )
    path = save(figure, folder / FIGURE)
    return [*_told(found), f"written: {folder} (ranks, coverage), {path}"]


def _told(found: Calibration) -> list[str]:
    ranked = [r for r in found.replicates if r["ranks"]]
    unsolved = len(found.replicates) - len(ranked)
    outside = found.coverage.loc[~found.coverage["inside_band"], "parameter"]
    lines = [
        "calibrated: every ECDF of ranks is inside its band"
        if found.calibrated
        else f"NOT CALIBRATED: ranks outside the band for {', '.join(outside)}"
    ]
    short = [r["number"] for r in ranked if not r["converged"]]
    if short:
        lines.append(
            f"{len(short)} of {len(ranked)} fits did not converge; they are counted "
            f"(replicates {_some(short)})"
        )
    if unsolved:
        lines.append(
            f"{unsolved} cohorts left out: no solution at the truth. What is "
            "calibrated is the prior without such"
        )
    seconds = np.array([r["seconds"] for r in ranked])
    below = np.array([r["below_limit_pct"] for r in ranked])
    lines.append(
        f"{np.median(seconds):.1f} s a fit (median; {seconds.sum() / 60:.0f} min in "
        f"all), {np.median(below):.0f}% of samples below their limit "
        f"({below.min():.0f}-{below.max():.0f}%)"
    )
    return lines


def _some(numbers: list[int]) -> str:
    shown = ", ".join(map(str, numbers[:8]))
    return shown + (", ..." if len(numbers) > 8 else "")
