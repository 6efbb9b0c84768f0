"""API keys: of a secret only its hash is kept."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from sqlalchemy import Column, Connection, Row, String, Table, bindparam, func, or_, select
from sqlalchemy.sql.elements import ColumnElement

from aiforge.errors import NotFound
from aiforge.schemas.access import ApiKey
from aiforge.schemas.common import Listing
from aiforge.state import events
from aiforge.state.ops import read, write
from aiforge.state.schema import Json, Moment, metadata, now, to_model

keys = Table(
    "api_keys",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("name", String(100), nullable=False),
    Column("secret_hash", String(64), nullable=False),
    Column("scopes", Json, nullable=False),
    Column("projects", Json),
    Column("created_by", String(200), nullable=False),
    Column("created_at", Moment, nullable=False),
    Column("expires_at", Moment),
    Column("revoked_at", Moment),
    Column("last_used_at", Moment),
)

_SHOWN = [keys.c[name] for name in ApiKey.model_fields]


class StoredKey(ApiKey):
    """A key with the SHA-256 of its secret, in hexadecimal."""

    secret_hash: str


@write
def create(connection: Connection, new: StoredKey) -> ApiKey:
    """Store a key."""
    connection.execute(keys.insert().values(**new.model_dump(by_alias=False)))
    events.append(connection, "key.created", new.id, name=new.name, scopes=new.scopes)
    return get(connection, new.id)


@read
def get(connection: Connection, key_id: str) -> ApiKey:
    """One key.

    Raises:
        NotFound: There is no such key.
    """
    row = connection.execute(select(*_SHOWN).where(keys.c.id == key_id)).one_or_none()
    if row is None:
        raise NotFound(f"There is no key {key_id}.", code="key_not_found")
    return to_model(ApiKey, row)


_STORED = select(keys).where(keys.c.id == bindparam("key_id"))


@read
def find(connection: Connection, key_id: str) -> StoredKey | None:
    """A key with its hash, for whoever has to compare it; ``None`` where there is none."""
    row: Row[tuple[object, ...]] | None = connection.execute(
        _STORED, {"key_id": key_id}
    ).one_or_none()
    return None if row is None else to_model(StoredKey, row)


@read
def page(connection: Connection, limit: int, offset: int) -> Listing[ApiKey]:
    """Keys, newest first, revoked ones included."""
    rows = connection.execute(
        select(*_SHOWN).order_by(keys.c.id.desc()).limit(limit).offset(offset)
    )
    items = [to_model(ApiKey, row) for row in rows]
    total = connection.execute(select(func.count()).select_from(keys)).scalar_one()
    return Listing[ApiKey](items=items, total=total)


@write
def revoke(connection: Connection, key_id: str) -> ApiKey:
    """Have a key never be accepted again; to do so twice is no error.

    Raises:
        NotFound: There is no such key.
    """
    found = get(connection, key_id)
    if found.revoked_at is None:
        connection.execute(keys.update().where(keys.c.id == key_id).values(revoked_at=now()))
        events.append(connection, "key.revoked", key_id, name=found.name)
    return get(connection, key_id)


@write
def note_uses(connection: Connection, uses: Mapping[str, datetime]) -> None:
    """Note when keys were used last; an older moment never replaces a newer one."""
    for key_id, moment in uses.items():
        older: ColumnElement[bool] = or_(
            keys.c.last_used_at.is_(None), keys.c.last_used_at < moment
        )
        connection.execute(
            keys.update().where(keys.c.id == key_id, older).values(last_used_at=moment)
        )
