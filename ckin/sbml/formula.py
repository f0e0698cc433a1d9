"""Formulas of SBML as Python source: what `jax.numpy` can differentiate."""

import builtins
import keyword
from collections.abc import Mapping
from typing import Any

from ckin.errors import InputError
from ckin.model import AbstractModel


# Precedence of what Python writes between its operands; higher binds closer.
SUM, PRODUCT, SIGN, POWER, ATOM = 1, 2, 3, 4, 5
# Names that a model file has for other things.
TAKEN = {"t", "y", "time", "jnp", "self", "state", "parameter", "SOURCE", "Species"}
TAKEN |= {"Mapping", "ClassVar", "NamedTuple", "Scalar", "AbstractModel"}
TAKEN |= {
    *dir(AbstractModel),
    *AbstractModel.__annotations__,
    *dir(tuple),
    *dir(builtins),
}
FUNCTIONS = {
    "AST_FUNCTION_EXP": "jnp.exp",
    "AST_FUNCTION_LN": "jnp.log",
    "AST_FUNCTION_ABS": "jnp.abs",
    "AST_FUNCTION_SIN": "jnp.sin",
    "AST_FUNCTION_COS": "jnp.cos",
    "AST_FUNCTION_TAN": "jnp.tan",
    "AST_FUNCTION_TANH": "jnp.tanh",
    "AST_FUNCTION_FLOOR": "jnp.floor",
    "AST_FUNCTION_CEILING": "jnp.ceil",
    "AST_FUNCTION_MIN": "jnp.minimum",
    "AST_FUNCTION_MAX": "jnp.maximum",
    "AST_LOGICAL_NOT": "jnp.logical_not",
    "AST_LOGICAL_AND": "jnp.logical_and",
    "AST_LOGICAL_OR": "jnp.logical_or",
}
COMPARISONS = {
    "AST_RELATIONAL_LT": "<",
    "AST_RELATIONAL_LEQ": "<=",
    "AST_RELATIONAL_GT": ">",
    "AST_RELATIONAL_GEQ": ">=",
    "AST_RELATIONAL_EQ": "==",
    "AST_RELATIONAL_NEQ": "!=",
}
CONSTANTS = {
    "AST_CONSTANT_E": "jnp.e",
    "AST_CONSTANT_PI": "jnp.pi",
    "AST_CONSTANT_TRUE": "True",
    "AST_CONSTANT_FALSE": "False",
}


def python_name(identifier: str) -> str:
    """An identifier of SBML as one of Python that a state or a parameter may have."""
    plain = identifier.strip("_")
    taken = plain != identifier or plain in TAKEN or keyword.iskeyword(plain)
    return f"{plain}_" if taken else plain


def source_of(node: Any, names: Mapping[str, str], where: str) -> str:
    """Python source of a formula.

    Args:
        node: `libsbml.ASTNode`.
        names: Python source of each identifier.
        where: what the formula is of, for messages.

    Raises:
        InputError: something that has no counterpart.
    """
    return _Writer(names, where).write(node)[0]


class _Writer:
    """Writes a tree from its leaves; each part comes with its precedence."""

    def __init__(self, names: Mapping[str, str], where: str):
        import libsbml

        self.names, self.where = names, where
        self.kinds = {
            value: name
            for name, value in vars(libsbml).items()
            if name.startswith("AST_") and isinstance(value, int)
        }

    def write(self, node: Any) -> tuple[str, int]:
        kind = self.kinds.get(node.getType(), "something unknown")
        parts = [node.getChild(i) for i in range(node.getNumChildren())]
        if kind in ("AST_INTEGER", "AST_REAL", "AST_REAL_E", "AST_RATIONAL"):
            return self._number(node.getValue())
        if kind == "AST_NAME":
            return self._named(node.getName()), ATOM
        if kind == "AST_NAME_TIME":
            return self.names["time"], ATOM
        if kind in CONSTANTS:
            return CONSTANTS[kind], ATOM
        if kind == "AST_PLUS":
            return self._joined(" + ", parts, SUM) if parts else ("0.0", ATOM)
        if kind == "AST_TIMES":
            return self._joined(" * ", parts, PRODUCT) if parts else ("1.0", ATOM)
        if kind == "AST_MINUS" and len(parts) == 1:
            return f"-{self._within(parts[0], SIGN)}", SIGN
        if kind == "AST_MINUS":
            left, right = self._within(parts[0], SUM), self._within(parts[1], PRODUCT)
            return f"{left} - {right}", SUM
        if kind == "AST_DIVIDE":
            left, right = self._within(parts[0], PRODUCT), self._within(parts[1], SIGN)
            return f"{left} / {right}", PRODUCT
        if kind in ("AST_POWER", "AST_FUNCTION_POWER"):
            left, right = self._within(parts[0], ATOM), self._within(parts[1], POWER)
            return f"{left} ** {right}", POWER
        if kind in COMPARISONS and len(parts) == 2:
            sign = COMPARISONS[kind]
            return f"({self.write(parts[0])[0]} {sign} {self.write(parts[1])[0]})", ATOM
        return self._function(kind, parts), ATOM

    def _function(self, kind: str, parts: list[Any]) -> str:
        written = [self.write(part)[0] for part in parts]
        if kind in FUNCTIONS:
            # Two at a time: and, or, min, max take any number in SBML.
            value = ", ".join(written[:2])
            call = f"{FUNCTIONS[kind]}({value})"
            for more in written[2:]:
                call = f"{FUNCTIONS[kind]}({call}, {more})"
            return call
        if kind == "AST_FUNCTION_LOG":
            base, value = written if len(written) == 2 else ("10.0", *written)
            return f"(jnp.log({value}) / jnp.log({base}))"
        if kind == "AST_FUNCTION_ROOT":
            degree, value = written if len(written) == 2 else ("2.0", *written)
            square = float(parts[0].getValue()) == 2.0 if len(written) == 2 else True
            # In brackets: what is around it takes a function's value for one thing.
            return (
                f"jnp.sqrt({value})" if square else f"(({value}) ** (1.0 / ({degree})))"
            )
        if kind == "AST_FUNCTION_PIECEWISE":
            pieces = list(zip(written[::2], written[1::2], strict=False))
            otherwise = written[-1] if len(written) % 2 else "jnp.nan"
            for value, condition in reversed(pieces):
                otherwise = f"jnp.where({condition}, {value}, {otherwise})"
            return otherwise
        called = kind.removeprefix("AST_").removeprefix("FUNCTION_").lower()
        raise InputError(f"{self.where}: {called} has no counterpart in ckin")

    def _number(self, value: float) -> tuple[str, int]:
        return repr(float(value)), ATOM if value >= 0 else SIGN

    def _named(self, identifier: str) -> str:
        if identifier not in self.names:
            raise InputError(f"{self.where}: {identifier!r} is not defined in the file")
        return self.names[identifier]

    def _joined(self, sign: str, parts: list[Any], level: int) -> tuple[str, int]:
        first, *rest = parts
        written = [self._within(first, level)]
        # a * (b / c) and a + (b - c): kept as they are, to the last digit.
        written += [self._within(part, level + 1) for part in rest]
        return sign.join(written), level

    def _within(self, node: Any, level: int) -> str:
        text, own = self.write(node)
        return text if own >= level else f"({text})"
