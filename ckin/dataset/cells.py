"""What one cell says: nothing, a number, or a text that should have been one."""

import math
import re

from ckin.dataset.faults import quoted


# Cells that say nothing, in upper case.
MISSING = frozenset({"", ".", "NA"})

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_NOT_FINITE = re.compile(r"[+-]?(nan|inf|infinity)", re.IGNORECASE)
# Slips people make, and what to do about them.
_SLIPS = (
    (r"[+-]?\d+,\d+", "write decimals with a point, and thousands without a comma"),
    (r"[<≤].*", "a value below its limit is CENS 1 with the limit in LIMIT"),
    (
        r"\d+[-/.]\d+[-/.]\d+.*",
        "write days from the first infusion, not a date, or name the column DATE",
    ),
    (r"#[A-Z/0_]+[!?A]?", "a spreadsheet's error value: mend the formula there"),
)
# What a spreadsheet shows for a formula that failed.
_ERRORS = ("#DIV/0!", "#N/A", "#NAME?", "#NULL!", "#NUM!", "#REF!", "#VALUE!", "#CALC!")
NO_ERROR_VALUE = ("a value", "mend the formula in the spreadsheet, or clear the cell")
_ERRORS += ("#SPILL!", "#FIELD!", "#BLOCKED!", "#CONNECT!", "#UNKNOWN!")


def present(cell: str) -> str | None:
    """The cell, or `None` if it is empty, `.` or NA."""
    return None if cell.upper() in MISSING else cell


def plain_code(text: str) -> str:
    """A code as it is looked up: 1, 1.0 and 01 are the same one."""
    value, _, _ = parse_number(text)
    if value is None or abs(value) >= 1e15 or value != int(value):
        return text
    return str(int(value))


def spreadsheet_error(text: str) -> bool:
    """Whether a text starts with what a spreadsheet shows for a failed formula."""
    return text.startswith(_ERRORS)


def parse_number(text: str) -> tuple[float | None, str, str]:
    """The number a cell holds, or `None`, what is wrong, and a hint at a known slip."""
    if _NUMBER.fullmatch(text):
        value = float(text)
        if math.isfinite(value):
            return value, "", ""
        return None, f"{quoted(text)}, not a finite number", ""
    if _NOT_FINITE.fullmatch(text):
        hint = "if it is missing, leave it empty or write ."
        return None, f"{quoted(text)}, not a finite number", hint
    hint = next((fix for slip, fix in _SLIPS if re.fullmatch(slip, text)), "")
    return None, quoted(text), hint
