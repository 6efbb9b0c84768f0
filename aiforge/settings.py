"""One settings object, from ``AIFORGE_*`` variables and ``configs/platform/<env>.yaml``."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

import yaml
from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from aiforge.errors import InvalidInput

Environment = Literal["development", "staging", "production"]
LogFormat = Literal["json", "text"]


class Retention(BaseModel):
    """How long ``aiforge gc`` keeps what nothing refers to any more.

    What a source, dataset, job, model, export, artifact or mission refers to is kept whatever
    stands here.
    """

    model_config = ConfigDict(extra="forbid")

    grace_hours: float = Field(default=24, ge=1)
    """Age below which nothing goes: work that is under way is not referred to yet."""

    checkpoints: int = Field(default=1, ge=0)
    """The newest ones that are kept of a job that has ended, to resume from it."""

    cache_days: float | None = Field(default=30, gt=0)
    """Age at which factors, packed rows, chunks and measured answers go; for ever when absent."""

    teacher_days: float | None = Field(default=None, gt=0)
    """Age at which a teacher's replies go, which were paid for; for ever when absent."""


class Settings(BaseSettings):
    """Where the platform lives and what it may touch.

    Precedence, highest first: arguments, ``AIFORGE_*`` variables, the platform file of the
    environment, the defaults below. Lists are given as JSON in variables.
    """

    model_config = SettingsConfigDict(env_prefix="AIFORGE_", extra="forbid")

    env: Environment = "development"
    """Development binds to loopback and asks for no credentials."""

    home: Path = Field(default_factory=lambda: Path.home() / ".aiforge")
    """Directory of everything local: database, storage, logs, the cluster's description."""

    database_url: str | None = Field(default=None, repr=False)
    """SQLAlchemy URL; SQLite under ``home`` when absent."""

    database_url_file: Path | None = None
    """File that holds the URL, where it has a password; readable by its owner only."""

    storage_uri: str | None = None
    """``s3://bucket/prefix`` or a directory; ``home/storage`` when absent."""

    jwt_secret: SecretStr | None = None
    """Signing key of bearer tokens (HS256), at least 32 bytes. Outside development this, its
    file or ``jwks_url`` is required."""

    jwt_secret_file: Path | None = None
    """File that holds the signing key; readable by its owner only."""

    jwks_url: str | None = None
    """Where an identity provider publishes its public keys (RS256 and EdDSA)."""

    jwt_issuer: str = "aiforge"
    """The ``iss`` that bearer tokens must have."""

    jwt_audience: str = "aiforge"
    """The ``aud`` that bearer tokens must have."""

    api_replicas: int = Field(default=1, ge=1, le=100)
    """Processes that answer requests."""

    rate_limit_reads: int = Field(default=100, ge=1)
    """GET requests that a credential may send in a minute; there are no limits in development."""

    rate_limit_writes: int = Field(default=50, ge=1)
    """Requests that change something that a credential may send in a minute."""

    rate_limit_uploads: int = Field(default=10, ge=1)
    """Uploads that a credential may send in a minute."""

    limiter_failure: Literal["open", "closed"] = "open"
    """While nobody counts requests: ``open`` lets them pass, ``closed`` refuses them (503)."""

    forwarded_for: bool = False
    """The last address in ``X-Forwarded-For`` comes from a proxy of the operator; the audit trail
    keeps it."""

    webhook_trusted_hosts: list[str] = Field(default_factory=list)
    """Hosts that webhooks may reach although their addresses are private, by HTTP too."""

    ollama_url: str = "http://127.0.0.1:11434"
    """The Ollama server that models are deployed to."""

    humaneval: str = "openai/openai_humaneval"
    """HumanEval's problems: a JSONL file, gzipped or not, or a dataset on the hub."""

    host: str = "127.0.0.1"
    """Address of the HTTP API."""

    port: int = Field(default=8000, ge=1, le=65535)
    """Port of the HTTP API."""

    metrics_host: str = "127.0.0.1"
    """Address of the platform's own metrics, which ask nobody who they are."""

    metrics_port: int = Field(default=0, ge=0, le=65535)
    """Port of the platform's own metrics; any free one when 0, named in
    ``home/metrics/platform.json``."""

    source_roots: list[Path] = Field(default_factory=list)
    """Directories below which local repositories may be read, beside ``home``."""

    model_roots: list[Path] = Field(default_factory=list)
    """Directories below which base models may be loaded."""

    source_hosts: list[str] = Field(default_factory=list)
    """Hosts of repositories that may have private addresses."""

    git_ssh_key: Path | None = None
    """Private key for ``ssh://`` repositories; the platform user's own keys when absent."""

    git_known_hosts: Path | None = None
    """File of the host keys that ``ssh://`` repositories are checked against, beside the user's."""

    git_tokens: dict[str, str] = Field(default_factory=dict)
    """By host, the environment variable that holds the token for its ``https`` repositories."""

    teacher_hosts: list[str] = Field(default_factory=list)
    """Hosts (``host`` or ``host:port``) that a teacher may run on though they are not public."""

    teacher_keys: dict[str, str] = Field(default_factory=dict)
    """By host, the environment variable that holds the key for a teacher there."""

    benchmark_files: list[Path] = Field(default_factory=list)
    """JSONL files of problems that no dataset may hold, beside HumanEval's."""

    max_upload_bytes: int = Field(default=1 << 30, gt=0)
    """Largest request body that an upload may have."""

    sync_seconds: float | None = Field(default=None, ge=60)
    """How long after its last sync a source that has no interval of its own is synced again by
    itself; never when absent."""

    disk_reserve_bytes: int = Field(default=1 << 30, ge=0)
    """Free space that must remain under ``home`` for a run to be admitted."""

    gguf_cache_bytes: int = Field(default=64 << 30, ge=0)
    """What each machine keeps of exported files that lie on an object store, to load them from;
    one that was used within the last hour stays."""

    retention: Retention = Field(default_factory=Retention)
    """What ``aiforge gc`` keeps; in ``AIFORGE_RETENTION`` as JSON."""

    ray_address: str | None = None
    """An existing Ray cluster (``auto`` or ``host:port``); a local one is started when absent.

    ``local`` is the same as absent.
    """

    cluster_limits: dict[str, Annotated[float, Field(ge=0)]] = Field(default_factory=dict)
    """What the cluster's autoscaler can grow it to, by Ray's names (``CPU``, ``GPU``,
    ``accelerator_type:L4``). Jobs are planned and admitted with it where less is there yet."""

    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """What the platform's processes log. Libraries' warnings are logged whatever stands here."""

    log_format: LogFormat | None = None
    """Of every log line; when absent text on a terminal in development, JSON anywhere else."""

    namespace: str = "aiforge"
    """Ray namespace of the platform's actors."""

    @field_validator("ray_address")
    @classmethod
    def _local_is_none(cls, value: str | None) -> str | None:
        # A file of configs/platform names a cluster, and a variable cannot say null.
        return None if value in ("", "local") else value

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, env_settings, _PlatformFile(settings_cls)

    @property
    def resolved_database_url(self) -> str:
        """The database URL that is really used."""
        if self.database_url_file is not None:
            return read_secret(self.database_url_file)
        return self.database_url or f"sqlite:///{self.home / 'state' / 'aiforge.db'}"

    @property
    def secrets(self) -> list[str]:
        """What must appear in no text."""
        key, password = self.signing_key, urlsplit(self.resolved_database_url).password
        return [value for value in (key and key.decode(), password) if value]

    def with_secrets(self) -> dict[str, Any]:
        """All values as JSON has them, the signing key among them: for the platform's own use."""
        key = self.jwt_secret and self.jwt_secret.get_secret_value()
        return self.model_dump(mode="json") | {"jwt_secret": key}

    @property
    def signing_key(self) -> bytes | None:
        """The signing key of bearer tokens, wherever it is kept; ``None`` where there is none."""
        if self.jwt_secret_file is not None:
            return read_secret(self.jwt_secret_file).encode()
        return self.jwt_secret.get_secret_value().encode() if self.jwt_secret else None

    @property
    def resolved_storage_uri(self) -> str:
        """The storage URI that is really used."""
        return self.storage_uri or str(self.home / "storage")

    @property
    def trusted_teacher_hosts(self) -> list[str]:
        """Where a teacher may run: what the operator named, Ollama, in development this machine."""
        here = ["127.0.0.1", "localhost", "::1"] if self.env == "development" else []
        return [*self.teacher_hosts, urlsplit(self.ollama_url).netloc, *here]


