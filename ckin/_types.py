"""Array types shared by the rooms: the only place they are named.

At run time (and under the jaxtyping hook of the tests) a `Scalar` is a JAX array of
shape (); a type checker is told that a Python number will do, because a model's
fields convert it.
"""

from typing import TYPE_CHECKING, Any

from jaxtyping import Array, Bool, Float, Int, Shaped


if TYPE_CHECKING:
    Scalar = Any
    ArrayLike = Any
else:
    from jaxtyping import ArrayLike

    Scalar = Shaped[ArrayLike, ""]

__all__ = ["Array", "ArrayLike", "Bool", "Float", "Int", "Scalar", "Shaped"]
