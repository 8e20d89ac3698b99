"""What a dataset's bytes are read as, and how clearly they are refused."""

import contextlib
import gzip
import json
import tarfile
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from jobs.errors import DataInvalid
from trainer.sources import columns, content, delimited, reading
from trainer.sources.content import Table

Cells = dict[str, list[Any]]


def table(tmp_path: Path, text: str | bytes) -> Table:
    path = tmp_path / "data"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    data = reading.read(path)
    assert isinstance(data, Table)
    return data


def cells(tmp_path: Path, text: str | bytes) -> Cells:
    return table(tmp_path, text).frame.to_dict(as_series=False)


def refusal(tmp_path: Path, text: str | bytes) -> str:
    with pytest.raises(DataInvalid) as caught:
        table(tmp_path, text)
    return str(caught.value)


@pytest.mark.parametrize("separator", delimited.SEPARATORS)
def test_the_separator_is_found_out(tmp_path: Path, separator: str) -> None:
    text = "\n".join(separator.join(row) for row in [("a", "b", "c"), ("1", "2.5", "x"), ("2", "3", "y")])
    assert cells(tmp_path, text) == {"a": [1, 2], "b": [2.5, 3.0], "c": ["x", "y"]}


def test_blanks_quotes_and_blank_lines_are_no_part_of_the_data(tmp_path: Path) -> None:
    text = 'a, b\n 1, "x, ""y""\nz"\n\n2,  w\n,\n'
    assert cells(tmp_path, text) == {"a": [1, 2], "b": ['x, "y"\nz', "w"]}


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_every_line_end_is_read(tmp_path: Path, end: str) -> None:
    assert cells(tmp_path, end.join(["a,b", "1,x", "2,y", ""])) == {"a": [1, 2], "b": ["x", "y"]}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_unicode_is_read_with_and_without_a_mark(tmp_path: Path, encoding: str) -> None:
    assert cells(tmp_path, "größe,b\n1,é\n".encode(encoding)) == {"größe": [1], "b": ["é"]}


def test_other_bytes_are_latin_1_and_said_to_be(tmp_path: Path) -> None:
    data = table(tmp_path, "a,b\n1,é\n".encode("latin-1"))
    assert data.frame["b"].to_list() == ["é"]
    assert data.warnings == ("The file is not UTF-8; it was read as Latin-1.",)


def test_marks_of_missing_values_are_missing(tmp_path: Path) -> None:
    marks = "x,n\n?,1\nNA,N/A\nnull,3\n-,None\n,2\ny,nan\n"
    assert cells(tmp_path, marks) == {"x": [None, None, None, "y"], "n": [1, 3, 2, None]}


def test_types_come_from_the_whole_column(tmp_path: Path) -> None:
    text = "n,t\n" + "1,1\n" * 5_000 + "2,x\n"
    frame = table(tmp_path, text).frame
    assert frame.dtypes == [pl.Int64, pl.String]


def test_booleans_dates_and_codes_have_their_types(tmp_path: Path) -> None:
    text = (
        "b,d,z,t\nTrue,2020-01-02,08123,2020-01-02T03:04:05+01:00\nfalse,2020-02-01 10:30,12345,2020-01-02 03:04:05Z\n"
    )
    assert cells(tmp_path, text) == {
        "b": [True, False],
        "d": [datetime(2020, 1, 2), datetime(2020, 2, 1, 10, 30)],
        "z": ["08123", "12345"],
        "t": [datetime(2020, 1, 2, 2, 4, 5), datetime(2020, 1, 2, 3, 4, 5)],
    }


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("a,b\n1,2\n", ["a", "b"]),
        (",b\n0,2\n", ["column_1", "b"]),
        ("1,2\n3,4\n", ["column_1", "column_2"]),
        ("x,2\ny,4\n", ["column_1", "column_2"]),
        ("cap,odour\nflat,none\nbell,foul\n", ["cap", "odour"]),
        ("p,x\ne,x\np,b\n", ["column_1", "column_2"]),
    ],
)
def test_a_header_is_text_that_differs_from_what_is_below_it(tmp_path: Path, text: str, names: list[str]) -> None:
    assert table(tmp_path, text).frame.columns == names


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "empty"),
        (" \n\n", "empty"),
        ("?,?\n", "no value"),
        ('""\n""\n', "no value"),
        ("a,b\n", "header and no data"),
        ("a,b\n1,2\n3\n", "Line 3 has 1 cells and the first line has 2"),
        ('a,b\n1,"2"\n3,4,5\n', "Line 3 has 3 cells and the first line has 2"),
        ('a,b\n1,"2\n', "Line 2 cannot be cut into cells: unexpected end of data"),
        ('a,b\n"1"x,2\n', "Line 2 cannot be cut into cells"),
        ("a,b,a\n1,2,3\n", "2 columns are named 'a'"),
        ("a\n1\ninf\n", "Column 'a' holds an infinite number in data row 2"),
        ("a,b\n1,\0\n", "line 2 holds the control byte 0x00"),
        (gzip.compress(b"a,b\n1,2\n", mtime=0), "no text"),
        (b"\xff\xfea", "UTF-16"),
        (",".join(["a"] * (content.MAX_COLUMNS + 1)) + "\n1\n", "at most 10,000"),
    ],
)
def test_text_that_is_no_table_is_refused_with_its_place(tmp_path: Path, text: str | bytes, words: str) -> None:
    assert words in refusal(tmp_path, text)


