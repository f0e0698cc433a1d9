"""Model and events -> trajectories of one patient.

`solve` takes the quickest exact enough way: the model's closed form where it has one;
a fixed grid where the caller has made one (fits do: `make_grid`, RK4, no step-size
search); diffrax's adaptive Tsit5 otherwise, which is also the referee of the grid.
"""

from ckin.solve.adaptive import Solver as Solver
from ckin.solve.adaptive import Trajectory as Trajectory
from ckin.solve.adaptive import solve as solve
from ckin.solve.adaptive import step_times as step_times
from ckin.solve.grid import Grid as Grid
from ckin.solve.grid import Pace as Pace
from ckin.solve.grid import make_grid as make_grid
from ckin.solve.grid import make_grids as make_grids
from ckin.solve.grid import paces_of as paces_of
from ckin.solve.grid import pad_grid as pad_grid
from ckin.solve.grid import side_by_side as side_by_side
from ckin.solve.moments import arriving as arriving
from ckin.solve.moments import lagged as lagged
from ckin.solve.moments import with_doses as with_doses
from ckin.solve.occasions import Changing as Changing
from ckin.solve.occasions import Patientlike as Patientlike
from ckin.solve.occasions import base_of as base_of
from ckin.solve.occasions import occasions_at as occasions_at
from ckin.solve.occasions import quantities_of as quantities_of
from ckin.solve.pace import PACE_SOLVER as PACE_SOLVER
from ckin.solve.pace import merged_pace as merged_pace
from ckin.solve.pace import quickest as quickest
from ckin.solve.pace import scaled as scaled
from ckin.solve.rk4 import RK4 as RK4
from ckin.solve.stability import jacobians as jacobians
from ckin.solve.stability import steps_for_stability as steps_for_stability
