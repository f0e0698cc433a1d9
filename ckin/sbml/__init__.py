"""Models of SBML files (BioModels, PhysiCell, COPASI, Antimony) as ckin model files.

`read.py` takes a file apart into equations in Python, or refuses it with the reason;
`write.py` writes them as a model file that a person can read and go on with. Needs
python-libsbml: `pip install "ckin[sbml]"`.
"""

from ckin.sbml.read import Assigned as Assigned
from ckin.sbml.read import Constant as Constant
from ckin.sbml.read import Reaction as Reaction
from ckin.sbml.read import SbmlModel as SbmlModel
from ckin.sbml.read import Species as Species
from ckin.sbml.read import read_sbml as read_sbml
from ckin.sbml.write import import_sbml as import_sbml