def test_rows_of_a_spec_are_read_like_text() -> None:
    rows: list[Any] = [{"a": 1, "b": "x", "c": True}, {"a": 2.5, "b": None, "c": False, "d": "?"}, {"d": 7}]
    assert reading.from_rows(rows).frame.to_dict(as_series=False) == {
        "a": [1.0, 2.5, None],
        "b": ["x", None, None],
        "c": [True, False, None],
        "d": [None, None, 7],
    }


@pytest.mark.parametrize(("rows", "words"), [([{"a": [1]}], "Column 'a' holds a list"), ([{}], "no value")])
def test_rows_without_plain_values_are_refused(rows: list[Any], words: str) -> None:
    with pytest.raises(DataInvalid, match=words):
        reading.from_rows(rows)


def test_parquet_keeps_its_types(tmp_path: Path) -> None:
    frame = pl.DataFrame({"i": pl.Series([1, None], dtype=pl.UInt8), "f": [float("nan"), 1.5], "c": ["08", "?"]})
    frame = frame.with_columns(
        pl.lit(datetime(2020, 1, 2)).cast(pl.Date).alias("d"), pl.col("i").cast(pl.Decimal(9, 2)).alias("m")
    )
    frame.write_parquet(tmp_path / "data")
    data = reading.read(tmp_path / "data")
    assert data.frame.dtypes == [pl.Int64, pl.Float64, pl.String, pl.Datetime("us"), pl.Float64]
    assert data.frame.rows() == [
        (1, None, "08", datetime(2020, 1, 2), 1.0),
        (None, 1.5, None, datetime(2020, 1, 2), None),
    ]


def test_truncated_parquet_is_refused(tmp_path: Path) -> None:
    pl.DataFrame({"a": list(range(1000))}).write_parquet(tmp_path / "whole")
    assert "Parquet file is damaged" in refusal(tmp_path, (tmp_path / "whole").read_bytes()[:-100])


def test_nested_and_empty_parquet_is_refused(tmp_path: Path) -> None:
    pl.DataFrame({"a": [[1], [2]]}).write_parquet(tmp_path / "nested")
    assert "Column 'a' holds List(Int64)" in refusal(tmp_path, (tmp_path / "nested").read_bytes())
    pl.DataFrame({"a": pl.Series([], dtype=pl.Int64)}).write_parquet(tmp_path / "empty")
    assert "no rows" in refusal(tmp_path, (tmp_path / "empty").read_bytes())


@pytest.mark.parametrize(
    "name", ["hostile-csv/csv-spectrum", "hostile-csv/duckdb-csv", "parquet/parquet-bad", "parquet/parquet-good"]
)
def test_hostile_files_are_read_or_refused(tmp_path: Path, shared: Path, name: str) -> None:
    with tarfile.open(shared / "data" / f"{name}.tar.gz") as files:
        files.extractall(tmp_path, filter="data")
    for path in filter(Path.is_file, tmp_path.rglob("*")):
        with contextlib.suppress(DataInvalid):
            assert reading.read(path).rows > 0


def test_a_spectrum_of_csv_files_is_read_as_its_authors_say(tmp_path: Path, shared: Path) -> None:
    with tarfile.open(shared / "data/hostile-csv/csv-spectrum.tar.gz") as files:
        files.extractall(tmp_path, filter="data")
    for path in sorted((tmp_path / "csvs").iterdir()):
        frame = reading.read(path).frame
        rows = frame.with_columns(columns.as_text(column).fill_null("") for column in frame).to_dicts()
        expected = json.loads((tmp_path / "json" / path.name).with_suffix(".json").read_text())
        assert rows == [{name: value.replace("\r\n", "\n") for name, value in row.items()} for row in expected]


@pytest.mark.parametrize(
    ("name", "shape", "missing"),
    [("california_housing", (20_640, 10), 207), ("adult_train", (32_561, 15), 4_262), ("bank_full", (45_211, 17), 0)],
)
def test_real_tables_are_read_whole(tmp_path: Path, shared: Path, name: str, shape: Any, missing: int) -> None:
    frame = table(tmp_path, gzip.decompress((shared / f"data/tabular/{name}.csv.gz").read_bytes())).frame
    assert frame.shape == shape
    assert frame.null_count().sum_horizontal().item() == missing
