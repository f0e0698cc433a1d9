"""The contestants of `benchmarks/race.py`, one module each, and what they share.

`problem` is the posterior in NumPy, `reference` solves it to many digits, `measure`
times and judges draws, `worker` is the process that runs one contestant. A contestant's
module has `timings(task, save)`, `nuts(task, save)` or both. This module imports no
library: a worker pins itself to its core before it loads any.
"""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Peer:
    """What there is to know of a peer before it is loaded.

    Attributes:
        install: packages (`benchmarks/requirements-race.txt` has them all).
        timed: it has density, gradient or simulation to time.
        samples: it has NUTS.
    """

    install: str
    timed: bool = True
    samples: bool = False


PEERS = {
    "diffrax": Peer("diffrax numpyro", samples=True),
    "lsoda": Peer("numba numbalsoda"),
    "dop853": Peer("numba numbalsoda"),
    "roadrunner": Peer("libroadrunner antimony"),
    "stan": Peer("pystan setuptools", samples=True),
    "nutpie": Peer("nutpie numba numbalsoda", timed=False, samples=True),
}

# Tolerances of every peer's solver: relative, and absolute in the problem's units.
RTOL, ATOL = 1e-6, 1e-8
