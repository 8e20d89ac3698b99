"""`python -m bench.ingest`: files that readers trip over and traps of our own, read as a worker reads an upload, in a
limited child; beside it what pandas and pyarrow make of them. Exit status 1 if a file hangs.
"""

import argparse
import sys
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from bench import corpora, machine, pages, reader, traps
from bench.corpora import Case
from bench.reader import Outcome
from worker import children

ROOT = Path(__file__).resolve().parents[1]
TRAPS = "traps"
SHOWN = 140
"""Characters of a refusal."""

OURS = {
    "header": "The first line looks like data (a number, or a value that comes again below it): a row, not names.",
    "separator": "The separator is found out; pandas and pyarrow take a comma unless told otherwise.",
    "gaps": "No row: lines of nothing but missing marks, comments, what follows a carriage return amid line feeds.",
    "left out": "Columns of lists, structs, times or bytes are left out with a warning; the others are read.",
    "only fitd": "Encoding, separator, quoting or line ends that the others' defaults do not read.",
}
THEIRS = {
    "control": "Bytes that no text has (NUL and other control bytes): named with their line. Most come from a fuzzer.",
    "empty": "A header and no rows, or no value at all: nothing to train on.",
    "ragged": "A line with more cells than the first, or most lines with fewer: cells would land under wrong names.",
    "quotes": "Quotes that do not pair up: where a cell ends would be a guess.",
    "nested": "Nothing but lists, structs or maps.",
    "infinite": "An infinite number: no mean and no scale survives it.",
    "unknown": "Polars, which reads Parquet here, does not know this encoding or finds the footer damaged.",
}
_BEGINNINGS = {
    "control": ("The file is no text",),
    "empty": ("The file is empty", "The file has a header", "The file holds no"),
    "ragged": ("Most lines have fewer",),
    "nested": ("No column holds",),
}
_PARTS = {"quotes": "cannot be cut", "infinite": "infinite number", "ragged": "cells and the first line has"}


@dataclass(frozen=True)
class Read:
    """A file and what came of it."""

    case: Case
    found: Outcome

    @property
    def why(self) -> str:
        """The class of a disagreement; empty where there is none."""
        if self.found.shape:
            return "" if self.found.shape in self.case.peers else self._ours()
        return self._theirs() if self.case.peers else ""

    def _ours(self) -> str:
        if not self.case.peers:
            return "only fitd" if self.case.pandas or self.case.pyarrow else ""
        rows, width = _sides(self.found.shape)
        others = [_sides(shape) for shape in self.case.peers]
        if all(width < other for _, other in others):
            return "left out"
        if all(width > other for _, other in others):
            return "separator"
        same = [other for other, held in others if held == width]
        return "header" if rows - 1 in same else "gaps"

    def _theirs(self) -> str:
        said = self.found.refusal
        starts = [key for key, beginnings in _BEGINNINGS.items() if said.startswith(beginnings)]
        holds = [key for key, part in _PARTS.items() if part in said]
        return [*starts, *holds, "unknown"][0]


def main() -> int:
    """0 if every file was read or refused in time."""
    parser = argparse.ArgumentParser(prog="python -m bench.ingest", description=__doc__)
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared/data", help="where the corpora are")
    parser.add_argument("--write", type=Path, help="a Markdown file to renew the tables of")
    options = parser.parse_args()
    children.warm()
    children.equipped()
    with tempfile.TemporaryDirectory() as folder:
        found = [Read(case, reader.read(case.path)) for case in cases(options.data, Path(folder))]
    text = "\n\n".join([_conditions(), summary(found), disagreements(found), files(found)])
    print(text)
    if options.write:
        pages.renew(options.write, text)
    return int(any(read.found.hung for read in found))


def cases(data: Path, folder: Path) -> Iterator[Case]:
    yield from corpora.unpack(data, folder)
    for path in traps.write(folder):
        yield Case(TRAPS, path, path.name)


def _conditions() -> str:
    return (
        f"`python -m bench.ingest --write docs/ingest.md` on {machine.processor()}; limits of a reader: "
        f"{reader.MEMORY >> 30} GiB of address space, {reader.SECONDS:.0f} s. pandas 3.1.1 and pyarrow 26.0.1 read "
        "with their defaults; where a cell is empty nobody tried."
    )


def summary(found: list[Read]) -> str:
    by = {name: [read for read in found if read.case.corpus == name] for name in [*corpora.CORPORA, TRAPS]}
    headings = (
        "", "files", "read by fitd", "pandas", "pyarrow", "by fitd and others, one shape", "another shape",
        "only by fitd", "only by others", "refused", "ended by a limit", "hung", "longest, s", "most memory, MiB",
    )  # fmt: skip
    return "## Summary\n\n" + pages.table(headings, [(name, *_counted(part)) for name, part in by.items()])


def _counted(found: list[Read]) -> Iterator[str]:
    ours = [read for read in found if read.found.shape]
    shared = [read for read in ours if read.case.peers]
    tried = [read.case for read in found if read.case.pandas or read.case.pyarrow]
    yield str(len(found))
    yield str(len(ours))
    for peer in ("pandas", "pyarrow"):
        said = [getattr(case, peer) for case in tried]
        yield str(sum(bool(corpora.SHAPE.fullmatch(one)) for one in said)) if any(said) else ""
    yield str(sum(not read.why for read in shared))
    yield str(sum(bool(read.why) for read in shared))
    yield str(len(ours) - len(shared))
    yield str(sum(bool(read.case.peers) and not read.found.shape for read in found))
    yield str(len(found) - len(ours))
    yield str(sum(read.found.killed for read in found))
    yield str(sum(read.found.hung for read in found))
    yield f"{max(read.found.seconds for read in found):.1f}"
    yield f"{max((read.found.peak_bytes or 0) for read in found) >> 20:,}"


def disagreements(found: list[Read]) -> str:
    counts = {key: sum(read.why == key for read in found) for key in [*OURS, *THEIRS]}
    rows = [(f"`{key}`", str(counts[key]), reason) for key, reason in (OURS | THEIRS).items()]
    ours, theirs = rows[: len(OURS)], rows[len(OURS) :]
    return (
        "## Where fitd reads something else\n\n"
        + pages.table(("class", "files", "reason"), ours, left=3)
        + "\n\n## What others read and fitd refuses\n\n"
        + pages.table(("class", "files", "reason"), theirs, left=3)
    )


def files(found: Iterable[Read]) -> str:
    """One row each."""
    rows = [
        (
            escape(read.case.name), said(read.found), read.case.pandas, read.case.pyarrow, read.why,
            f"{read.found.seconds:.2f}", f"{read.found.peak_bytes >> 20}" if read.found.peak_bytes else "",
        )
        for read in found
    ]  # fmt: skip
    return "## Files\n\n" + pages.table(("file", "fitd", "pandas", "pyarrow", "class", "s", "MiB"), rows, left=5)


def said(found: Outcome) -> str:
    """The shape, or what is wrong, as it stands in the table."""
    words = found.said if len(found.said) <= SHOWN else f"{found.said[:SHOWN]}…"
    return escape(words)


def escape(words: str) -> str:
    """So that nothing in it means anything to Markdown."""
    plain = "".join(letter if letter.isprintable() else "·" for letter in words)
    for mark in "\\|<>*`[]":
        plain = plain.replace(mark, f"\\{mark}")
    return plain


def _sides(shape: str) -> tuple[int, int]:
    rows, _, width = shape.partition("x")
    return int(rows), int(width)


if __name__ == "__main__":
    sys.exit(main())
