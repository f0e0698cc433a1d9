"""The result of a race as tables for a terminal; every row, won or lost."""

from typing import Any

from rich.console import Console
from rich.table import Table

from .scores import METRICS, looked_up


WIDTH = 130
DENSITY = {
    "v+g ms": "value_and_grad_ms",
    "of 16, each": "value_and_grad_16chains_per_chain_ms",
    "Δlogp true": "dlogp_true",
    "Δlogp prior": "dlogp_prior",
    "grad err true": "grad_rel_err_true",
    "grad err prior": "grad_rel_err_prior",
    "compile s": "compile_s",
    "sim ms": "simulate_24_ms",
    "large sim ms": "simulate_1000_ms",
    "sim err": "sim_rel_err",
}
NUTS = {
    "wall s": "nuts.wall_s",
    "chains": "nuts.chains",
    "warm-up": "nuts.warmup",
    "draws": "nuts.draws",
    "min bulk ESS": "nuts.min_bulk_ess",
    "min ESS/s": "nuts.min_ess_per_s",
    "R-hat max": "nuts.rhat_max",
    "divergences": "nuts.divergences",
    "k-hat": "nuts.khat",
}


def show(result: dict[str, Any]) -> None:
    """Print the tables of a result (see `race.py`)."""
    console = Console(width=WIDTH)
    entries = {"ckin": result["ckin"], **result["peers"]}
    for method in result["peers"].get("stan", {}).get("methods", {}):
        entries[f"stan {method}"] = result["peers"]["stan"]["methods"][method]
    console.print(_table("Density, gradient, simulation", entries, DENSITY))
    nuts = {name: entry for name, entry in entries.items() if "nuts" in entry}
    console.print(
        _table(
            "NUTS: starts, warm-up and draws; of programs in JAX, compilation too",
            nuts,
            NUTS,
        )
    )
    console.print(_ratio_table(result))
    for name, entry in entries.items():
        for where in (entry, entry.get("nuts") or {}):
            for kind in ("error", "note"):
                if kind in where:
                    console.print(f"{name}: {where[kind]}", markup=False)
    points = result["ckin"].get("posterior_points")
    if points:
        console.print(
            f"ckin at {points['n']} posterior draws: |Δlogp| at most "
            f"{points['max_abs_dlogp']:.2e}, gradient error at most "
            f"{points['max_grad_rel_err']:.2e}"
        )


def _table(title: str, entries: dict[str, dict], columns: dict[str, str]) -> Table:
    table = Table(title=title, title_justify="left")
    table.add_column("", no_wrap=True)
    for heading in columns:
        table.add_column(heading, justify="right")
    for name, entry in entries.items():
        table.add_row(name, *(_text(looked_up(entry, at)) for at in columns.values()))
    return table


def _ratio_table(result: dict[str, Any]) -> Table:
    table = Table(
        title="How many times as good ckin is (below 1 it loses; no R-hat > 1.1)",
        title_justify="left",
    )
    table.add_column("", no_wrap=True)
    for name in result["peers"]:
        table.add_column(name, justify="right")
    for metric in METRICS:
        by_peer = result["ratios"].get(metric, {}).get("by_peer", {})
        cells = []
        for name in result["peers"]:
            value = by_peer.get(name)
            text = _text(value)
            cells.append(f"[red]{text}[/red]" if value and value < 1 else text)
        table.add_row(metric, *cells)
    return table


def _text(value: Any) -> str:
    if value is None:
        return "-"
    if not isinstance(value, float):
        return str(value)
    return f"{value:.1e}" if 0 < abs(value) < 1e-2 else f"{value:,.4g}"
