"""A fit as the terminal shows it: the verdict first, then the table and the referee."""

import contextlib
import shlex
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import typer
from rich.table import Table

from ckin.terminal import (
    INTERRUPTED,
    err,
    out,
    say_notes,
    say_synthetic,
    say_unless_converged,
)


@contextlib.contextmanager
def told_how_to_resume(folder: Path) -> Iterator[None]:
    """Say, of a fit that is interrupted, what is kept and how to go on with it."""
    try:
        yield
    except KeyboardInterrupt:
        words = [word for word in sys.argv[1:] if word not in ("--resume", "--force")]
        command = shlex.join(["ckin", *words, "--resume"])
        err.print(
            f"interrupted; what was done is kept in {folder}. Go on with:", markup=False
        )
        err.print(f"  {command}", markup=False)
        raise typer.Exit(INTERRUPTED) from None


def say_resumed(checkpoint: Mapping[str, Any]) -> None:
    """What of a resumed fit was there already.

    Args:
        checkpoint: of its manifest.
    """
    say_notes(checkpoint["notes"])
    there, new = checkpoint["recalled"], checkpoint["made"]
    if not new:
        out.print(
            "this fit was finished already: nothing was drawn anew; for more draws "
            "give --resume with a larger --draws"
        )
    elif there:
        out.print(f"resumed: {there} steps were done before, {new} now")


def print_fit(result, folder: Path, *, resumed: bool = False) -> None:
    """Verdict first, then the summary.

    Args:
        result: the fit.
        folder: that it was written to.
        resumed: whether it went on with steps that were there.
    """
    if result.verdict.converged:
        out.print("[bold green]converged[/bold green]")
    else:
        say_unless_converged(False, result.verdict.reasons, what="")
    say_synthetic(bool(result.manifest["synthetic_data"]))
    if resumed:
        say_resumed(result.manifest["checkpoint"])
    if result.manifest["auto"]:
        out.print(f"auto: {result.manifest['auto']}", markup=False)
    for words in result.manifest["anew"]:
        out.print(words, markup=False)
    method = {
        "weighted": "draws of the Laplace approximation, weighted by the posterior",
        "map": "Laplace approximation around the mode",
        "laplace": "maximum likelihood, patients integrated out by Laplace",
        "many": f"HMC, {result.manifest['chains']} x {result.manifest['draws']} draws",
        "nuts": f"NUTS, {result.manifest['chains']} x {result.manifest['draws']} draws",
    }[result.manifest["method"]]
    say_notes(result.manifest["data"]["notes"])
    table = Table(
        title=f"{result.manifest['model']}: {method}; "
        f"{result.manifest['patients']} patients, {result.manifest['samples']} samples,"
        f" {result.manifest['samples_below_limit']} below limit (M3)",
        title_justify="left",
    )
    for column in ("parameter", "unit"):
        table.add_column(column, no_wrap=True)
    ways = dict.fromkeys(("q05", "q50", "q95"), ".4g") | {"r_hat": ".3f"}
    ways |= {"ess_bulk": ".0f", "rse_pct": ".1f", "shrinkage_pct": ".1f"}
    if result.manifest["method"] == "laplace":
        ways = {
            "estimate": ".4g",
            "se": ".3g",
            "rse_pct": ".1f",
            "shrinkage_pct": ".1f",
        }
    for column in ways:
        table.add_column(column.replace("_pct", "%"), justify="right")
    for row in result.summary.to_dict("records"):
        cells = [
            "" if row[key] != row[key] else f"{row[key]:{way}}"
            for key, way in ways.items()
        ]
        table.add_row(row["parameter"], row["unit"], *cells)
    out.print(table)
    for line in _likelihood_lines(result.manifest):
        out.print(line, markup=False)
    if result.profiles:
        _print_profiles(result.profiles)
    out.print(_referee_line(result.referee), markup=False)
    out.print(_time_line(result.manifest["seconds"]), markup=False)
    out.print(f"written: {folder}", markup=False)


def _print_profiles(profiles) -> None:
    """Limits by the profile beside those by the standard error."""
    level = f"{100 * profiles[0].level:g}%"
    table = Table(
        title=f"{level} limits by profile likelihood, and by the standard error",
        title_justify="left",
    )
    for column in ("parameter", "estimate", "lower", "upper", "SE lower", "SE upper"):
        table.add_column(column, justify="left" if column == "parameter" else "right")
    for each in profiles:
        ends = (each.estimate, each.lower.value, each.upper.value, *each.wald)
        table.add_row(each.name, *("none" if x != x else f"{x:.4g}" for x in ends))
    out.print(table)
    for each in profiles:
        for limit in (each.lower, each.upper):
            if limit.note:
                out.print(f"  - {each.name}: {limit.note}", markup=False)


def _likelihood_lines(manifest) -> list[str]:
    """Log likelihood and criteria of maximum likelihood; ω that came out as none."""
    if "likelihood" not in manifest:
        return []
    found = manifest["likelihood"]
    lines = [
        f"log likelihood {found['log_likelihood']:.4f}, OFV {found['ofv']:.3f} "
        f"({found['ofv_without_constants']:.3f} without constants, as NONMEM), "
        f"AIC {found['aic']:.3f}, BIC {found['bic']:.3f} "
        f"({found['parameters']} parameters, {found['readings']} readings)"
    ]
    if found["log_likelihood_by_quadrature"] is not None:
        lines.append(
            f"log likelihood by quadrature at the same estimates: "
            f"{found['log_likelihood_by_quadrature']:.4f}"
        )
    if manifest["at_zero"]:
        lines.append(
            f"{', '.join(manifest['at_zero'])}: best at 0; as far as these data tell, "
            "patients do not differ there"
        )
    return lines


def _time_line(seconds) -> str:
    """How long each part took, in one line."""
    parts = ("starts", "sampling", "referee")
    told = ", ".join(f"{name} {seconds[name]:.0f} s" for name in parts)
    return f"time: {told}; {seconds['compiling']:.0f} s of it compiling"


def _referee_line(judge) -> str:
    """What the adaptive solver says of the draws, in one line."""
    if judge.method == "closed form":
        return "referee: none needed, the model is a formula"
    if len(judge.rows) == 1:
        return (
            "referee: solved adaptively, the log likelihood of the patients' modes "
            f"changes by {judge.max_abs_delta:.2g}"
        )
    return (
        f"referee: {len(judge.rows)} draws solved again adaptively, "
        f"k-hat {judge.khat:.2f}, log densities change by up to "
        f"{judge.max_abs_delta:.2g} (most for patient {judge.worst_patient}), "
        f"weights worth {judge.ess:.0f} draws"
    )
