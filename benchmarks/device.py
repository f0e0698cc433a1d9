"""The same work on the CPU and on the GPU: the same numbers, and the time of each.

    python benchmarks/device.py --json device.json [--platforms cpu cuda]
        [--work gradients crowd fits] [--crowd 100000] [--quick]

Each platform of JAX runs in a process of its own (`JAX_PLATFORMS`), through the same
public functions; nothing in ckin is told which it is. For the flagship on the bundled
synthetic cohort: log posterior and gradient at three points, and the time of a gradient
with so many chains as lanes. A crowd of virtual patients, four cycles, to disk. The
Stein model is fitted to the first cycles by `map`, NUTS, and `many` with as many chains
as suit the device. `difference` compares what the platforms computed with the first.
Linux only.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from alone import alone, median_s, peak_mb, since
from scale import crowded


CHAINS = (1, 16, 128, 1024)
POINTS = 3
# A batch has to fill the device: a core is filled by far fewer patients than a GPU.
BATCH = {"cpu": 1024, "cuda": 32_768}
# Of `many`: the first is what it takes unless told.
MANY = {"cpu": (32,), "cuda": (32, 512)}
COHORT = "szcart01_synthetic"
WORK = ("gradients", "crowd", "fits")


def gradients(folder: Path, chains: tuple[int, ...]) -> dict[str, Any]:
    """Log posterior and gradient of the flagship; their time by chains."""
    import jax
    import jax.numpy as jnp

    from ckin.assay import qpcr
    from ckin.dataset import read_dataset
    from ckin.inference.density import make_density
    from ckin.library import dataset_path, load_model
    from ckin.population import pack, population

    whole = population(load_model("feeding_szcart01"), qpcr())
    data = read_dataset(dataset_path(COHORT))
    density = make_density(whole, pack(data, whole))
    both = jax.value_and_grad(density.log_density, argnums=(0, 1))
    gradient = jax.jit(jax.vmap(both))
    rng = np.random.default_rng(0)

    def points(n: int):
        u = density.start + 0.05 * rng.standard_normal((n, *density.start.shape))
        return u, jnp.asarray(0.3 * rng.standard_normal((n, *density.eta_shape)))

    value, slopes = gradient(*points(POINTS))
    flat = np.concatenate([np.asarray(s).reshape(POINTS, -1) for s in slopes], axis=1)
    np.savez(folder / "gradients.npz", value=np.asarray(value), gradient=flat)
    found: dict[str, Any] = {
        "steps": int(density.data.grid.length_d.shape[-1]),
        "patients": density.eta_shape[0],
        "gradient_s_per_chain": {},
        "compile_s": {},
    }
    for n in chains:
        at = points(n)
        began = time.perf_counter()
        jax.block_until_ready(gradient(*at))
        found["compile_s"][n] = since(began)
        spent = median_s(lambda at=at: jax.block_until_ready(gradient(*at)), 3)
        found["gradient_s_per_chain"][n] = spent / n
    return found


def crowd(folder: Path, n: int, platform: str) -> dict[str, Any]:
    """A crowd to disk, and the readings of its first patients."""
    import h5netcdf

    found = crowded(n, folder, BATCH[platform])
    with h5netcdf.File(folder / "crowd.nc") as file:
        np.savez(folder / "crowd.npz", reading=np.asarray(file["reading"][:1000]))
    return found


def fits(folder: Path, platform: str) -> dict[str, Any]:
    """The Stein model fitted to the cohort's first cycle, every way."""
    from ckin.assay import qpcr
    from ckin.dataset import read_dataset
    from ckin.inference import fit
    from ckin.library import dataset_path, load_model
    from ckin.population import population

    model = load_model("phases_stein2019")
    whole = population(model, qpcr())
    first = read_dataset(dataset_path(COHORT)).first_cycles(1)
    data = first.between_days(model.described_from_d, 1e9, "what the model describes")
    asked = {"map": ("map", None), "nuts": ("nuts", 4)}
    asked |= {f"many_{n}": ("many", n) for n in MANY[platform]}
    found: dict[str, Any] = {}
    for name, (method, chains) in asked.items():
        began = time.perf_counter()
        result = fit(data, whole, method=method, chains=chains, seed=0)
        u = result.u.reshape(-1, result.u.shape[-1])
        found[name] = {
            "wall_s": since(began),
            "seconds": result.manifest["seconds"],
            "converged": result.verdict.converged,
            "leapfrogs_per_chain": result.manifest["leapfrogs_per_chain"],
            "draws": u.shape[0],
            "ess_bulk": float(np.nanmin(result.summary["ess_bulk"].to_numpy())),
            "ess_tail": float(np.nanmin(result.summary["ess_tail"].to_numpy())),
        }
        np.savez(folder / f"{name}.npz", mean=u.mean(axis=0), sd=u.std(axis=0))
    return found


