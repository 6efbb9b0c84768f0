"""Which base model a name means; imports neither torch nor transformers."""

from __future__ import annotations

import difflib
import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from aiforge.errors import Failure, InvalidInput
from aiforge.modeling import hub
from aiforge.modeling.catalog import Catalog, Family, read_catalog
from aiforge.settings import Settings, get_settings

FORGE_TINY = "forge-tiny"
FORGE_TINY_DIR = Path(__file__).parent / "forge_tiny"
FAMILIES: frozenset[str] = frozenset(get_args(Family))
MAX_CONFIG_BYTES = 1 << 20
_HASH_BLOCK = 1 << 22


@dataclass(frozen=True)
class BaseModel:
    """A base model that exists and is of a supported architecture.

    ``location`` is a directory where ``is_local``, else a hub id; ``revision`` is the commit on
    the hub; ``chat_template`` replaces the model's own template.
    """

    name: str
    location: str
    revision: str | None = None
    is_local: bool = True
    chat_template: str | None = None


def resolve_base_model(
    name: str, settings: Settings, *, catalog: Catalog | None = None, timeout: float = 0.9
) -> BaseModel:
    """Find the base model that a user named, and check that it can be trained.

    Tried in this order: ``forge-tiny``; an alias of the catalog; a directory below a model root;
    a hub id, first in the hub's local cache, then on the hub. Weights are neither read nor
    downloaded.

    Args:
        name: What the user wrote.
        settings: Gives the model roots.
        catalog: The aliases; the shipped catalog by default.
        timeout: Seconds that the hub has to answer.

    Raises:
        InvalidInput: With code ``unknown_base_model`` and ``field="baseModel"``; the message
            says what to do.
    """
    catalog = catalog or read_catalog()
    if name == FORGE_TINY:
        return _local(name, FORGE_TINY_DIR, None)
    entry = catalog.find(name)
    wanted, revision = (entry.hub_id, entry.revision) if entry else _split_revision(name)
    template = catalog.template_of(entry)
    for candidate in dict.fromkeys((wanted, name)):
        if directory := _below_roots(candidate, settings):
            return _local(name, directory, template)
    if not hub.is_hub_id(wanted):
        raise _unknown(_not_found_message(name, settings, catalog), reason="not_found")
    found = hub.find_config(wanted, revision, timeout=timeout)
    if isinstance(found, hub.Missing):
        raise _unknown(f"Base model {name!r}: {found.message}", reason=found.reason)
    _check_architecture(name, found.config)
    return BaseModel(name, wanted, found.commit, False, template)


def local_directory(base: BaseModel) -> Path:
    """The directory that holds the model's files, downloaded first where they are on the hub.

    Raises:
        Failure: The download failed.
    """
    return Path(base.location) if base.is_local else hub.download(base.location, base.revision)


def read_config(base: BaseModel) -> dict[str, Any]:
    """The model's ``config.json``."""
    return _read_json(_file(base, "config.json"))


def context_length(base: BaseModel) -> int:
    """Longest sequence the model was made for, in tokens."""
    return int(read_config(base).get("max_position_embeddings", 2048))


def tokenizer_json(base: BaseModel) -> str:
    """Content of ``tokenizer.json``, for counting tokens without loading the model."""
    return tokenizer_file(base).read_text(encoding="utf-8")


def tokenizer_file(base: BaseModel) -> Path:
    """Where ``tokenizer.json`` is, downloaded first where it is on the hub."""
    return _file(base, "tokenizer.json")


def weight_files(base: BaseModel) -> list[Path]:
    """The safetensors shards, sorted by name.

    Raises:
        Failure: There is none.
    """
    shards = _shards(local_directory(base))
    if not shards:
        raise Failure(
            f"{base.location} holds no *.safetensors file; convert its weights first.",
            code="base_model_unreadable",
        )
    return shards


def content_hash(base: BaseModel) -> str:
    """SHA-256 over the names and contents of the shards; paths and modification times don't count.

    A shard is read once and its hash remembered with its path, size and modification time under
    ``settings.home``.
    """
    memory = _HashMemory(get_settings().home / "cache" / "weights-sha256.json")
    digest = hashlib.sha256()
    for shard in weight_files(base):
        digest.update(f"{shard.name}:{memory.sha256(shard)}\n".encode())
    memory.save()
    return digest.hexdigest()


