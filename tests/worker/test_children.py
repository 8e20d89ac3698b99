"""Child processes: warm, without secrets, limited, and gone when they should be."""

import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from jobs.spec.explained import UNKNOWN, Background
from tests.fleet import until
from tests.trainer.samples import resolved
from trainer.reports import Finished, Progress, Saved, Started
from worker import children
from worker.children import Child
from worker.messages import Alive, Drained, Failed, News, Order, Read, Spent

MEMORY, SECONDS = 8 * 1024**3, 60.0


@pytest.fixture(scope="module", autouse=True)
def warm() -> Iterator[None]:
    """The fork server of this process, started while secrets lie in the environment."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FITD_DATABASE_URL", "postgresql://user:hunter2@host/db")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "hunter2")
        children.warm()
        yield


@pytest.fixture
def started() -> Iterator[list[Child]]:
    """Children of a test; none outlives it."""
    running: list[Child] = []
    yield running
    for child in running:
        child.kill()


def train(
    started: list[Child],
    folder: Path,
    memory: int = MEMORY,
    largest: int = MEMORY,
    background: Background = UNKNOWN,
    **changes: Any,
) -> Child:
    order = Order(
        spec=resolved(**changes),
        background=background,
        files={},
        folder=folder,
        resume=None,
        threads=1,
        slot=0,
        memory_bytes=memory,
        file_bytes=largest,
    )
    started.append(children.start("train", order.model_dump_json()))
    return started[-1]


def read(started: list[Child], path: Path, memory: int = MEMORY) -> list[News]:
    started.append(children.start("read", str(path), "a" * 64, memory, SECONDS))
    return everything(started[-1])


def everything(child: Child) -> list[News]:
    """All that it says until it is gone."""
    heard: list[News] = []
    while child.running:
        heard += child.hear(0.2)
    return heard + child.hear(0)


def server_of(child: Child) -> str:
    """The number of the process that it was forked from."""
    return Path(f"/proc/{child.process.pid}/stat").read_text().split()[3]


def lives(child: Child) -> bool:
    """Also where its exit code says nothing."""
    try:
        return Path(f"/proc/{child.process.pid}/stat").read_text().split()[2] != "Z"
    except FileNotFoundError:
        return False


def test_a_run_is_told_from_beginning_to_end(started: list[Child], tmp_path: Path) -> None:
    heard = [news for news in everything(train(started, tmp_path, epochs=2)) if not isinstance(news, Alive)]
    kinds = [type(news) for news in heard]
    assert kinds[0] is Started
    assert kinds[-2:] == [Finished, Spent]
    assert [news.epoch for news in heard if isinstance(news, Progress) and news.epoch_ended] == [1, 2]
    assert all((tmp_path / news.name).exists() for news in heard if isinstance(news, Saved))


def test_a_child_at_work_says_so_while_it_has_nothing_to_report(started: list[Child], tmp_path: Path) -> None:
    wide = {"kind": "mlp", "hidden": [4096, 4096]}  # a hundred steps of it are tried before the run begins
    child = train(started, tmp_path, device="cpu", model=wide, optimizer={"kind": "sgd", "lr": "auto"})
    assert isinstance(child.hear(60)[0], Alive)


def test_a_child_that_talks_without_end_is_interrupted(
    started: list[Child], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(children, "MOST_HEARD", 3)
    child = train(started, tmp_path, epochs=100_000)
    until(lambda: child._said.qsize() > 10)
    assert [len(child.hear(1)) for _ in range(3)] == [3, 3, 3]


def test_a_child_sees_no_secret(started: list[Child], tmp_path: Path) -> None:
    child = train(started, tmp_path, epochs=100_000)
    child.hear(30)
    environment = Path(f"/proc/{child.process.pid}/environ").read_bytes()
    assert b"hunter2" not in environment
    assert os.environ["AWS_SECRET_ACCESS_KEY"] == "hunter2"  # the worker itself keeps it


def test_what_children_are_forked_from_runs_no_thread_that_they_would_miss(
    started: list[Child], tmp_path: Path
) -> None:
    server = server_of(train(started, tmp_path, epochs=100_000))
    names = {
        (task / "comm").read_text().strip() for task in Path(f"/proc/{server}/task").iterdir() if task.name != server
    }
    assert names <= {"polars-ooc-clea"}  # it deletes what was spilled to disk; nothing is


def test_a_drained_run_is_saved_before_it_ends(started: list[Child], tmp_path: Path) -> None:
    child = train(started, tmp_path, epochs=100_000)
    child.hear(30)
    child.drain()
    heard = everything(child)
    assert [type(news) for news in heard[-2:]] == [Drained, Spent]
    assert any(isinstance(news, Saved) and news.resumable for news in heard)


def test_a_stopped_child_is_gone_at_once(started: list[Child], tmp_path: Path) -> None:
    child = train(started, tmp_path, epochs=100_000)
    child.hear(30)
    began = time.monotonic()
    child.stop()
    assert time.monotonic() - began < children.GRACE
    assert not child.running


def test_a_child_whose_server_was_killed_is_ended_and_heard_out(started: list[Child], tmp_path: Path) -> None:
    child = train(started, tmp_path, epochs=100_000)
    until(lambda: [news for news in child.hear(1) if isinstance(news, Progress)])
    os.kill(int(server_of(child)), signal.SIGKILL)
    until(lambda: not child.running)
    assert (child.process.exitcode, lives(child)) == (children.ORPHANED, True)
    began = time.monotonic()
    child.hear(0)
    assert (child.over, time.monotonic() - began < children.GRACE) == (True, True)
    until(lambda: not lives(child))
    children.warm()


def test_a_fault_in_the_data_is_said_without_a_trace(started: list[Child], tmp_path: Path) -> None:
    heard = everything(train(started, tmp_path, split={"kind": "ordered", "validation": 0.3, "test": 0.4}))
    failed = next(news for news in heard if isinstance(news, Failed))
    assert (failed.error_class, failed.code) == ("data", "data_invalid")
    assert "training rows" in failed.message


def failure(heard: list[News]) -> tuple[str, str]:
    """Class and code."""
    (failed,) = [news for news in heard if isinstance(news, Failed)]
    return failed.error_class, failed.code


def test_a_run_gets_no_more_memory_than_it_may_have(started: list[Child], tmp_path: Path) -> None:
    wide = {"kind": "mlp", "hidden": [8192, 8192]}  # 270 MB of weights
    heard = everything(train(started, tmp_path, memory=600 * 2**20, model=wide, epochs=1))
    assert failure(heard) == ("oom", "out_of_memory")


def test_a_run_writes_no_larger_file_than_it_may(started: list[Child], tmp_path: Path) -> None:
    heard = everything(train(started, tmp_path, largest=20_000, model={"kind": "mlp", "hidden": [256]}, epochs=1))
    assert failure(heard) == ("spec", "takes_too_much")


def test_a_run_takes_no_more_time_than_any_may(started: list[Child], tmp_path: Path) -> None:
    heard = everything(train(started, tmp_path, background=Background(most_seconds=0.5), epochs=100_000))
    (finished,) = [news for news in heard if isinstance(news, Finished)]
    assert finished.stop_reason == "max_time"


def test_a_file_is_read_to_a_profile(started: list[Child], tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("a,b\n1,x\n2,y\n")
    (news,) = [news for news in read(started, path) if isinstance(news, Read)]
    assert [(column.name, column.kind) for column in news.profile.columns] == [("a", "numeric"), ("b", "categorical")]
    assert (news.profile.sha256, news.preview) == ("a" * 64, [{"a": 1, "b": "x"}, {"a": 2, "b": "y"}])


def test_json_rows_are_read_like_a_table(started: list[Child], tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text(json.dumps([{"a": 1, "b": "x"}, {"a": None, "b": "y"}]))
    (news,) = [news for news in read(started, path) if isinstance(news, Read)]
    assert [(column.name, column.missing) for column in news.profile.columns] == [("a", 1), ("b", 0)]


def test_a_file_that_takes_too_much_memory_fails_alone(started: list[Child], tmp_path: Path) -> None:
    path = tmp_path / "file"
    with path.open("w") as file:
        file.write("a,b\n" + "1234567.5,2345678.25\n" * 5_000_000)
    heard = read(started, path, memory=2 * 1024**3)
    assert not any(isinstance(news, Read) for news in heard)
