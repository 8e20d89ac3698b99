"""Rows to predict, from a file or the command line."""

import csv
import json
from pathlib import Path

import typer
from pydantic import JsonValue

Row = dict[str, JsonValue]


def read(file: Path) -> list[Row]:
    """By the file's suffix: .json holds a list of objects, .jsonl one object per line, anything else is CSV with a
    header line (.tsv: separated by tabs), whose cells the service reads as it reads an uploaded file."""
    text = file.read_text("utf-8-sig")
    match file.suffix.lower():
        case ".json":
            return [_row(item, str(file)) for item in _list(text, str(file))]
        case ".jsonl" | ".ndjson":
            return [parse(line, str(file)) for line in text.splitlines() if line.strip()]
        case suffix:
            return _delimited(text, "\t" if suffix == ".tsv" else ",", str(file))


def parse(text: str, where: str) -> Row:
    """One row, as a JSON object."""
    return _row(_value(text, where), where)


def _delimited(text: str, separator: str, where: str) -> list[Row]:
    reader = csv.DictReader(text.splitlines(keepends=True), delimiter=separator, skipinitialspace=True)
    found: list[Row] = []
    for record in reader:
        if None in record or None in record.values():
            raise typer.BadParameter(f"{where}: line {reader.line_num} has not as many cells as the header")
        found.append({name.strip(): cell for name, cell in record.items()})
    return found


def _list(text: str, where: str) -> list[JsonValue]:
    found = _value(text, where)
    return found if isinstance(found, list) else [found]


def _value(text: str, where: str) -> JsonValue:
    try:
        value: JsonValue = json.loads(text)
    except ValueError as error:
        raise typer.BadParameter(f"{where} is not JSON: {error}") from None
    return value


def _row(value: JsonValue, where: str) -> Row:
    if not isinstance(value, dict):
        raise typer.BadParameter(f"{where}: a row is a JSON object, keyed by column")
    return value
