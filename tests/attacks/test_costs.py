"""Small requests that would cost much: time that grows faster than they do, memory many times their size."""

import time
import tracemalloc
from collections.abc import AsyncIterator, Callable
from typing import Any

import anyio
import pytest
from starlette.exceptions import HTTPException

from api.cells import Misfit, pixels
from api.forms import Form
from jobs import cells
from jobs.spec.signature import ImageInputs

LONG = 200_000
"""Characters: what looks at each of them again for each of them takes an hour."""


@pytest.mark.parametrize("read", [cells.whole, cells.real, cells.boolean, cells.moment], ids=lambda read: read.__name__)
@pytest.mark.parametrize(
    "text",
    [
        pytest.param("1" * LONG + "x", id="digits"),
        pytest.param("1" * LONG + "." + "1" * LONG + "x", id="a fraction"),
        pytest.param("." + "1" * LONG + "x", id="a fraction alone"),
        pytest.param("1e" + "1" * LONG + "x", id="an exponent"),
        pytest.param("2026-01-31 12:00:00." + "1" * LONG + "x", id="a second"),
    ],
)
def test_a_long_text_is_read_in_a_moment(read: Callable[[str], object], text: str) -> None:
    began = time.process_time()
    assert read(text) is None
    assert time.process_time() - began < 1


@pytest.mark.parametrize(
    "cell",
    [
        pytest.param(["x" * LONG] + ["y"] * 99, id="one long text among short ones"),
        pytest.param([["x" * LONG] + ["y"] * 9] * 10, id="texts in the shape of an image"),
        pytest.param([[[]] * 10] * 10, id="nothing at all"),
    ],
)
def test_what_is_no_image_takes_no_memory(cell: Any) -> None:
    tracemalloc.start()
    with pytest.raises(Misfit):
        pixels(cell, ImageInputs(height=10, width=10, channels=1, is_bytes=True))
    assert tracemalloc.get_traced_memory()[1] < 20 * LONG
    tracemalloc.stop()


@pytest.mark.parametrize("name", [b"name", b"field%d", b""])
def test_a_form_of_fields_without_end_is_not_read_on(name: bytes) -> None:
    sent: list[bytes] = []

    async def chunks() -> AsyncIterator[bytes]:
        while len(sent) < 100:
            called = name % len(sent) if b"%" in name else name
            sent.append(b'--b\r\nContent-Disposition: form-data; name="' + called + b'"\r\n\r\nx\r\n')
            yield sent[-1]

    async def read() -> None:
        async for _ in Form(b"b").file(chunks()):
            pass

    with pytest.raises(HTTPException) as refused:
        anyio.run(read)
    assert (refused.value.status_code, len(sent) <= 2) == (400, True)
