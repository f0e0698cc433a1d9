"""How long a comparison takes: 100 schedules in 1,000 virtual patients over 180 days.

    python benchmarks/compare.py [--arms 100] [--patients 1000] [--json compare.json]

The flagship model, FTC of two cycles at ten doses on ten days. It is run twice in one
process: the first time compiles, the second is the time of the work. Then more patients
than a batch, to show that memory is that of a batch. With `--stream FILE` it runs once,
and outcomes go to disk while they come.
"""

import argparse
import dataclasses
import json
import os
import platform
from pathlib import Path

from alone import peak_mb, since

from ckin import runtime


runtime.prepare()

import time  # noqa: E402

import jax  # noqa: E402
import numpy as np  # noqa: E402

from ckin.library import load_protocol  # noqa: E402
from ckin.scenario import (  # noqa: E402
    Arm,
    Outcome,
    PeopleSpec,
    Result,
    Scenario,
    compare,
)


FOLLOW_D = 180.0


def question(arms: int, patients: int) -> Scenario:
    """Doses × days, as many as asked for."""
    plan = load_protocol("szcart01-two-cycles")
    doses = np.geomspace(0.5e6, 20e6, max(1, arms // 10))
    days = range(8, 8 + min(10, arms))
    made = [
        Arm(
            f"{cells:.3g}/kg on day {day}",
            plan.with_dose("FTC", float(cells)).moved("FTC", day=8, to_day=day),
        )
        for cells in doses
        for day in days
    ]
    return Scenario(
        name="speed",
        title="doses and days",
        model="feeding_szcart01",
        people=PeopleSpec(source="typical", patients=patients),
        arms=tuple(made[:arms]),
        outcomes=(
            Outcome("peak", "CMAX", cycle=2),
            Outcome("auc28", "AUC028", cycle=2),
            Outcome("above", "DABOVE", level=50.0),
            Outcome("aplasia", "DBELOW", of="bcell", level=1.0),
        ),
        follow_d=FOLLOW_D,
    )


def timed(scenario: Scenario, stream: Path | None = None) -> tuple[Result, float]:
    """A comparison, and its seconds from the scenario to the last table."""
    began = time.perf_counter()
    result = compare(scenario, stream=stream)
    assert result.arm_rows
    assert result.comparison_rows
    return result, since(began)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--arms", type=int, default=100)
    parser.add_argument("--patients", type=int, default=1000)
    parser.add_argument("--more-patients", type=int, default=0)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--stream", type=Path, help="once, with outcomes to this file")
    asked = parser.parse_args()
    scenario = question(asked.arms, asked.patients)
    if asked.stream:
        _, seconds = timed(scenario, asked.stream)
        told = {"arms": len(scenario.arms), "patients": asked.patients}
        told |= {"s": round(seconds, 1), "peak_mb": round(peak_mb())}
        told |= {"file_mb": round(asked.stream.stat().st_size / 1e6, 1)}
        print(json.dumps(told))
        return
    _, first_s = timed(scenario)
    again = dataclasses.replace(scenario, seed=1)
    result, second_s = timed(again)
    found = {
        "arms": len(scenario.arms),
        "patients": asked.patients,
        "days": FOLLOW_D,
        "first_s": round(first_s, 2),
        "second_s": round(second_s, 2),
        "ms_a_course": round(1e3 * second_s / len(scenario.arms) / asked.patients, 3),
        "error_log10": result.outcomes.error_log10,
        "more_steps": result.outcomes.quick,
        "failed": sum(result.outcomes.failed.values()),
        "peak_mb": round(peak_mb()),
        "device": jax.devices()[0].device_kind,
        "devices": len(jax.devices()),
        "load_1_min": round(os.getloadavg()[0], 2),
        "machine": platform.machine(),
    }
    if asked.more_patients:
        few = dataclasses.replace(scenario, arms=scenario.arms[:4])
        people = dataclasses.replace(few.people, patients=asked.more_patients)
        _, more_s = timed(dataclasses.replace(few, people=people))
        found |= {
            "more_patients": asked.more_patients,
            "more_arms": len(few.arms),
            "more_s": round(more_s, 2),
            "more_peak_mb": round(peak_mb()),
        }
    print(json.dumps(found, indent=2))
    if asked.json:
        asked.json.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
