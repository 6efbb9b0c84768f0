"""Takes secrets out of texts, wherever a text leaves a process or is kept.

Two kinds are known: forms that only secrets have (keys of this platform and of well-known
services, JSON Web Tokens, credentials in URLs and headers), and the very values that this process
was given, by its environment or its settings.
"""

from __future__ import annotations

import logging
import os
import re
import threading
import traceback
from collections.abc import Iterable, Mapping
from typing import Any

MASK = "[redacted]"

SHORTEST = 8
"""Shorter values are not learnt: they would be found in ordinary words."""

_FORMS = re.compile(
    "|".join(
        (
            r"(?P<key>aif_[0-9a-z]{26}\.)[A-Za-z0-9_-]{20,}",
            r"whsec_[A-Za-z0-9+/=_-]{16,}",
            r"eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]*",
            r"gh[pousr]_[A-Za-z0-9]{20,}",
            r"github_pat_[A-Za-z0-9_]{20,}",
            r"glpat-[A-Za-z0-9_-]{20,}",
            r"xox[abprs]-[A-Za-z0-9-]{10,}",
            r"hf_[A-Za-z0-9]{30,}",
            r"sk-[A-Za-z0-9_-]{20,}",
            r"AKIA[0-9A-Z]{16}",
            r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)",
            # A user alone is no secret but in HTTP, where tokens are sent as one.
            r"(?P<http>https?://)[^\s/@'\"]+@",
            r"(?P<user>\b[a-z][a-z0-9+.-]*://[^\s/:@'\"]*:)[^\s/@'\"]+(?=@)",
            r"(?P<header>(?i:authorization|x-api-key|cookie)['\"]?\s*[:=]\s*['\"]?"
            r"(?i:bearer |basic |token )?)[^\s'\",;]{6,}",
            r"(?P<query>[?&](?i:access_token|token|api_key|apikey|key|sig|signature|password)=)"
            r"[^&\s'\"]+",
        )
    ),
    re.DOTALL,
)
_SUSPECT = re.compile(
    r"SECRET|TOKEN|PASSWORD|PASSWD|API_?KEY|ACCESS_KEY|PRIVATE_KEY", re.IGNORECASE
)
_HARMLESS = re.compile(r"(?i)(_FILE|_PATH|_DIR|_URL|TOKENIZERS?_\w+)$|^AIFORGE_GIT_TOKENS$")

_learning = threading.Lock()
_learnt: frozenset[str] = frozenset()
_exact: re.Pattern[str] | None = None


def learn(secrets: Iterable[str | None]) -> None:
    """Take these values out of every text from now on."""
    global _learnt, _exact
    found = {secret for secret in secrets if secret and len(secret) >= SHORTEST}
    with _learning:
        if found <= _learnt:
            return
        _learnt |= found
        # Longer ones first, since one secret may begin another.
        ordered = sorted(_learnt, key=len, reverse=True)
        _exact = re.compile("|".join(map(re.escape, ordered)))


def learn_environment(environment: Mapping[str, str] | None = None) -> None:
    """Learn the values of variables whose names say that they are secret."""
    given = os.environ if environment is None else environment
    learn(
        value
        for name, value in given.items()
        if _SUSPECT.search(name) and not _HARMLESS.search(name)
    )


def redact(text: str) -> str:
    """The text without secrets."""
    if _exact is not None:
        text = _exact.sub(MASK, text)
    return _FORMS.sub(_masked, text)


def _masked(match: re.Match[str]) -> str:
    kept = next((group for group in match.groups() if group is not None), "")
    return f"{kept}{MASK}{'@' if match.lastgroup == 'http' else ''}"


def redact_all(value: Any) -> Any:
    """A value of JSON with its texts redacted, its keys left as they are."""
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, Mapping):
        return {key: redact_all(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [redact_all(inner) for inner in value]
    return value


class _Record(logging.LogRecord):
    """A record whose message and trace hold no secrets, whichever handler writes it."""

    def getMessage(self) -> str:  # noqa: N802 (the name is logging's)
        if self.exc_info and not self.exc_text:
            self.exc_text = redact("".join(traceback.format_exception(*self.exc_info)).rstrip())
        return redact(super().getMessage())


def install() -> None:
    """Have every log record of this process redacted, and learn its environment's secrets."""
    learn_environment()
    logging.setLogRecordFactory(_Record)
