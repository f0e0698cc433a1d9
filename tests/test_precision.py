"""32-bit floats: `JAX_ENABLE_X64=0` before the import, and everything still works."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest


# Value and gradient of a cohort solved on a grid, and a fit of one that is not.
SCRIPT = """
import json, sys
sys.path.insert(0, sys.argv[1])
import ckin, jax, jax.numpy as jnp
from toys import QPCR, Hunt, Line, dataset, line_cohort, made, patient, sample
from ckin.inference import fit
from ckin.inference.density import make_density
from ckin.population import pack, population
from ckin.protocol import Dose

doses = (Dose(0.0, "CART", cells=5.0), Dose(7.0, "FTC", cells=80.0))
days = (1.0, 4.0, 7.0, 9.0, 14.0, 30.0)
cohort = dataset([patient("a", [sample(day, 50.0) for day in days], doses=doses)])
whole = population(made(Hunt), QPCR)
density = make_density(whole, pack(cohort, whole))
point = density.start, jnp.full(density.eta_shape, 0.3)
value, slopes = jax.jit(jax.value_and_grad(
    lambda u, eta: density.log_density(u, eta), argnums=(0, 1)
))(*point)
result = fit(
    line_cohort(6, [6]), population(made(Line), QPCR),
    chains=2, warmup=100, draws=200, seed=4,
)
print(json.dumps({
    "dtype": str(value.dtype),
    "value": float(value),
    "slope": [float(x) for each in slopes for x in each.ravel()],
    "mean": result.u.mean(axis=(0, 1)).tolist(),
    "sd": result.u.std(axis=(0, 1)).tolist(),
    "referee": result.manifest["referee"]["method"],
}))
"""


def run(x64: str) -> dict:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(Path(__file__).parent)],
        env={**os.environ, "JAX_ENABLE_X64": x64},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.slow
def test_32_bit_floats_give_the_density_and_the_posterior_of_64():
    single, double = run("0"), run("1")
    assert (single["dtype"], double["dtype"]) == ("float32", "float64")
    # About 200 steps of rounding to 6e-8.
    assert single["value"] == pytest.approx(double["value"], rel=1e-5)
    np.testing.assert_allclose(single["slope"], double["slope"], rtol=1e-3, atol=1e-3)
    gap = np.abs(np.subtract(single["mean"], double["mean"])) / double["sd"]
    # Two samples of one posterior, each worth 100 draws at least.
    assert gap.max() < 0.5
