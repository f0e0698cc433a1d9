"""An SBML file as constants, species, assignments and reactions, all in Python.

Time of the file is turned into days. What has no counterpart is refused, with what it
is and where: events, delays, algebraic rules, compartments whose size changes.
"""

import dataclasses
import math
from pathlib import Path
from typing import Any

from ckin.errors import InputError
from ckin.sbml.formula import python_name, source_of


# Of the file's unit of time, how many are in a day.
PER_DAY = {
    "second": 86_400.0,
    "minute": 1440.0,
    "hour": 24.0,
    "day": 1.0,
    "week": 1 / 7,
}

# What libsbml takes out of a file: functions of its own, parameters of one reaction,
# and what is computed once at the start.
CONVERSIONS = (
    "expandFunctionDefinitions",
    "promoteLocalParameters",
    "expandInitialAssignments",
)


@dataclasses.dataclass(frozen=True)
class Constant:
    """A number that does not change: name in Python, value, words of the file."""

    name: str
    value: float
    doc: str


@dataclasses.dataclass(frozen=True)
class Species:
    """What changes with time.

    Attributes:
        name: in Python.
        initial: value before anything happens.
        slope: per unit of the file's time, as Python source; of reactions and rules.
        doc: words of the file.
    """

    name: str
    initial: float
    slope: str
    doc: str


@dataclasses.dataclass(frozen=True)
class Assigned:
    """Something that follows from the rest at every moment, as Python source."""

    name: str
    source: str


@dataclasses.dataclass(frozen=True)
class Reaction:
    """Rate of a reaction as Python source, and its equation for the reader."""

    name: str
    source: str
    equation: str


@dataclasses.dataclass(frozen=True)
class SbmlModel:
    """What a file says.

    Attributes:
        name: of the model.
        file: where it was read from.
        time_unit: of the file, a key of `PER_DAY`.
        constants, species, assigned, reactions: in the order of the file, `assigned` so
            that each needs only those before it.
    """

    name: str
    file: str
    time_unit: str
    constants: tuple[Constant, ...]
    species: tuple[Species, ...]
    assigned: tuple[Assigned, ...]
    reactions: tuple[Reaction, ...]


def read_sbml(path: Path, time_unit: str | None = None) -> SbmlModel:
    """Take a file apart.

    Args:
        path: the SBML file.
        time_unit: second, minute, hour, day or week, where the file says none; over
            what it says where it does.

    Raises:
        InputError: not SBML, no unit of time, or something without a counterpart.
    """
    model = _model(path)
    _refuse(model, path)
    return _Reader(model, path, _time_unit(model, path, time_unit)).read()


def _model(path: Path) -> Any:
    try:
        import libsbml
    except ImportError:
        raise InputError(
            'SBML needs python-libsbml: pip install "ckin[sbml]"'
        ) from None
    if not path.is_file():
        raise InputError(f"no file {path}; check the path")
    document = libsbml.readSBMLFromString(path.read_text(encoding="utf-8"))
    for i in range(document.getNumErrors()):
        error = document.getError(i)
        if error.getSeverity() >= libsbml.LIBSBML_SEV_ERROR:
            words = " ".join(error.getMessage().split())
            raise InputError(f"{path}, line {error.getLine()}: not SBML: {words}")
    if document.getModel() is None:
        raise InputError(f"{path}: no model in it")
    for conversion in CONVERSIONS:
        properties = libsbml.ConversionProperties()
        properties.addOption(conversion, True)
        if document.convert(properties) != libsbml.LIBSBML_OPERATION_SUCCESS:
            raise InputError(f"{path}: libsbml could not do {conversion}")
    model = document.getModel()
    # The document owns the model and would be collected before it.
    model.document_kept = document
    return model


