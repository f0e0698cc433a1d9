"""Log scores of fit folders, side by side: what `ckin loo` prints."""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import jax
import numpy as np
import pandas as pd

from ckin.check.replicates import Observed, observed
from ckin.check.scores import (
    Foreseen,
    Scores,
    future_left_out,
    patients_left_out,
    readings_left_out,
)
from ckin.errors import InputError, did_you_mean
from ckin.inference.by_patient import compare
from ckin.inference.convergence import KHAT_LIMIT
from ckin.reopen import OpenedFit
from ckin.writing import with_verdict, writing


WAYS = ("patient", "reading", "future")
NAMES = {
    "patient": ("ID",),
    "future": ("ID",),
    "reading": ("ID", "TIME", "DVID"),
}


@dataclasses.dataclass(frozen=True)
class Scored:
    """Scores of one or several fits.

    Attributes:
        title: what was left out.
        comparison: one row a fit, the best first: elpd, its standard error; `behind`
            the best, the `error` of that, and stacking `weight` where there are
            several; how many have a k-hat over 0.7.
        lines: what to know of them, a sentence each.
        each: every score: columns fit, what was left out, elpd, mc_error, khat, anew,
            and whether the fit converged.
    """

    title: str
    comparison: pd.DataFrame
    lines: tuple[str, ...]
    each: pd.DataFrame

    def write(self, path: Path) -> None:
        """Write every score as a CSV.

        Raises:
            InputError: it cannot be written.
        """
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            self.each.to_csv(path, index=False)


def score(
    fits: Sequence[OpenedFit],
    by: str = "patient",
    *,
    day_d: float = 14.0,
    until_d: float = 90.0,
    seed: int = 0,
    report: Callable[[str, int, int], None] = lambda *_: None,
) -> Scored:
    """Score fits by what is left out of them.

    Args:
        fits: opened; of the same readings.
        by: "patient", "reading" or "future".
        day_d: by the future: the last day that is known of a patient.
        until_d: likewise: the last day to foresee.
        seed: of every random number.
        report: called with (stage, done, total).

    Raises:
        InputError: another `by`; fits of other readings, or of another scale.
    """
    if by not in WAYS:
        raise InputError(f"--by {by}: {did_you_mean(by, WAYS)}choose {', '.join(WAYS)}")
    if by == "future" and not 0 <= day_d < until_d:
        raise InputError(f"--day {day_d:g} --until {until_d:g}: the later comes later")
    seen = [observed(fit.density, fit.dataset) for fit in fits]
    names = _named(fits)
    for other, fit in zip(seen[1:], fits[1:], strict=True):
        _check_same(seen[0], other, fits[0], fit)
    scores: dict[str, Scores] = {}
    foreseen: dict[str, Foreseen] = {}
    for done, (name, fit, own) in enumerate(zip(names, fits, seen, strict=True)):
        report("scores", done, len(fits))
        key = jax.random.key(seed)
        draws = fit.density, fit.u, fit.eta
        if by == "patient":
            scores[name] = patients_left_out(*draws, key)
        elif by == "reading":
            scores[name] = readings_left_out(draws[0], own, *draws[1:])
        else:
            foreseen[name] = future_left_out(
                draws[0], own, *draws[1:], key, day_d=day_d, until_d=until_d
            )
            if foreseen[name].patients.empty:
                raise InputError(
                    f"{fit.folder}: no patient has a reading after day {day_d:g} and "
                    f"until day {until_d:g}"
                )
            scores[name] = foreseen[name].scores
    report("scores", len(fits), len(fits))
    what = {
        "patient": "leave-one-patient-out, η integrated out",
        "reading": "leave-one-reading-out, given its patient's others",
        "future": f"readings of days {day_d:g} to {until_d:g}, given those until then",
    }[by]
    return Scored(
        title=f"{what}: {len(next(iter(scores.values())).ids)} left out",
        comparison=_compared(scores, foreseen),
        lines=_lines(scores, foreseen),
        each=pd.concat(
            [
                with_verdict(table, fit.converged)
                for table, fit in zip(
                    _each(scores, foreseen, NAMES[by]), fits, strict=True
                )
            ],
            ignore_index=True,
        ),
    )


