"""A column of doses at time 0, of files that have no dose rows."""

from collections.abc import Mapping

from ckin.dataset.cells import parse_number
from ckin.dataset.faults import Faults, quoted
from ckin.dataset.header import Layout
from ckin.dataset.row_kinds import DoseRow
from ckin.dataset.rows import amount_unit
from ckin.dataset.table import Line


DOSE_AT_0 = "DOSE_AT_0"


def doses_at_zero(
    lines: list[Line],
    layout: Layout,
    products: Mapping[str, str],
    doses: list[DoseRow],
    faults: Faults,
) -> list[DoseRow]:
    """One dose a patient at time 0, of the amount that stands in each of its rows.

    Args:
        lines: rows to be read.
        layout: where columns are.
        products: of one's own, with units; there has to be one.
        doses: of dose rows; there must be none.
        faults: where faults are noted.
    """
    if not layout.has(DOSE_AT_0):
        return []
    column = layout.name(DOSE_AT_0)
    if len(products) != 1:
        found = ", ".join(products) or "no product of your own"
        fix = "--product DRUG=mg, with the unit of the column"
        faults.add(None, column, found, "one product, of which the doses are", fix)
        return []
    ((product, unit),) = products.items()
    first: dict[str, tuple[int, float]] = {}
    for line in lines:
        patient, text = layout.text(line, "ID"), layout.text(line, DOSE_AT_0)
        if patient is None or text is None:
            continue
        amount, wrong, hint = parse_number(text)
        if amount is None or amount < 0:
            fix = hint or "correct it"
            faults.add(line.row, column, wrong or quoted(text), "a dose", fix)
            continue
        row, before = first.setdefault(patient, (line.row, amount))
        if before != amount:
            faults.add(
                line.row,
                column,
                quoted(text),
                f"{before:g} as in row {row}: the same dose in every row of a patient",
                "doses that differ are rows of their own, with AMT",
            )
    for dose in doses:
        if dose.patient in first:
            faults.add(
                dose.row,
                column,
                f"a dose row of patient {quoted(dose.patient)} beside {column}",
                "one of them",
                f"--map {column}=IGNORE, or leave AMT empty",
            )
    return [
        DoseRow(
            row=row,
            patient=patient,
            time_d=0.0,
            cycle=None,
            product=product,
            amount=amount,
            further=0,
            every_d=0.0,
            duration_d=0.0,
            unit=amount_unit(unit),
            per_kg=amount_unit(unit) != unit,
        )
        for patient, (row, amount) in first.items()
    ]
