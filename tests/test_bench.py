"""The benches say what they measured, and of whom."""

from pathlib import Path

import pytest

from bench import pages
from bench.corpora import Case as File
from bench.ingest import Read, escape
from bench.peers.case import Case, examples, parse, write
from bench.reader import Outcome
from bench.turns import Contestant, take
from jobs.spec.job import JobSpec

PUBLISHED = Path(__file__).resolve().parents[1] / "examples/published"
TINY = Case("tiny", (4,), (8,), rows=40, validation=10, batch=16, classes=3, threads=1)


@pytest.mark.parametrize("path", sorted(PUBLISHED.glob("*.json")), ids=lambda path: path.stem)
def test_published_settings_are_valid_specs(path: Path) -> None:
    spec = JobSpec.model_validate_json(path.read_bytes())
    assert spec.dataset.source == "upload"


def test_what_was_measured_before_is_replaced(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("Kept.\n<!-- measured -->\n<!-- to here -->\nKept too.\n")
    pages.renew(page, "old")
    pages.renew(page, pages.table(("", "µs"), [("fitd", "1")]))
    measured = "|  | µs |\n| --- | --: |\n| fitd | 1 |"
    assert page.read_text() == f"Kept.\n<!-- measured -->\n\n{measured}\n\n<!-- to here -->\nKept too.\n"


def test_page_without_a_place_for_measurements_is_refused(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("Nothing here.")
    with pytest.raises(ValueError, match="no place for measurements"):
        pages.renew(page, "new")


def test_case_survives_the_way_to_another_process() -> None:
    assert parse(write(TINY)) == TINY


def test_every_contestant_gets_the_same_rows() -> None:
    (train, held), (again, _) = examples(TINY), examples(TINY)
    assert held is not None
    assert (train.x == again.x).all()
    assert (train.x.shape, held.x.shape, sorted({*train.y})) == ((40, 4), (10, 4), [0, 1, 2])


def test_whoever_is_not_installed_is_left_out(tmp_path: Path) -> None:
    found = take(TINY, [Contestant("nobody", "loop")], tmp_path / "python", rounds=2, epochs=1)
    assert (found["nobody"].absent, found["nobody"].seconds) == ("not installed", [])


@pytest.mark.slow
def test_first_epoch_of_a_turn_is_not_counted(tmp_path: Path) -> None:
    found = take(TINY, [Contestant("fitd", "ours", ours=True)], tmp_path / "python", rounds=2, epochs=3)
    assert (found["fitd"].absent, len(found["fitd"].seconds)) == ("", 6)


@pytest.mark.parametrize(
    ("ours", "refusal", "pandas", "pyarrow", "why"),
    [
        ("2x3", "", "2x3", "ArrowInvalid", ""),
        ("3x3", "", "2x3", "2x3", "header"),
        ("3x3", "", "2x1", "2x1", "separator"),
        ("2x3", "", "3x3", "3x3", "gaps"),
        ("2x2", "", "", "2x3", "left out"),
        ("2x2", "", "ParserError", "ArrowInvalid", "only fitd"),
        ("", "The file is empty", "EmptyDataError", "ArrowInvalid", ""),
        ("", "The file is no text, line 1 holds the control byte 0x00", "1x1", "1x1", "control"),
        ("", "Line 2 has 3 cells and the first line has 2", "1x2", "ArrowInvalid", "ragged"),
        ("", "The Parquet file is damaged", "", "1x2", "unknown"),
    ],
)
def test_a_disagreement_with_others_has_a_class(ours: str, refusal: str, pandas: str, pyarrow: str, why: str) -> None:
    assert Read(File("", Path(), "", pandas, pyarrow), Outcome(ours, refusal, 0.1)).why == why


def test_nothing_in_a_name_means_anything_to_a_page() -> None:
    assert escape("a_b|<c>*`\n") == "a_b\\|\\<c\\>\\*\\`·"
