"""Which cells are given, and when: products, cycles, doses -> an event table."""

from ckin.protocol.arms import FTC_LEVELS_CELLS_PER_KG as FTC_LEVELS_CELLS_PER_KG
from ckin.protocol.arms import Protocol as Protocol
from ckin.protocol.arms import Szcart01 as Szcart01
from ckin.protocol.arms import szcart01_arms as szcart01_arms
from ckin.protocol.doses import INPUTS as INPUTS
from ckin.protocol.doses import LYMPHODEPLETION as LYMPHODEPLETION
from ckin.protocol.doses import PRODUCTS as PRODUCTS
from ckin.protocol.doses import Dose as Dose
from ckin.protocol.doses import InputWindow as InputWindow
from ckin.protocol.events import EventTable as EventTable
from ckin.protocol.events import event_table as event_table
from ckin.protocol.events import pad_events as pad_events
from ckin.protocol.events import stack_events as stack_events
