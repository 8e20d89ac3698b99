"""A run says that it goes on from within all that takes long and reports nothing."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest

from tests.trainer.samples import resolved
from trainer import alive, run, trials

WORD = "alive"
IMAGES = {"dataset": {"source": "builtin", "name": "digits"}}


@pytest.fixture
def talkative(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where every piece of work takes a second."""
    monkeypatch.setattr(alive, "APART", 0.0)


def listened(work: Callable[[list[str]], None]) -> list[str]:
    """What is said meanwhile."""
    said: list[str] = []

    def listen() -> None:
        alive.listen(lambda: said.append(WORD))
        work(said)

    copy_context().run(listen)
    return said


def heard(folder: Path, **changes: Any) -> list[str]:
    """What a run of an epoch says, word by word."""
    folder.mkdir()
    spec = resolved(epochs=1, **changes)
    return listened(lambda said: said.extend(news.kind for news in run.run(spec, {}, folder, None, lambda: False)))


@pytest.mark.usefixtures("talkative")
@pytest.mark.parametrize("changes", [{}, IMAGES])
def test_reading_validation_test_and_account_are_no_silence(tmp_path: Path, changes: dict[str, Any]) -> None:
    order = [kind for kind, _ in groupby(heard(tmp_path / "run", **changes))]
    before_the_account = [WORD, "started", WORD, "progress", WORD, "saved"]
    assert order == [*before_the_account, WORD, "saved", "finished"]


@pytest.mark.usefixtures("talkative")
def test_trials_are_no_silence(tmp_path: Path) -> None:
    usual = heard(tmp_path / "usual")
    tried = heard(tmp_path / "tried", optimizer={"kind": "sgd", "lr": "auto"})
    assert tried.index("started") == usual.index("started") + trials.RANGE_STEPS


def test_a_word_changes_no_bit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    heard(tmp_path / "quiet")
    monkeypatch.setattr(alive, "APART", 0.0)
    heard(tmp_path / "talkative")
    for name in ("model.safetensors", "history.csv", "report.json"):
        assert (tmp_path / "quiet" / name).read_bytes() == (tmp_path / "talkative" / name).read_bytes()


def test_words_are_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alive, "APART", 3600.0)
    assert listened(lambda _: alive.say()) == []


@pytest.mark.usefixtures("talkative")
def test_only_the_thread_of_the_run_speaks() -> None:
    with ThreadPoolExecutor(1) as thread:
        assert listened(lambda _: thread.submit(alive.say).result()) == []
    assert listened(lambda _: alive.say()) == [WORD]
