"""Model cards: what a model says, what it is made of, how far to trust it.

A card is text and tables without a form; `ckin.card_forms` writes it for a terminal, as
Markdown and as LaTeX.
"""

import dataclasses
import inspect

from ckin.examine import open_units
from ckin.library import list_models, load_model
from ckin.model import (
    CHECKED,
    AbstractModel,
    ParameterInfo,
    laws,
    name_of,
    parameters,
    states,
)
from ckin.protocol import cells_text


@dataclasses.dataclass(frozen=True)
class Listing:
    """A table of words.

    Attributes:
        title: over it.
        columns: heads of the columns.
        rows: cells as text, as many in each row as there are columns.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclasses.dataclass(frozen=True)
class Card:
    """What a model file says of itself.

    Attributes:
        name: of the model.
        headline: what it is, in a line.
        equations: the rest of the file's description, as it is laid out there.
        tables: states, parameters, laws (where there are any) and quantities.
        notes: source, cautions and doubts, each a sentence or more.
    """

    name: str
    headline: str
    equations: str
    tables: tuple[Listing, ...]
    notes: tuple[str, ...]


def model_listing() -> Listing:
    """The shipped models, one line each."""
    rows = []
    for name in list_models():
        model = load_model(name)
        products = ", ".join(model.receives) or "none (course from first infusion)"
        rows.append((name, _about(model)[0], products, model.reference))
    return Listing("Models", ("name", "what it is", "products", "source"), tuple(rows))


def card(name_or_path: str) -> Card:
    """Card of one model: equations, states, parameters, quantities, cautions.

    Args:
        name_or_path: as `ckin.library.load_model` takes it.
    """
    model = load_model(name_or_path)
    headline, equations = _about(model)
    tables = (_states(model), _parameters(model), _laws(model), _quantities(model))
    notes = [f"Source: {model.reference}"]
    if model.usual_cart is not None:
        notes.append(
            f"Usual dose: {cells_text(model.usual_cart)} CAR-T cells in all, followed "
            f"for {model.usual_days:g} days"
        )
    if model.caution:
        notes.append(f"Caution: {model.caution}")
    unverified = [n for n, info in parameters(model).items() if info.checked == "U"]
    if unverified:
        notes.append(f"Unverified values: {', '.join(unverified)}")
    notes += [f"In doubt: {doubt}" for doubt in open_units(model)]
    notes.append("checked: " + "; ".join(f"{k} {v}" for k, v in CHECKED.items()))
    return Card(
        name=name_of(model),
        headline=headline,
        equations=equations,
        tables=tuple(table for table in tables if table.rows),
        notes=tuple(notes),
    )


def _about(model: AbstractModel) -> tuple[str, str]:
    """First line of the model file's description, and the rest."""
    text = inspect.getdoc(inspect.getmodule(type(model))) or ""
    headline, _, equations = text.partition("\n")
    return headline, equations.strip("\n")


def _states(model: AbstractModel) -> Listing:
    receives = {state: product for product, state in model.receives.items()}
    return Listing(
        "States",
        ("state", "unit", "solver scale", "what", "receives"),
        tuple(
            (
                name,
                info.unit,
                "log" if info.log else "linear",
                info.doc,
                receives.get(name, ""),
            )
            for name, info in states(model).items()
        ),
    )


def _parameters(model: AbstractModel) -> Listing:
    heads = ("parameter", "symbol", "value", "unit", "prior", "omega", "fit", "checked")
    return Listing(
        "Parameters",
        (*heads, "what; source"),
        tuple(
            (
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
            for name, info in parameters(model).items()
        ),
    )


def _laws(model: AbstractModel) -> Listing:
    """The open parts of a model and the forms of each."""
    rows = []
    for name, info in laws(model).items():
        for option, function in info.options.items():
            chosen = function is getattr(model, name)
            about = (inspect.getdoc(function) or "").partition("\n")[0]
            what = f"{name}: {info.doc}" if chosen else ""
            rows.append((what, f"{option} (default)" if chosen else option, about))
    return Listing("Laws (--set LAW=FORM)", ("law", "form", "what"), tuple(rows))


def _prior(info: ParameterInfo) -> str:
    """Median and 90% interval of the prior."""
    if info.prior is None:
        return "fixed"
    low, middle, high = (float(info.prior.icdf(p)) for p in (0.05, 0.5, 0.95))
    return f"{middle:.3g} ({low:.2g}-{high:.2g})"


def _quantities(model: AbstractModel) -> Listing:
    return Listing(
        "Quantities that an assay can see",
        ("quantity", "unit"),
        tuple({**model.units, **model.derived_units}.items()),
    )