def grown(resources: Mapping[str, float], limits: Mapping[str, float]) -> dict[str, float]:
    """A cluster's resources once its autoscaler has brought every node that it may."""
    return {
        name: max(resources.get(name, 0.0), limits.get(name, 0.0))
        for name in resources.keys() | limits.keys()
    }


class _PlatformFile(PydanticBaseSettingsSource):
    """Values of ``configs/platform/<env>.yaml``."""

    def get_field_value(self, field: Any, field_name: str) -> tuple[Any, str, bool]:
        return None, field_name, False

    def __call__(self) -> dict[str, Any]:
        env = self.current_state.get("env") or os.environ.get("AIFORGE_ENV", "development")
        path = config_dir() / "platform" / f"{env}.yaml"
        return read_yaml(path) if path.exists() else {}


def config_dir() -> Path:
    """The shipped configuration: ``AIFORGE_CONFIG_DIR``, else the checkout's, else the wheel's."""
    if override := os.environ.get("AIFORGE_CONFIG_DIR"):
        return Path(override)
    package = Path(__file__).resolve().parent
    checkout = package.parent / "configs"
    return checkout if checkout.is_dir() else package / "configs"


def read_secret(path: Path) -> str:
    """The secret in a file, without white space around it.

    Raises:
        InvalidInput: The file cannot be read, is empty, or is open to every user of the machine.
    """
    try:
        with path.open(encoding="utf-8") as stream:
            mode = os.fstat(stream.fileno()).st_mode
            secret = stream.read(1 << 16).strip()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(
            f"Cannot read the secret in {path}: {error}.", code="secret_unreadable"
        ) from error
    if mode & 0o007:
        raise InvalidInput(
            f"Every user of this machine can open {path}, which holds a secret: chmod 600 {path}",
            code="secret_exposed",
        )
    if not secret:
        raise InvalidInput(f"{path} is empty; put the secret into it.", code="secret_missing")
    return secret


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file.

    Raises:
        InvalidInput: The file is missing, is not YAML, or holds no mapping.
    """
    try:
        loaded = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InvalidInput(
            f"Cannot read {path}: {error.strerror}.", code="config_unreadable"
        ) from error
    except yaml.YAMLError as error:
        raise InvalidInput(f"{path} is not valid YAML: {error}", code="config_invalid") from error
    if not isinstance(loaded, dict):
        raise InvalidInput(f"{path} must hold a mapping.", code="config_invalid")
    return loaded


@cache
def get_settings() -> Settings:
    """The settings of this process, read once."""
    return Settings()
