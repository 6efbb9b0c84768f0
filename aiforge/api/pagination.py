"""Which part of a list is asked for, and how many items there are in all."""

from __future__ import annotations

from typing import Annotated, TypeVar

from fastapi import Query, Response

from aiforge.api.middleware import TOTAL_HEADER
from aiforge.schemas.common import JsonListing, Listing

Item = TypeVar("Item")

Limit = Annotated[int, Query(ge=1, le=500, description="Most items to answer.")]
Offset = Annotated[
    int, Query(ge=0, le=1_000_000_000, description="How many of the newest items to leave out.")
]


def answer(listing: Listing[Item], response: Response) -> list[Item]:
    """The items as the body; their number in all as a header."""
    response.headers[TOTAL_HEADER] = str(listing.total)
    return listing.items


def answer_json(listing: JsonListing) -> Response:
    """As ``answer``, of items that are JSON already."""
    headers = {TOTAL_HEADER: str(listing.total)}
    return Response(listing.body, media_type="application/json", headers=headers)
