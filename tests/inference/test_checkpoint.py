"""Laws of a checkpoint: whole steps or none, the same ones, of the same fit."""

import dataclasses
import errno
import json
import os
from pathlib import Path
from typing import NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from toys import QPCR, Line, line_cohort, made

from ckin.errors import InputError
from ckin.inference.checkpoint import INDEX, is_begun, open_checkpoint
from ckin.inference.density import make_density
from ckin.inference.identity import description, differences, identity
from ckin.inference.stored import from_bytes, to_bytes
from ckin.population import pack, population


FIT = {"data_sha256": "a", "settings": {"seed": 0, "method": "nuts"}}


class Inner(eqx.Module):
    matrix: jnp.ndarray
    names: tuple[str, ...] = eqx.field(static=True)


class Step(NamedTuple):
    inner: Inner
    rows: np.ndarray
    count: int
    done: bool
    nothing: Inner | None


def a_step(seed: int) -> Step:
    rng = np.random.default_rng(seed)
    return Step(
        Inner(jnp.asarray(rng.normal(size=(2, 3))), ("a", "ω")),
        rng.normal(size=(0, 4)),
        seed,
        bool(seed % 2),
        None if seed % 2 else Inner(jnp.asarray(np.inf), ()),
    )


def same(one: Step, other: Step) -> bool:
    return to_bytes(one) == to_bytes(other)


def opened(folder: Path, *, fit=FIT, draws: int = 100, resume: bool = True):
    return open_checkpoint(folder, fit, draws=draws, resume=resume)


def forbidden():
    raise AssertionError("a step that is known was done again")


def done(folder: Path, steps: int) -> None:
    """A fit that got so far."""
    memory = opened(folder, resume=False)
    for number in range(steps):
        memory.step(f"chunk-{number:05d}", Step, lambda n=number: a_step(n))


@pytest.mark.parametrize("seed", [0, 1])
def test_what_is_read_is_what_was_written(seed):
    step = a_step(seed)
    again = from_bytes(Step, to_bytes(step))
    assert same(step, again)
    assert isinstance(again.rows, np.ndarray)
    assert type(again.count) is int
    assert again.done is step.done
    assert again.inner.names == ("a", "ω")


def test_a_file_that_would_execute_something_is_not_read():
    import io

    file = io.BytesIO()
    np.savez(file, plain=np.array([forbidden], dtype=object))
    with pytest.raises(ValueError, match="allow_pickle=False"):
        from_bytes(Step, file.getvalue())


def test_steps_that_are_done_are_not_done_again(tmp_path):
    done(tmp_path, 3)
    memory = opened(tmp_path)
    for number in range(3):
        found = memory.step(f"chunk-{number:05d}", Step, forbidden)
        assert same(found, a_step(number))
    assert not memory.holds("chunk-00003")
    memory.step("chunk-00003", Step, lambda: a_step(3))
    told = memory.told()
    assert (told["recalled"], told["made"]) == (3, 1)
    assert len(told["machines"]) == 1


def test_a_fit_without_resume_starts_anew_and_leaves_other_files(tmp_path):
    done(tmp_path, 3)
    (tmp_path / "mine.npz").write_text("not ckin's")
    assert is_begun(tmp_path)
    memory = opened(tmp_path, resume=False)
    assert not memory.holds("chunk-00000")
    assert {p.name for p in tmp_path.iterdir()} == {INDEX, "mine.npz"}


def test_there_may_be_nothing_to_resume(tmp_path):
    memory = opened(tmp_path / "new" / "checkpoint")
    assert not memory.holds("chunk-00000")
    assert "from the start" in memory.notes[0]


