"""Which cells are given, and when: products, cycles, doses -> an event table.

A protocol is a TOML file (`read_protocols`) or a Python object (`Protocol`), whose
verbs make another protocol of it.
"""

from ckin.protocol.arms import FTC_LEVELS_CELLS_PER_KG as FTC_LEVELS_CELLS_PER_KG
from ckin.protocol.arms import Protocol as Protocol
from ckin.protocol.changing import Condition as Condition
from ckin.protocol.days import amount_text as amount_text
from ckin.protocol.days import cells_text as cells_text
from ckin.protocol.days import day_of_time as day_of_time
from ckin.protocol.days import hours_of_time as hours_of_time
from ckin.protocol.days import runs as runs
from ckin.protocol.days import time_of_day as time_of_day
from ckin.protocol.doses import INPUTS as INPUTS
from ckin.protocol.doses import LYMPHODEPLETION as LYMPHODEPLETION
from ckin.protocol.doses import PRODUCTS as PRODUCTS
from ckin.protocol.doses import Dose as Dose
from ckin.protocol.doses import InputWindow as InputWindow
from ckin.protocol.events import EventTable as EventTable
from ckin.protocol.events import cycle_starts as cycle_starts
from ckin.protocol.events import event_table as event_table
from ckin.protocol.events import pad_events as pad_events
from ckin.protocol.events import stack_events as stack_events
from ckin.protocol.read import parse_protocols as parse_protocols
from ckin.protocol.read import read_protocols as read_protocols
from ckin.protocol.tki import TKI_INPUTS as TKI_INPUTS
from ckin.protocol.tki import Hold as Hold
from ckin.protocol.tki import Tki as Tki
