"""The replica that answers by llama.cpp, as Serve runs it, without a cluster."""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path

import pytest
from deployed import gguf  # noqa: F401

from aiforge.errors import InvalidInput
from aiforge.schemas.common import utc_now
from aiforge.schemas.exports import Export, ExportFile, ExportStatus
from aiforge.serving.chat import ChatOptions, ChatPiece
from aiforge.settings import Settings
from aiforge.storage import Storage, export_dir


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "home")


@pytest.fixture
def export(settings: Settings, request: pytest.FixtureRequest) -> Export:
    """An export that lies in the storage."""
    content = request.getfixturevalue("gguf").read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    storage = Storage(settings.resolved_storage_uri)
    storage.write_bytes(f"{export_dir('export-1')}/model.gguf", content)
    return Export(
        export_id="export-1",
        job_id="job-1",
        status=ExportStatus.COMPLETED,
        format="gguf",
        size=len(content),
        sha256=digest,
        files=[ExportFile(name="model.gguf", size=len(content), sha256=digest)],
        created_at=utc_now(),
    )


def test_answers_errors_and_clients_that_leave_pass_through_serve(
    settings: Settings, export: Export
) -> None:
    from ray import serve

    from aiforge.api.app import Llama, LlamaThere

    application = serve.deployment(Llama).bind(settings.model_dump())
    there = LlamaThere(serve.run(application, _local_testing_mode=True))

    async def ask(text: str, most: int) -> list[ChatPiece]:
        messages = [{"role": "user", "content": text}]
        return [piece async for piece in there(export, messages, ChatOptions(max_tokens=most))]

    async def leave() -> None:
        pieces = there(export, [{"role": "user", "content": "Hello?"}], ChatOptions(max_tokens=400))
        await anext(pieces)
        await pieces.aclose()  # type: ignore[attr-defined]

    async def talk() -> None:
        answer = await ask("Hello?", 8)
        assert answer[-1].finish in ("stop", "length")
        assert 0 < (answer[-1].completion_tokens or 0) <= 8
        with pytest.raises(InvalidInput) as refused:
            await ask("Hello? " * 9000, 8)
        assert refused.value.code == "prompt_too_long"
        await leave()
        assert await ask("Hello?", 8) == answer

    asyncio.run(talk())