class _HashMemory:
    """SHA-256 of files by path, size and modification time, kept in a JSON file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            known = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            known = {}
        self.known: dict[str, str] = known if isinstance(known, dict) else {}
        self.changed = False

    def sha256(self, file: Path) -> str:
        status = file.stat()
        key = f"{file.resolve()}|{status.st_size}|{status.st_mtime_ns}"
        if key not in self.known:
            digest = hashlib.sha256()
            with file.open("rb") as stream:
                while block := stream.read(_HASH_BLOCK):
                    digest.update(block)
            self.known[key] = digest.hexdigest()
            self.changed = True
        return self.known[key]

    def save(self) -> None:
        if not self.changed:
            return
        partial = self.path.with_suffix(f".{os.getpid()}.partial")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            partial.write_text(json.dumps(self.known, indent=1), encoding="utf-8")
            partial.replace(self.path)
        except OSError:
            # The memory saves seconds; a home that cannot be written must not stop training.
            partial.unlink(missing_ok=True)


def _local(name: str, directory: Path, template: str | None) -> BaseModel:
    if not (directory / "config.json").is_file():
        remedy = "reinstall aiforge" if name == FORGE_TINY else "name the directory that holds it"
        raise _unknown(f"Base model {name!r} has no config.json; {remedy}.", reason="not_a_model")
    try:
        config, shards = _read_json(directory / "config.json"), _shards(directory)
    except Failure as error:
        raise _unknown(f"Base model {name!r}: {error.message}", reason="not_a_model") from error
    _check_architecture(name, config)
    if not shards:
        raise _unknown(
            f"Base model {name!r} has no *.safetensors weights; pickled weights are never loaded: "
            "convert them with transformers' save_pretrained.",
            reason="no_safetensors",
        )
    if not (directory / "tokenizer.json").is_file():
        raise _unknown(
            f"Base model {name!r} has no tokenizer.json; save its fast tokenizer beside it.",
            reason="no_tokenizer",
        )
    return BaseModel(name, str(directory), None, True, template)


def _below_roots(name: str, settings: Settings) -> Path | None:
    """The directory of that name, if links and ``..`` resolved it is below a model root."""
    for root in settings.model_roots:
        try:
            resolved_root = root.expanduser().resolve()
            candidate = (resolved_root / name).resolve()
            if candidate.is_relative_to(resolved_root) and candidate.is_dir():
                return candidate if candidate != resolved_root else None
        except (OSError, ValueError):
            continue
    return None


def _split_revision(name: str) -> tuple[str, str | None]:
    wanted, _, revision = name.partition("@")
    return (wanted, revision) if hub.is_revision(revision) else (name, None)


def _not_found_message(name: str, settings: Settings, catalog: Catalog) -> str:
    known = [FORGE_TINY, *(entry.alias for entry in catalog.models)]
    shown = name if len(name) <= 80 else f"{name[:77]}…"
    if "/" in name:
        roots = ", ".join(str(root) for root in settings.model_roots) or "none is configured"
        return (
            f"Base model {shown!r} is no hub id and no directory below a model root ({roots}); "
            "move it below one, or add its parent directory to AIFORGE_MODEL_ROOTS."
        )
    close = difflib.get_close_matches(name[:80].lower(), {k.lower(): k for k in known}, n=1)
    names = {alias.lower(): alias for alias in known}
    hint = f"did you mean {names[close[0]]!r}?" if close else f"try {FORGE_TINY!r}, a hub id "
    return f"Unknown base model {shown!r}; {hint}" + (
        "" if close else "(owner/name) or a directory below a model root."
    )


def _check_architecture(name: str, config: Mapping[str, Any]) -> None:
    kind = str(config.get("model_type"))
    given = config.get("architectures") or ["ForCausalLM"]
    architecture = str(given[0] if isinstance(given, list) else given)
    quantized = bool(config.get("quantization_config"))
    if kind not in FAMILIES or not architecture.endswith("ForCausalLM") or quantized:
        what = "already quantized" if quantized else f"a {kind} model ({architecture})"
        raise _unknown(
            f"Base model {name!r} is {what}; supported are unquantized causal language models "
            f"of the families {', '.join(sorted(FAMILIES))}.",
            reason="unsupported_architecture",
        )


def _unknown(message: str, *, reason: str) -> InvalidInput:
    return InvalidInput(message, code="unknown_base_model", field="baseModel", reason=reason)


def _file(base: BaseModel, name: str) -> Path:
    if base.is_local:
        return Path(base.location) / name
    return hub.download_file(base.location, name, base.revision)


def _shards(directory: Path) -> list[Path]:
    """The shards of the model itself; an adapter's or a consolidated copy's are not among them."""
    index = directory / "model.safetensors.index.json"
    if index.is_file():
        weight_map = _read_json(index).get("weight_map")
        names = {str(n) for n in weight_map.values()} if isinstance(weight_map, dict) else {"?"}
        beside = {path.name for path in directory.glob("*.safetensors")}
        if absent := names - beside:
            raise Failure(
                f"{index.name} names {min(absent)!r}, which is not beside it; copy all shards.",
                code="base_model_unreadable",
            )
        return sorted(directory / name for name in names)
    single = directory / "model.safetensors"
    return [single] if single.is_file() else []


def _read_json(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > MAX_CONFIG_BYTES * 64:
            raise Failure(f"{path.name} is too large to be right.", code="base_model_unreadable")
        loaded = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise Failure(
            f"{path.name} cannot be read: {error}", code="base_model_unreadable"
        ) from error
    if not isinstance(loaded, dict):
        raise Failure(f"{path.name} holds no JSON object.", code="base_model_unreadable")
    return loaded
