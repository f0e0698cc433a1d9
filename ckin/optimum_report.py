"""One optimum from end to end: a question in, a folder of tables and figures out."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

from ckin.dataset import Dataset
from ckin.errors import InputError
from ckin.optimum import Answer, Inquiry, answer_inquiry, one_patient, write_answer
from ckin.optimum.answer import AS_IT_IS, BEST, GRID, NOTHING, Tried
from ckin.optimum.tables import label_of
from ckin.plot import save
from ckin.plot.optimum import pareto, schedules
from ckin.plot.scenario import arms_over_time
from ckin.scenario_report import what_of
from ckin.writing import titled, writing


Report = Callable[[str, int, int], None]

NAMES = {
    BEST: "best by gradient",
    GRID: "best of the grid",
    AS_IT_IS: "protocol as it is",
    NOTHING: "as little as may be",
}


def with_options(
    inquiry: Inquiry,
    *,
    fit: Path | None = None,
    seed: int | None = None,
    people: int | None = None,
) -> Inquiry:
    """The question with what a command line changes of it.

    Raises:
        InputError: a fit that the question has no use for.
    """
    spec = inquiry.people
    if fit is not None and spec.source != "fit":
        raise InputError(
            f"--fit {fit}: question {inquiry.name} is about {spec.source} values; "
            'write source = "fit" in [population], or leave --fit out'
        )
    spec = dataclasses.replace(spec, fit=fit or spec.fit)
    if people is not None:
        spec = dataclasses.replace(spec, draws=people, patients=people)
    seed = inquiry.seed if seed is None else seed
    return dataclasses.replace(inquiry, people=spec, seed=seed)


def optimise_to_folder(
    inquiry: Inquiry,
    folder: Path,
    report: Report,
    *,
    patient: Dataset | None = None,
    wanted: str | None = None,
    grid: bool = True,
    front: bool = False,
) -> Answer:
    """Find the best schedule, and write tables, manifest and figures.

    Args:
        inquiry: the question.
        folder: to write to.
        report: called with (stage, done, total).
        patient: early samples of the one patient whom it is for; `None`: for many.
        wanted: the ID of that patient, of data that have several.
        grid: whether to try a grid as well.
        front: whether to look at several budgets.

    Raises:
        InputError: what cannot be answered or written.
    """
    whom = None
    if patient is not None:
        report("readings", 0, 1)
        whom = one_patient(inquiry, patient, wanted)
        report("readings", 1, 1)
    answer = answer_inquiry(inquiry, whom, grid=grid, pareto=front, report=report)
    write_answer(answer, folder)
    report("figures", 0, 1)
    draw(answer, folder / "figures")
    report("figures", 1, 1)
    return answer


def draw(answer: Answer, folder: Path) -> list[Path]:
    """Write the figures of an answer; returns the files.

    Raises:
        InputError: a folder that cannot be written.
    """
    figures = {"schedules": _schedules(answer), **_courses(answer)}
    if answer.front is not None:
        figures["pareto"] = _pareto(answer)
    with writing(folder):
        return [
            save(figure, folder / f"{name}.png") for name, figure in figures.items()
        ]


def note_of(answer: Answer) -> str:
    """What a figure says of what it rests on."""
    ftc = [note for note in answer.notes if "FTC do rests" in note]
    return ". ".join([label_of(answer), *(n[:1].upper() + n[1:] for n in ftc)])


def title_of(answer: Answer, what: str = "") -> str:
    """The title of a figure: of the question, and whether its fit converged."""
    return titled(f"{answer.inquiry.title}{what}", answer.whom.people.converged)


def utility_text(inquiry: Inquiry) -> str:
    """The utility in words."""
    terms = []
    for term in inquiry.worths:
        what = f"log2 of {term.outcome}" if term.scale == "log2" else term.outcome
        per = f" / {term.per:g}" if term.scale == "linear" and term.per != 1 else ""
        weight = "" if term.weight == 1 else f"{term.weight:g} × "
        terms.append(f"{weight}{what}{per}")
    if inquiry.toll:
        terms.append(f"-{1e6 * inquiry.toll:g} × 1e6 cells/kg")
    return " + ".join(terms).replace("+ -", "- ")


def _schedules(answer: Answer):
    day1 = answer.space.plan.day1_d
    rows = {
        NAMES[each.name]: [
            (slot.product, day1[slot.cycle - 1] + day + 1, cells / 1e6)
            for slot, day, cells in zip(
                answer.space.slots, each.days, each.cells_per_kg, strict=True
            )
        ]
        for each in answer.tried
    }
    first = min(day1[c.cycle - 1] + c.from_day for c in answer.space.choices)
    last = max(day1[c.cycle - 1] + c.to_day for c in answer.space.choices)
    return schedules(
        rows,
        {NAMES[each.name]: each.utility for each in answer.tried},
        answer.best.reached,
        span_d=(first, last),
        utility=utility_text(answer.inquiry),
        title=title_of(answer),
        note=note_of(answer),
    )


def _courses(answer: Answer) -> dict:
    """Levels under each schedule, for each quantity that outcomes are of."""
    shown = [each for each in answer.tried if each.name != GRID]
    figures = {}
    for quantity, bands in answer.courses.bands.items():
        doses: dict[str, set[float]] = {}
        for each in shown:
            for dose in each.plan.doses:
                doses.setdefault(dose.product, set()).add(round(dose.time_d, 3))
        figures[quantity] = arms_over_time(
            bands.days,
            {NAMES[each.name]: bands.level[each.name] for each in shown},
            y_label=what_of(quantity, bands.unit),
            title=title_of(answer, ": median and 90% of persons"),
            note=note_of(answer),
            doses_d={p: sorted(doses[p]) for p in ("CART", "FTC") if p in doses},
        )
    return figures


def _pareto(answer: Answer):
    front, inquiry = answer.front, answer.inquiry
    assert front is not None
    name = inquiry.front_of or inquiry.worths[0].outcome
    outcome = next(o for o in inquiry.outcomes if o.name == name)
    unit = answer.units[name]
    grid = answer.grid
    value = lambda each: (1e-6 * each.cost, each.means[name])
    beside: dict[str, Tried] = {each.name: each for each in answer.tried}
    return pareto(
        1e-6 * front.cost,
        front.means[name],
        others={NAMES[n]: value(beside[n]) for n in (AS_IT_IS, NOTHING) if n in beside},
        dots=None if grid is None else (1e-6 * grid.cost, grid.means[name]),
        x_label=f"10⁶ {inquiry.budget_unit}, all cycles, {answer.whom.weight_kg:g} kg",
        y_label=f"{outcome.title}" + (f", {unit}" if unit != "1" else ""),
        title=title_of(answer, f": {name} against cells (mean of patients)"),
        note=note_of(answer),
    )
