"""Files that readers trip over, from `../shared/data`, and what pandas and pyarrow made of each with their defaults."""

import gzip
import json
import re
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SHAPE = re.compile(r"\d+x\d+")
CORPORA = {
    "csv-spectrum": "hostile-csv/csv-spectrum",
    "DuckDB's CSV": "hostile-csv/duckdb-csv",
    "Parquet, good": "parquet/parquet-good",
    "Parquet, bad": "parquet/parquet-bad",
}


@dataclass(frozen=True)
class Case:
    """One file of a corpus."""

    corpus: str
    path: Path
    name: str
    """Its path within the corpus."""
    pandas: str = ""
    """`RxC`, or the kind of error; empty if nobody tried."""
    pyarrow: str = ""

    @property
    def peers(self) -> list[str]:
        """The shapes that others read."""
        return [said for said in (self.pandas, self.pyarrow) if SHAPE.fullmatch(said)]


def unpack(data: Path, folder: Path) -> Iterator[Case]:
    """Every file with an outcome in its corpus's manifest."""
    for corpus, place in CORPORA.items():
        with tarfile.open(data / f"{place}.tar.gz") as files:
            files.extractall(folder / place, filter="data")
        for entry in json.loads(gzip.decompress((data / f"{place}.manifest.json.gz").read_bytes()))["files"]:
            if not entry["file"].endswith(".json"):
                yield _case(corpus, folder / place, entry)


def _case(corpus: str, folder: Path, entry: dict[str, Any]) -> Case:
    name = entry["file"]
    if found := entry.get("pyarrow_26_0_1"):
        shape = f"{found['rows']}x{found['cols']}" if found["ok"] else _kind(found["error"])
        return Case(corpus, folder / name, name, pyarrow=shape)
    return Case(corpus, folder / name, name, _kind(entry.get("pandas", "")), _kind(entry.get("pyarrow", "")))


def _kind(said: str) -> str:
    return said.partition(":")[0]
