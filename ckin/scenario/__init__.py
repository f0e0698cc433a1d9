"""Scenarios: schedules and what-ifs compared in the same people.

    result = compare(read_scenario(scenario_path("ftc-doses")))
    for row in result.comparison_rows:
        print(row["arm"], row["endpoint"], row["value"], row["low"], row["high"])
    result.write(Path("compared"))

A scenario names a population, arms and outcomes (`Scenario`, or a TOML file); every
person is followed under every arm. Nothing of it is a result of a trial.
"""

from pathlib import Path

from ckin.scenario.compare import Outcomes as Outcomes
from ckin.scenario.compare import run as run
from ckin.scenario.compare import with_fit as with_fit
from ckin.scenario.kept import Bands as Bands
from ckin.scenario.read import parse_scenario as parse_scenario
from ckin.scenario.read import read_scenario as read_scenario
from ckin.scenario.result import Result as Result
from ckin.scenario.scenario import METRICS as METRICS
from ckin.scenario.scenario import Arm as Arm
from ckin.scenario.scenario import Endpoint as Endpoint
from ckin.scenario.scenario import Outcome as Outcome
from ckin.scenario.scenario import PeopleSpec as PeopleSpec
from ckin.scenario.scenario import Scenario as Scenario
from ckin.scenario.scenario import Worth as Worth
from ckin.scenario.sensitivity import sensitivity as sensitivity


def compare(
    scenario: Scenario, *, report=lambda *_: None, stream: Path | None = None
) -> Result:
    """Run a scenario and say what follows.

    Args:
        scenario: the question.
        report: called with (stage, done, total).
        stream: netCDF file for the outcomes of everyone, of more people than memory
            holds (`run`).

    Raises:
        InputError: what the model, the fit or the arms cannot answer.
    """
    return Result(run(scenario, report=report, stream=stream))
