"""A scenario file -> a scenario. What is wrong with it, with line and key, all at once.

scenario = read_scenario("my_question.toml")
"""

import dataclasses
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ckin.errors import InputError, did_you_mean
from ckin.library import load_model, load_protocol, settings
from ckin.protocol import Protocol, cells_text, places
from ckin.protocol.build import with_changes
from ckin.protocol.days import day_of_time
from ckin.protocol.faults import Where, read_text, validated
from ckin.scenario.asked import WhoTable
from ckin.scenario.scenario import (
    METRICS,
    Arm,
    Endpoint,
    Outcome,
    PeopleSpec,
    Scenario,
    Worth,
    faults,
)
from ckin.scenario.schema import (
    ScenarioArmTable,
    ScenarioTable,
    SweepTable,
)
from ckin.units import canonical_unit


# Combinations of one sweep: more is a slip.
MOST_ARMS = 2000
# Axes of a sweep in the order in which they are applied and named.
AXES = ("cycles", "every_d", "cells_per_kg", "cells", "day")


def read_scenario(path: str | Path) -> Scenario:
    """The scenario of a file; paths in it are seen from its folder.

    Raises:
        InputError: with every fault that was found; line, key, what was found, what
            was expected, how to mend it.
    """
    return parse_scenario(read_text(path), str(path), Path(path).parent)


def parse_scenario(text: str, file: str, folder: Path = Path()) -> Scenario:
    """The scenario that a text defines.

    Args:
        text: TOML.
        file: what messages call it.
        folder: that paths in it are seen from.

    Raises:
        InputError: as `read_scenario`.
    """
    table, where = validated(text, file, ScenarioTable)
    where.tell(_conflicts(table))
    arms = [
        *(_arm(name, own, table, where, folder) for name, own in table.arms.items()),
        *(
            arm
            for name, own in table.sweeps.items()
            for arm in _swept(name, own, table, where, folder)
        ),
    ]
    _check_names(table, [arm.name for arm in arms], where)
    with where.located(("population",)):
        own = table.population
        people = people_of(own, own.draws, own.patients, table.model, folder)
    with where.located(()):
        scenario = Scenario(
            name=table.name,
            title=table.title,
            model=None if table.model is None else seen_from(folder, table.model),
            people=people,
            arms=tuple(arms),
            outcomes=tuple(_outcomes(table, where)),
            follow_d=table.follow_d,
            endpoints=tuple(
                Endpoint(name, **_named(own)) for name, own in table.endpoints.items()
            ),
            worths=tuple(Worth(**dict(own)) for own in table.utility),
            reference=table.reference or "",
            comparisons=tuple((own.arm, own.against) for own in table.comparisons),
            uncertainty=None if table.uncertainty is None else tuple(table.uncertainty),
            seed=table.seed,
            assumptions=tuple(table.assumptions),
            source=tuple(table.source),
            text=text,
        )
    if scenario.model is not None:
        where.tell(faults(scenario, load_model(scenario.model)))
    return scenario


def _named(own: Any) -> dict[str, Any]:
    return {**dict(own), "title": own.title or ""}


def seen_from(folder: Path, name: str) -> str:
    """A name as it is; a path of a file, from the folder of the scenario."""
    path, toml, arm = name.rpartition(".toml")
    if toml and (not arm or arm.startswith(":")):
        return f"{folder / (path + toml)}{arm}"
    return str(folder / name) if name.endswith(".py") else name


def people_of(
    table: WhoTable,
    draws: int,
    patients: int | str,
    model: str | None,
    folder: Path,
) -> PeopleSpec:
    """The people of a file.

    Args:
        table: `[population]`.
        draws: sets of parameters.
        patients: in each of them; "fitted" for those of a fit.
        model: as the file names it.
        folder: that paths in the file are seen from.

    Raises:
        InputError: a setting that the model lacks.
    """
    values = dict(table.set)
    if table.setting is not None:
        values = {**setting_of(model, table.setting, folder), **values}
    return PeopleSpec(
        source=table.source,
        draws=draws,
        patients=patients,
        patient=table.patient,
        fit=None if table.fit is None else folder / table.fit,
        draw=None if table.draw is None else tuple(table.draw),
        values=values,
        omega=table.omega,
        weight_kg=table.weight_kg,
    )


def setting_of(model: str | None, wanted: str, folder: Path) -> dict[str, float]:
    """The values of a named setting of a model.

    Raises:
        InputError: no model, or one without such a setting.
    """
    if model is None:
        raise InputError(f"setting {wanted!r} is of a model; name it: model = ...")
    known = settings(load_model(seen_from(folder, model)))
    if wanted not in known:
        raise InputError(
            f"setting = {wanted!r}: {did_you_mean(wanted, known)}{model} has "
            f"{', '.join(known) or 'none'}"
        )
    return dict(known[wanted])


