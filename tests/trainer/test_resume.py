"""A run that is interrupted, however often and wherever, ends in the same bytes as one that is not."""

from pathlib import Path
from typing import Any, get_args

import pytest
import torch

from jobs.spec.augment import Augmentation
from jobs.spec.data import Builtin, Scaler
from jobs.spec.job import JobSpec, Precision
from jobs.spec.loss import Loss
from jobs.spec.model import Layer, Sequential
from jobs.spec.optimizer import Optimizer
from jobs.spec.schedule import Schedule
from tests.trainer.interrupted import Told, interrupted, spec_of, whole
from tests.trainer.samples import loaded, resolved
from trainer import batches

SEEDS = 70


def check(spec: JobSpec, seed: int, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = whole(spec, folder)
    monkeypatch.setattr("trainer.fit.REPORT_SECONDS", 0.0)  # a report after every step, mid-epoch ones included
    monkeypatch.setattr("trainer.keeper.SAVE_SECONDS", 0.0)
    told = interrupted(spec, folder, expected["end"].step, seed)
    assert told.resumed
    outcome = told.outcome()
    assert outcome.keys() == expected.keys()
    assert [name for name in expected if outcome[name] != expected[name]] == []


@pytest.mark.parametrize("seed", range(SEEDS))
def test_an_interrupted_run_ends_in_the_same_bytes(seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check(spec_of(seed), seed, tmp_path, monkeypatch)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(SEEDS, 600))
def test_so_does_any_other(seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check(spec_of(seed), seed, tmp_path, monkeypatch)


@pytest.mark.slow  # seconds for a step, on a processor
@pytest.mark.parametrize("seed", range(0, 36, 3))
def test_so_do_convolutions_in_fp16(seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = spec_of(seed).model_copy(update={"precision": "fp16"})
    assert spec.dataset == Builtin(name="digits")
    check(spec, seed, tmp_path, monkeypatch)


def test_every_kind_is_among_the_specs_drawn() -> None:
    drawn = [spec_of(seed) for seed in range(SEEDS)]
    assert {spec.optimizer.kind for spec in drawn} == kinds_of(Optimizer)
    assert {spec.schedule.kind for spec in drawn} == kinds_of(Schedule)
    assert {one.kind for spec in drawn for one in spec.augment} == kinds_of(Augmentation)
    assert {layer.kind for spec in drawn for layer in _layers(spec)} == kinds_of(Layer)
    assert {spec.loss.kind for spec in drawn} == kinds_of(Loss)
    assert {spec.scaler.kind for spec in drawn} == kinds_of(Scaler)
    assert {spec.precision for spec in drawn} == set(get_args(Precision))
    assert {spec.ensemble.vary for spec in drawn if spec.ensemble} == {"seed", "init", "bootstrap"}


def kinds_of(choice: Any) -> set[str]:
    """Of a closed union; `auto` is resolved by the time that a run begins."""
    (union, *_), found = get_args(choice), set[str]()
    for part in get_args(union):
        found |= kinds_of(part) if get_args(part) else set(get_args(part.model_fields["kind"].annotation))
    return found - {"auto"}


def _layers(spec: JobSpec) -> list[Layer]:
    assert isinstance(spec.model, Sequential)
    return spec.model.layers


@pytest.mark.parametrize(("made", "here"), [(2, 1), (1, 2)])
def test_a_resumed_run_takes_the_threads_of_its_checkpoint(
    made: int, here: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trainer.threads.SMALL_STEP", 0.0)
    spec = resolved(dataset={"source": "builtin", "name": "digits"}, model={"kind": "cnn"}, epochs=2, batch_size=512)
    torch.set_num_threads(made)
    expected = whole(spec, tmp_path)
    told = Told()
    told.attempt(spec, tmp_path / "first", 1, drained=True)
    torch.set_num_threads(here)
    told.attempt(spec, tmp_path / "second")
    assert torch.get_num_threads() == made
    assert told.outcome() == expected


@pytest.mark.parametrize("members", [1, 3])
def test_a_batch_lies_where_it_lies_in_a_whole_epoch(members: int) -> None:
    spec = resolved(dataset={"source": "builtin", "name": "wine"}, batch_size=13)
    train = loaded(spec).train
    order = torch.stack([torch.randperm(len(train)) for _ in range(members)])
    starts = batches.starts(len(train), 13, has_batch_norm=False)
    every = list(batches.batches(train, order, starts, 0))
    for first in range(len(starts) - 1):
        rest = list(batches.batches(train, order, starts, first))
        assert [(x.storage_offset(), x.stride()) for x, _ in rest] == [
            (x.storage_offset(), x.stride()) for x, _ in every[first:]
        ]
        assert all(torch.equal(x, y) for (x, _), (y, _) in zip(rest, every[first:], strict=True))


def test_a_run_may_be_interrupted_at_its_very_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trainer.fit.REPORT_SECONDS", 0.0)
    spec = resolved(ensemble={"members": 2}, early_stopping={"patience": 0})
    expected = whole(spec, tmp_path)
    told = Told()
    told.attempt(spec, tmp_path / "first", 12, drained=True)
    told.attempt(spec, tmp_path / "second", 1, drained=True)
    assert told.outcome() == expected


@pytest.mark.parametrize("restored", [True, False])
def test_a_run_that_was_lost_after_its_last_checkpoint_ends_in_the_same_bytes(restored: bool, tmp_path: Path) -> None:
    stopping = {"patience": 1, "monitor": "val_accuracy", "restore_best_weights": restored}
    told, spec = Told(), resolved(ensemble={"members": 2}, early_stopping=stopping, epochs=9)
    told.attempt(spec, tmp_path / "first")
    expected = told.outcome()
    told.attempt(spec, tmp_path / "second")
    assert told.resumed == 1
    assert told.outcome() == expected
