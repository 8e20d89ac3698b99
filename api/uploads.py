"""Uploaded bytes, from the socket to the artifact store: counted and hashed, never parsed, never whole in memory."""

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import unquote

from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ValidationError
from python_multipart.multipart import parse_options_header
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from api import faults
from api.dataset_schemas import RowsUpload, UrlImport
from api.forms import Form
from jobs import errors, ids, urls
from jobs.intake import Intake

RAW = frozenset(
    {
        "application/gzip",
        "application/octet-stream",
        "application/vnd.apache.parquet",
        "application/x-npz",
        "application/zip",
        "text/csv",
        "text/plain",
        "text/tab-separated-values",
    }
)
"""Content types whose body is the file itself; a worker finds out what it really is."""


Body = TypeVar("Body", bound=BaseModel)


@dataclass(frozen=True)
class Named:
    """An address that a worker is to fetch a file from."""

    url: str
    name: str


@dataclass(frozen=True)
class Received:
    """A file in the artifact store, under a key that nobody knows yet."""

    key: str
    name: str
    """What the caller calls it, cleaned; empty if nothing."""
    size: int
    sha256: str


async def receive(request: Request, owner: str, intake: Intake) -> Received | Named:
    """Stores the file of a request, unless it only says where one is; whatever goes wrong, nothing is left behind.

    Raises:
        NoRoom: the disk is nearly full.
        TooLarge: it has more bytes than are taken.
        LimitReached: it has more bytes than the owner may still store.
        Unsupported: a content type that is not taken.
        DataInvalid: it is empty.
    """
    if not intake.artifacts.has_room(intake.settings.least_free_bytes):
        raise errors.NoRoom
    key = f"uploads/{ids.new('up')}"
    kind, options = parse_options_header(request.headers.get("content-type"))
    form = Form(options.get(b"boundary", b""))
    name = ""
    chunks = _limited(request, intake.settings.max_upload_bytes)
    match kind.decode("latin-1"):
        case "multipart/form-data":
            chunks = form.file(chunks)
        case "application/json":
            body = await request.json()
            if isinstance(body, dict) and "url" in body:
                return _named(_validated(UrlImport, body))
            chunks, name = await run_in_threadpool(_rows, body)
        case raw if raw not in RAW:
            taken = ", ".join(sorted(RAW))
            raise errors.Unsupported(f"Send multipart/form-data with a `file`, JSON with `rows` or `url`, or {taken}.")
    try:
        size, sha256 = await intake.put(owner, key, chunks)
        _check(kind, form, size)
    except BaseException:
        await run_in_threadpool(intake.artifacts.delete, key)
        raise
    return Received(key, _clean(name or form.fields.get("name") or form.filename or ""), size, sha256)


def _check(kind: bytes, form: Form, size: int) -> None:
    if kind == b"multipart/form-data" and form.filename is None:
        raise RequestValidationError([{"type": "missing", "loc": ("body", "file"), "msg": ""}])
    if not size:
        raise errors.DataInvalid("The file is empty; send the dataset's bytes.")


async def _limited(request: Request, limit: int) -> AsyncIterator[bytes]:
    declared, size = request.headers.get("content-length", ""), 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > limit or (declared.isdecimal() and int(declared) > limit):
            raise errors.TooLarge(f"A dataset may have at most {limit} bytes.")
        yield chunk


def _validated(kind: type[Body], body: Any) -> Body:
    try:
        return kind.model_validate(body)
    except ValidationError as error:
        found = error.errors(include_url=False)[: 5 * faults.MOST]  # a cell is one fault for each type it might have
        shown = [{**fault, "loc": ("body", *fault["loc"])} for fault in found]
        raise RequestValidationError(shown, body=body) from None


def _named(body: UrlImport) -> Named:
    return Named(body.url, _clean(body.name or unquote(urls.parse(body.url).target.partition("?")[0])))


def _rows(body: Any) -> tuple[AsyncIterator[bytes], str]:
    """A JSON array of objects; the same file whatever the spaces in the body."""
    upload = _validated(RowsUpload, body)
    content = json.dumps(upload.rows, ensure_ascii=False, separators=(",", ":")).encode()

    async def once() -> AsyncIterator[bytes]:
        yield content

    return once(), upload.name or ""


def _clean(name: str) -> str:
    last = name.replace("\\", "/").rpartition("/")[2]
    return "".join(letter for letter in last if letter.isprintable())[:200]
