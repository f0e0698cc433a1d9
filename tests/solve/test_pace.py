"""How far apart steps are where nobody has laid any yet."""

import numpy as np
from toys import Hunt, made

from ckin.protocol import Dose, event_table, stack_events
from ckin.solve import make_grids, paces_of
from ckin.solve.grid import Pace


EVENTS = stack_events([event_table((Dose(0.0, "CART", cells=1e6),), weight_kg=60.0)])
# Three steps a day; a last one of a thousandth of a day, up to a sample.
SLIVER = Pace(np.array([0.0, 40.0]), np.array([3.0, 1000.0]))


def laid(last_d: float, pace: Pace) -> tuple:
    days = np.array([[1.0, 20.0, last_d]])
    grid = make_grids(made(Hunt), EVENTS, days, np.zeros(days.shape, bool), [pace])
    length = np.asarray(grid.length_d)[0]
    return grid, length[length > 0]


def test_beyond_the_last_sample_the_pace_is_that_of_the_last_days():
    short, length = laid(40.001, SLIVER)
    assert 0.0 < length[-1] < 2e-3
    _, length = laid(400.0, paces_of(short)[0])
    # 3 a day for 400 days, and a few at samples and knots.
    assert 1150 < length.size < 1300


def test_steps_that_are_known_stay_as_long_as_they_are():
    short, length = laid(40.001, SLIVER)
    _, again = laid(40.001, paces_of(short)[0])
    np.testing.assert_allclose(again, length, rtol=1e-9)


def test_nobody_walks_on_in_steps_longer_than_usual():
    slow = Pace(np.array([0.0]), np.array([0.1]))
    short, _ = laid(40.0, slow)
    _, length = laid(400.0, paces_of(short)[0])
    assert length[-1] <= 0.5
