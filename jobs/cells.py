"""What the text of a cell stands for: `trainer.sources.columns` reads whole columns by the same rules.

Each pattern has one way at most to read a text, so that its time grows as the text does: they hold the interpreter.
"""

import math
import re
from datetime import UTC, datetime

_WHOLE = re.compile(r"[+-]?[0-9]+")
_REAL = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?")
_CODE = re.compile(r"[+-]?0[0-9]")
_DATE = r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
_TIME = r"[0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]+)?)?"
_ISO = re.compile(rf"{_DATE}([T ]{_TIME}(Z|[+-][0-9]{{2}}:?[0-9]{{2}})?)?")


def is_code(text: str) -> bool:
    """A number with a leading zero is a code: a postal one, say."""
    return _CODE.match(text) is not None


def whole(text: str) -> int | None:
    """A number of 64 bits."""
    return int(text) if _WHOLE.fullmatch(text) and len(text) <= 20 and -(2**63) <= int(text) < 2**63 else None


def real(text: str) -> float | None:
    """A finite number."""
    return float(text) if _REAL.fullmatch(text) and math.isfinite(float(text)) else None


def boolean(text: str) -> bool | None:
    """True or false, in any case."""
    return {"true": True, "false": False}.get(text.lower())


def moment(text: str) -> datetime | None:
    """A date, or a time of a day; in UTC without saying so, also where the text tells no zone."""
    try:
        found = datetime.fromisoformat(text) if _ISO.fullmatch(text) else None
        return found.astimezone(UTC).replace(tzinfo=None) if found and found.tzinfo else found
    except (ValueError, OverflowError):
        return None