def _refuse(model: Any, path: Path) -> None:
    """What ckin's models cannot say."""
    found = []
    for number, event in enumerate(_all(model.getListOfEvents()), start=1):
        found.append(
            f"event {event.getId() or f'number {number}'}: doses belong into a "
            "protocol (`ckin new-protocol`), a switch of the equations into "
            "`switch_times` of a model file"
        )
    for rule in _all(model.getListOfRules()):
        if rule.isAlgebraic():
            found.append("an algebraic rule: solve it for a variable first")
    for compartment in _all(model.getListOfCompartments()):
        if model.getRule(compartment.getId()) is not None:
            found.append(f"compartment {compartment.getId()} changes its size")
    for assignment in _all(model.getListOfInitialAssignments()):
        symbol = assignment.getSymbol()
        found.append(f"the start of {symbol} is computed of what is not known then")
    for species in _all(model.getListOfSpecies()):
        if species.isSetConversionFactor() or model.isSetConversionFactor():
            found.append(f"species {species.getId()} has a conversion factor")
    for reaction in _all(model.getListOfReactions()):
        if reaction.getKineticLaw() is None:
            found.append(f"reaction {reaction.getId()} has no rate")
        if not all(_plain(one) for side in _sides(reaction) for one in side):
            found.append(f"reaction {reaction.getId()} has a stoichiometry that varies")
    if model.getNumSpecies() + model.getNumRules() == 0:
        found.append("nothing in it changes: no species and no rules")
    if found:
        raise InputError("\n".join(f"{path}: {one}" for one in found))


def _all(listed: Any) -> list[Any]:
    """What is in a list of libsbml, which does not end by itself."""
    return [listed.get(i) for i in range(listed.size())]


def _sides(reaction: Any) -> tuple[list[Any], list[Any]]:
    """References to the species that a reaction takes, and to those it makes."""
    return _all(reaction.getListOfReactants()), _all(reaction.getListOfProducts())


def _plain(reference: Any) -> bool:
    """Whether a stoichiometry is a number."""
    computed = reference.getStoichiometryMath() is not None
    ruled = reference.isSetId() and reference.getModel().getRule(reference.getId())
    return not computed and not ruled and math.isfinite(reference.getStoichiometry())


def _time_unit(model: Any, path: Path, told: str | None) -> str:
    unit = told or _stated_unit(model)
    if unit not in PER_DAY:
        stated = (
            f"its time is in {unit!r}" if unit else "it does not say its unit of time"
        )
        raise InputError(
            f"{path}: {stated}; give it: --time-unit {', '.join(PER_DAY)} (one of them)"
        )
    return unit


def _stated_unit(model: Any) -> str:
    """Unit of time of the file, `second` of a definition times its multiplier."""
    named = model.getTimeUnits() or "time"
    definition = model.getUnitDefinition(named)
    if definition is None:
        return named if named in PER_DAY else ""
    if definition.getNumUnits() != 1 or not definition.getUnit(0).isSecond():
        return definition.getId()
    unit = definition.getUnit(0)
    seconds = unit.getMultiplier() * 10.0 ** unit.getScale()
    for name, per_day in PER_DAY.items():
        if abs(seconds * per_day / PER_DAY["second"] - 1.0) < 1e-9:
            return name
    return definition.getId()