def _named(fits: Sequence[OpenedFit]) -> list[str]:
    """A name a fit: that of its folder, or its path where two have the same."""
    short = [fit.folder.resolve().name for fit in fits]
    if len(set(short)) == len(short):
        return short
    return [str(fit.folder) for fit in fits]


def _check_same(a: Observed, b: Observed, one: OpenedFit, other: OpenedFit) -> None:
    """Refuse to compare scores of other readings, or densities of another scale."""
    pair = f"{one.folder} and {other.folder}"
    laws = [
        {x.name: x.error.name for x in fit.density.population.assays}
        for fit in (one, other)
    ]
    same = (
        a.ids == b.ids
        and a.assays == b.assays
        and a.time_d.shape == b.time_d.shape
        and np.array_equal(a.present, b.present)
        and np.allclose(a.time_d, b.time_d)
        and np.allclose(a.log_value[a.present], b.log_value[b.present])
        and np.array_equal(a.below, b.below)
    )
    if not same:
        raise InputError(
            f"{pair} were fitted to other readings ({int(a.present.sum())} of "
            f"{len(a.ids)} patients, {int(b.present.sum())} of {len(b.ids)}): scores "
            "compare on the same ones (--from-day, --cycles, --assay)"
        )
    if not np.array_equal(a.natural, b.natural) or any(
        ("counts" in law or "partitions" in law) and laws[1][name] != law
        for name, law in laws[0].items()
    ):
        raise InputError(
            f"{pair} have errors on other scales ({', '.join(laws[0].values())}; "
            f"{', '.join(laws[1].values())}): densities of a reading, of its logarithm "
            "and chances of a count do not compare"
        )


def _compared(scores: dict[str, Scores], foreseen: dict[str, Foreseen]) -> pd.DataFrame:
    table = compare(scores)
    about = {
        name: {
            "elpd": own.elpd,
            "SE": float(np.sqrt(own.elpd_i.size) * own.elpd_i.std(ddof=1)),
            "k-hat > 0.7": int((~(own.khat <= KHAT_LIMIT)).sum()),
        }
        | ({"inside 90%": foreseen[name].coverage} if foreseen else {})
        for name, own in scores.items()
    }
    whole = pd.DataFrame(about).T.loc[table.index]
    if len(scores) > 1:
        whole = whole.join(table[["behind", "error", "weight"]])
    return whole


def _lines(scores: dict[str, Scores], foreseen: dict[str, Foreseen]) -> tuple[str, ...]:
    lines = []
    for name, own in scores.items():
        bad = ~(own.khat <= KHAT_LIMIT)
        if own.anew.any():
            lines.append(
                f"{name}: {int(own.anew.sum())} with a k-hat over {KHAT_LIMIT} were "
                "left out in earnest, by a chain that has not seen them"
            )
        elif bad.any():
            first = own.ids[int(np.flatnonzero(bad)[0])].split("\t")[0]
            lines.append(
                f"{name}: {int(bad.sum())} have a k-hat over {KHAT_LIMIT} (first: "
                f"patient {first}): their scores are too good; "
                "they move the fit too far for weights"
            )
    for name, own in foreseen.items():
        lines.append(
            f"{name}: {own.coverage:.0%} of {len(own.readings)} later readings lie in "
            "their 90% interval"
        )
    return tuple(lines)


def _each(
    scores: dict[str, Scores], foreseen: dict[str, Foreseen], names: tuple[str, ...]
) -> Iterator[pd.DataFrame]:
    """Every score, a table a fit."""
    for name, own in scores.items():
        table = foreseen[name].patients if foreseen else own.table(names)
        table = table.assign(fit=name)
        yield pd.DataFrame({n: table[n] for n in dict.fromkeys(("fit", *table))})
