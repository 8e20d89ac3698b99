"""How many rows make a step."""

from typing import Annotated, Literal

from pydantic import Field

from jobs.spec.values import Count, Part

Rows = Annotated[Count, Field(le=1_000_000)]


class LargestBatch(Part):
    """The largest power of two in a range that fits on the device, found at the start of the run by a real step:
    `at_most` is tried first and halved while memory runs out. No size is taken that was not tried."""

    kind: Literal["largest"] = "largest"
    at_most: Rows = 512
    """Tried first; rounded down to a power of two."""
    at_least: Rows = 1
    """The run fails if not even this fits."""

    @property
    def first(self) -> int:
        """The size that is tried first."""
        return int(2 ** (self.at_most.bit_length() - 1))


BatchSize = Rows | Literal["full", "auto"] | LargestBatch


def rows_at_most(size: BatchSize, rows: int) -> int:
    """Of one step, of so many training rows; before it is tried whether they fit."""
    match size:
        case LargestBatch():
            return min(size.first, rows)
        case int():
            return min(size, rows)
        case _:
            return rows
