"""Hostile files end in the limited child: read or refused with a reason, never hanging, never growing."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench import corpora, ingest, reader, traps
from worker import children

PAGE = Path(__file__).resolve().parents[2] / "docs/ingest.md"
MEMORY = 4 << 30
SECONDS = 60.0
HEAVY = ("dictionary_of_2_gib.parquet", "one_text_a_million_times.parquet")
"""They take gigabytes or seconds before they are stopped."""


@pytest.fixture(scope="module", autouse=True)
def warm() -> None:
    children.warm()


def written() -> Iterator[tuple[str, str]]:
    """File and outcome of each row of the document's last table."""
    table = PAGE.read_text().partition("## Files")[2]
    for line in table.splitlines()[4:]:
        if cells := re.split(r"(?<!\\)\|", line)[1:3]:
            yield cells[0].strip(), cells[1].strip()


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if name in HEAVY else name for name in traps.TRAPS]
)
def test_a_trap_is_refused_within_the_limits(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(traps.TRAPS[name]())
    found = reader.read(path, MEMORY, SECONDS)
    assert (found.shape, found.hung) == ("", False)
    assert found.killed == (name == "one_text_a_million_times.parquet"), found
    assert len(found.refusal) <= 1_000
    assert (found.peak_bytes or 0) < MEMORY


def test_what_is_written_about_files_is_what_becomes_of_them(tmp_path: Path, shared: Path) -> None:
    compare(tmp_path, shared, every=20)


@pytest.mark.slow
def test_what_is_written_about_all_files_is_what_becomes_of_them(tmp_path: Path, shared: Path) -> None:
    compare(tmp_path, shared, every=1)


def compare(tmp_path: Path, shared: Path, every: int) -> None:
    cases = list(corpora.unpack(shared / "data", tmp_path))[::every]
    found = {ingest.escape(case.name): ingest.said(reader.read(case.path)) for case in cases}
    assert len(found) >= 700 / every
    assert found.items() <= dict(written()).items()
