"""Can a comparison by LOO tell how FTC act? Simulate under each law, fit all, compare.

    python examples/which_law.py --out FOLDER [--patients 34] [--cycles 2] [--seeds 0]

Every law of `LAWS` is taken as true once for each seed: virtual patients of the trial's
highest FTC arm are drawn under it and read by qPCR, and every law is fitted to them
(Laplace approximation of the population posterior) and scored by leaving patients out
(in earnest, η integrated out). Rows of the tables are the law that is true; columns the
law that is fitted: mean elpd behind the best, and how the stacking weights fall.

SYNTHETIC: everything is simulated. What FTC do in patients is not known.
"""

import argparse
import itertools
import json
import time
from pathlib import Path

from ckin import runtime


runtime.prepare()

import jax  # noqa: E402
import numpy as np  # noqa: E402

from ckin.assay import qpcr  # noqa: E402
from ckin.cohort import simulate, virtual_patients  # noqa: E402
from ckin.identify import AS_IT_IS, Alternative, under  # noqa: E402
from ckin.inference.by_patient import compare, leave_patients_out  # noqa: E402
from ckin.inference.density import make_density  # noqa: E402
from ckin.inference.gridding import STARTS_SHARE, on_grid, prior_phi  # noqa: E402
from ckin.inference.laplace import fit_laplace  # noqa: E402
from ckin.library import load_model, load_protocol  # noqa: E402
from ckin.model import log_normal  # noqa: E402
from ckin.population import GRID_ERROR, pack  # noqa: E402


LAWS = (
    Alternative(AS_IT_IS, {}),
    Alternative("programmed", {"division": "programmed"}),
    # At the scale of leukaemia, the default, FTC do nothing under this law.
    Alternative(
        "michaelis",
        {"stimulation": "michaelis", "antigen_scale": 5e8},
        ("antigen_scale",),
    ),
    Alternative("first order", {"feeder_fate": "first_order"}),
    Alternative("exhausting", {"exhaustion": "exhausting"}, ("exhaustion_rate",)),
    Alternative("rejected", {"rejection": "rejected"}, ("rejection_rate",)),
)
SIGMA = 0.5
# The prior of a fit has to hold what is true: the model file's is for leukaemia.
PRIORS = {"antigen_scale": log_normal(5e8, 1.5)}


def cohort(law: Alternative, seed: int, patients: int, cycles: int):
    """Virtual patients under a law, as a data set."""
    keys = jax.random.split(jax.random.key(seed))
    people = virtual_patients(
        keys[0], load_protocol("szcart01-high"), patients, follow_up_days=(91.0,)
    )
    whole = under(load_model("feeding_szcart01"), [qpcr()], law)
    return simulate(keys[1], whole, people, sigma=SIGMA).dataset.first_cycles(cycles)


def scored(data, law: Alternative, seed: int):
    """LOO by patient of a law fitted to data, and whether the fit settled."""
    keys = jax.random.split(jax.random.key(seed), 3)
    model = load_model("feeding_szcart01")
    whole = under(model, [qpcr()], law, priors=PRIORS)
    density = make_density(whole, pack(data, whole))
    wide = prior_phi(density, keys[0])
    density, _ = on_grid(density, wide, STARTS_SHARE * GRID_ERROR)
    laplace = fit_laplace(density, keys[1])
    return leave_patients_out(density, laplace, keys[2]), laplace.converged


def study(seeds: list[int], patients: int, cycles: int) -> dict:
    """Every law true, every law fitted."""
    names = [law.name for law in LAWS]
    rows = []
    for seed, truth in itertools.product(seeds, LAWS):
        began = time.perf_counter()
        data = cohort(truth, seed, patients, cycles)
        found = {law.name: scored(data, law, seed) for law in LAWS}
        # A fit that did not settle has no score: it is shown as such.
        settled = {name: left for name, (left, fine) in found.items() if fine}
        table = compare(settled).reindex(names)
        rows.append(
            {
                "seed": seed,
                "truth": truth.name,
                "best": str(table["elpd"].idxmax()),
                "behind": [float(table.loc[name, "behind"]) for name in names],
                "error": [float(table.loc[name, "error"]) for name in names],
                "weight": [float(table.loc[name, "weight"]) for name in names],
                "settled": [bool(found[name][1]) for name in names],
                "seconds": time.perf_counter() - began,
            }
        )
        print(json.dumps(rows[-1]), flush=True)
    return {"laws": names, "patients": patients, "cycles": cycles, "rows": rows}


def as_markdown(result: dict) -> str:
    """Confusion matrix, elpd behind the best, stacking weights."""
    names, rows = result["laws"], result["rows"]

    def table(title: str, cell) -> list[str]:
        lines = [f"{title}:", "", "| true \\ fitted | " + " | ".join(names) + " |"]
        lines.append("|" + " --- |" * (len(names) + 1))
        for truth in names:
            own = [row for row in rows if row["truth"] == truth]
            cells = [cell(own, k) for k in range(len(names))]
            lines.append(f"| {truth} | " + " | ".join(cells) + " |")
        return [*lines, ""]

    def mean(own, what, k):
        return float(np.nanmean([row[what][k] for row in own]))

    def behind(own, k):
        if not any(row["settled"][k] for row in own):
            return "not settled"
        return f"{mean(own, 'behind', k):.1f} ± {mean(own, 'error', k):.1f}"

    lines = table(
        "Cohorts in which a law came out best",
        lambda own, k: str(sum(row["best"] == names[k] for row in own)),
    )
    lines += table(
        "Elpd behind the best (± standard error), mean over cohorts",
        behind,
    )
    lines += table(
        "Stacking weight, mean over cohorts",
        lambda own, k: f"{np.nansum([r['weight'][k] for r in own]) / len(own):.2f}",
    )
    fits = [flag for row in rows for flag in row["settled"]]
    minutes = sum(row["seconds"] for row in rows) / 60.0
    lines.append(
        f"{result['patients']} patients, {result['cycles']} cycles, seeds "
        f"{sorted({row['seed'] for row in rows})}; {sum(fits)} of {len(fits)} fits "
        f"settled; {minutes:.0f} minutes."
    )
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True, help="folder")
    parser.add_argument("--patients", type=int, default=34)
    parser.add_argument("--cycles", type=int, default=2)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    result = study(args.seeds, args.patients, args.cycles)
    (args.out / "which_law.json").write_text(json.dumps(result, indent=2) + "\n")
    text = as_markdown(result)
    (args.out / "which_law.md").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
