"""What a test knows of the object store it was given."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class ObjectStore:
    """A bucket of its own on a real HTTP server that behaves as S3 does."""

    uri: str
    """Of a folder in the bucket."""

    bucket: str
    environment: dict[str, str]
    """What a process needs to reach it; the test's own has it."""

    client: Any
    """boto3's."""
