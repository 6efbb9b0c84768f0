"""Who may do what, before any route sees the request; and how often."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from aiforge.api import scopes
from aiforge.api.errors import REQUEST_ID, render
from aiforge.api.multipart import MEDIA_TYPE
from aiforge.api.scopes import Bound, Match
from aiforge.errors import (
    AIForgeError,
    Forbidden,
    NotFound,
    Rejected,
    Unauthenticated,
    Unavailable,
)
from aiforge.schemas.access import LOCAL, Origin, Principal
from aiforge.services.context import Services
from aiforge.services.limits import Bucket, Verdict, refused
from aiforge.state import audit, visibility

SAFE = frozenset({"GET", "HEAD"})

ANONYMOUS_PER_MINUTE = 10
"""Refused credentials that one replica puts into the audit trail; the log has all of them."""

_NOBODY = Principal(id="anonymous", name="anonymous", kind="token", scopes=frozenset())
_AUDITED = frozenset({401, 403, 409, 500, 503})
_SCHEMES = ("bearer",)

Counting = asyncio.Future[dict[str, str]]
"""Gives the headers that tell what is left of a quota, or raises that nothing is."""

log = logging.getLogger(__name__)


class _NotLetPassError(Exception):
    """Ends an answer that has not begun; no handler of the application takes it for its own."""

    def __init__(self, refusal: AIForgeError) -> None:
        super().__init__(refusal.message)
        self.refusal = refusal


class Guard:
    """Authenticates every request, checks its scope, counts it, and has it audited.

    What changes something is counted first. What only reads is counted while it reads, and
    answered once that is done. In development everyone is ``LOCAL``, who may do everything.

    Args:
        services: Gives the services, which come after the application is made.
    """

    def __init__(self, app: ASGIApp, services: Callable[[], Services]) -> None:
        self.app = app
        self.services = services
        self._anonymous_until = 0.0
        self._anonymous = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        services = self.services()
        match = scopes.TABLE.find(scope["method"], scope["path"])
        action = match.route if match else f"{scope['method']} {scope['path']}"
        principal = LOCAL
        counting: Counting | None = None
        try:
            if services.settings.env != "development":
                principal = _NOBODY
                if action not in scopes.OPEN:
                    principal = await services.access.principal(_credential(scope))
                    counting = _begin_to_count(services, principal, scope)
                    await (_under_way() if scope["method"] in SAFE else counting)
                    await _authorise(services, principal, scope, match)
        except AIForgeError as error:
            origin = _origin(scope, services, principal, action)
            refusal = await _weightier(counting, error)
            return await self._refuse(services, origin, refusal, scope)(scope, receive, send)
        origin = _origin(scope, services, principal, action)
        state = scope.setdefault("state", {})
        state["principal"], state["origin"] = principal, origin
        watched = self._watched(services, scope, origin, counting, send)
        try:
            await self.app(scope, receive, watched)
        except _NotLetPassError as stop:
            await self._refuse(services, origin, stop.refusal, scope)(scope, receive, send)

    def _refuse(
        self, services: Services, origin: Origin, error: AIForgeError, scope: Scope
    ) -> Response:
        response = render(scope, error)
        if isinstance(error, Unauthenticated):
            response.headers["WWW-Authenticate"] = "Bearer"
        self._audit(services, origin, scope["method"], response.status_code)
        return response

    def _watched(
        self,
        services: Services,
        scope: Scope,
        origin: Origin,
        counting: Counting | None,
        send: Send,
    ) -> Send:
        """Adds what is left of the quota to the answer, and audits one that changed nothing."""
        method = scope["method"]
        if counting is None and method in SAFE:
            return send

        async def watched(message: Message) -> None:
            if message["type"] == "http.response.start":
                if counting is not None:
                    MutableHeaders(scope=message).update(await _counted(counting))
                if message["status"] in _AUDITED:
                    self._audit(services, origin, method, message["status"])
            await send(message)

        return watched

    def _audit(self, services: Services, origin: Origin, method: str, status: int) -> None:
        """Note what was refused or failed; what was done is noted by the transaction that did it.

        Reading is noted only where it was forbidden.
        """
        if status not in _AUDITED or (method in SAFE and status not in (401, 403)):
            return
        if status == 401:
            log.warning("%s from %s: 401", origin.action, origin.address)
            if not self._may_note_anonymous():
                return
        services.state.send(audit.note_refusal, origin, status)

    def _may_note_anonymous(self) -> bool:
        """Whoever has no credential must not be able to fill the database."""
        moment = time.monotonic()
        if moment >= self._anonymous_until:
            self._anonymous_until, self._anonymous = moment + 60.0, 0
        self._anonymous += 1
        return self._anonymous <= ANONYMOUS_PER_MINUTE


def _origin(scope: Scope, services: Services, principal: Principal, action: str) -> Origin:
    return Origin(
        principal=principal.id,
        principal_name=principal.name,
        action=action,
        address=_address(scope, services),
        request_id=scope[REQUEST_ID],
        projects=None if principal.projects is None else tuple(sorted(principal.projects)),
    )


def _address(scope: Scope, services: Services) -> str | None:
    if services.settings.forwarded_for:
        forwarded = Headers(scope=scope).get("x-forwarded-for", "")
        if last := forwarded.rpartition(",")[2].strip():
            return last[:100]
    client = scope.get("client")
    return client[0] if client else None


def _credential(scope: Scope) -> str:
    """The API key or bearer token of a request.

    Raises:
        Unauthenticated: There is none, or it is of another scheme.
    """
    headers = Headers(scope=scope)
    given = headers.getlist("authorization")
    if len(given) > 1:
        raise Unauthenticated(
            "The request has several Authorization headers; send one.", code="credential_ambiguous"
        )
    if not given:
        if key := headers.get("x-api-key"):
            return key
        raise Unauthenticated(
            "This server asks for a credential: send Authorization: Bearer TOKEN, with an API key "
            "(aiforge key create) or a JSON Web Token.",
            code="credential_missing",
        )
    kind, _, credential = given[0].partition(" ")
    if kind.lower() not in _SCHEMES or not credential.strip():
        raise Unauthenticated(
            "The Authorization header is not of the form Bearer TOKEN.", code="credential_malformed"
        )
    return credential.strip()


async def _authorise(
    services: Services, principal: Principal, scope: Scope, match: Match | None
) -> None:
    """Check the scope of a request, and the projects that its credential is bound to.

    Raises:
        Forbidden: A scope is missing, or the route is not for credentials that are bound.
        NotFound: There is no such route, or the resource belongs to another project.
    """
    if match is None:
        if scopes.TABLE.knows(scope["path"]):
            raise Rejected(
                f"{scope['method']} is not allowed on {scope['path']}.", code="method_not_allowed"
            )
        raise NotFound(f"There is no route {scope['path']}.", code="route_not_found")
    needed = match.rule.scope
    if needed is not None and not principal.may(needed):
        raise Forbidden(
            f"This needs the scope {needed}, which the credential does not hold; use another "
            "credential.",
            code="scope_missing",
            scope=str(needed),
        )
    if principal.projects is None:
        return
    if match.rule.bound is Bound.REFUSED:
        raise Forbidden(
            "This concerns the whole platform, and the credential is bound to projects; use one "
            "that is not.",
            code="bound_to_projects",
        )
    if match.rule.bound is Bound.BY_ID and match.resource_id is not None:
        visible = await services.state.call(
            visibility.allowed, match.resource_id, sorted(principal.projects)
        )
        if not visible:
            noun = match.resource_id.partition("-")[0][:16]
            raise NotFound(f"There is no {match.resource_id}.", code=f"{noun}_not_found")


def _begin_to_count(services: Services, principal: Principal, scope: Scope) -> Counting:
    counting = asyncio.ensure_future(_count(services, principal, scope))
    # Where nobody waits for it in the end, as when a client goes away, its error is no news.
    counting.add_done_callback(lambda done: done.cancelled() or done.exception())
    return counting


async def _under_way() -> None:
    """Return once what was begun just now has been sent.

    A task begins with the next turn of the event loop, and what it sends leaves at that turn's
    end; without a pause it would wait for the read, which does not pause either.
    """
    await asyncio.sleep(0)
    await asyncio.sleep(0)


async def _counted(counting: Counting) -> dict[str, str]:
    try:
        return await counting
    except AIForgeError as refusal:
        raise _NotLetPassError(refusal) from refusal


async def _weightier(counting: Counting | None, error: AIForgeError) -> AIForgeError:
    """The error of the count where there is one: who sends too much learns nothing else."""
    if counting is not None:
        try:
            await counting
        except AIForgeError as refusal:
            return refusal
    return error


async def _count(services: Services, principal: Principal, scope: Scope) -> dict[str, str]:
    """Count a request; the headers that tell what is left.

    Raises:
        RateLimited: There were too many.
        Unavailable: Nobody counts, and the operator chose to refuse then.
    """
    bucket = _bucket(scope)
    verdict: Verdict | None = await services.limiter.hit(principal.id, bucket)
    if verdict is None:
        if services.settings.limiter_failure == "open":
            return {}
        raise Unavailable(
            "Requests cannot be counted at the moment; it is mended by itself, try again soon.",
            code="limiter_unavailable",
            retryAfter=2,
        )
    if not verdict.allowed:
        raise refused(bucket, verdict)
    return verdict.headers(bucket)


def _bucket(scope: Scope) -> Bucket:
    if scope["method"] in SAFE:
        return Bucket.READS
    kind = Headers(scope=scope).get("content-type", "").partition(";")[0].strip().lower()
    return Bucket.UPLOADS if kind == MEDIA_TYPE else Bucket.WRITES
