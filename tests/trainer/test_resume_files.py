"""Checkpoints as files: what is refused, what is damaged, what is kept, and that writing holds nothing up."""

import shutil
import threading
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open

from jobs import failpoints
from jobs.errors import DataInvalid
from jobs.spec.job import JobSpec
from tests.trainer.interrupted import Told, whole
from tests.trainer.samples import resolved
from trainer import checkpoints, device, snapshots
from trainer.features import splitting
from trainer.reports import Finished, Progress, Saved, Started
from trainer.run import run


def drained(spec: JobSpec, folder: Path, reports: int = 1) -> list[Saved]:
    """The files of a run that is drained after so many reports."""
    told = list[Started | Progress | Saved | Finished]()
    for news in run(spec, {}, folder, None, lambda: sum(isinstance(one, Progress) for one in told) == reports):
        told.append(news)
    return [one for one in told if isinstance(one, Saved)]


def checkpoint(spec: JobSpec, folder: Path) -> Path:
    """A file to go on from."""
    return folder / next(saved.name for saved in drained(spec, folder) if saved.resumable)


def begun(spec: JobSpec, folder: Path, resume: Path) -> Started:
    """What a run says that is to go on from a file."""
    return next(news for news in run(spec, {}, folder, resume, lambda: False) if isinstance(news, Started))


# --- refused


def test_another_torch_or_device_is_refused_and_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = resolved()
    path = checkpoint(spec, tmp_path)
    torch_here, on = torch.__version__, device.name(spec)
    monkeypatch.setattr(torch, "__version__", "9.9.9")
    assert begun(spec, tmp_path, path).refused == (
        f"The checkpoint was made with torch {torch_here} on {on}, here it is torch 9.9.9 on {on}."
    )
    monkeypatch.setattr(torch, "__version__", torch_here)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX1024")
    if not torch.cuda.is_available():
        told = begun(spec, tmp_path, path)
        assert (told.refused or "").endswith(f"on {on}, here it is torch {torch_here} on AVX1024.")
        assert told.resumed_from is None


@pytest.mark.parametrize("change", [{"seed": 1}, {"epochs": 4}, {"optimizer": {"kind": "sgd"}}, {"batch_size": 31}])
def test_another_spec_is_refused(change: dict[str, Any], tmp_path: Path) -> None:
    told = begun(resolved(**change), tmp_path, checkpoint(resolved(), tmp_path))
    assert (told.refused, told.resumed_from) == ("The checkpoint was made for another spec.", None)


def test_what_does_not_determine_the_result_is_not_compared(tmp_path: Path) -> None:
    told = begun(resolved(name="other", priority=3), tmp_path, checkpoint(resolved(), tmp_path))
    assert (told.refused, told.resumed_from) == (None, 4)


def test_a_snapshot_with_other_fields_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = checkpoint(resolved(), tmp_path)
    monkeypatch.setattr(snapshots, "PLAIN", (*snapshots.PLAIN, "a new one"))
    assert begun(resolved(), tmp_path, path).refused == "The checkpoint was made by another version of fitd."


def test_a_run_does_not_go_on_with_rows_that_are_dealt_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec, deal = resolved(), splitting.split
    path = checkpoint(spec, tmp_path)
    monkeypatch.setattr(splitting, "split", lambda how, frame, classes, seed: deal(how, frame, classes, seed + 1))
    refused = "The checkpoint was made with rows that were dealt or prepared otherwise."
    assert begun(spec, tmp_path, path).refused == refused


def test_a_run_that_begins_anew_ends_in_the_bytes_of_one_that_never_stopped(tmp_path: Path) -> None:
    spec = resolved()
    (tmp_path / "other").mkdir()
    told, path = Told(), checkpoint(resolved(seed=1), tmp_path / "other")
    (tmp_path / "anew").mkdir()
    for news in run(spec, {}, tmp_path / "anew", path, lambda: False):
        if not isinstance(news, Started):
            told.hear(news, tmp_path / "anew")
    assert told.outcome() == whole(spec, tmp_path)


# --- damaged


def test_whatever_byte_is_flipped_the_file_is_not_read(tmp_path: Path) -> None:
    path = checkpoint(resolved(), tmp_path)
    content, bad = path.read_bytes(), tmp_path / "bad.safetensors"
    header = 8 + int.from_bytes(content[:8], "little")
    for place in [*range(0, header, 37), *range(header, len(content), 101), len(content) - 1]:
        bad.write_bytes(content[:place] + bytes([content[place] ^ 0xFF]) + content[place + 1 :])
        with pytest.raises(DataInvalid, match="damaged"):
            checkpoints.read(bad)


@pytest.mark.parametrize("keep", [0, 1, 8, 100, 2000, -1])
def test_a_file_cut_short_is_not_read(keep: int, tmp_path: Path) -> None:
    path = checkpoint(resolved(), tmp_path)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(DataInvalid, match="damaged"):
        checkpoints.read(path)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"\xff" * 64, b"\x02" + bytes(7) + b"{}"])
def test_a_run_passes_over_what_is_no_checkpoint(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "bad").write_bytes(content)
    told = begun(resolved(), tmp_path, tmp_path / "bad")
    assert (told.refused or "").startswith("The checkpoint is damaged")
    assert told.resumed_from is None


def test_weights_alone_are_no_checkpoint(tmp_path: Path) -> None:
    spec = resolved(checkpoint={"save_weights_only": True})
    (path,) = (tmp_path / saved.name for saved in drained(spec, tmp_path) if saved.what == "best")
    with pytest.raises(DataInvalid):
        checkpoints.read(path)


