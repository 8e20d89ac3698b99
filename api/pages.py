"""The contract, and Swagger UI at `/docs`, from this host alone and under a strict content security policy."""

import functools
from pathlib import Path

import fastapi_offline
from fastapi import FastAPI
from fastapi.responses import FileResponse, JSONResponse, Response
from fastapi.staticfiles import StaticFiles
from starlette.requests import Request

STATIC = Path(__file__).with_name("static")
VENDORED = Path(fastapi_offline.__file__).with_name("static")
POLICY = (
    "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'self'"
)
"""Swagger UI sets styles on its elements, and draws its icons from data URLs."""


def mount(app: FastAPI) -> None:
    """Adds the page and what it needs."""
    contract = functools.cache(
        lambda: JSONResponse(app.openapi()).body
    )  # written once: it takes longer than most answers

    async def show_contract(request: Request) -> Response:
        return Response(contract(), media_type="application/json")

    app.add_route("/openapi.json", show_contract, include_in_schema=False)
    app.mount("/docs/vendor", StaticFiles(directory=VENDORED))
    app.mount("/docs/static", StaticFiles(directory=STATIC))

    @app.get("/docs", include_in_schema=False)
    async def show_docs() -> Response:
        return FileResponse(STATIC / "docs.html", headers={"Content-Security-Policy": POLICY})
