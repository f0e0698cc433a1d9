"""Model cards: what a model says, what it is made of, how far to trust it."""

import inspect

from rich.console import Group
from rich.table import Table
from rich.text import Text

from ckin.examine import open_units
from ckin.library import list_models, load_model
from ckin.model import CHECKED, AbstractModel, ParameterInfo, laws, parameters, states


def model_table() -> Table:
    """The shipped models, one line each."""
    table = Table(title="Models", title_justify="left")
    for column in ("name", "what it is", "products", "source"):
        table.add_column(column, overflow="fold")
    for name in list_models():
        model = load_model(name)
        about = inspect.getdoc(inspect.getmodule(type(model))) or ""
        table.add_row(
            name,
            about.splitlines()[0],
            ", ".join(model.receives) or "none (course from first infusion)",
            model.reference,
        )
    return table


def card(name_or_path: str) -> Group:
    """Card of one model: equations, states, parameters, quantities, cautions."""
    model = load_model(name_or_path)
    about = inspect.getdoc(inspect.getmodule(type(model))) or ""
    return Group(
        Text(str(name_or_path), style="bold"),
        Text(about),
        Text(),
        _states(model),
        _parameters(model),
        *_laws(model),
        _quantities(model),
        Text(f"Source: {model.reference}"),
        Text(f"Caution: {model.caution}" if model.caution else ""),
        *(Text(f"In doubt: {doubt}") for doubt in open_units(model)),
        Text("checked: " + "; ".join(f"{k} {v}" for k, v in CHECKED.items())),
    )


def _states(model: AbstractModel) -> Table:
    table = Table(title="States", title_justify="left")
    for column in ("state", "unit", "solver scale", "what", "receives"):
        table.add_column(column)
    receives = {state: product for product, state in model.receives.items()}
    for name, info in states(model).items():
        scale = "log" if info.log else "linear"
        table.add_row(name, info.unit, scale, info.doc, receives.get(name, ""))
    return table


def _parameters(model: AbstractModel) -> Table:
    table = Table(title="Parameters", title_justify="left")
    for column in ("parameter", "symbol", "value", "unit", "prior", "omega", "fit"):
        table.add_column(column)
    table.add_column("checked", justify="center")
    table.add_column("what; source", overflow="fold")
    for name, info in parameters(model).items():
        table.add_row(
            name,
            info.symbol,
            f"{float(getattr(model, name)):.4g}",
            info.unit,
            _prior(info),
            "" if info.omega is None else f"{info.omega:.3g}",
            "estimated" if info.estimate else (info.column or ""),
            info.checked,
            f"{info.doc}; {info.source}",
        )
    return table


def _laws(model: AbstractModel) -> list[Table]:
    """The open parts of a model and the forms of each; nothing where there is none."""
    if not laws(model):
        return []
    table = Table(title="Laws (--set LAW=FORM)", title_justify="left")
    for column in ("law", "form", "what"):
        table.add_column(column, overflow="fold")
    for name, info in laws(model).items():
        for option, function in info.options.items():
            chosen = function is getattr(model, name)
            about = (inspect.getdoc(function) or "").partition("\n")[0]
            table.add_row(
                f"{name}: {info.doc}" if chosen else "",
                f"{option} (default)" if chosen else option,
                about,
            )
    return [table]


def _prior(info: ParameterInfo) -> str:
    """Median and 90% interval of the prior."""
    if info.prior is None:
        return "fixed"
    low, middle, high = (float(info.prior.icdf(p)) for p in (0.05, 0.5, 0.95))
    return f"{middle:.3g} ({low:.2g}-{high:.2g})"


def _quantities(model: AbstractModel) -> Table:
    table = Table(title="Quantities that an assay can see", title_justify="left")
    table.add_column("quantity")
    table.add_column("unit")
    for name, unit in {**model.units, **model.derived_units}.items():
        table.add_row(name, unit)
    return table
