"""Tokens and keys: what is accepted, what is refused, and that no secret is kept."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import sqlite3
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from front import SECRET, MakeToken, bearer
from served import World, serve
from starlette.requests import Request
from starlette.responses import JSONResponse

from aiforge.errors import Unauthenticated, Unavailable
from aiforge.services import access, keys, tokens
from aiforge.services.tokens import Tokens

CLAIMS: dict[str, Any] = {"iss": "aiforge", "aud": "aiforge", "sub": "alice", "scope": "admin"}


def encoded(
    claims: dict[str, Any], key: Any = SECRET, algorithm: str = "HS256", **header: Any
) -> str:
    full = {"exp": datetime.now(UTC) + timedelta(minutes=5)} | claims
    return jwt.encode({k: v for k, v in full.items() if v is not None}, key, algorithm, header)


def spliced(header: dict[str, Any], claims: dict[str, Any], signature: bytes = b"") -> str:
    parts = [json.dumps(header).encode(), json.dumps(claims).encode(), signature]
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)


FOREVER = CLAIMS | {"exp": 4_000_000_000}

FORGED: dict[str, Callable[[], str]] = {
    "alg none": lambda: spliced({"alg": "none"}, FOREVER),
    "alg None": lambda: spliced({"alg": "None"}, FOREVER),
    "alg missing": lambda: spliced({"typ": "JWT"}, FOREVER),
    "alg a list": lambda: spliced({"alg": ["HS256"]}, FOREVER),
    "no signature": lambda: encoded(CLAIMS).rpartition(".")[0] + ".",
    "other key": lambda: encoded(CLAIMS, "another-key-of-thirty-two-bytes-or-more"),
    "empty key": lambda: spliced({"alg": "HS256"}, FOREVER, hmac.digest(b"", b"x", hashlib.sha256)),
    "HS512": lambda: encoded(CLAIMS, SECRET * 2, "HS512"),
    "RS256 unasked": lambda: encoded(
        CLAIMS, rsa.generate_private_key(public_exponent=65537, key_size=2048), "RS256", kid="a"
    ),
    "expired": lambda: encoded(CLAIMS | {"exp": datetime.now(UTC) - timedelta(minutes=1)}),
    "not yet": lambda: encoded(CLAIMS | {"nbf": datetime.now(UTC) + timedelta(minutes=5)}),
    "other audience": lambda: encoded(CLAIMS | {"aud": "billing"}),
    "no audience": lambda: encoded(CLAIMS | {"aud": None}),
    "other issuer": lambda: encoded(CLAIMS | {"iss": "https://evil.example"}),
    "no issuer": lambda: encoded(CLAIMS | {"iss": None}),
    "never expires": lambda: encoded(CLAIMS | {"exp": None}),
    "nobody": lambda: encoded(CLAIMS | {"sub": None}),
    "subject a number": lambda: spliced({"alg": "HS256"}, FOREVER | {"sub": 7}),
    "critical": lambda: encoded(CLAIMS, crit=["b64"], b64=False),
    "scope a list": lambda: encoded(CLAIMS | {"scope": ["admin"]}),
    "projects a text": lambda: encoded(CLAIMS | {"projects": "p"}),
    "expiry a text": lambda: spliced({"alg": "HS256"}, CLAIMS | {"exp": "soon"}),
    "not JSON": lambda: "bm90.anNvbg.eA",
    "too long": lambda: encoded(CLAIMS | {"x": "y" * 9000}),
    "empty parts": lambda: "..",
    "unicode": lambda: "é.é.é",
}


@pytest.mark.parametrize("name", FORGED)
def test_forged_and_stale_tokens_are_refused(production: World, name: str) -> None:
    tokens = Tokens(production.services.settings)

    with pytest.raises(Unauthenticated) as refusal:
        asyncio.run(tokens.principal(FORGED[name]()))

    assert refusal.value.code == "token_invalid"
    assert SECRET not in refusal.value.message


def test_a_good_token_says_who_asks_and_what_they_may_do(production: World) -> None:
    tokens = Tokens(production.services.settings)
    text = encoded(CLAIMS | {"scope": "jobs:read openid datasets:*", "projects": ["p"]})

    principal = asyncio.run(tokens.principal(text))

    assert (principal.id, principal.projects) == ("token:alice", {"p"})
    assert principal.scopes == {"jobs:read", "datasets:*"}
    assert principal.may("datasets:write")
    assert not principal.may("jobs:write")


class Provider:
    """An identity provider that publishes its keys."""

    def __init__(self) -> None:
        self.rsa = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.ed = ed25519.Ed25519PrivateKey.generate()
        self.fetched = 0
        self.broken = False

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.fetched += 1
        request = Request(scope, receive)
        answer = JSONResponse({"keys": self.published()}, status_code=500 if self.broken else 200)
        assert request.method == "GET"
        await answer(scope, receive, send)

    def published(self) -> list[dict[str, Any]]:
        found = []
        for key_id, key in (("r", self.rsa), ("e", self.ed)):
            algorithm = {"r": jwt.algorithms.RSAAlgorithm, "e": jwt.algorithms.OKPAlgorithm}[key_id]
            public = json.loads(algorithm.to_jwk(key.public_key()))  # type: ignore[attr-defined]
            found.append(public | {"kid": key_id, "use": "sig"})
        return found


@pytest.fixture
def provider() -> Iterator[tuple[Provider, str]]:
    provided = Provider()
    for url in serve(provided):
        yield provided, url


def test_keys_of_an_identity_provider_are_fetched_and_never_confused(
    production: World, provider: tuple[Provider, str]
) -> None:
    published, url = provider
    settings = production.services.settings.model_copy(update={"jwks_url": f"{url}/jwks"})
    tokens = Tokens(settings)
    public = published.rsa.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    other = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    confused = spliced({"alg": "HS256", "kid": "r"}, FOREVER)
    signed = hmac.digest(public, confused.rpartition(".")[0].encode(), hashlib.sha256)
    refused = [
        encoded(CLAIMS, other, "RS256", kid="r"),
        encoded(CLAIMS, other, "RS256", kid="unknown"),
        encoded(CLAIMS, published.rsa, "RS256"),
        encoded(CLAIMS, published.rsa, "RS512", kid="r"),
        encoded(CLAIMS, published.rsa, "RS256", kid="e"),
        spliced({"alg": "HS256", "kid": "r"}, FOREVER, signed),
        encoded(CLAIMS, other, "RS256", kid="r", jku="https://evil.example/jwks"),
    ]

    async def check() -> None:
        for key, algorithm, key_id in ((published.rsa, "RS256", "r"), (published.ed, "EdDSA", "e")):
            good = await tokens.principal(encoded(CLAIMS, key, algorithm, kid=key_id))
            assert good.id == "token:alice"
        for text in refused:
            with pytest.raises(Unauthenticated):
                await tokens.principal(text)
        assert (await tokens.principal(encoded(CLAIMS))).id == "token:alice"

    asyncio.run(check())
    assert published.fetched == 1


def test_a_provider_that_is_away_makes_tokens_wait_and_is_not_flooded(
    production: World, provider: tuple[Provider, str]
) -> None:
    published, url = provider
    published.broken = True
    settings = production.services.settings.model_copy(update={"jwks_url": f"{url}/jwks"})
    text = encoded(CLAIMS, published.rsa, "RS256", kid="r")

    with pytest.raises(Unavailable):
        asyncio.run(Tokens(settings).principal(text))


def make_key(front: httpx.Client, admin: dict[str, str], **body: Any) -> dict[str, Any]:
    answer = front.post("/keys", json={"name": "k", "scopes": ["jobs:read"]} | body, headers=admin)
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


def test_a_key_is_shown_once_kept_as_a_hash_and_notes_its_last_use(
    front: httpx.Client, admin: dict[str, str], production: World
) -> None:
    made = make_key(front, admin)
    secret = made["key"].partition(".")[2]

    answer = front.get("/jobs", headers=bearer(made["key"]))
    again = front.get("/jobs", headers={"X-API-Key": made["key"]})
    listed = front.get("/keys", headers=admin)

    assert (answer.status_code, again.status_code) == (200, 200)
    assert listed.headers["x-total-count"] == "1"
    assert "key" not in listed.json()[0]
    assert listed.json()[0]["lastUsedAt"] is not None
    database = production.services.settings.home / "state" / "aiforge.db"
    with sqlite3.connect(database) as connection:
        dump = "\n".join(connection.iterdump())
    assert made["id"] in dump
    assert secret not in dump
    assert hashlib.sha256(secret.encode()).hexdigest() in dump


def test_a_token_that_was_accepted_ends_by_time_all_the_same(
    front: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tokens, "REMEMBER_SECONDS", 3600.0)
    left = timedelta(seconds=2 - tokens.LEEWAY_SECONDS)
    headers = bearer(encoded(CLAIMS | {"exp": datetime.now(UTC) + left}))
    assert front.get("/jobs", headers=headers).status_code == 200
    deadline = time.monotonic() + 60
    while (answer := front.get("/jobs", headers=headers)).status_code == 200:
        assert time.monotonic() < deadline, "an expired token is still accepted"
    assert answer.json()["detail"]["code"] == "token_invalid"


def test_keys_end_by_revocation_and_by_time(
    front: httpx.Client, admin: dict[str, str], production: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    soon = datetime.now(UTC) + timedelta(hours=1)
    made = make_key(front, admin)
    dated = make_key(front, admin, expiresAt=soon.isoformat())
    assert front.get("/jobs", headers=bearer(dated["key"])).status_code == 200

    assert front.delete(f"/keys/{made['id']}", headers=admin).status_code == 200
    assert front.delete(f"/keys/{made['id']}", headers=admin).status_code == 200
    monkeypatch.setattr(access, "now", lambda: soon)

    assert front.get("/jobs", headers=bearer(made["key"])).status_code == 401
    assert front.get("/jobs", headers=bearer(dated["key"])).status_code == 401
    past = {"name": "k", "scopes": ["admin"], "expiresAt": "2020-01-01T00:00:00Z"}
    assert front.post("/keys", json=past, headers=admin).status_code == 400
    assert front.delete("/keys/key-none", headers=admin).status_code == 404


def test_another_replica_forgets_a_revoked_key_in_time(
    front: httpx.Client, admin: dict[str, str], production: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = make_key(front, admin)
    other = access.Access(production.services.state, production.services.settings)
    asyncio.run(other.principal(made["key"]))
    front.delete(f"/keys/{made['id']}", headers=admin)
    asyncio.run(other.principal(made["key"]))

    later = access.time.monotonic() + access.REMEMBER_SECONDS
    monkeypatch.setattr(access.time, "monotonic", lambda: later)

    with pytest.raises(Unauthenticated):
        asyncio.run(other.principal(made["key"]))


def test_nobody_makes_a_key_that_is_good_for_more_than_they_are(
    front: httpx.Client, token: MakeToken
) -> None:
    mine = bearer(token("keys:*", "jobs:read"))
    bound = bearer(token("admin", projects=["p"]))

    def make(headers: dict[str, str], **body: Any) -> httpx.Response:
        return front.post("/keys", json={"name": "k"} | body, headers=headers)

    assert make(mine, scopes=["jobs:read"]).status_code == 201
    assert make(mine, scopes=["jobs:write"]).json()["detail"]["code"] == "scope_beyond_own"
    assert make(mine, scopes=["admin"]).status_code == 403
    assert make(mine, scopes=["jobs:*"]).status_code == 403
    assert make(bound, scopes=["admin"]).json()["detail"]["code"] == "beyond_projects"
    assert make(bound, scopes=["admin"], projects=["q"]).status_code == 403
    assert make(bound, scopes=["admin"], projects=["p"]).status_code == 201
    assert make(mine, scopes=["everything"]).status_code == 400


def test_a_repeated_request_does_not_show_a_key_again(
    front: httpx.Client, admin: dict[str, str], production: World
) -> None:
    headers = admin | {"Idempotency-Key": "once"}
    body = {"name": "k", "scopes": ["jobs:read"]}

    first = front.post("/keys", json=body, headers=headers)
    second = front.post("/keys", json=body, headers=headers)

    assert first.status_code == 201
    assert (second.status_code, second.json()["detail"]["code"]) == (409, "key_shown_already")
    assert front.get("/keys", headers=admin).headers["x-total-count"] == "1"


def test_idempotency_keys_of_different_clients_never_meet(
    front: httpx.Client, token: MakeToken
) -> None:
    body = {"name": "k", "scopes": ["jobs:read"]}
    made = [
        front.post(
            "/keys",
            json=body,
            headers=bearer(token("admin", subject=name)) | {"Idempotency-Key": "same"},
        ).json()["id"]
        for name in ("alice", "bob")
    ]
    assert made[0] != made[1]


@pytest.mark.parametrize(
    "text", ["aif_", "aif_x", f"aif_{'0' * 26}.", f"aif_{'0' * 26}.{'é' * 43}"]
)
def test_what_is_no_key_is_not_looked_up(text: str) -> None:
    assert keys.parse(text) is None
