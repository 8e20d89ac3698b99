"""`python -m tests.faults.matrix`: every row of the fault matrix on both databases, and what was measured, as a table.

What follows `--` goes to pytest: `python -m tests.faults.matrix --write docs/reliability.md -- -k "row_5_"` runs row 5
again and keeps what is known of the others.
"""

import argparse
import json
import re
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

from bench import pages

ROOMS = ["tests/faults", "tests/jobs/test_races.py"]
KNOWN = Path("build/faults.json")
"""All results so far."""
WHERE = ("sqlite", "postgresql", "")
"""The databases; some tests bring their own, or need none."""
HEADINGS = ("#", "SQLite", "PostgreSQL", "others", "measured, and the bound")


class Result(NamedTuple):
    """What became of one test."""

    row: int
    where: str
    end: str
    """`passed`, `failed` or `skipped`."""
    seconds: float
    figures: dict[str, str]


def main() -> int:
    """0 if all that ran passed."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.matrix", description=__doc__)
    parser.add_argument("--write", type=Path, help="a Markdown file to renew the table of")
    parser.add_argument("pytest", nargs="*", help="options for pytest")
    options = parser.parse_args()
    KNOWN.parent.mkdir(exist_ok=True)
    report = KNOWN.with_suffix(".xml")
    command = [sys.executable, "-m", "pytest", *ROOMS, "-v", "-m", "slow or not slow", f"--junitxml={report}"]
    code = subprocess.run([*command, "-o", "junit_family=xunit1", *options.pytest], check=False).returncode
    known = json.loads(KNOWN.read_text()) if KNOWN.exists() else {}
    known |= {name: result._asdict() for name, result in read(report)}
    KNOWN.write_text(json.dumps(known, indent=1))
    text = table([Result(**result) for result in known.values()])
    print(text)  # noqa: T201
    if options.write:
        pages.renew(options.write, text, what="faults")
    return code


def read(report: Path) -> Iterator[tuple[str, Result]]:
    """What pytest wrote down, by the names of tests that belong to a row."""
    for case in ElementTree.parse(report).iter("testcase"):
        name = case.attrib.get("name", "")  # none if it was interrupted
        if found := re.match(r"test_row_(\d+)_", name):
            ends = {"failure": "failed", "error": "failed", "skipped": "skipped"}
            end = next((ends[child.tag] for child in case if child.tag in ends), "passed")
            given = {one.attrib["name"]: one.attrib["value"] for one in case.iter("property")}
            figures = {what.removeprefix("measured "): figure for what, figure in given.items() if "measured " in what}
            where = next((one for one in WHERE if one in name), "")
            yield name, Result(int(found[1]), where, end, float(case.attrib["time"]), figures)


def table(results: Iterable[Result]) -> str:
    """A line per row, what it came to on each database, and its figures."""
    rows: dict[int, list[Result]] = defaultdict(list)
    for result in results:
        rows[result.row].append(result)
    lines = [(str(row), *(_ends(rows[row], where) for where in WHERE), _figures(rows[row])) for row in sorted(rows)]
    every = [result for results in rows.values() for result in results]
    ends = ", ".join(f"{count} {end}" for end, count in Counter(result.end for result in every).most_common())
    minutes = sum(result.seconds for result in every) / 60
    return f"{ends}; {minutes:.0f} minutes together.\n\n{pages.table(HEADINGS, lines, left=len(HEADINGS))}"


def _ends(results: list[Result], where: str) -> str:
    count = Counter(result.end for result in results if result.where == where)
    return ", ".join(f"{times} {end}" for end, times in count.most_common())


def _figures(results: list[Result]) -> str:
    figures: dict[tuple[str, str], list[str]] = defaultdict(list)
    for result in sorted(results, key=lambda result: WHERE.index(result.where)):
        for what, figure in result.figures.items():
            value, _, bound = figure.partition(" of ")
            figures[what, bound].append(value)
    return "<br>".join(f"{what}: {' and '.join(values)} (≤ {bound})" for (what, bound), values in figures.items())


if __name__ == "__main__":
    sys.exit(main())
