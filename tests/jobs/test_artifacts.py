"""Files in a local folder and in a store that speaks S3: the same promises."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import obstore
import pytest

from jobs import artifacts
from jobs.artifacts import CHUNK, Artifacts

PART = bytes(range(256)) * 4096  # 1 MiB
PARTS = 12  # more than goes to S3 in one request


@pytest.fixture(params=["file", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Artifacts:
    if request.param == "file":
        return artifacts.connect((tmp_path / "artifacts").as_uri())
    return artifacts.connect(f"s3://{request.getfixturevalue('bucket').rpartition('/')[2]}/fitd")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "source"
    path.write_bytes(b"0123456789")
    return path


async def parts(number: int, error: Exception | None = None) -> AsyncIterator[bytes]:
    for _ in range(number):
        yield PART
    if error:
        raise error


def keys(store: Artifacts) -> list[str]:
    return sorted(item["path"] for item in obstore.list(store.store).collect())


def content(store: Artifacts, key: str) -> bytes:
    return b"".join(store.read(key))


def test_a_file_is_stored_under_its_key(store: Artifacts, file: Path) -> None:
    store.put("jobs/1/model", file)
    assert keys(store) == ["jobs/1/model"]
    assert content(store, "jobs/1/model") == b"0123456789"


def test_a_second_put_replaces_the_first(store: Artifacts, file: Path) -> None:
    store.put("model", file)
    file.write_bytes(b"new")
    store.put("model", file)
    assert content(store, "model") == b"new"


@pytest.mark.parametrize("number", [0, 1, PARTS])
def test_a_stream_is_stored_measured_and_hashed(store: Artifacts, number: int) -> None:
    size, digest = asyncio.run(store.put_stream("data", parts(number)))
    assert (size, digest) == (number * len(PART), hashlib.sha256(PART * number).hexdigest())
    assert content(store, "data") == PART * number


def test_a_stream_that_breaks_leaves_nothing_behind(store: Artifacts) -> None:
    with pytest.raises(ValueError, match="gone"):
        asyncio.run(store.put_stream("data", parts(PARTS, ValueError("gone"))))
    assert keys(store) == []
    if store.root:
        assert [path for path in store.root.rglob("*") if path.is_file()] == []


def test_a_stream_that_breaks_leaves_no_paid_upload_behind(bucket: str) -> None:
    store = artifacts.connect(f"s3://{bucket.rpartition('/')[2]}")
    with pytest.raises(ValueError, match="gone"):
        asyncio.run(store.put_stream("data", parts(PARTS, ValueError("gone"))))
    assert "<Upload>" not in httpx2.get(f"{bucket}?uploads").text


def test_a_move_leaves_nothing_under_the_old_key(store: Artifacts, file: Path) -> None:
    store.put("incoming/1", file)
    store.move("incoming/1", "datasets/ab")
    assert keys(store) == ["datasets/ab"]
    assert content(store, "datasets/ab") == b"0123456789"


def test_a_move_goes_over_what_is_there(store: Artifacts, file: Path) -> None:
    store.put("old", file)
    file.write_bytes(b"new")
    store.put("new", file)
    store.move("new", "old")
    assert (keys(store), content(store, "old")) == (["old"], b"new")


def test_a_copy_goes_over_what_is_there_and_leaves_the_first(store: Artifacts, file: Path) -> None:
    store.put("old", file)
    file.write_bytes(b"new")
    store.put("new", file)
    store.copy("new", "old")
    assert (keys(store), content(store, "old"), content(store, "new")) == (["new", "old"], b"new", b"new")


@pytest.mark.parametrize(("start", "end"), [(0, None), (3, 5), (3, None), (0, 99), (10, None), (99, None), (4, 4)])
def test_a_range_is_read_as_a_slice(store: Artifacts, file: Path, start: int, end: int | None) -> None:
    store.put("model", file)
    assert b"".join(store.read("model", start, end)) == b"0123456789"[start:end]


def test_a_long_file_is_read_in_chunks(store: Artifacts) -> None:
    asyncio.run(store.put_stream("data", parts(3)))
    assert [len(chunk) for chunk in store.read("data", 1)] == [CHUNK, CHUNK, CHUNK - 1]


def test_a_file_is_fetched_whole(store: Artifacts, tmp_path: Path) -> None:
    asyncio.run(store.put_stream("data", parts(PARTS)))
    store.fetch("data", tmp_path / "copy")
    assert artifacts.sha256(tmp_path / "copy") == hashlib.sha256(PART * PARTS).hexdigest()


def test_what_is_not_there_is_not_found(store: Artifacts, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        content(store, "none")
    with pytest.raises(FileNotFoundError):
        store.move("none", "other")
    with pytest.raises(FileNotFoundError):
        store.copy("none", "other")
    with pytest.raises(FileNotFoundError):
        store.fetch("none", tmp_path / "copy")
    assert not (tmp_path / "copy").exists()


def test_a_deleted_file_is_gone_and_may_be_deleted_again(store: Artifacts, file: Path) -> None:
    store.put("model", file)
    store.delete("model")
    store.delete("model")
    assert keys(store) == []


@pytest.mark.parametrize("key", ["../up", "a/../../up", "a/./b", "a//b", "a\0b", "a\nb"])
def test_a_key_that_leaves_its_place_is_refused(store: Artifacts, file: Path, key: str) -> None:
    with pytest.raises(ValueError, match="path"):
        store.put(key, file)
    with pytest.raises(ValueError, match="path"):
        content(store, key)
    with pytest.raises(TypeError, match="path"):
        store.delete(key)
    assert keys(store) == []


def test_a_folder_goes_with_all_its_files(store: Artifacts, file: Path) -> None:
    for key in ("jobs/1/a1/model", "jobs/1/a2/model", "jobs/10/a1/model"):
        store.put(key, file)
    store.delete_all("jobs/1")
    store.delete_all("jobs/nothing")
    assert keys(store) == ["jobs/10/a1/model"]