def _arm(
    name: str,
    own: ScenarioArmTable,
    table: ScenarioTable,
    where: Where,
    folder: Path,
    kind: str = "arms",
) -> Arm:
    """An arm: its protocol, changed."""
    here = (kind, name)
    with where.located((*here, "protocol")):
        plan = load_protocol(seen_from(folder, own.protocol))
    plan = with_changes(plan, own, here, where.located, check_after_cart)
    with where.located((*here, "set")):
        values = dict(own.set)
        if own.setting is not None:
            values = {**setting_of(table.model, own.setting, folder), **values}
        _check_parameters(values, table.model, folder)
    plan = dataclasses.replace(plan, assumptions=(*plan.assumptions, *own.assumptions))
    title = own.title or plan.title
    return Arm(name, plan.named(name, title), title, values)


def check_after_cart(plan: Protocol) -> None:
    """FTC are there to feed: in a cycle with CAR-T they do not come before them.

    Raises:
        InputError: where they do.
    """
    for cycle in range(1, plan.cycles + 1):
        own = [dose for dose in plan.doses if dose.cycle == cycle]
        cart = min((d.time_d for d in own if d.product == "CART"), default=None)
        early = [d for d in own if cart is not None and d.time_d < cart]
        if early and cart is not None:
            raise InputError(
                f"found {early[0].product} on day {day_of_time(early[0].time_d)} of "
                f"the course, before the CAR-T of cycle {cycle} on day "
                f"{day_of_time(cart)}, expected the same day or later"
            )


def _swept(
    name: str, own: SweepTable, table: ScenarioTable, where: Where, folder: Path
) -> Iterator[Arm]:
    """An arm for every combination of the lists of a sweep."""
    base = _arm(name, own, table, where, folder, "sweeps")
    with where.located(("sweeps", name, "values")):
        _check_parameters(dict.fromkeys(own.values), table.model, folder)
    axes = [(axis, getattr(own, axis)) for axis in AXES if getattr(own, axis)]
    axes += list(own.values.items())
    for places_in in itertools.product(*(range(len(tried)) for _, tried in axes)):
        plan, values, told = base.protocol, dict(base.values), []
        for (axis, tried), place in zip(axes, places_in, strict=True):
            value = tried[place]
            told.append(_short(axis, value))
            if axis not in AXES:
                values[axis] = value
                continue
            with where.located(("sweeps", name, axis, place)):
                plan = _tried(plan, own, axis, value)
                check_after_cart(plan)
        label = "-".join([name, *told])
        point = tuple(
            (axis, float(tried[place]))
            for (axis, tried), place in zip(axes, places_in, strict=True)
        )
        title = f"{base.title}; {', '.join(told)}"
        yield Arm(label, plan.named(label, title), title, values, point, name)


def _tried(plan: Protocol, own: SweepTable, axis: str, value: Any) -> Protocol:
    """The protocol at one value of one axis of a sweep."""
    if axis == "cycles":
        return plan.repeated(value)
    if axis == "every_d":
        return plan.repeated(plan.cycles, value)
    assert own.product is not None  # `_conflicts` asks for it
    if axis == "day":
        assert own.of_day is not None
        return plan.moved(
            own.product, day=own.of_day, to_day=value, cycles=own.in_cycles
        )
    return plan.with_dose(
        own.product, **{axis: value}, day=own.of_day, cycles=own.in_cycles
    )


def _short(axis: str, value: float | int) -> str:
    """A value of an axis as part of the name of an arm."""
    if axis in ("cells_per_kg", "cells"):
        return cells_text(value) + ("/kg" if axis == "cells_per_kg" else "")
    shown = {"day": "day{:g}", "cycles": "{:g}x", "every_d": "every{:g}d"}
    return shown.get(axis, axis + "={:g}").format(value)


def _outcomes(table: ScenarioTable, where: Where) -> Iterator[Outcome]:
    for name, own in table.outcomes.items():
        kind = METRICS[own.metric]
        better = own.better or ("lower" if own.metric in ("TMAX", "CMIN") else "higher")
        name_of_kind = kind.name
        if own.level is not None and kind.needs_level:
            level = f"{own.level:g} {own.unit}"
            name_of_kind = kind.name.replace("a level", level)
        title = own.title or f"{name_of_kind}, {own.of}"
        with where.located(("outcomes", name, "unit")):
            unit = unit_of(own.unit)
        with where.located(("outcomes", name)):
            yield Outcome(
                name=name,
                metric=own.metric,
                of=own.of,
                cycle=own.cycle,
                level=own.level,
                better=better,
                title=title,
                unit=unit,
                after_d=own.after_d,
            )


def unit_of(text: str | None) -> str:
    """A unit as ckin writes it; "" of none.

    Raises:
        InputError: it is no unit.
    """
    try:
        return "" if text is None else canonical_unit(text)
    except ValueError as error:
        raise InputError(str(error)) from None


