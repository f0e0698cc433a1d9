"""The words a file may use: columns, assays, and the units of each.

A file may have assays and products of its own beside those that ckin knows. Stating the
unit of an assay that is none of `ASSAYS` declares it; products are declared with theirs
(`# product DRUG mg`).
"""

import re

from ckin.errors import nearest
from ckin.protocol import INPUTS, LYMPHODEPLETION, PRODUCTS
from ckin.units import canonical_unit, dimensions


# Columns ckin reads. IPRED is known and not read.
COLUMNS = {
    "ID": "patient",
    "TIME": "days from the first infusion (hours with the unit TIME hour)",
    "DATE": "date, and time of day if known (2024-03-01T10:30), instead of TIME",
    "CLOCK": "time of day (10:30) of DATE; TIME may hold it too",
    "EVID": "0 observation, 1 dose, 2 other event, 3 reset, 4 reset and dose",
    "AMT": "dose in cells (cells/kg with the unit AMT cells/kg); level of an input, "
    "0 to 1",
    "DOSE_AT_0": "dose at time 0, the same in every row of a patient (a file without "
    "dose rows)",
    "CMT": "product of a dose (CART, FTC); other event (LD; an input: TKI, DASATINIB, "
    "IMATINIB, TOCILIZUMAB, STEROID)",
    "LEVEL": "level of an input, 0 to 1, where AMT is kept for doses",
    "ADDL": "number of further doses like this one",
    "II": "time between them",
    "RATE": "amount that runs in per unit of TIME; 0: all at once",
    "DUR": "how long a dose runs in, in the unit of TIME; instead of RATE",
    "SS": "steady state: 0",
    "DV": "measured value",
    "DVID": "assay of the value (qpcr, ddpcr, flow, ftc, wbc, bcell, bcrabl, il6, "
    "cell_index)",
    "CENS": "1: below the detection limit",
    "LIMIT": "detection limit, in the unit of the assay",
    "EXAMINED": "how much was examined: ug of DNA (qpcr, ddpcr), uL of blood (flow, "
    "ftc, bcell, wbc), ABL1 copies (bcrabl)",
    "PARTITIONS": "partitions (droplets) of a ddPCR reaction",
    "MDV": "1: the value is not to be used",
    "AFTER": "1: drawn after the dose given at the same time",
    "OCC": "cycle, from 1",
    "WT": "body weight in kg",
    "ARM": "treatment arm, kept as a text covariate",
    "IPRED": "a prediction, not read",
    "C": "C: the row is a comment and left out",
}
# EVID 2: what CMT may say.
OTHER_EVENTS = (LYMPHODEPLETION, *(name.upper() for name in INPUTS))
# A time beyond a century is a slip, or a date as a spreadsheet stores it.
LONGEST_D = 36_525.0
IGNORE, COVARIATE = "IGNORE", "COVARIATE"

# Units an assay may be reported in.
ASSAYS = {
    "qpcr": ("copies/ug",),
    "ddpcr": ("copies/ug",),
    "flow": ("cells/uL",),
    "ftc": ("cells/uL",),
    "wbc": ("cells/uL",),
    "bcell": ("cells/uL",),
    "bcrabl": ("%", "ratio"),
    "il6": ("pg/mL",),
    "cell_index": ("index",),
}
# Units of columns: the first is what is taken when the file does not say.
COLUMN_UNITS = {
    "AMT": ("cells", "cells/kg"),
    "TIME": ("day", "hour", "min", "week", "year"),
    "WT": ("kg",),
}
# How 03/04/2024 is to be read; other dates can be read in one way only.
DATE_ORDERS = ("DMY", "MDY")
UNITS = ASSAYS | COLUMN_UNITS | {"DATE": DATE_ORDERS}
DEFAULT_ASSAY = "qpcr"

