"""Secrets and e-mail addresses in text.

A text is first searched for a few literal words, which is many times as fast as any pattern; only
lines of texts that hold one are looked at by the detectors of detect-secrets. What only looks
random is not taken for a secret, as hashes and test vectors do: it must be of a vendor's form, or
be assigned to a name that says so.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any

VERSION = 1
"""Raised whenever the same text would be judged otherwise."""

# Words without which no detector below finds anything, as they are written.
_LITERALS = (
    *("AKIA", "ASIA", "ABIA", "ACCA", "ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_"),
    *("glpat-", "eyJ", "PRIVATE KEY", "sk_live_", "rk_live_", "xoxb-", "xoxp-", "xoxa-"),
    *("hooks.slack.com", "T3BlbkFJ", "pypi-AgE", "_authToken", "SG.", "AccountKey=", "sq0", "-us"),
    ":AA",
)
_KEYWORDS = ("passw", "secret", "token", "api_key", "apikey", "api-key", "access_key", "credential")
_ASSIGNED = re.compile(
    r"(?:passw(?:or)?d|secret|token|api[_-]?key|access[_-]?key|credential)s?\w{0,20}[\"']?\s{0,4}"
    r"(?::|=|:=|=>)\s{0,4}[\"']([^\"'\s]{12,200})[\"']",
    re.IGNORECASE,
)
_USER_INFO = re.compile(r"://[^\s/:@\"'<>{}$%]{1,64}:([^\s/:@\"'<>{}$%*]{6,200})@[\w.-]+")
_DETECTORS = (
    *("AWSKeyDetector", "AzureStorageKeyDetector", "DiscordBotTokenDetector"),
    *("GitHubTokenDetector", "GitLabTokenDetector", "JwtTokenDetector", "MailchimpDetector"),
    *("NpmDetector", "OpenAIDetector", "PrivateKeyDetector", "PypiTokenDetector"),
    *("SendGridDetector", "SlackDetector", "SquareOAuthDetector", "StripeDetector"),
    "TelegramBotTokenDetector",
)
_PLACEHOLDER = re.compile(
    r"example|placeholder|dummy|changeme|redacted|your[_-]|<.*>|\.\.\.|x{4,}|0{6,}|1234|abcd"
    r"|\bfake|test",
    re.IGNORECASE,
)
_LEAST_BITS = 3.2
_LONGEST_LINE = 2000
_GROUP = 32  # texts that are searched together before each is

_MAIL = re.compile(
    r"@(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.){1,5}"
    r"(?:com|org|net|edu|gov|mil|int|info|io|dev|ai|app|eu|de|uk|fr|nl|se|fi|dk|cz|pl|ru|ua|cn"
    r"|jp|kr|tw|br|ca|au|nz|ch|be|es|it|pt|il|tv)\b(?!\.?[A-Za-z0-9-])"
)
_LOCAL = re.compile(r"[A-Za-z0-9][\w.+%-]{0,63}\Z")
_NOBODY = re.compile(r"@(?:[\w-]+\.)*example\.(?:com|org|net|edu)\Z|noreply", re.IGNORECASE)
STAND_IN = "user@example.org"
"""What an e-mail address is replaced by."""


def secret_in(text: str) -> str | None:
    """The kind of a secret that a text holds, ``None`` where it holds none.

    A placeholder is none, nor is what a variable or a template stands for.
    """
    return secrets_in([text])[0]


def secrets_in(texts: Sequence[str]) -> list[str | None]:
    """As ``secret_in`` for each of some texts; what none of a group holds is looked for once."""
    found: list[str | None] = []
    for start in range(0, len(texts), _GROUP):
        group = texts[start : start + _GROUP]
        joined = "\n".join(group)
        literals = [literal for literal in _LITERALS if literal in joined]
        lower = joined.lower()
        keywords = [word for word in _KEYWORDS if word in lower]
        found += [_kind(text, literals, keywords) for text in group]
    return found


def _kind(text: str, literals: Sequence[str], keywords: Sequence[str]) -> str | None:
    held = [literal for literal in literals if literal in text]
    keyword = bool(keywords) and ("=" in text or ":" in text)
    if keyword:
        lower = text.lower()
        keyword = any(word in lower for word in keywords)
    login = "://" in text and "@" in text
    if not (held or keyword or login):
        return None
    for line in text.split("\n"):
        if 12 <= len(line) <= _LONGEST_LINE:
            found = next(_found(line, held, keyword, login), None)
            if found:
                return found
    return None


def _found(line: str, literals: Sequence[str], keyword: bool, login: bool) -> Iterator[str]:
    if literals and any(literal in line for literal in literals):
        for detector in _detectors():
            for value in detector.analyze_string(line):
                if value and not _PLACEHOLDER.search(value):
                    yield str(detector.secret_type)
    if keyword and ("=" in line or ":" in line):
        for match in _ASSIGNED.finditer(line):
            if _confirmed(match[1], line):
                yield "Secret Keyword"
    if login and "://" in line:
        for match in _USER_INFO.finditer(line):
            if not _PLACEHOLDER.search(match[0]) and bits(match[1]) >= 2.5:
                yield "Basic Auth Credentials"


def _confirmed(value: str, line: str) -> bool:
    """Whether a value looks like a secret rather than a name, a path, a template or a word."""
    from detect_secrets.filters import heuristic

    mixed = any(map(str.isdigit, value)) and any(map(str.isalpha, value))
    if not mixed or _PLACEHOLDER.search(value) or bits(value) < _LEAST_BITS:
        return False
    return not (
        heuristic.is_sequential_string(value)
        or heuristic.is_potential_uuid(value)
        or heuristic.is_likely_id_string(value, line)
        or heuristic.is_templated_secret(value)
        or heuristic.is_prefixed_with_dollar_sign(value)
        or heuristic.is_indirect_reference(line)
    )


@cache
def _detectors() -> tuple[Any, ...]:
    from detect_secrets.core.plugins.util import get_mapping_from_secret_type_to_class

    known = {each.__name__: each for each in get_mapping_from_secret_type_to_class().values()}
    return tuple(known[name]() for name in _DETECTORS)


def bits(value: str) -> float:
    """Entropy of a text, in bits per character."""
    counts = Counter(value).values()
    return -sum(n / len(value) * math.log2(n / len(value)) for n in counts)


def without_addresses(text: str) -> tuple[str, int]:
    """The text with e-mail addresses replaced, and their number; lines stay as they are."""
    if "@" not in text:
        return text, 0
    parts: list[str] = []
    position = count = 0
    for match in _MAIL.finditer(text):
        local = _LOCAL.search(text, max(position, match.start() - 64), match.start())
        if local is None or local[0] == "git":
            continue
        if _NOBODY.search(text[local.start() : match.end()]):
            continue
        parts += [text[position : local.start()], STAND_IN]
        position = match.end()
        count += 1
    return ("".join([*parts, text[position:]]), count) if count else (text, 0)
