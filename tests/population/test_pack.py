"""Laws of packing: what cannot be described is refused, by name."""

import numpy as np
import pytest
from toys import QPCR, Line, Share, dataset, made, patient, sample

from ckin.library import load_model
from ckin.population import CovariateEffect, PackError, pack, population
from ckin.protocol import Dose


ROWS = (sample(1.0, 300.0), sample(8.0, 50.0, below=True))
TWO = (*ROWS, sample(60.0, 90.0, cycle=2))
WT = CovariateEffect("level", "WT", center=60.0)
ARM = CovariateEffect("level", "ARM", level="high")
MIL = CovariateEffect("level", "MIL", center=10.0)


def test_arrays_say_what_the_records_say():
    late = (sample(1.0, 9.0, assay="flow"), sample(3.0, 7.0, after=True))
    data = pack(
        dataset([patient("a", ROWS), patient("b", late, WT=70.0)]),
        population(made(Share), QPCR),
    )
    assert data.ids == ("a", "b")
    np.testing.assert_array_equal(data.time_d, [[1.0, 8.0], [3.0, 3.0]])
    np.testing.assert_array_equal(data.present, [[True, True], [True, False]])
    np.testing.assert_array_equal(data.below, [[False, True], [False, False]])
    np.testing.assert_array_equal(data.after, [[False, False], [True, False]])
    np.testing.assert_allclose(np.exp(data.log_value[0]), [300.0, 50.0])
    np.testing.assert_array_equal(data.known["weight"], [60.0, 70.0])
    np.testing.assert_array_equal(data.events.cells[:, 0, 0], [1e8, 1e8])


def test_patients_without_a_sample_of_the_assay_are_left_out():
    other = patient("b", [sample(1.0, 9.0, assay="flow")])
    data = pack(dataset([other, patient("a", ROWS)]), population(made(Share), QPCR))
    assert data.ids == ("a",)


def test_doses_per_kg_are_those_of_the_patients_weight():
    per_kg = (Dose(0.0, "CART", cells_per_kg=1e6),)
    data = pack(
        dataset([patient("a", ROWS, doses=per_kg, WT=71.0)]),
        population(made(Share), QPCR),
    )
    assert data.events.cells[0, 0, 0] == 71e6


NO_WEIGHT = patient("b", ROWS)
del NO_WEIGHT.covariates["WT"]  # pyright: ignore[reportIndexIssue]
FLAGSHIP = population(load_model("feeding_szcart01"), QPCR)


@pytest.mark.parametrize(
    ("patients", "pop", "words"),
    [
        (
            [patient("a", [sample(1.0, 9.0, assay="flow")])],
            population(made(Line), QPCR),
            "no qpcr sample.*its assays are flow",
        ),
        (
            [patient("a", ROWS), patient("b", ROWS, doses=())],
            FLAGSHIP,
            "patient b has no dose records.*CART, FTC",
        ),
        (
            [patient("a", ROWS), patient("b", TWO)],
            population(made(Line), QPCR),
            "patient b has samples in 2 cycles.*--cycles 1",
        ),
        (
            [patient("a", ROWS), NO_WEIGHT],
            population(made(Share), QPCR),
            "patient b has no WT, which others have",
        ),
        (
            [patient("a", ROWS, MIL=3.0), patient("b", ROWS)],
            population(made(Share), QPCR, covariates=[MIL]),
            "row 2, column MIL: patient b has no covariate MIL; it has WT",
        ),
        (
            [patient("a", ROWS), patient("b", ROWS)],
            population(made(Share), QPCR, covariates=[WT]),
            "covariate level_WT is the same for every patient",
        ),
        (
            [patient("a", ROWS, ARM="low"), patient("b", ROWS, ARM="mid")],
            population(made(Share), QPCR, covariates=[ARM]),
            "covariate level_ARM_high is the same for every patient",
        ),
        (
            [patient("a", ROWS, MIL=3.0), patient("b", ROWS, MIL="many")],
            population(made(Share), QPCR, covariates=[MIL]),
            "patient b: covariate MIL is 'many'",
        ),
    ],
)
def test_what_cannot_be_described_is_refused_with_the_patient_and_the_reason(
    patients, pop, words
):
    with pytest.raises(PackError, match=words):
        pack(dataset(patients), pop)


def test_a_model_that_takes_no_dose_needs_no_dose_records():
    data = pack(dataset([patient("a", ROWS, doses=())]), population(made(Line), QPCR))
    assert data.n_patients == 1


def test_several_courses_are_fine_for_a_model_that_describes_them():
    data = pack(dataset([patient("a", TWO)]), population(made(Share), QPCR))
    assert data.present.sum() == 3