# What Monolix calls our columns; read without being told.
MONOLIX = {
    "Y": "DV",
    "OBSERVATION": "DV",
    "YTYPE": "DVID",
    "OBSERVATION ID": "DVID",
    "CENSORING": "CENS",
    "AMOUNT": "AMT",
    "ADM": "CMT",
    "ADMINISTRATION ID": "CMT",
    "ADDITIONAL DOSES": "ADDL",
    "INTERDOSE INTERVAL": "II",
    "INFUSION RATE": "RATE",
    "INFUSION DURATION": "DUR",
    "TINF": "DUR",
    "STEADY STATE": "SS",
    "EVENT ID": "EVID",
    "IGNORED OBSERVATION": "MDV",
    "IGNORED LINE": "C",
    "OCCASION": "OCC",
}
# What other files call our columns: a guess, for messages.
ALIASES = MONOLIX | {
    "PATIENT": "ID",
    "SUBJECT": "ID",
    "SUBJID": "ID",
    "USUBJID": "ID",
    "DAY": "TIME",
    "DAYS": "TIME",
    "DATETIME": "DATE",
    "VISIT_DATE": "DATE",
    "SAMPLE_DATE": "DATE",
    "COLLECTION_DATE": "DATE",
    "TIME_OF_DAY": "CLOCK",
    "CONC": "DV",
    "VALUE": "DV",
    "AVAL": "DV",
    "DOSE": "AMT",
    "WEIGHT": "WT",
    "BLQ": "CENS",
    "LOD": "LIMIT",
    "LLOQ": "LIMIT",
    "CYCLE": "OCC",
    "ASSAY": "DVID",
    "GROUP": "ARM",
    "DNA_UG": "EXAMINED",
    "BLOOD_UL": "EXAMINED",
    "ABL1": "EXAMINED",
    "ABL1_COPIES": "EXAMINED",
    "DROPLETS": "PARTITIONS",
}


def standard_name(name: str) -> str | None:
    """The column of ckin that a column is by its name, or `None`."""
    upper = name.upper()
    return upper if upper in COLUMNS else MONOLIX.get(upper.replace("_", " "))


def unit_key(text: str) -> str | None:
    """What a unit is stated of: an assay in lower case or a column in upper case."""
    known = {key.casefold(): key for key in UNITS}
    return known.get(text.strip().casefold())


# Own names nearer to a known one than this are taken for slips.
TOO_ALIKE = 0.75
_OWN_ASSAY = re.compile(r"[a-z][a-z0-9_]*")
_OWN_PRODUCT = re.compile(r"[A-Z][A-Z0-9_]*")
# What a dose of one's own may be counted in; cells are CART and FTC.
AMOUNTS = ("mg", "mol", "IU", "copies")


def own_assay(text: str) -> str | None:
    """The name of an assay of one's own; `None` if it is no name, or nearly ckin's."""
    name = text.strip().lower()
    if name.upper() in COLUMNS or nearest(name, UNITS, alike=TOO_ALIKE):
        return None
    return name if _OWN_ASSAY.fullmatch(name) else None


def check_product(text: str, unit: str) -> tuple[str, str, tuple[str, str] | None]:
    """A product of one's own: name, unit, and what was expected and the fix if not.

    Args:
        text: its name as it was written.
        unit: of its doses, per kg of body weight or not.
    """
    name = text.strip().upper()
    if name in (*PRODUCTS, *OTHER_EVENTS):
        return name, "", ("a name that ckin does not know", f"{name} needs no telling")
    if not _OWN_PRODUCT.fullmatch(name):
        return name, "", ("letters and digits", "name it as CMT does, for example DRUG")
    try:
        spelled = canonical_unit(unit)
    except ValueError as error:
        return name, "", ("the unit of a dose, as mg or mg/kg", str(error))
    measures = dimensions(spelled)
    per_kg = measures.pop("kg", -1)
    if per_kg != -1 or measures not in [{amount: 1} for amount in AMOUNTS]:
        return name, "", ("the unit of a dose, as mg or mg/kg", "cells are CART or FTC")
    return name, spelled, None


def check_unit(key: str, text: str) -> tuple[str, tuple[str, str] | None]:
    """The unit as ckin spells it, and what was expected and the fix if it will not do.

    Args:
        key: a key of `UNITS`, or an assay of one's own.
        text: the unit as it was written.
    """
    if key not in UNITS:
        try:
            return canonical_unit(text), None
        except ValueError as error:
            return "", (f"the unit of {key}", str(error))
    expected = " or ".join(UNITS[key])
    if key == "DATE":
        order = text.strip().upper()
        problem = (f"{key} in {expected}", "say whether the day or the month is first")
        return order, None if order in DATE_ORDERS else problem
    try:
        unit = canonical_unit(text)
    except ValueError:
        return "", (
            f"{key} in {expected}",
            f"convert the values to {UNITS[key][0]} and state that",
        )
    if unit in UNITS[key]:
        return unit, None
    if key == "qpcr" and unit == "copies/uL":
        return unit, (
            f"qpcr in {expected}",
            "qPCR is copies per ug of genomic DNA, a share of the nucleated cells; "
            "copies per uL of blood need the DNA yield: convert the values and say so",
        )
    return unit, (
        f"{key} in {expected}",
        f"convert the values to {UNITS[key][0]} and state that",
    )
