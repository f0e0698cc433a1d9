"""How time and memory grow with the number of patients.

    python benchmarks/scale.py --json scale.json [--model phases_stein2019]
        [--patients 10 100 1000 10000] [--nuts-up-to 1000] [--crowd 1000000]

Each size runs in a process of its own: virtual patients of the first cycle are
simulated, packed, and fitted (`--method map`: every patient, the population and its
Laplace approximation); value and gradient of the posterior are timed, of one chain and
of four as lanes, as is what NUTS does for its `--transitions` (four chains, adaptation
included; a tree grows with the number of dimensions, so only up to so many patients).
`exponent` is the slope of log time over log patients from 100 patients on. `--crowd`
streams so many virtual patients of four cycles to disk with `ckin.crowd`. Peak memory
is of the process, Python and JAX (about 400 MB) included. Compilation is in
`compile_s`, `compile_4chains_s` and `fit_first_s`. Linux only.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from alone import alone, median_s, peak_mb, since


PATIENTS = (10, 100, 1000, 10_000)
# Sizes below this are mostly overhead; the exponent is taken above.
LARGE = 100
CHAINS = 4
CROWD_DAYS = (*range(1, 29), 42, 56, 60, 63, 70, 77, 84, 112, 140, 168)


def measured(n: int, model: str, transitions: int, nuts: bool) -> dict[str, Any]:
    """Everything about one size."""
    from ckin import runtime

    runtime.prepare()

    import jax
    import jax.numpy as jnp

    from ckin.assay import qpcr
    from ckin.cohort import simulate, virtual_patients
    from ckin.inference import fit
    from ckin.inference.density import make_density
    from ckin.inference.nuts import start_chains, warm_up
    from ckin.library import load_model, load_protocol
    from ckin.population import pack, population

    whole = population(load_model(model), qpcr())
    plan = load_protocol("szcart01-cart1")
    people = virtual_patients(jax.random.key(0), plan, n, follow_up_days=(91.0, 182.0))
    began = time.perf_counter()
    made = simulate(jax.random.key(1), whole, people, sigma=0.5)
    found: dict[str, Any] = {"patients": n, "simulate_once_s": since(began)}
    from_day = whole.model.described_from_d
    data = made.dataset.between_days(from_day, 1e9, "what the model describes")
    began = time.perf_counter()
    packed = pack(data, whole)
    found["pack_s"] = since(began)

    density = make_density(whole, packed)
    point = density.start, jnp.zeros(density.eta_shape)

    def one(u, eta):
        return jax.value_and_grad(density.log_density, argnums=(0, 1))(u, eta)

    chains = jax.tree.map(lambda x: jnp.repeat(x[None], CHAINS, axis=0), point)
    for name, gradient, at in (
        ("", jax.jit(one), point),
        (f"_{CHAINS}chains", jax.jit(jax.vmap(one)), chains),
    ):
        began = time.perf_counter()
        jax.block_until_ready(gradient(*at))
        found[f"compile{name}_s"] = since(began)
        found[f"gradient{name}_s"] = median_s(
            lambda do=gradient, at=at: jax.block_until_ready(do(*at)), 5
        )

    began = time.perf_counter()
    result = fit(data, whole, method="map", draws=50)
    found["fit_first_s"] = since(began)
    began = time.perf_counter()
    result = fit(data, whole, method="map", draws=50)
    found["fit_s"] = since(began)
    found["fit_peak_mb"] = peak_mb()
    if not nuts:
        return found | {"peak_mb": peak_mb()}

    from ckin.inference.geometry import first_geometry
    from ckin.inference.laplace import fit_laplace

    geometry = first_geometry(fit_laplace(result.density, jax.random.key(0)))
    chains = start_chains(result.density, geometry, jax.random.key(0), chains=CHAINS)
    warm_up(result.density, chains, transitions)
    began = time.perf_counter()
    after = warm_up(result.density, chains, transitions)
    found["nuts_s"] = since(began)
    found["nuts_gradients"] = after.leapfrogs
    found["nuts_s_per_gradient"] = found["nuts_s"] / after.leapfrogs
    return found | {"peak_mb": peak_mb()}


def crowded(n: int, folder: Path, batch: int | None = None) -> dict[str, Any]:
    """A crowd of virtual patients, four cycles of the trial, to `folder`/crowd.nc."""
    from ckin import runtime

    runtime.prepare()

    from ckin.assay import qpcr
    from ckin.crowd import BATCH, simulate_crowd
    from ckin.library import load_model, load_protocol
    from ckin.population import population

    began = time.perf_counter()
    crowd = simulate_crowd(
        folder / "crowd.nc",
        population(load_model("feeding_szcart01"), qpcr()),
        load_protocol("szcart01-high"),
        n=n,
        seed=0,
        time_d=np.array(CROWD_DAYS, dtype=float),
        batch=batch or BATCH,
    )
    return {
        "patients": n,
        "failed": crowd.failed,
        "error_log10": crowd.error_log10,
        "simulate_s": crowd.seconds,
        "with_compilation_s": since(began),
        "file_mb": crowd.path.stat().st_size / 2**20,
        "peak_mb": peak_mb(),
    }


def exponents(rows: list[dict[str, Any]]) -> dict[str, float]:
    """Slope of log cost over log patients."""
    large = [row for row in rows if row["patients"] >= LARGE]
    if len(large) < 2:
        return {}
    n = np.log([row["patients"] for row in large])
    lanes = f"gradient_{CHAINS}chains_s"
    names = ("simulate_once_s", "pack_s", "gradient_s", lanes, "fit_s")
    return {
        name: float(np.polyfit(n, np.log([row[name] for row in large]), 1)[0])
        for name in names
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", type=Path, help="where results go")
    parser.add_argument("--model", default="phases_stein2019")
    parser.add_argument("--patients", type=int, nargs="*", default=list(PATIENTS))
    parser.add_argument("--transitions", type=int, default=100)
    parser.add_argument("--nuts-up-to", type=int, default=1000)
    parser.add_argument("--crowd", type=int, default=0)
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one is not None:
        nuts = args.one <= args.nuts_up_to
        print(json.dumps(measured(args.one, args.model, args.transitions, nuts)))
        return
    if args.crowd and not args.patients:
        with tempfile.TemporaryDirectory(prefix="ckin-crowd-") as folder:
            print(json.dumps(crowded(args.crowd, Path(folder))))
        return
    shared = ["--model", args.model, "--transitions", str(args.transitions)]
    shared += ["--nuts-up-to", str(args.nuts_up_to)]
    rows = []
    for n in args.patients:
        rows.append(alone(__file__, "--one", str(n), *shared))
        print(json.dumps(rows[-1]), flush=True)
    result: dict[str, Any] = {"model": args.model, "sizes": rows}
    result["exponent"] = exponents(rows)
    print(json.dumps(result["exponent"]), flush=True)
    if args.crowd:
        result["crowd"] = alone(__file__, "--crowd", str(args.crowd), "--patients")
        print(json.dumps(result["crowd"]))
    if args.json:
        args.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