def _check_parameters(values: Any, model: str | None, folder: Path) -> None:
    if values and model is not None:
        load_model(seen_from(folder, model)).with_values(**dict.fromkeys(values, 1.0))


def _check_names(table: ScenarioTable, arms: list[str], where: Where) -> None:
    """Arms and outcomes that are named elsewhere in the file are there."""
    named: list[tuple[places.Path, str]] = [
        (("comparisons", n, key), getattr(own, key))
        for n, own in enumerate(table.comparisons)
        for key in ("arm", "against")
    ]
    if table.reference is not None:
        named.append((("reference",), table.reference))
    asked: list[tuple[places.Path, str]] = [
        (("utility", n, "outcome"), own.outcome) for n, own in enumerate(table.utility)
    ]
    asked += [
        (("endpoints", name, "outcome"), own.outcome)
        for name, own in table.endpoints.items()
    ]
    outcomes = list(table.outcomes)
    told = [_unknown(where, path, name, arms, "arm") for path, name in named]
    told += [_unknown(where, path, name, outcomes, "outcome") for path, name in asked]
    found = [words for words in told if words]
    if found:
        raise InputError("\n".join(found))


def _unknown(
    where: Where, path: places.Path, name: str, known: list[str], what: str
) -> str | None:
    if name in known:
        return None
    shown = known if len(known) <= 12 else [*known[:12], "..."]
    return (
        f"{where(path)}: found {name!r}, expected the name of an {what}: "
        f"{', '.join(shown)}; {did_you_mean(name, known)}mend it there"
    )


def _conflicts(table: ScenarioTable) -> Iterator[tuple[places.Path, str]]:
    """What single fields do not show: keys that exclude or need each other."""
    if not table.arms and not table.sweeps:
        yield (("arms",), "found no arm, expected [arms.NAME] or [sweeps.NAME]")
    if table.model is None and table.population.source != "fit":
        yield (("model",), 'found nothing, expected a model; add model = "..."')
    yield from _population_conflicts(table)
    for name, own in table.sweeps.items():
        yield from _sweep_conflicts(("sweeps", name), own)
    for name, own in table.outcomes.items():
        here = ("outcomes", name)
        if METRICS[own.metric].needs_level and own.level is None:
            yield (here, f"found no level, expected one for {own.metric}: level = 100")
        if own.level is not None and own.unit is None:
            yield (
                (*here, "level"),
                f'found {own.level:g} without its unit; add unit = "copies/ug" or what '
                "it is",
            )
    for name, own in table.endpoints.items():
        bounds = [b for b in (own.at_least, own.at_most) if b is not None]
        outcome = table.outcomes.get(own.outcome)
        share = outcome is not None and METRICS[outcome.metric].summary == "share"
        if own.summary == "share" and len(bounds) != 1 and not share:
            yield (
                ("endpoints", name),
                "found a share without one of at_least and at_most; add one",
            )
        if own.summary != "share" and bounds:
            yield (("endpoints", name), "found a limit of no share; remove it")
    for place, own in enumerate(table.utility):
        if (own.scale in ("above", "below")) != (own.level is not None):
            yield (
                ("utility", place),
                'found scale and level that do not go together: "above" and "below" '
                "have a level, others have none",
            )


def _population_conflicts(table: ScenarioTable) -> Iterator[tuple[places.Path, str]]:
    own, here = table.population, ("population",)
    yield from own.conflicts()
    if own.patients == "fitted" and own.source != "fit":
        yield ((*here, "patients"), 'found "fitted" without a fit; give a number')
    if own.source == "typical" and "parameters" in (table.uncertainty or ()):
        yield (
            ("uncertainty",),
            'found "parameters" of typical values, which are one set; remove it, or '
            'write source = "prior"',
        )


def _sweep_conflicts(
    here: places.Path, own: SweepTable
) -> Iterator[tuple[places.Path, str]]:
    axes = [getattr(own, axis) for axis in AXES] + list(own.values.values())
    tried = [axis for axis in axes if axis]
    if not tried:
        yield (
            here,
            f"found a sweep of nothing, expected a list: {', '.join(AXES)} or values",
        )
    size = 1
    for axis in tried:
        size *= len(axis)
    if size > MOST_ARMS:
        yield (here, f"found {size} combinations, expected {MOST_ARMS} at most")
    if own.cells is not None and own.cells_per_kg is not None:
        yield ((*here, "cells"), "found it beside cells_per_kg; remove one")
    doses = own.day or own.cells or own.cells_per_kg
    if doses and own.product is None:
        yield (here, 'found no product whose doses are swept; add product = "FTC"')
    if own.day and own.of_day is None:
        yield (here, "found no of_day, the day of the dose that is moved; add of_day")
