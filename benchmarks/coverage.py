"""Do 90% intervals hold the truth 90% of the time? Run: python benchmarks/coverage.py

Cohorts of the size and sampling of the synthetic one (34 patients, first cycle, to a
year) are simulated from `phases_stein2019` and fitted by NUTS as `ckin fit` does.
The truth is the published population (`--truth published`, the default), or is drawn
from the prior for each cohort (`--truth prior`: the rate of a correct sampler is then
nominal on average; some of those cohorts are far from any patient and slow to fit). One
line a cohort goes to a CSV as it ends; a run that was stopped goes on where it was.
"""

import argparse
import csv
import dataclasses
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np
import numpyro.distributions as dist

from ckin.assay import qpcr
from ckin.cohort import simulate, virtual_patients
from ckin.inference import fit
from ckin.library import load_model, load_protocol
from ckin.population import Population, population


PATIENTS = 34
FOLLOW_UP_D = (56.0, 91.0, 182.0, 273.0, 365.0)


def drawn(prior: dist.Distribution | None, key) -> float:
    assert prior is not None
    return float(np.asarray(prior.sample(key)))


def draw_truth(key, whole: Population) -> tuple[Population, dict[str, float], float]:
    """A population drawn from the prior, its values by name, and the error SD."""

    keys = jax.random.split(key, len(whole.estimate) + 2)
    typical = {
        name: drawn(info.prior, k)
        for (name, info), k in zip(whole.info.items(), keys[:-2], strict=True)
    }
    noise = np.asarray(jax.random.normal(keys[-2], (len(whole.vary),)))
    omega = np.array(whole.omega) * np.exp(np.array(whole.omega_sd_log) * noise)
    sigma = drawn(whole.assay.sigma_prior, keys[-1])
    truth = dataclasses.replace(
        whole, model=whole.model.with_values(**typical), omega=tuple(map(float, omega))
    )
    values = typical | {
        f"omega_{n}": float(w) for n, w in zip(whole.vary, omega, strict=True)
    }
    return truth, values | {"sigma_qpcr": sigma}, sigma


def published_truth(whole: Population) -> tuple[Population, dict[str, float], float]:
    """The model's own values, its spreads, and an error SD of 0.5."""
    sigma = 0.5
    values = {name: float(getattr(whole.model, name)) for name in whole.estimate}
    omega = zip(whole.vary, whole.omega, strict=True)
    spreads = {f"omega_{name}": value for name, value in omega}
    return whole, values | spreads | {"sigma_qpcr": sigma}, sigma


def one_cohort(seed: int, kind: str) -> list[dict[str, Any]]:
    whole = population(load_model("phases_stein2019"), qpcr())
    if kind == "published":
        truth, values, sigma = published_truth(whole)
    else:
        truth, values, sigma = draw_truth(jax.random.key(1000 + seed), whole)
    people = virtual_patients(
        jax.random.key(2000 + seed),
        load_protocol("szcart01-cart1"),
        PATIENTS,
        follow_up_days=FOLLOW_UP_D,
    )
    made = simulate(jax.random.key(3000 + seed), truth, people, sigma=sigma)
    data = made.dataset.between_days(3.0, np.inf, "as ckin fit does")
    began = time.perf_counter()
    result = fit(data, whole, warmup=300, draws=400, seed=seed)
    seconds = time.perf_counter() - began
    rows = []
    for row in result.summary.to_dict("records"):
        if row["parameter"] in values:
            true = values[row["parameter"]]
            rows.append(
                {
                    "seed": seed,
                    "parameter": row["parameter"],
                    "true": true,
                    "q05": row["q05"],
                    "q50": row["q50"],
                    "q95": row["q95"],
                    "inside": int(row["q05"] <= true <= row["q95"]),
                    "converged": int(result.verdict.converged),
                    "draws": result.manifest["draws"],
                    "divergences": result.manifest["divergences"],
                    "below_share": round(
                        result.manifest["samples_below_limit"]
                        / result.manifest["samples"],
                        3,
                    ),
                    "seconds": round(seconds, 1),
                }
            )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cohorts", type=int, default=20)
    parser.add_argument("--truth", choices=("published", "prior"), default="published")
    parser.add_argument(
        "--out", type=Path, default=Path("benchmarks/results/coverage.csv")
    )
    args = parser.parse_args()
    args.out.parent.mkdir(parents=True, exist_ok=True)
    done = set()
    if args.out.exists():
        with args.out.open() as file:
            done = {int(row["seed"]) for row in csv.DictReader(file)}
    for seed in range(args.cohorts):
        if seed in done:
            continue
        rows = one_cohort(seed, args.truth)
        new = not args.out.exists()
        with args.out.open("a", newline="") as file:
            writer = csv.DictWriter(file, fieldnames=list(rows[0]))
            if new:
                writer.writeheader()
            writer.writerows(rows)
        inside = sum(int(row["inside"]) for row in rows)
        print(f"cohort {seed}: {inside}/{len(rows)} inside, {rows[0]}", flush=True)


if __name__ == "__main__":
    main()
