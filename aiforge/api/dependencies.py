"""What routes ask for: the services, identifiers, and the key that makes a repetition harmless."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Header, Path, Request

from aiforge.schemas.access import Principal
from aiforge.services.context import Services
from aiforge.state.access import idempotency_key
from aiforge.state.store import RequestKey

_ID = Path(max_length=64, pattern=r"^[a-z]+-[0-9a-z]+$")

JobId = Annotated[str, _ID]
DatasetId = Annotated[str, _ID]
SourceId = Annotated[str, _ID]
MissionId = Annotated[str, _ID]
ArtifactId = Annotated[str, _ID]
ModelId = Annotated[str, _ID]
KeyId = Annotated[str, _ID]
ExportId = Annotated[str, _ID]
WebhookId = Annotated[str, _ID]
DeliveryId = Annotated[str, _ID]

KeyHeader = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=255,
        pattern=r"^[\x21-\x7e]+$",
        description="A repetition with the same key is answered as the first request was, and "
        "changes nothing; with another body it is refused.",
    ),
]


async def _services(request: Request) -> Services:
    services: Services = request.app.state.services
    return services.on_behalf(request.state.principal, request.state.origin)


async def _request_key(request: Request, key: KeyHeader = None) -> RequestKey | None:
    return None if key is None else request_key(request, key, await request.body())


async def _actor(request: Request) -> str:
    principal: Principal = request.state.principal
    return principal.name


def request_key(request: Request, key: str, content: bytes) -> RequestKey:
    """The key of a request with this content, for routes that read their body themselves."""
    principal: Principal = request.state.principal
    return idempotency_key(principal.id, f"{request.method} {request.url.path}", key, content)


Ctx = Annotated[Services, Depends(_services)]
Actor = Annotated[str, Depends(_actor)]
Key = Annotated[RequestKey | None, Depends(_request_key)]
