"""The scalars and the frozen model that every part of the spec is made of.

Strictness sits on the scalars and not on the models: FastAPI validates parsed JSON in Python
mode, where a strict model would also refuse JSON's only way to write a tuple.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, Strict


class Part(BaseModel):
    """A frozen part of a spec; unknown fields are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


TAGS = ("kind", "source")
"""Fields that only say which part it is."""
Auto = Literal["auto"]

LONGEST_NAME = 200
"""Characters of the name of a column, and of a class."""

Text = Annotated[str, Strict(), Field(max_length=200)]
Column = Annotated[str, Strict(), Field(min_length=1, max_length=LONGEST_NAME)]
Flag = Annotated[bool, Strict()]

Real = Annotated[float, Strict(), Field(allow_inf_nan=False, ge=-1e30, le=1e30)]
NonNegative = Annotated[float, Strict(), Field(allow_inf_nan=False, ge=0, le=1e30)]
Positive = Annotated[float, Strict(), Field(allow_inf_nan=False, gt=0, le=1e30)]
Fraction = Annotated[float, Strict(), Field(allow_inf_nan=False, ge=0, lt=1)]
Decay = Annotated[float, Strict(), Field(allow_inf_nan=False, gt=0, le=1)]

Priority = Annotated[int, Strict(), Field(ge=-100, le=100)]
Metadata = Annotated[
    dict[Annotated[str, Field(max_length=64)], Annotated[str, Field(max_length=512)]], Field(max_length=16)
]

Count = Annotated[int, Strict(), Field(ge=1, le=1_000_000_000)]
Natural = Annotated[int, Strict(), Field(ge=0, le=1_000_000_000)]
