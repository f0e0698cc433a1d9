"""What the prior foresees under each law, before anyone is measured.

    rows = foresee(question, answer.alternatives)

Each person is a draw of its own: typical values from the priors of what is estimated, ω
from theirs, and a virtual patient; the same persons under every law, followed as by
`ckin compare` under one arm. A law whose prior foresees what nobody has ever seen wants
a thought before it is fitted.
"""

import dataclasses
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pandas as pd

from ckin.cohort import LIMIT_COPIES_PER_UG
from ckin.identify import Alternative, Question
from ckin.library import load_model, load_protocol
from ckin.model import parameters
from ckin.scenario import METRICS, Arm, Outcome, PeopleSpec, Scenario, run
from ckin.scenario.outcomes import censored
from ckin.scenario.people import People, find_people
from ckin.scenario.scenario import AREA_DAYS, window


# As many fill the lanes of one call. A median is then good to 0.04 SDs.
PERSONS = 1000
# Days from day 1 of the last cycle; persistence is censored there.
FOLLOW_D = 365.0
# Cells just infused are no expansion.
FROM_DAY = 1.0
FORESEEN = {"CMAX": FROM_DAY, "TMAX": FROM_DAY, "AUC028": 0.0, "TLST": 0.0}
QUANTILES = {"q05": 0.05, "q50": 0.5, "q95": 0.95}

Report = Callable[[str, int, int], None]


def foresee(
    question: Question,
    alternatives: Sequence[Alternative],
    *,
    persons: int = PERSONS,
    report: Report = lambda *_: None,
) -> pd.DataFrame:
    """Metrics of every cycle under each law, over draws of the prior and patients.

    Args:
        question: model, protocol, what is estimated; its first assay is read.
        alternatives: laws, with the parameters that each frees.
        persons: how many.
        report: called with (stage, done, total).

    Returns:
        A law, cycle and metric a row: `law, cycle, metric, what, unit, q05, q50, q95`,
        `not_ended`, the share whose persistence was cut off by the next cycle or the
        end, `n` persons and `failed`, those who could not be solved.
    """
    rows = []
    for done, alternative in enumerate(alternatives):
        report("prior", done, len(alternatives))
        rows += _under(question, alternative, persons)
    report("prior", len(alternatives), len(alternatives))
    return pd.DataFrame(rows)


def _under(
    question: Question, alternative: Alternative, persons: int
) -> list[dict[str, object]]:
    """Rows of one law."""
    scenario = _scenario(question, alternative, persons)
    found = run(scenario, people=_each_alone(find_people(scenario)))
    (arm,) = scenario.arms
    rows = []
    for outcome in scenario.outcomes:
        values = found.of(arm.name, outcome.name)
        known = values[np.isfinite(values)]
        start_d, end_d = window(arm.protocol, outcome.cycle, scenario.follow_d)
        told = {
            name: float(np.quantile(known, q)) if known.size else np.nan
            for name, q in QUANTILES.items()
        }
        rows.append(
            {
                "law": alternative.name,
                "cycle": outcome.cycle,
                "metric": outcome.metric,
                "what": outcome.title,
                "unit": found.units[outcome.name],
                **told,
                "not_ended": censored(outcome, values, end_d - start_d),
                "n": int(known.size),
                "failed": found.failed[arm.name],
            }
        )
    return rows


def _each_alone(people: People) -> People:
    """Of draws and patients in each the pairs: every person a draw of its own."""
    pairs = np.arange(len(people.ids))
    return dataclasses.replace(
        people,
        phi=people.phi[pairs, pairs][None],
        typical=people.typical[:1],
        sigma=people.sigma[:1],
    )


def _scenario(question: Question, alternative: Alternative, persons: int) -> Scenario:
    """One arm, the protocol, in people of the prior under this law."""
    model = load_model(question.model)
    plan = load_protocol(question.protocol)
    usual = question.estimate or tuple(
        name for name, info in parameters(model).items() if info.estimate
    )
    end_d = plan.day1_d[-1] + FOLLOW_D
    outcomes = [
        outcome
        for cycle in range(1, plan.cycles + 1)
        for outcome in _outcomes(question.assays[0], cycle, window(plan, cycle, end_d))
    ]
    return Scenario(
        name=alternative.name,
        title=f"{alternative.name}: what the prior foresees",
        model=question.model,
        people=PeopleSpec(
            source="prior",
            draws=persons,
            patients=persons,
            draw=tuple(dict.fromkeys((*usual, *alternative.free))),
            values={**question.values, **alternative.values},
        ),
        arms=(Arm("plan", plan),),
        outcomes=tuple(outcomes),
        follow_d=end_d,
        seed=question.seed,
    )


def _outcomes(assay: str, cycle: int, days: tuple[float, float]) -> Iterator[Outcome]:
    """Metrics of one cycle that it is long enough for.

    Persistence only where there is a usual limit to persist above.
    """
    for metric, after_d in FORESEEN.items():
        if days[1] - days[0] < AREA_DAYS.get(metric, after_d):
            continue
        limit = LIMIT_COPIES_PER_UG if metric == "TLST" else None
        if metric == "TLST" and assay != "qpcr":
            continue
        what = METRICS[metric].name
        if limit is not None:
            what = f"last day at or above {limit:g} copies/µg"
        yield Outcome(
            f"{metric}_{cycle}",
            metric,
            of=assay,
            cycle=cycle,
            level=limit,
            after_d=after_d,
            title=what,
        )
