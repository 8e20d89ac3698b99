"""Markdown: tables, and the part of a document that a bench wrote."""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path


def table(headings: Sequence[str], rows: Iterable[Sequence[str]], left: int = 1) -> str:
    """The first `left` columns hold words, the others numbers."""
    rule = ["---" if column < left else "--:" for column in range(len(headings))]
    return "\n".join(f"| {' | '.join(row)} |" for row in [headings, rule, *rows])


def renew(path: Path, text: str, what: str = "measured") -> None:
    """Replaces what was measured before."""
    place = re.compile(rf"(<!-- {what} -->\n).*?(<!-- to here -->)", re.DOTALL)
    page, found = place.subn(lambda match: f"{match[1]}\n{text.strip()}\n\n{match[2]}", path.read_text())
    if not found:
        raise ValueError(f"{path} has no place for measurements between <!-- {what} --> and <!-- to here -->")
    path.write_text(page)
