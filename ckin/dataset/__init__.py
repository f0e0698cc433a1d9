"""Patient records, read and checked: tables in NONMEM/Monolix columns, or any table.

`read_dataset` either returns records that everything else can rely on, or raises a
`DataError` that lists every fault of the file with its row. Nothing is mended or left
out in silence: what was left out, assumed or read in a particular way is in
`Dataset.notes`, with counts.

    columns = ColumnMap.from_options(map=["day=TIME"], unit=["qpcr=copies/ug"])
    dataset = read_dataset("trial.csv", columns)
    for patient in dataset.first_cycles(1).patients: ...
"""

from ckin.dataset.column_map import ColumnMap
from ckin.dataset.columns import ASSAYS, COLUMNS, UNITS
from ckin.dataset.disposition import disposition
from ckin.dataset.faults import DataError, Fault
from ckin.dataset.read import read_dataset
from ckin.dataset.recognised import Recognised, recognised
from ckin.dataset.records import Change, Dataset, Patient, Sample, most_cycles
from ckin.dataset.side_file import save_column_map
from ckin.dataset.write import check_format, write_dataset


__all__ = [
    "ASSAYS",
    "COLUMNS",
    "UNITS",
    "Change",
    "ColumnMap",
    "DataError",
    "Dataset",
    "Fault",
    "Patient",
    "Recognised",
    "Sample",
    "check_format",
    "disposition",
    "read_dataset",
    "recognised",
    "save_column_map",
    "write_dataset",
    "most_cycles",
]
