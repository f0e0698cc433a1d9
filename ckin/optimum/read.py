"""A question file -> an `Inquiry`. What is wrong with it, with line and key.

inquiry = read_inquiry("my_question.toml")
"""

from collections.abc import Iterator
from pathlib import Path

from ckin.errors import InputError, did_you_mean
from ckin.library import load_model, load_protocol
from ckin.model import AbstractModel, name_of
from ckin.optimum.inquiry import Inquiry
from ckin.optimum.schema import CapTable, OutcomeTable, QuestionTable
from ckin.protocol import Protocol, places
from ckin.protocol.build import with_changes
from ckin.protocol.faults import Where, read_text, validated
from ckin.scenario.read import check_after_cart, people_of, seen_from, unit_of
from ckin.scenario.scenario import METRICS, Outcome, Worth, quantity_of
from ckin.schedule import (
    Apheresis,
    Budget,
    Cap,
    Infusions,
    Space,
    apheresis_budget,
    typical_yields,
)
from ckin.units import canonical_unit


# Body weight at which a space is tried while it is read; any will do.
TRIED_KG = 60.0


def read_inquiry(path: str | Path) -> Inquiry:
    """The question of a file; paths in it are seen from its folder.

    Raises:
        InputError: with every fault that was found; line, key, what was found, what
            was expected, how to mend it.
    """
    return parse_inquiry(read_text(path), str(path), Path(path).parent)


def parse_inquiry(text: str, file: str, folder: Path = Path()) -> Inquiry:
    """The question that a text asks.

    Args:
        text: TOML.
        file: what messages call it.
        folder: that paths in it are seen from.

    Raises:
        InputError: as `read_inquiry`.
    """
    table, where = validated(text, file, QuestionTable)
    where.tell(_conflicts(table))
    with where.located(("course", "protocol")):
        plan = load_protocol(seen_from(folder, table.course.protocol))
    plan = with_changes(
        plan, table.course, ("course",), where.located, check_after_cart
    )
    with where.located(("population",)):
        # A patient of its own in every draw.
        n = table.population.people
        people = people_of(table.population, n, n, table.model, folder)
    with where.located(("budget", "apheresis")):
        budget, unit, per_kg = _budget(table)
    found = Inquiry(
        name=table.name,
        title=table.title,
        model=None if table.model is None else seen_from(folder, table.model),
        people=people,
        plan=plan,
        choices=_choices(table, plan, where),
        follow_d=table.follow_d,
        outcomes=tuple(_outcomes(table, where)),
        worths=tuple(
            Worth(own.outcome, own.weight, own.scale, own.per) for own in table.utility
        ),
        budget=budget,
        budget_unit=unit,
        budget_per_kg=per_kg,
        caps=tuple(Cap(c.of, c.level, c.share, c.weight) for c in table.caps),
        toll=1e-6 * table.toll_per_1e6_cells_per_kg,
        step=table.step_cells_per_kg,
        levels=() if table.grid is None else tuple(table.grid.cells_per_kg),
        starts=table.search.starts,
        steps=table.search.steps,
        shares=() if table.pareto is None else tuple(table.pareto.shares),
        front_of="" if table.pareto is None else table.pareto.outcome or "",
        seed=table.seed,
        assumptions=tuple(table.assumptions),
        source=tuple(table.source),
        text=text,
    )
    # Of a total for all, the weight of the patients counts: tried when it is known.
    if per_kg or budget is None:
        with where.located(("budget",) if table.budget else ("open",)):
            found.space(TRIED_KG)
    if found.model is not None:
        where.tell(_faults(found, table, load_model(found.model)))
    return found


def _choices(
    table: QuestionTable, plan: Protocol, where: Where
) -> tuple[Infusions, ...]:
    choices = []
    for place, own in enumerate(table.open):
        choice = Infusions(
            own.product,
            own.cycle,
            n=own.infusions,
            from_day=own.from_day,
            to_day=own.to_day,
            apart_d=own.apart_d,
            least=own.least_cells_per_kg,
            most=own.most_cells_per_kg,
        )
        with where.located(("open", place)):
            # Alone, so that the entry is named; together below.
            Space(plan, (choice,), None, TRIED_KG, table.step_cells_per_kg)
        choices.append(choice)
    with where.located(("open",)):
        Space(plan, tuple(choices), None, TRIED_KG, table.step_cells_per_kg)
    return tuple(choices)


def _budget(table: QuestionTable) -> tuple[Budget | None, str, bool]:
    """The budget, its unit, and whether it is one for each kg."""
    own = table.budget
    if own is None:
        return None, "", False
    if own.apheresis is not None:
        yields = typical_yields(Apheresis().with_medians(own.apheresis))
        return apheresis_budget(yields), "CD3+ cells", False
    assert own.product is not None  # `_conflicts` asks for it
    total = own.cells if own.cells is not None else own.cells_per_kg
    assert total is not None
    budget = Budget(total, {own.product: 1.0})
    return budget, f"{own.product} cells", own.cells_per_kg is not None


