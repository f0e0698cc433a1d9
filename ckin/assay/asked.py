"""Error laws of assays and their sizes, as texts of a command line ask for them."""

import dataclasses
import math
from collections.abc import Sequence

from ckin.assay.assays import ERRORS, Assay
from ckin.assay.errors import AbstractError
from ckin.errors import InputError, did_you_mean


def laws_asked(
    errors: Sequence[str], names: Sequence[str], what: str
) -> dict[str, AbstractError]:
    """Error laws by assay, of LAW or ASSAY=LAW; "" for every other assay.

    Args:
        errors: the texts; what is said of one assay goes before what is said of all.
        names: assays that there are.
        what: is done with them, for a message: "fitted".

    Raises:
        InputError: no such law, or no such assay.
    """
    laws = {}
    for text in sorted(errors, key=lambda text: "=" in text):
        name, equals, law = text.rpartition("=")
        if law not in ERRORS:
            raise InputError(
                f"--error {text}: {did_you_mean(law, ERRORS)}choose {', '.join(ERRORS)}"
            )
        if equals and name not in names:
            raise InputError(
                f"--error {text}: {name} is not {what}; {what} are "
                f"{', '.join(names)} (--assay)"
            )
        if not equals:
            laws |= dict.fromkeys(names, ERRORS[law])
        laws[name] = ERRORS[law]
    return laws


def with_priors(assays: Sequence[Assay], sigmas: Sequence[str]) -> list[Assay]:
    """The assays with these priors of their errors: NAME=MEDIAN[:SD_LOG].

    Raises:
        InputError: a text that is no prior of one of the assays.
    """
    known: dict[str, tuple[int, str]] = {}
    for place, assay in enumerate(assays):
        own = "additive" if assay.error.sigma_unit == "" else "sigma"
        known[assay.name] = (place, own)
        if assay.error.has_additive:
            known[f"add_{assay.name}"] = (place, "additive")
    changed = list(assays)
    for text in sigmas:
        name, _, rest = text.partition("=")
        median, colon, sd_log = rest.partition(":")
        try:
            numbers = [float(median), *([float(sd_log)] if colon else [])]
        except ValueError:
            numbers = []
        good = numbers and all(0 < number < math.inf for number in numbers)
        if name not in known or not good:
            raise InputError(
                f"--sigma {text}: expected NAME=MEDIAN or NAME=MEDIAN:SD_LOG, numbers "
                f"above 0, with NAME one of {', '.join(known)}"
            )
        place, field = known[name]
        names = (f"{field}_median", f"{field}_sd_log")
        told = dict(zip(names, numbers, strict=False))
        changed[place] = dataclasses.replace(changed[place], **told)
    return changed
