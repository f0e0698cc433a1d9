"""A drug of one's own from the command line: model, units, errors, likelihood."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typed import typed


# A bolus at time 0, in closed form so that nothing is solved: f = 100/V exp(-k t).
MODEL = '''
"""A drug after a bolus of 100 mg at time 0: f = 100 / V exp(-k t)."""
import math
from typing import ClassVar, NamedTuple
import jax.numpy as jnp
from ckin._types import Scalar
from ckin.model import AbstractModel, log_normal, parameter, state

class Amount(NamedTuple):
    drug: Scalar = state("mg", "in the body")

class Bolus(AbstractModel):
    k: Scalar = parameter(0.1, unit="1/h", doc="elimination", source="a test",
                          prior=log_normal(0.2, 1.0), estimate=True)
    v: Scalar = parameter(20.0, unit="L", doc="volume", source="a test",
                          prior=log_normal(10.0, 1.0), omega=0.3, estimate=True)
    State: ClassVar = Amount
    units: ClassVar = {"conc": "mg/L"}
    assays: ClassVar = {"conc": "conc"}
    errors: ClassVar = {"conc": "proportional"}
    described_from_d: ClassVar = -math.inf
    reference: ClassVar = "a test"

    def initial(self):
        return Amount(jnp.asarray(100.0))

    def vector_field(self, t, y, inputs):
        return Amount(-24.0 * self.k * y.drug)

    def closed_form(self, time_d):
        return Amount(100.0 * jnp.exp(-24.0 * self.k * time_d))

    def quantities(self, y):
        return {"conc": y.drug / self.v}
'''
K, V, OMEGA, SIGMA = 0.15, 25.0, 0.3, 0.1


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A model file, and 20 people in ng/mL and minutes, one value below the limit."""
    home = tmp_path_factory.mktemp("own")
    (home / "bolus.py").write_text(MODEL, encoding="utf-8")
    rng = np.random.default_rng(5)
    rows = []
    for number in range(20):
        v = V * np.exp(OMEGA * rng.normal())
        for hour in (0.0, 1.0, 4.0, 8.0, 16.0):
            value = 100.0 / v * np.exp(-K * hour) * (1.0 + SIGMA * rng.normal())
            rows.append((number, 60.0 * hour, 1000.0 * value, 350.0))
    table = pd.DataFrame(rows, columns=["ID", "TIME", "DV", "LIMIT"])
    text = "# SYNTHETIC\n# unit TIME min\n# unit conc ng/mL\n" + table.to_csv(
        index=False
    )
    (home / "bolus.csv").write_text(text, encoding="utf-8")
    return home


def run(folder: Path, *words: str):
    data, model = str(folder / "bolus.csv"), str(folder / "bolus.py")
    return typed("fit", data, "--model", model, *words)


@pytest.fixture(scope="module")
def fitted(folder):
    out = folder / "fit"
    result = run(folder, "--out", str(out), "--method", "ml", "--draws", "100")
    assert result.exit_code == 0, result.output
    return out, result.output


def test_the_truth_lies_within_four_standard_errors(fitted):
    out, _ = fitted
    table = pd.read_csv(out / "summary.csv").set_index("parameter")
    for name, truth in (
        ("k", K), ("v", V), ("omega_v", OMEGA), ("sigma_conc", SIGMA)
    ):  # fmt: skip
        gap = abs(float(table.loc[name, "estimate"]) - truth)
        assert gap < 4.0 * float(table.loc[name, "se"]), name
    assert table["unit"].to_dict() | {"k": "1/h", "v": "L", "sigma_conc": "CV"} == (
        table["unit"].to_dict()
    )


def test_it_is_printed_the_fields_way(fitted):
    out, output = fitted
    first = output.splitlines()
    assert "converged" in next(line for line in first if "verge" in line)
    for word in ("estimate", "se", "rse%", "shrinkage%", "OFV", "AIC", "BIC"):
        assert word in output
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["method"] == "laplace"
    assert manifest["samples"] == 100
    assert "conc: ng/mL told in mg/L" in " ".join(manifest["data"]["notes"])
    assert manifest["assays"]["conc"]["error"] == "proportional"
    assert f"log likelihood {manifest['likelihood']['log_likelihood']:.4f}" in output


def test_metrics_open_the_fit_again(fitted):
    out, _ = fitted
    words = ["metrics", str(out), "--assay", "conc", "--out", str(out / "m.csv")]
    result = typed(*words)
    assert result.exit_code == 0, result.output
    assert "CMAX" in (out / "m.csv").read_text()


def test_an_option_goes_before_the_models_own_law(folder):
    out = folder / "combined"
    words = ["--out", str(out), "--method", "map", "--draws", "50"]
    priors = ["--sigma", "conc=0.1:0.5", "--sigma", "add_conc=0.05"]
    result = run(folder, *words, "--error", "combined", *priors)
    assert isinstance(result.exception, SystemExit | None), result.exception
    table = pd.read_csv(out / "summary.csv").set_index("parameter")
    assert table["unit"].to_dict()["sigma_add_conc"] == "mg/L"
    assert {"rse_pct", "shrinkage_pct"} <= set(table.columns)


WRONG = {
    "law": (["--error", "proportionl"], "did you mean proportional"),
    "assay": (["--assay", "cnc"], "did you mean conc"),
    "quantity": (["--assay", "x=cnc"], "did you mean conc"),
    "prior": (["--sigma", "conc=-1"], "expected NAME=MEDIAN"),
    "prior of nothing": (["--sigma", "add_conc=1"], "with NAME one of conc"),
    "method": (["--method", "focei"], "choose auto, nuts, map, many, laplace, ml"),
    "unit": (["--unit", "conc=mgg/L"], "did you mean mg?"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_slip_is_told_with_exit_code_2(folder, tmp_path, wrong):
    options, words = WRONG[wrong]
    result = run(folder, "--out", str(tmp_path / "no"), *options)
    assert result.exit_code == 2, result.output
    assert words in " ".join(result.output.split())
    assert "Traceback" not in result.output
