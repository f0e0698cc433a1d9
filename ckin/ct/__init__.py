"""Raw Ct of qPCR plates: standard curves, quality, readings, and their likelihood.

    data = read_wells("wells.csv")
    for check in quality(data): ...
    write_observations(data, read_samples(data), Path("observed.csv"))

For a fit that does not take the curve for known, `with_wells(dataset, data)` puts the
samples into a data set with their wells (`ckin fit --wells`); `pack(data)` has the
likelihood of standards and of samples as functions that JAX can differentiate. What the
rules are is in `docs/ct.md`.
"""

from ckin.ct.columns import COLUMNS as COLUMNS
from ckin.ct.curve import Curve as Curve
from ckin.ct.curve import standard_curve as standard_curve
from ckin.ct.draw import draw_wells as draw_wells
from ckin.ct.join import apart as apart
from ckin.ct.join import with_wells as with_wells
from ckin.ct.likelihood import CtWells as CtWells
from ckin.ct.likelihood import SampleWells as SampleWells
from ckin.ct.likelihood import Standards as Standards
from ckin.ct.likelihood import pack as pack
from ckin.ct.likelihood import priors as priors
from ckin.ct.quality import Check as Check
from ckin.ct.quality import quality as quality
from ckin.ct.read import read_wells as read_wells
from ckin.ct.readings import Reading as Reading
from ckin.ct.readings import read_samples as read_samples
from ckin.ct.records import CtData as CtData
from ckin.ct.records import CtSample as CtSample
from ckin.ct.records import Plate as Plate
from ckin.ct.records import Standard as Standard
from ckin.ct.write import write_observations as write_observations
from ckin.ct.write import write_wells as write_wells