class _Reader:
    """One file: what each identifier is, then the formulas of it."""

    def __init__(self, model: Any, path: Path, time_unit: str):
        self.model, self.path, self.time_unit = model, path, time_unit
        rules = _all(model.getListOfRules())
        self.assigned = {r.getVariable(): r for r in rules if r.isAssignment()}
        self.rated = {r.getVariable(): r for r in rules if r.isRate()}
        self.reactions = _all(model.getListOfReactions())
        self.things = {
            thing.getId(): thing
            for listed in (model.getListOfSpecies(), model.getListOfParameters())
            for thing in _all(listed)
        }
        self.sizes = {
            one.getId(): one.getSize() if one.isSetSize() else 1.0
            for one in _all(model.getListOfCompartments())
        }
        self.changing = [name for name in self.things if self._changes(name)]
        self.names = {"time": "t" if time_unit == "day" else "time"}
        self.names |= {name: repr(size) for name, size in self.sizes.items()}
        self._refuse_twins()
        for name in self.things:
            plain = python_name(name)
            if name in self.changing:
                self.names[name] = f"y.{plain}"
            else:
                self.names[name] = plain if name in self.assigned else f"self.{plain}"

    def read(self) -> SbmlModel:
        reactions = self._reactions()
        return SbmlModel(
            name=self.model.getName() or self.model.getId() or self.path.stem,
            file=self.path.name,
            time_unit=self.time_unit,
            constants=tuple(
                Constant(python_name(name), self._start(name), self._doc(name))
                for name in self.things
                if name not in self.changing and name not in self.assigned
            ),
            species=tuple(self._species(name) for name in self.changing),
            assigned=self._in_order(),
            reactions=reactions,
        )

    def _refuse_twins(self) -> None:
        """Two identifiers that are one name in Python."""
        every = [*self.things, *(reaction.getId() for reaction in self.reactions)]
        plain = [python_name(name) for name in every]
        for name, own in zip(every, plain, strict=True):
            if plain.count(own) > 1:
                raise InputError(
                    f"{self.path}: {name} and another are both {own} in Python; "
                    "rename it"
                )

    def _changes(self, name: str) -> bool:
        """Whether something has a slope: a rate rule, or reactions."""
        if name in self.assigned or name in self.rated:
            return name in self.rated
        species = self.model.getSpecies(name)
        fixed = (
            species is None or species.getConstant() or species.getBoundaryCondition()
        )
        return not fixed

    def _source(self, formula: Any, where: str) -> str:
        return source_of(formula, self.names, f"{self.path}: {where}")

    def _start(self, name: str) -> float:
        """Number that something has at the start, as formulas mean it.

        Of a species: the amount, or the amount by the size of its compartment.
        """
        thing, species = self.things[name], self.model.getSpecies(name)
        if species is None:
            if not thing.isSetValue():
                raise InputError(f"{self.path}: {name} has no value")
            return thing.getValue()
        size = self.sizes[species.getCompartment()]
        by_amount = species.getHasOnlySubstanceUnits()
        if species.isSetInitialConcentration():
            return species.getInitialConcentration() * (size if by_amount else 1.0)
        if species.isSetInitialAmount():
            return species.getInitialAmount() / (1.0 if by_amount else size)
        raise InputError(f"{self.path}: {name} has no initial amount")

    def _species(self, name: str) -> Species:
        if name in self.rated:
            slope = self._source(self.rated[name].getMath(), f"rate rule of {name}")
        else:
            slope = self._slope(name)
        return Species(python_name(name), self._start(name), slope, self._doc(name))

    def _slope(self, name: str) -> str:
        """Sum of rates times stoichiometry, by the size of the room where it counts."""
        text = ""
        for reaction in self.reactions:
            net = sum(
                sign * one.getStoichiometry()
                for sign, side in zip((-1.0, 1.0), _sides(reaction), strict=True)
                for one in side
                if one.getSpecies() == name
            )
            if net:
                rate = python_name(reaction.getId())
                size = "" if abs(net) == 1.0 else f"{abs(net)!r} * "
                sign = "-" if net < 0 else "+"
                text += f" {sign} {size}{rate}" if text else f"{sign}{size}{rate}"
        if not text:
            return "jnp.zeros(())"
        text = text.removeprefix("+")
        species = self.things[name]
        size = self.sizes[species.getCompartment()]
        whole = species.getHasOnlySubstanceUnits() or size == 1.0
        return text if whole else f"({text}) / {size!r}"

    def _reactions(self) -> tuple[Reaction, ...]:
        return tuple(
            Reaction(
                python_name(reaction.getId()),
                self._source(
                    reaction.getKineticLaw().getMath(), f"rate of {reaction.getId()}"
                ),
                " -> ".join(
                    " + ".join(one.getSpecies() for one in side)
                    for side in _sides(reaction)
                ).strip(),
            )
            for reaction in self.reactions
        )

    def _in_order(self) -> tuple[Assigned, ...]:
        """Assignments so that each needs only those before it."""
        sources = {
            name: self._source(rule.getMath(), f"assignment of {name}")
            for name, rule in self.assigned.items()
        }
        needs = {name: _names_in(self.assigned[name].getMath()) for name in sources}
        order: list[str] = []
        while len(order) < len(sources):
            left = [name for name in sources if name not in order]
            ready = [n for n in left if not (needs[n] & set(left)) - {n}]
            ready = [name for name in ready if name not in needs[name]]
            if not ready:
                raise InputError(f"{self.path}: {', '.join(left)} assign to each other")
            order += ready
        return tuple(Assigned(python_name(name), sources[name]) for name in order)

    def _doc(self, name: str) -> str:
        thing = self.things[name]
        unit = thing.getUnits() if hasattr(thing, "getUnits") else ""
        words = thing.getName() or name
        return f"{words} [{unit}]" if unit else words


def _names_in(node: Any) -> set[str]:
    """Identifiers in a formula."""
    found = {node.getName()} if node.isName() and node.getName() else set()
    for i in range(node.getNumChildren()):
        found |= _names_in(node.getChild(i))
    return found
