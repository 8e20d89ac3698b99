"""What a dataset's bytes are read as, and how clearly they are refused."""

import codecs
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
from jobs.spec.profile import MOST_COLUMNS
from trainer.sources import columns, delimited, reading
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


@pytest.mark.parametrize(("mark", "encoding"), [(codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be")])
def test_both_orders_of_utf_16_are_read(tmp_path: Path, mark: bytes, encoding: str) -> None:
    assert cells(tmp_path, mark + "größe,b\n1,山\n".encode(encoding)) == {"größe": [1], "b": ["山"]}


@pytest.mark.parametrize(
    ("encoding", "name", "word"),
    [
        ("latin-1", "Latin-1", "é"),
        ("latin-1", "Latin-1", "année"),
        ("latin-1", "Latin-1", "MÜNCHEN GROSS"),
        ("cp1252", "Latin-1", "don’t".encode("cp1252").decode("latin-1")),
        ("shift_jis", "Shift-JIS", "東京タワー"),
        ("shift_jis", "Shift-JIS", "ﾃｽﾄ 年齢の表"),
    ],
)
def test_other_encodings_are_guessed_and_said_to_be(tmp_path: Path, encoding: str, name: str, word: str) -> None:
    content = f"a,b\n1,{word}\n".encode("latin-1" if encoding == "cp1252" else encoding)
    data = table(tmp_path, content)
    assert data.frame["b"].to_list() == [word]
    assert data.warnings == (f"The file is not UTF-8 (line 2); it was read as {name}.",)


def test_short_lines_lack_their_last_cells(tmp_path: Path) -> None:
    for quote in ("", '"'):
        data = table(tmp_path, f"a,b\n1,{quote}x{quote}\n2\n3,y\n4\n")
        assert data.frame.to_dict(as_series=False) == {"a": [1, 2, 3, 4], "b": ["x", None, "y", None]}
        assert data.warnings == ("Fewer cells than the first line, the last ones count as missing: lines 3, 5.",)


def test_comments_are_skipped_where_they_cannot_be_data(tmp_path: Path) -> None:
    for quote in ("", '"'):
        data = table(tmp_path, f"# made by hand\na,b\n1,{quote}x{quote}\n# end\n")
        assert data.frame.to_dict(as_series=False) == {"a": [1], "b": ["x"]}
        assert data.warnings == ("A comment after a #, skipped: lines 1, 4.",)
    assert cells(tmp_path, "#id,b\n1,2\n") == {"#id": [1], "b": [2]}
    assert cells(tmp_path, "tag\n#a\n#b\n") == {"tag": ["#a", "#b"]}


def test_quotes_after_a_backslash_are_read_where_doubled_ones_are_not(tmp_path: Path) -> None:
    assert cells(tmp_path, 'a,b\n1,"say \\"x, y\\""\n') == {"a": [1], "b": ['say "x, y"']}


def test_a_name_that_is_taken_is_told_by_its_place(tmp_path: Path) -> None:
    data = table(tmp_path, "a,b,a,a_3\n1,2,3,4\n")
    assert data.frame.columns == ["a", "b", "a_3", "a_3_4"]
    assert data.warnings == ("Columns that had the name of another (2) are now called a_3, a_3_4",)


def test_gzip_is_unpacked(tmp_path: Path) -> None:
    assert cells(tmp_path, gzip.compress(b"a,b\n1,2\n", mtime=0)) == {"a": [1], "b": [2]}


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
        ("a,,\n1,x,y\n", ["a", "column_2", "column_3"]),
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
        (
            "a,b\n1,2\n3,4,5\n6,7\n8,9,0\n",
            "Line 3 has 3 cells and the first line has 2 (others differ too: line 5)",
        ),
        ("a,b,c\n1\n2\n", "Most lines have fewer cells than the first (lines 2, 3)"),
        ('a,b\n1,"2"\n3,4,5\n', "Line 3 has 3 cells and the first line has 2"),
        ('a,b\n1,"2\n', "Line 2 cannot be cut into cells: unexpected end of data"),
        ('a,b\n"1"x,2\n', "Line 2 cannot be cut into cells"),
        ("a\n1\ninf\n", "Column 'a' holds an infinite number in data row 2"),
        ("a,b\n1,\0\n", "line 2 holds the control byte 0x00"),
        ("a,b\n1,2\n".encode("utf-16-le"), "line 1 holds the control byte 0x00"),
        ("a,b\n1,\0\n".encode("utf-16"), "line 2 holds the control byte 0x00"),
        (gzip.compress(b"a,b\n1,2\n", mtime=0)[:-9], "gzip file is damaged"),
        (gzip.compress(bytes(2 << 20), mtime=0), "unpacks to more than 1,048,576 bytes"),
        (b"\xff\xfea", "UTF-16"),
        (",".join(["a"] * (MOST_COLUMNS + 1)) + "\n1\n", "at most 10,000"),
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


@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("before", [b"", b"\xef\xbb\xbf", b"\n  "])
@pytest.mark.parametrize("packed", [False, True])
def test_a_json_list_of_rows_is_known_however_it_is_written(
    tmp_path: Path, indent: int | None, before: bytes, packed: bool
) -> None:
    content = before + json.dumps([{"a": 1, "b": "x"}, {"a": 2, "b": "y"}], indent=indent).encode()
    (tmp_path / "rows").write_bytes(gzip.compress(content) if packed else content)
    assert reading.read(tmp_path / "rows").frame.to_dict(as_series=False) == {"a": [1, 2], "b": ["x", "y"]}


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


def test_parquet_columns_that_no_table_keeps_are_left_out(tmp_path: Path) -> None:
    frame = pl.DataFrame({"a": [1, 2], "b": [[1], [2]], "c": [b"\xff", b"x"], "d": [b"x", b"y"]})
    frame.write_parquet(tmp_path / "data")
    data = reading.read(tmp_path / "data")
    assert data.frame.to_dict(as_series=False) == {"a": [1, 2], "d": ["x", "y"]}
    assert data.warnings == ("Left out, as lists, structs, times or bytes are not read: 'b', 'c'.",)


def test_nested_and_empty_parquet_is_refused(tmp_path: Path) -> None:
    pl.DataFrame({"a": [[1], [2]]}).write_parquet(tmp_path / "nested")
    assert "No column holds numbers, text or dates" in refusal(tmp_path, (tmp_path / "nested").read_bytes())
    pl.DataFrame({"a": pl.Series([], dtype=pl.Int64)}).write_parquet(tmp_path / "empty")
    assert "no rows" in refusal(tmp_path, (tmp_path / "empty").read_bytes())


def test_a_name_that_no_spec_can_say_is_refused(tmp_path: Path) -> None:
    assert cells(tmp_path, f"{'n' * 200},b\n1,2\n") == {"n" * 200: [1], "b": [2]}
    said = f"Column 2 has a name of 201 characters ('{'n' * 40}…')"
    assert refusal(tmp_path, f"b,{'n' * 201}\n1,2\n").startswith(said)


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
