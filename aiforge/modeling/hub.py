"""The Hugging Face hub: a quick question whether a model is there, and the download of its files.

``HF_ENDPOINT``, ``HF_TOKEN``, ``HF_HOME`` and ``HF_HUB_OFFLINE`` work as everywhere else.
"""

from __future__ import annotations

import json
import os
import re
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import httpx

from aiforge.errors import Failure

MAX_CONFIG_BYTES = 1 << 20
FILES = ["*.safetensors", "*.safetensors.index.json", "*.json", "*.jinja", "tokenizer.model"]

_HUB_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}/[A-Za-z0-9][A-Za-z0-9._-]{0,95}")
_REVISION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")

_REMEDY = "put the model below a directory of AIFORGE_MODEL_ROOTS, or use 'forge-tiny'"


@dataclass(frozen=True)
class Found:
    """A model's ``config.json`` and the commit that it was read at."""

    config: dict[str, Any]
    commit: str | None


@dataclass(frozen=True)
class Missing:
    """Why a model cannot be had from the hub, as the end of a sentence."""

    reason: Literal["not_found", "gated", "hub_unreachable", "not_a_model"]
    message: str


def is_hub_id(name: str) -> bool:
    """Whether a name has the form ``owner/name``."""
    return bool(_HUB_ID.fullmatch(name)) and ".." not in name and "--" not in name


def is_revision(name: str) -> bool:
    """Whether a name can be a branch, tag or commit."""
    return bool(_REVISION.fullmatch(name)) and ".." not in name


def find_config(hub_id: str, revision: str | None, *, timeout: float) -> Found | Missing:
    """Look for a model in the hub's local cache, then on the hub; answers within ``timeout`` s."""
    if cached := _cached_config(hub_id, revision):
        return cached
    if os.environ.get("HF_HUB_OFFLINE", "").lower() in ("1", "true", "yes", "on"):
        return Missing("hub_unreachable", f"not in the cache, HF_HUB_OFFLINE is set: {_REMEDY}.")
    answer: list[Found | Missing] = []

    def ask() -> None:
        answer.append(_ask_hub(hub_id, revision, timeout))

    # Name resolution knows no time limit, so the question is asked by a thread that may be left.
    thread = threading.Thread(target=ask, name="hub-question", daemon=True)
    thread.start()
    thread.join(timeout)
    return answer[0] if answer else _unreachable(f"no answer within {timeout:g} s")


def download(hub_id: str, revision: str | None) -> Path:
    """Fetch all files of a model that loading needs, and return their directory."""
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(hub_id, revision=revision, allow_patterns=FILES))
    except (OSError, ValueError, httpx.HTTPError) as error:
        raise _download_failed(hub_id, error) from error


def download_file(hub_id: str, name: str, revision: str | None) -> Path:
    """Fetch one file of a model, and return its path."""
    from huggingface_hub import hf_hub_download

    try:
        return Path(hf_hub_download(hub_id, name, revision=revision))
    except (OSError, ValueError, httpx.HTTPError) as error:
        raise _download_failed(f"{hub_id}/{name}", error) from error


def _download_failed(what: str, error: Exception) -> Failure:
    first_line = (str(error).strip() or type(error).__name__).splitlines()[0]
    return Failure(
        f"{what} cannot be downloaded: {first_line} ({_REMEDY}).", code="base_model_unreadable"
    )


def _cached_config(hub_id: str, revision: str | None) -> Found | None:
    from huggingface_hub import try_to_load_from_cache

    path = try_to_load_from_cache(hub_id, "config.json", revision=revision)
    if not isinstance(path, str):
        return None
    try:
        config = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    # The cache is laid out as snapshots/<commit>/config.json.
    return Found(config, Path(path).parent.name) if isinstance(config, dict) else None


def _ask_hub(hub_id: str, revision: str | None, timeout: float) -> Found | Missing:
    from huggingface_hub import get_token

    endpoint = os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")
    url = f"{endpoint}/{hub_id}/resolve/{revision or 'main'}/config.json"
    token = get_token()
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    try:
        with (
            httpx.Client(timeout=timeout, follow_redirects=True, headers=headers) as client,
            client.stream("GET", url) as response,
        ):
            if response.status_code != 200:
                return _refusal(hub_id, response)
            body = b""
            for block in response.iter_bytes():
                body += block
                if len(body) > MAX_CONFIG_BYTES:
                    return Missing("not_a_model", "its config.json is too large to be right.")
        config = json.loads(body)
    except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
        return _unreachable(str(error) or type(error).__name__)
    except ValueError:
        return Missing("not_a_model", "its config.json is not JSON.")
    if not isinstance(config, dict):
        return Missing("not_a_model", "its config.json holds no object.")
    first = response.history[0] if response.history else response
    return Found(config, first.headers.get("X-Repo-Commit") or revision)


def _refusal(hub_id: str, response: httpx.Response) -> Missing:
    code = response.headers.get("X-Error-Code", "")
    if code == "GatedRepo":
        return Missing(
            "gated",
            f"its owner asks for consent; accept the licence of {hub_id} and set HF_TOKEN.",
        )
    if code == "EntryNotFound":
        return Missing("not_a_model", "it has no config.json on the hub.")
    if response.status_code in (401, 403, 404):
        return Missing(
            "not_found",
            "the hub has no such model, or it is private: check the spelling, or set HF_TOKEN.",
        )
    return _unreachable(f"HTTP {response.status_code}")


def _unreachable(why: str) -> Missing:
    return Missing("hub_unreachable", f"the model hub cannot be reached ({why}): {_REMEDY}.")
