"""ckin: expansion and persistence of CAR-T cells in patients, on JAX.

Importing ckin switches JAX to 64-bit floats: cell numbers span nine decades, and the
gradients of a 32-bit fit are noise. Set the environment variable JAX_ENABLE_X64=0
before the import to keep 32-bit. It also has XLA compile loops whole, which makes fits
on a CPU two to three times as fast, if it comes before JAX is used
(`ckin.runtime.compile_loops_whole`).
"""

import os as _os

import jax as _jax

from ckin.runtime import compile_loops_whole as _compile_loops_whole


if "JAX_ENABLE_X64" not in _os.environ:
    _jax.config.update("jax_enable_x64", True)
_compile_loops_whole()
