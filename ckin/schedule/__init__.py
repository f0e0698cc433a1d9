"""Schedules: what one apheresis can pay for, and which days and doses are best."""

from ckin.schedule.apheresis import Apheresis as Apheresis
from ckin.schedule.apheresis import Coverage as Coverage
from ckin.schedule.apheresis import Feasible as Feasible
from ckin.schedule.apheresis import Making as Making
from ckin.schedule.apheresis import Spread as Spread
from ckin.schedule.apheresis import Yields as Yields
from ckin.schedule.apheresis import affordable as affordable
from ckin.schedule.apheresis import cells_per_gained_day as cells_per_gained_day
from ckin.schedule.apheresis import coverage as coverage
from ckin.schedule.apheresis import demand as demand
from ckin.schedule.apheresis import draw_yields as draw_yields
from ckin.schedule.apheresis import feasible_sets as feasible_sets
from ckin.schedule.apheresis import starting_cells as starting_cells
from ckin.schedule.apheresis import typical_yields as typical_yields
from ckin.schedule.apheresis_rows import ScheduleRow as ScheduleRow
from ckin.schedule.apheresis_rows import schedule_rows as schedule_rows
from ckin.schedule.apheresis_rows import write_schedules as write_schedules
