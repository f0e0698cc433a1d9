import sys
from pathlib import Path

import pytest


# What the files of this folder share.
sys.path.insert(0, str(Path(__file__).parent))

from questions import scenario  # noqa: E402

from ckin.scenario import Result, compare  # noqa: E402


@pytest.fixture(scope="session")
def result() -> Result:
    """Every arm, compared once."""
    return compare(scenario())
