"""What a trial can tell before it is run: parameters, models, days to sample."""

from ckin.design.days import Days as Days
from ckin.design.days import best_days as best_days
from ckin.design.days import gains as gains
from ckin.design.days import precision_of as precision_of
from ckin.design.information import Information as Information
from ckin.design.information import as_design as as_design
from ckin.design.information import information as information
from ckin.design.information import point as point
from ckin.design.information import prior_sd as prior_sd
from ckin.design.information import what_is_told as what_is_told
from ckin.design.sensitivity import Sensitivities as Sensitivities
from ckin.design.sensitivity import sensitivities as sensitivities
from ckin.design.separation import Separation as Separation
from ckin.design.separation import gap_between as gap_between
from ckin.design.separation import nearest as nearest
from ckin.design.separation import separation as separation
