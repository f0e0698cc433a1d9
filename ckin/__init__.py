"""ckin: expansion and persistence of CAR-T cells in patients, on JAX.

Importing ckin switches JAX to 64-bit floats: cell numbers span nine decades, and the
gradients of a 32-bit fit are noise. Set the environment variable JAX_ENABLE_X64=0
before the import to keep 32-bit. It also has XLA compile loops whole, which makes fits
on a CPU two to three times as fast, and with jaxlib 0.10 compile them faster, if it
comes before JAX is used (`ckin.runtime.set_up_xla`).
"""

import os as _os

import jax as _jax

from ckin.runtime import set_up_xla as _set_up_xla


if "JAX_ENABLE_X64" not in _os.environ:
    _jax.config.update("jax_enable_x64", True)
_set_up_xla()