def _outcomes(table: QuestionTable, where: Where) -> Iterator[Outcome]:
    for name, own in table.outcomes.items():
        with where.located(("outcomes", name, "unit")):
            unit = unit_of(own.unit)
        told = METRICS[own.metric].name
        if own.level is not None and METRICS[own.metric].needs_level:
            told = told.replace("a level", f"{own.level:g} {own.unit}")
        yield Outcome(
            name=name,
            metric=own.metric,
            of=own.of,
            level=own.level,
            title=own.title or f"{told}, {own.of}",
            unit=unit,
        )


def _conflicts(table: QuestionTable) -> Iterator[tuple[places.Path, str]]:
    """What single fields do not show: keys that exclude or need each other."""
    own = table.population
    if table.model is None and own.source != "fit":
        yield (("model",), 'found nothing, expected a model; add model = "..."')
    yield from own.conflicts()
    for place, each in enumerate(table.open):
        here = ("open", place)
        if each.to_day < each.from_day:
            yield (
                (*here, "to_day"),
                f"found {each.to_day}, before from_day {each.from_day}; mend one",
            )
        if each.most_cells_per_kg < each.least_cells_per_kg:
            yield (
                (*here, "most_cells_per_kg"),
                f"found {each.most_cells_per_kg:g}, less than least_cells_per_kg "
                f"{each.least_cells_per_kg:g}; mend one",
            )
    for name, each in table.outcomes.items():
        needs = each.metric in ("DABOVE", "CMAX")
        what = "one" if each.metric == "DABOVE" else "about how high it is"
        if needs and each.level is None:
            yield (
                ("outcomes", name),
                f"found no level, expected {what} for {each.metric}: level = 100",
            )
        if not needs and each.level is not None:
            yield (
                ("outcomes", name, "level"),
                f"found it of {each.metric}, which is of no level; remove it",
            )
        if each.level is not None and each.unit is None:
            yield (
                ("outcomes", name, "level"),
                f'found {each.level:g} without its unit; add unit = "copies/ug" or '
                "what it is",
            )
    yield from _named(table)
    yield from _budget_conflicts(table)


def _named(table: QuestionTable) -> Iterator[tuple[places.Path, str]]:
    """Outcomes that are named elsewhere in the file are there."""
    asked: list[tuple[places.Path, str]] = [
        (("utility", n, "outcome"), own.outcome) for n, own in enumerate(table.utility)
    ]
    if table.pareto is not None and table.pareto.outcome is not None:
        asked.append((("pareto", "outcome"), table.pareto.outcome))
    for path, name in asked:
        if name not in table.outcomes:
            yield (
                path,
                f"found {name!r}, expected the name of an outcome: "
                f"{', '.join(table.outcomes)}; "
                f"{did_you_mean(name, table.outcomes)}mend it there",
            )


def _budget_conflicts(table: QuestionTable) -> Iterator[tuple[places.Path, str]]:
    own, here = table.budget, ("budget",)
    if own is None:
        if table.pareto is not None:
            yield (("pareto",), "found it without a [budget]; add one")
        return
    amounts = [x for x in (own.cells, own.cells_per_kg) if x is not None]
    if own.apheresis is not None:
        if amounts or own.product is not None:
            yield (
                (*here, "apheresis"),
                "found it beside cells of a product; remove one of them",
            )
        return
    if len(amounts) != 1:
        yield (
            here,
            "found no budget, expected one of cells_per_kg and cells with a product, "
            "or apheresis = {}",
        )
    if own.product is None:
        yield (here, 'found no product, expected whose cells; add product = "FTC"')


def _faults(
    found: Inquiry, table: QuestionTable, model: AbstractModel
) -> Iterator[tuple[places.Path, str]]:
    """What the model cannot answer."""
    for place, choice in enumerate(found.choices):
        if choice.product not in model.receives:
            yield (
                ("open", place, "product"),
                f"found {choice.product}, and {name_of(model)} does not receive it; "
                "choose another model (`ckin models` lists what each receives)",
            )
        last_d = found.plan.day1_d[choice.cycle - 1] + choice.to_day - 1
        if last_d >= found.follow_d:
            yield (
                ("follow_d",),
                f"found {found.follow_d:g} days, expected more than {last_d:g}: day "
                f"{choice.to_day} of cycle {choice.cycle} is open",
            )
    if model.one_course and found.plan.cycles > 1:
        yield (
            ("course",),
            f"found {found.plan.cycles} cycles, and {name_of(model)} describes one "
            "course; add repeated = { cycles = 1 }",
        )
    for name, own in table.outcomes.items():
        yield from _quantity_faults(("outcomes", name), own, model)
    for place, own in enumerate(table.caps):
        yield from _quantity_faults(("caps", place), own, model)


def _quantity_faults(
    here: places.Path, own: OutcomeTable | CapTable, model: AbstractModel
) -> Iterator[tuple[places.Path, str]]:
    try:
        quantity = quantity_of(model, own.of)
    except InputError as error:
        yield ((*here, "of"), str(error))
        return
    if own.unit is None:
        return
    try:
        given = canonical_unit(own.unit)
    except ValueError as error:
        yield ((*here, "unit"), str(error))
        return
    if given != model.units[quantity]:
        yield (
            (*here, "unit"),
            f"found {given!r}, expected {model.units[quantity]!r}, the unit of "
            f"{quantity}",
        )