@pytest.mark.parametrize(
    "harm",
    [
        lambda content: content[: len(content) // 2],
        lambda content: b"",
        lambda content: content[:-9] + bytes([content[-9] ^ 1]) + content[-8:],
    ],
    ids=["truncated", "empty", "one bit"],
)
def test_a_file_that_is_not_what_was_written_is_named(tmp_path, harm):
    done(tmp_path, 3)
    victim = tmp_path / "chunk-00001.npz"
    victim.write_bytes(harm(victim.read_bytes()))
    with pytest.raises(InputError, match=r"chunk-00001\.npz is not what was written"):
        opened(tmp_path)
    # As the message says: without it, it and what came after are done again.
    victim.unlink()
    memory = opened(tmp_path)
    assert [memory.holds(f"chunk-{n:05d}") for n in range(3)] == [True, False, False]
    assert "chunk-00001 was taken away" in memory.notes[0]


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", None])
def test_an_index_that_is_not_what_was_written_is_refused(tmp_path, text):
    done(tmp_path, 1)
    path = tmp_path / INDEX
    if text is None:
        text = path.read_text().replace('"seed": 0', '"seed": 1')
    path.write_text(text)
    with pytest.raises(InputError, match=r"index\.json is not what was written"):
        opened(tmp_path)


def test_another_fit_is_refused_with_what_is_other(tmp_path):
    done(tmp_path, 1)
    other = {"data_sha256": "b", "settings": {"seed": 1, "method": "nuts"}}
    with pytest.raises(InputError) as refused:
        opened(tmp_path, fit=other)
    assert "the data file has changed" in str(refused.value)
    assert "seed was 0, is now 1" in str(refused.value)
    assert "method" not in str(refused.value)


def test_more_draws_are_the_same_fit_and_fewer_are_not(tmp_path):
    done(tmp_path, 1)
    assert opened(tmp_path, draws=200).holds("chunk-00000")
    with pytest.raises(InputError, match="draws was 200, is now 100"):
        opened(tmp_path, draws=100)


class FullDisk(OSError):
    def __init__(self, *_):
        super().__init__(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("moment", ["fsync", "replace"])
def test_a_full_disk_ends_cleanly_with_the_last_step_intact(
    tmp_path, monkeypatch, moment
):
    done(tmp_path, 2)
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    memory = opened(tmp_path)

    def full(*_):
        raise FullDisk

    with monkeypatch.context() as patch:
        if moment == "fsync":
            patch.setattr(os, "fsync", full)
        else:
            patch.setattr(Path, "replace", full)
        with pytest.raises(InputError) as refused:
            memory.step("chunk-00002", Step, lambda: a_step(2))
    assert "No space left on device" in str(refused.value)
    assert "2 steps of the fit are safe" in str(refused.value)
    assert "--resume" in str(refused.value)
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before
    memory = opened(tmp_path)
    assert same(memory.step("chunk-00001", Step, forbidden), a_step(1))
    memory.step("chunk-00002", Step, lambda: a_step(2))


@pytest.mark.parametrize("which", [1, 2], ids=["the step", "the index"])
def test_a_process_that_dies_while_writing_leaves_whole_steps(
    tmp_path, monkeypatch, which
):
    done(tmp_path, 2)
    memory, replace, calls = opened(tmp_path), Path.replace, []

    def dies(self, target):
        calls.append(target)
        if len(calls) == which:
            raise KeyboardInterrupt
        return replace(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", dies)
        with pytest.raises(KeyboardInterrupt):
            memory.step("chunk-00002", Step, lambda: a_step(2))
    # A file beside the index is no step, and half a file has another name.
    memory = opened(tmp_path)
    assert memory.holds("chunk-00001")
    assert not memory.holds("chunk-00002")
    assert same(memory.step("chunk-00002", Step, lambda: a_step(2)), a_step(2))
    assert same(opened(tmp_path).step("chunk-00002", Step, forbidden), a_step(2))


def test_a_folder_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        opened(tmp_path / "file" / "checkpoint")


# What a fit is


LINES = population(made(Line), QPCR)
COHORT = line_cohort(4, (8, 3))


def told(cohort=COHORT, whole=LINES, **settings):
    density = make_density(whole, pack(cohort, whole))
    return json.loads(json.dumps(identity(cohort, density, settings)))


def test_a_fit_is_itself():
    assert differences(told(seed=0), told(seed=0)) == []


def test_a_fit_of_other_readings_priors_or_values_is_another():
    usual = told()
    (patient, *others) = COHORT.patients
    (sample, *rest) = patient.samples
    higher = dataclasses.replace(sample, value=2.0 * sample.value)
    patient = dataclasses.replace(patient, samples=(higher, *rest))
    moved = dataclasses.replace(COHORT, patients=(patient, *others))
    (found,) = differences(usual, told(moved))
    assert found == (
        "the data are read in another way (log_value): look at the options"
    )
    cases = {
        "population.priors": dataclasses.replace(
            LINES, priors={"a": dist.Normal(0.0, 1.0)}
        ),
        "population.model.b was -0.1, is now -0.2": population(
            made(Line, b=-0.2), QPCR
        ),
        "population.omega.0 was 0.8, is now 0.7": dataclasses.replace(
            LINES, omega=(0.7, 0.1)
        ),
    }
    for words, whole in cases.items():
        assert any(words in each for each in differences(usual, told(whole=whole)))


def test_large_arrays_differ_by_their_hash_and_small_ones_in_numbers():
    assert description(np.arange(3.0)) == [0.0, 1.0, 2.0]
    one, other = np.zeros(100), np.zeros(100)
    other[50] = 1e-300
    assert description(one) == description(one.copy())
    assert description(one) != description(other)
    assert description(one) != description(one.reshape(10, 10))