def measured(args: argparse.Namespace) -> dict[str, Any]:
    """Everything on the platform of this process."""
    from ckin import runtime

    runtime.prepare()

    import jax

    device = jax.devices()[0]
    folder = args.folder
    chains = CHAINS[:2] if args.quick else CHAINS
    found: dict[str, Any] = {
        "device": getattr(device, "device_kind", device.platform),
        "devices": len(jax.devices()),
    }
    for work in args.work:
        if work == "gradients":
            found[work] = gradients(folder, chains)
        elif work == "crowd":
            found[work] = crowd(folder, args.crowd, args.one)
        else:
            found[work] = fits(folder, args.one)
    return found | {"peak_mb": peak_mb()}


def differences(first: Path, other: Path) -> dict[str, float]:
    """Largest difference of each kind of number from the first platform's."""
    found = {}
    for path in sorted(first.glob("*.npz")):
        a, b = np.load(path), np.load(other / path.name)
        if path.stem == "gradients":
            found["logp_abs"] = float(np.max(np.abs(a["value"] - b["value"])))
            scale = np.linalg.norm(a["gradient"], axis=1)
            off = np.linalg.norm(a["gradient"] - b["gradient"], axis=1) / scale
            found["gradient_rel"] = float(off.max())
        elif path.stem == "crowd":
            both = [np.log10(np.maximum(x["reading"], 1.0)) for x in (a, b)]
            found["crowd_log10"] = float(np.nanmax(np.abs(both[0] - both[1])))
        else:
            off = np.abs(a["mean"] - b["mean"]) / a["sd"]
            found[f"{path.stem}_mean_in_sd"] = float(off.max())
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", type=Path, help="where results go")
    parser.add_argument("--platforms", nargs="+", default=["cpu", "cuda"])
    parser.add_argument("--work", nargs="+", default=WORK, choices=WORK)
    parser.add_argument("--crowd", type=int, default=100_000)
    parser.add_argument("--quick", action="store_true", help="few chains only")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        print(json.dumps(measured(args)))
        return
    shared = ["--crowd", str(args.crowd), "--work", *args.work]
    shared += ["--quick"] if args.quick else []
    result: dict[str, Any] = {"platforms": {}, "difference": {}}
    with tempfile.TemporaryDirectory(prefix="ckin-device-") as scratch:
        folders = [Path(scratch) / name for name in args.platforms]
        for name, folder in zip(args.platforms, folders, strict=True):
            folder.mkdir()
            result["platforms"][name] = alone(
                __file__,
                *("--one", name, "--folder", str(folder), *shared),
                environment={"JAX_PLATFORMS": name},
            )
            print(json.dumps({name: result["platforms"][name]}), flush=True)
            if args.json:
                args.json.write_text(json.dumps(result, indent=2) + "\n")
        for name, folder in zip(args.platforms[1:], folders[1:], strict=True):
            result["difference"][name] = differences(folders[0], folder)
    print(json.dumps(result["difference"]), flush=True)
    if args.json:
        args.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