# --- kept


def kept(saved: list[Saved]) -> list[tuple[str, int, bool]]:
    return [(one.what, one.step, one.resumable) for one in saved if one.what != "result"]


@pytest.mark.parametrize(
    ("policy", "files"),
    [
        ({}, [("best", 4, False), ("checkpoint", 4, True)]),
        ({"save_best_only": True}, [("best", 4, False), ("resume", 4, True)]),
        ({"save_weights_only": True}, [("best", 4, False), ("checkpoint", 4, False), ("resume", 4, True)]),
        ({"save_freq": 100}, [("best", 4, False), ("resume", 4, True)]),
    ],
)
def test_a_drained_run_can_be_gone_on_with(policy: dict[str, Any], files: list[Any], tmp_path: Path) -> None:
    assert kept(drained(resolved(checkpoint=policy), tmp_path)) == files


def test_a_run_leaves_something_to_go_on_from_now_and_then(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trainer.fit.REPORT_SECONDS", 0.0)
    monkeypatch.setattr("trainer.keeper.LATEST", 0.0)
    spec = resolved(checkpoint={"save_best_only": True})
    told = list(run(spec, {}, tmp_path, None, lambda: False))
    steps = [one.step for one in told if isinstance(one, Saved) and one.what == "resume"]
    assert steps[0] == 1  # in the middle of an epoch
    assert begun(spec, tmp_path, tmp_path / "resume-000000001.safetensors").resumed_from == 1


def test_what_is_kept_knows_its_own_metrics(tmp_path: Path) -> None:
    spec = resolved(checkpoint={"save_freq": 4}, epochs=3, log_every=1)
    told = list(run(spec, {}, tmp_path, None, lambda: False))
    ends = {news.step: news.latest for news in told if isinstance(news, Progress) and news.epoch_ended}
    saved = [news for news in told if isinstance(news, Saved) and news.what != "result"]
    assert [one.metrics for one in saved] == [ends[one.step] for one in saved]


# --- written


def test_training_goes_on_while_a_checkpoint_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trainer.keeper.SAVE_SECONDS", 0.0)
    writes, synced = threading.Event(), threading.Event()

    def reach(name: str) -> None:
        if name == "checkpoint.written":
            writes.set()
            assert synced.wait(30)

    monkeypatch.setattr(failpoints, "reach", reach)
    steps = []
    for news in run(resolved(epochs=20), {}, tmp_path, None, lambda: False):
        assert not isinstance(news, Saved) or synced.is_set()
        if isinstance(news, Progress):
            steps.append(news.step)
        if len(steps) == 10:
            assert writes.is_set()
            synced.set()
    assert steps[-1] == 80


def test_a_file_is_announced_when_it_is_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reached: list[tuple[str, list[str]]] = []

    def reach(name: str) -> None:
        reached.append((name, sorted(path.name for path in tmp_path.iterdir())))

    monkeypatch.setattr(failpoints, "reach", reach)
    drained(resolved(checkpoint={"save_freq": 100}), tmp_path)
    best, resume = "best-000000004", "resume-000000004"
    assert reached == [
        ("checkpoint.written", [f"{best}.partial"]),
        ("checkpoint.synced", [f"{best}.partial"]),
        ("checkpoint.renamed", [f"{best}.safetensors"]),
        ("checkpoint.written", [f"{best}.safetensors", f"{resume}.partial"]),
        ("checkpoint.synced", [f"{best}.safetensors", f"{resume}.partial"]),
        ("checkpoint.renamed", [f"{best}.safetensors", f"{resume}.safetensors"]),
    ]


def test_a_file_that_cannot_be_written_fails_the_run(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    news = run(resolved(checkpoint={"save_freq": 2}), {}, folder, None, lambda: False)
    next(news)
    shutil.rmtree(folder)
    with pytest.raises(FileNotFoundError):
        list(news)


def test_a_run_that_is_left_ends_its_thread(tmp_path: Path) -> None:
    news = run(resolved(checkpoint={"save_freq": 1}), {}, tmp_path, None, lambda: False)
    for one in news:
        if isinstance(one, Saved):
            break
    assert any(thread.name.startswith("keeper") for thread in threading.enumerate())
    news.close()  # type: ignore[attr-defined]
    assert not any(thread.name.startswith("keeper") for thread in threading.enumerate())


def test_other_programs_read_the_files(tmp_path: Path) -> None:
    tensors = {"a": torch.arange(3), "b": torch.rand(2, 3), "c": torch.rand(4, dtype=torch.float64), "d": torch.rand(0)}
    tensors |= {"é": torch.tensor(7, dtype=torch.uint8), "t": torch.rand(3, 2).T}
    checkpoints.write_tensors(tmp_path / "x.safetensors", tensors, {"said": "ü"})
    with safe_open(tmp_path / "x.safetensors", framework="pt") as file:
        assert file.metadata() == {"said": "ü"}
        assert set(file.keys()) == set(tensors)
        for name, tensor in tensors.items():
            assert torch.equal(file.get_tensor(name), tensor)


def test_a_finished_run_keeps_no_file_to_go_on_from_that_nobody_asked_for(tmp_path: Path) -> None:
    told = list(run(resolved(checkpoint={"save_best_only": True}), {}, tmp_path, None, lambda: False))
    assert isinstance(told[-1], Finished)
    assert {one[0] for one in kept([news for news in told if isinstance(news, Saved)])} == {"best"}
