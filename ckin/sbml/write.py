"""An SBML model as a ckin model file: readable, and runs as it is."""

import re
from collections.abc import Sequence
from pathlib import Path

from ckin.errors import InputError, did_you_mean
from ckin.protocol import PRODUCTS
from ckin.sbml.read import PER_DAY, SbmlModel, read_sbml
from ckin.writing import refuse_to_write_over, writing


WIDTH = 88


def import_sbml(
    path: Path,
    out_file: Path,
    *,
    receives: Sequence[str] = (),
    time_unit: str | None = None,
) -> SbmlModel:
    """Write a model file of an SBML file.

    Args:
        path: the SBML file.
        out_file: the `.py` file to write; one that exists is left as it is.
        receives: PRODUCT=SPECIES: what a product of a protocol enters.
        time_unit: as `read_sbml`.

    Returns:
        What was read.

    Raises:
        InputError: as `read_sbml`; a product or a species that is not there; a file
            that exists or cannot be written.
    """
    refuse_to_write_over(out_file, "model", ".py")
    read = read_sbml(path, time_unit)
    text = model_file(read, _entered(read, receives))
    with writing(out_file):
        out_file.write_text(text, encoding="utf-8")
    return read


def _entered(read: SbmlModel, receives: Sequence[str]) -> dict[str, str]:
    """State that each product enters."""
    species = [one.name for one in read.species]
    found = {}
    for pair in receives:
        product, _, name = (part.strip() for part in pair.partition("="))
        if product not in PRODUCTS or name not in species:
            raise InputError(
                f"--receives {pair}: expected PRODUCT=SPECIES, a product of "
                f"{', '.join(PRODUCTS)} and a species of {', '.join(species)}; "
                f"{did_you_mean(name, species)}as in CART={species[0]}"
            )
        found[product] = name
    return found


def model_file(read: SbmlModel, receives: dict[str, str]) -> str:
    """Source of the model file."""
    words = re.sub(r"[^0-9A-Za-z]+", " ", read.name).split()
    title = "".join(word[:1].upper() + word[1:] for word in words) or "Imported"
    name = f"Model{title}" if title[0].isdigit() else title
    parts = [
        _head(read),
        _state(read),
        f'class {name}(AbstractModel):\n    """Imported from {read.file}."""\n',
        *(_parameter(one.name, one.value, one.doc) for one in read.constants),
        _attributes(read, receives),
        _methods(read),
    ]
    return "\n".join(parts)


def _head(read: SbmlModel) -> str:
    equations = "\n".join(
        [
            *(f"    {one.name} = {_bare(one.source)}" for one in read.assigned),
            *(
                f"    {one.name} = {_bare(one.source)}        {one.equation}".rstrip()
                for one in read.reactions
            ),
            *(f"    {one.name}' = {_bare(one.slope)}" for one in read.species),
        ]
    )
    return f'''"""{_words(read.name)}

Imported from {read.file} by `ckin import-sbml`; time of the file is in units of a
{read.time_unit}, here in days. Numbers are the file's own, in the file's units, which
ckin has not checked: write the units and sources you know over `unit="1"`.
To fit it, give what is to be estimated a `prior` and `estimate=True`, and say in
`quantities` what an assay reads (`copies_per_ug` for qPCR).

{equations}
"""

# ruff: noqa: E501
from collections.abc import Mapping
from typing import ClassVar, NamedTuple

import jax.numpy as jnp

from ckin._types import Scalar
from ckin.model import AbstractModel, parameter, state


SOURCE = "{read.file}"

'''


def _state(read: SbmlModel) -> str:
    lines = [
        f"    {one.name}: Scalar = state("
        f'"1", "{_words(one.doc)}", scale={_scale(one)!r})'
        for one in read.species
    ]
    return "\n".join(
        [
            "class Species(NamedTuple):",
            '    """Species of the file, in its units."""\n',
            *lines,
            "\n",
        ]
    )


def _scale(species) -> float:
    """A small but noticeable amount: a thousandth of what there is at the start."""
    return abs(species.initial) * 1e-3 or 1.0


def _parameter(name: str, value: float, doc: str) -> str:
    return f"""    {name}: Scalar = parameter(
        {value!r}, unit="1", source=SOURCE, doc="parameter {_words(doc)}", checked="U"
    )"""


def _attributes(read: SbmlModel, receives: dict[str, str]) -> str:
    quantities = [one.name for one in (*read.species, *_shown(read))]
    units = ", ".join(f'"{name}": "1"' for name in quantities)
    entered = ", ".join(f'"{p}": "{name}"' for p, name in receives.items())
    return f'''
    State: ClassVar = Species
    receives: ClassVar = {{{entered}}}
    units: ClassVar = {{{units}}}
    reference: ClassVar = "{_words(read.name)}: {read.file}"
    caution: ClassVar = "Imported from SBML; units are the file's and were not checked."
'''


def _shown(read: SbmlModel):
    """Assignments that can be read of a state alone: those without time in them."""
    found = []
    for one in read.assigned:
        late = {other.name for other in read.assigned} - {shown.name for shown in found}
        if not _uses(one.source, {"t", "time", *(late - {one.name})}):
            found.append(one)
    return found


def _uses(source: str, names: set[str]) -> bool:
    return bool(names & set(re.findall(r"(?<![.\w])[A-Za-z_]\w*", source)))


def _methods(read: SbmlModel) -> str:
    per_day = PER_DAY[read.time_unit]
    factor = "" if per_day == 1.0 else f"{per_day!r} * "
    initial = ", ".join(
        f"{one.name}=jnp.asarray({one.initial!r})" for one in read.species
    )
    clock = [] if per_day == 1.0 else [f"time = {per_day!r} * t"]
    needed = [
        *clock,
        *(f"{one.name} = {one.source}" for one in read.assigned),
        *(f"{one.name} = {one.source}" for one in read.reactions),
    ]
    body = "".join(f"        {line}\n" for line in needed)
    slopes = "".join(
        f"            {one.name}={factor}({one.slope}),\n"
        if factor
        else f"            {one.name}={one.slope},\n"
        for one in read.species
    )
    shown = _shown(read)
    computed = "".join(f"        {one.name} = {one.source}\n" for one in shown)
    read_out = ", ".join(
        [
            *(f'"{one.name}": y.{one.name}' for one in read.species),
            *(f'"{one.name}": {one.name}' for one in shown),
        ]
    )
    return f'''    def initial(self) -> Species:
        """Amounts that the file starts with."""
        return Species({initial})

    def vector_field(
        self, t: Scalar, y: Species, inputs: Mapping[str, Scalar]
    ) -> Species:
        """Slopes per day: rates of the reactions and rules of the file."""
{body}        return Species(
{slopes}        )

    def quantities(self, y: Species) -> dict[str, Scalar]:
        """Everything that can be read of a state."""
{computed}        return {{{read_out}}}
'''


def _bare(source: str) -> str:
    """Source as an equation for the reader."""
    return re.sub(r"\b(self|y|jnp)\.", "", source)


def _words(text: str) -> str:
    """Text of a file between quotes, on one line."""
    return " ".join(text.replace("\\", "/").replace('"', "'").split())
