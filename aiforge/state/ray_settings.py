"""The settings of a running platform, where its lasting actors find them whenever they start.

Ray starts an actor again with the arguments that it was first made with, pickled by the version of
that time. What was said since then stands in the store of Ray's control service.
"""

from __future__ import annotations

import json

from ray.experimental import internal_kv

from aiforge.settings import Settings

_KEY = "settings"


def publish(settings: Settings) -> None:
    """Have actors of the platform that start from now on work with these settings."""
    internal_kv._internal_kv_put(
        _KEY, json.dumps(settings.with_secrets()), overwrite=True, namespace=_of(settings.namespace)
    )


def published(namespace: str) -> Settings | None:
    """The settings that were published last; ``None`` where none were, or there is no cluster."""
    if not internal_kv._internal_kv_initialized():
        return None
    found = internal_kv._internal_kv_get(_KEY, namespace=_of(namespace))
    return None if found is None else Settings(**json.loads(found))


def current(given: Settings) -> Settings:
    """The settings to work with, for an actor that was given some when it was made."""
    return published(given.namespace) or given


def _of(namespace: str) -> str:
    return f"aiforge-{namespace}"
