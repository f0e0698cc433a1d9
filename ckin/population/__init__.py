"""Typical values, between-patient variation, covariates: one NumPyro model.

`Population` says which parameters are estimated, which vary between patients and
which depend on covariates. `pack` turns a data set into padded arrays. The NumPyro
model `population_model` joins the two and is the prior of every engine;
`patient_log_likelihoods` is the likelihood of every engine, the same as the model's.
"""

from ckin.population.build import population as population
from ckin.population.effects import CARRIES as CARRIES
from ckin.population.effects import CovariateEffect as CovariateEffect
from ckin.population.effects import effect as effect
from ckin.population.groups import chunks_of as chunks_of
from ckin.population.groups import draws_together as draws_together
from ckin.population.likelihood import (
    patient_log_likelihoods as patient_log_likelihoods,
)
from ckin.population.model import CensoredReading as CensoredReading
from ckin.population.model import additive_parts as additive_parts
from ckin.population.model import by_sample as by_sample
from ckin.population.model import completed as completed
from ckin.population.model import log_readings as log_readings
from ckin.population.model import of_its_assay as of_its_assay
from ckin.population.model import population_model as population_model
from ckin.population.model import predicted as predicted
from ckin.population.model import reading_log_likelihoods as reading_log_likelihoods
from ckin.population.pack import Packed as Packed
from ckin.population.pack import PackError as PackError
from ckin.population.pack import pack as pack
from ckin.population.refine import GRID_ERROR as GRID_ERROR
from ckin.population.refine import GridReport as GridReport
from ckin.population.refine import laid_on as laid_on
from ckin.population.refine import refined as refined
from ckin.population.specification import ETAS as ETAS
from ckin.population.specification import Population as Population
