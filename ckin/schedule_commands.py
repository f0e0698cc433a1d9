"""Commands about schedules as a whole: what one apheresis can pay for.

Part of the command line: they parse, call and print.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Group
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from ckin.errors import InputError
from ckin.options import values_of
from ckin.protocol import FTC_LEVELS_CELLS_PER_KG, Protocol, cells_text
from ckin.terminal import explained, out


commands = typer.Typer()

# Whose table is shown when no protocol is named: that of the trial.
FAMILY = "szcart01"
MODEL_BASED = "MODEL-BASED: yields are assumptions and other trials', not this one's."


@commands.command()
def apheresis(
    protocol: Annotated[
        str,
        typer.Argument(
            help="A name, several arms under one name, a .toml file or FILE.toml:ARM."
        ),
    ] = FAMILY,
    weight: Annotated[float, typer.Option(help="Body weight, kg.")] = 60.0,
    chance: Annotated[
        float, typer.Option(help="Share of patients that a schedule has to suit.")
    ] = 0.9,
    n: Annotated[int, typer.Option(min=1, help="Virtual patients.")] = 10_000,
    seed: Annotated[int, typer.Option(help="Of every random number.")] = 0,
    set: Annotated[
        list[str],
        typer.Option(
            help="NAME=VALUE: another median, such as collected=1.2e9 or CART.fold=10."
        ),
    ] = [],
    out_file: Annotated[
        Path | None, typer.Option("--out", help="CSV of the tables to write.")
    ] = None,
) -> None:
    """Whether one apheresis gives all the cells of a protocol, or of several."""
    import jax

    from ckin.library import load_protocols
    from ckin.schedule import Apheresis, draw_yields, schedule_rows, write_schedules

    with explained():
        if not 0 < chance < 1:
            raise InputError(f"--chance {chance:g}: expected between 0 and 1")
        plans = load_protocols(protocol)
        source = Apheresis().with_medians(values_of(set))
        yields = draw_yields(jax.random.key(seed), source, n)
        rows = schedule_rows(plans, yields, weight_kg=weight)
        shown: list = [Text(MODEL_BASED, style="bold"), _table(rows, weight, chance)]
        sets = _sets(plans, yields, weight, chance) if len(plans) == 1 else ()
        if sets:
            shown.append(_set_table(sets, chance))
        out.print(Group(*shown, *_notes(source, n)))
        if out_file is not None:
            write_schedules(out_file, rows, sets, weight_kg=weight)
            out.print(f"written: {out_file}", markup=False)


def _table(rows: Mapping, weight_kg: float, chance: float) -> Table:
    table = Table(
        title=f"One apheresis, {weight_kg:g} kg; CD3+ in 1e9 cells, median and 5% to "
        "95% of patients",
        title_justify="left",
    )
    table.add_column("protocol", no_wrap=True)
    for column in ("CAR+", "FTC+", "CD3+ to start from", "CD3+ left", "covered"):
        table.add_column(column, justify="right")
    for name, row in rows.items():
        enough = "" if row.coverage.chance >= chance else "  too few"
        table.add_row(
            escape(name),
            cells_text(row.cells.get("CART", 0.0)),
            cells_text(row.cells.get("FTC", 0.0)),
            _range(row.coverage.needed),
            _range(row.coverage.left),
            f"{100 * row.coverage.chance:.1f}%{enough}",
        )
    return table


def _sets(plans: Mapping[str, Protocol], yields, weight_kg: float, chance: float):
    from ckin.schedule import feasible_sets

    (plan,) = plans.values()
    if "FTC" not in plan.products:
        return ()
    return feasible_sets(
        plan,
        yields,
        weight_kg=weight_kg,
        levels=(0.0, *sorted(FTC_LEVELS_CELLS_PER_KG.values())),
        cycles=range(1, plan.cycles + 1),
        chance=chance,
    )


def _set_table(sets, chance: float) -> Table:
    table = Table(
        title="Patients covered, by cycles and FTC cells/kg of each infusion "
        f"([green]at least {100 * chance:g}%[/green])",
        title_justify="left",
    )
    levels = list(dict.fromkeys(row.ftc_cells_per_kg for row in sets))
    table.add_column("cycles", justify="right")
    for level in levels:
        head = f"FTC {cells_text(level)}/kg" if level else "no FTC"
        table.add_column(head, justify="right")
    for cycles in dict.fromkeys(row.cycles for row in sets):
        own = [row for row in sets if row.cycles == cycles]
        table.add_row(
            str(cycles),
            *(
                f"{'[green]' if row.feasible else '[red]'}"
                f"{100 * row.coverage.chance:.1f}%{'' if row.feasible else ' no'}[/]"
                for row in own
            ),
        )
    return table


def _notes(source, n: int) -> list[Text]:
    from ckin.model import CHECKED

    lines = [
        f"{n} virtual patients, the same for every protocol. To start from: cells "
        "given / (transduction x fold x recovery x released). Manufacture that fails "
        "altogether (4.5% of those harvests) is not in it.",
        "Taken, median of patients and SD of its log or logit:",
    ]
    for name, spread in source.parts.items():
        median = (
            cells_text(spread.median)
            if spread.median >= 1e5
            else f"{spread.median:.3g}"
        )
        lines.append(
            f"  {name} {median} (SD {spread.sd:.2g}): "
            f"{CHECKED[spread.checked]}; {spread.source}"
        )
    return [Text(line, style="dim" if line[0] == " " else "") for line in lines]


def _range(quantiles: tuple[float, float, float]) -> str:
    low, middle, high = (_short(v) for v in quantiles)
    return f"{middle} ({low} to {high})"


def _short(cells: float) -> str:
    """In 1e9 cells, to two digits."""
    return f"{float(f'{cells / 1e9:.2g}'):g}"
