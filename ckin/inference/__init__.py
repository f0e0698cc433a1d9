"""Data to posterior: density, starts, geometry, NUTS, referee, verdict, results.

`fit` is the way in. Engines differ in how they move; they all evaluate the one
`Density` that comes from the NumPyro model.
"""

from ckin.inference.checkpoint import is_begun as is_begun
from ckin.inference.convergence import Verdict as Verdict
from ckin.inference.engines import Report as Report
from ckin.inference.fit import GRID_ERROR as GRID_ERROR
from ckin.inference.fit import METHODS as METHODS
from ckin.inference.fit import fit as fit
from ckin.inference.predict import individual_curves as individual_curves
from ckin.inference.predict import population_curve as population_curve
from ckin.inference.predict import readings as readings
from ckin.inference.profile import Limit as Limit
from ckin.inference.profile import Profile as Profile
from ckin.inference.profile import profile as profile
from ckin.inference.profiled import wanted_profiles as wanted_profiles
from ckin.inference.profiled import with_profiles as with_profiles
from ckin.inference.referee import Referee as Referee
from ckin.inference.referee import referee as referee
from ckin.inference.results import Fit as Fit
from ckin.inference.results import units_of as units_of
