"""The documentation as a page, of files that come with the package."""

from __future__ import annotations

from pathlib import Path

from fastapi import APIRouter
from fastapi.responses import FileResponse

from aiforge.errors import NotFound

router = APIRouter(include_in_schema=False)

STATIC = Path(__file__).parents[1] / "static"
_FILES = {
    name: STATIC / directory / name
    for directory, name in (
        ("swagger-ui", "swagger-ui-bundle.js"),
        ("swagger-ui", "swagger-ui.css"),
        ("swagger-ui", "favicon-32x32.png"),
        (".", "docs.css"),
        (".", "docs.js"),
    )
}
# Swagger UI's style sheet holds its icons, and its components set styles of their own.
_POLICY = (
    "default-src 'self'; img-src 'self' data:; style-src 'self' 'unsafe-inline'; "
    "frame-ancestors 'none'"
)


@router.get("/docs")
async def show_docs() -> FileResponse:
    """The API's documentation, to read and to try."""
    return _file(STATIC / "docs.html")


@router.get("/docs/{name}")
async def get_docs_file(name: str) -> FileResponse:
    """What the page consists of."""
    if name not in _FILES:
        raise NotFound(f"There is no route /docs/{name}.", code="route_not_found")
    return _file(_FILES[name])


def _file(path: Path) -> FileResponse:
    headers = {
        "Content-Security-Policy": _POLICY,
        "X-Content-Type-Options": "nosniff",
        "Cache-Control": "no-cache",
    }
    return FileResponse(path, headers=headers)
