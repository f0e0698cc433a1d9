"""Checks of a fit: what was read against what the fit says could have been read.

Everything here takes a density, its patients and draws; `ckin.reopen.open_fit` has them
of a fit folder, and `ckin diagnose` writes them all.
"""

from ckin.check.held_out import alone as alone
from ckin.check.held_out import hidden_foreseen as hidden_foreseen
from ckin.check.held_out import hidden_samples as hidden_samples
from ckin.check.held_out import pooled as pooled
from ckin.check.held_out import without_last as without_last
from ckin.check.npde import Errors as Errors
from ckin.check.npde import normality as normality
from ckin.check.npde import prediction_errors as prediction_errors
from ckin.check.npde import table_of_tests as table_of_tests
from ckin.check.predictions import individual_residuals as individual_residuals
from ckin.check.predictions import prediction_table as prediction_table
from ckin.check.priors import log_priors as log_priors
from ckin.check.priors import overlap as overlap
from ckin.check.priors import power_scaling as power_scaling
from ckin.check.replicates import Observed as Observed
from ckin.check.replicates import observed as observed
from ckin.check.replicates import replicate as replicate
from ckin.check.replicates import typical_prediction as typical_prediction
from ckin.check.variation import covariate_columns as covariate_columns
from ckin.check.variation import eta_covariates as eta_covariates
from ckin.check.variation import eta_table as eta_table
from ckin.check.variation import shrinkage_table as shrinkage_table
from ckin.check.vpc import bins_of as bins_of
from ckin.check.vpc import vpc as vpc
