"""Runs of kind ``deploy``: to Ollama, and from one active model to another."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from aiforge.errors import AIForgeError, Cancelled, Conflict, NotFound
from aiforge.modeling.bases import resolve_base_model
from aiforge.modeling.load import load_tokenizer
from aiforge.schemas.models import ModelStatus, Sample
from aiforge.services import cards, exported
from aiforge.services.context import RunContext
from aiforge.services.exported import ExportedFile
from aiforge.serving import deploy
from aiforge.serving.chat import Answers, ChatOptions, Message
from aiforge.serving.comparison import base_answer
from aiforge.serving.llama import LlamaModel
from aiforge.serving.ollama import Ollama
from aiforge.state import answering, locks
from aiforge.state.answering import Served
from aiforge.state.deployments import DeployOutcome, DeploySpec
from aiforge.storage import dataset_dir

POLL_SECONDS = 0.25

SAMPLE_TOKENS = 64


def execute(context: RunContext) -> dict[str, Any]:
    """Deploy, activate or roll back, and report what was seen to answer."""
    spec = DeploySpec.model_validate(context.run.spec)
    served = context.state.call_sync(answering.served, spec.target_id)
    trained = _Trained(context, served)
    if spec.engine == "llama.cpp":
        _lock(context, f"llama.cpp {served.model.project_name}")
        _require_still_active(context, spec)
        outcome = _activate_here(context, trained)
    else:
        url = context.settings.ollama_url
        _lock(context, f"ollama {url}")
        _require_still_active(context, spec)
        with Ollama(url) as server:
            _settle(context, server)
            if spec.action == "deploy":
                outcome = _deploy(context, server, trained)
                _follow(context, server, trained.served, outcome)
            else:
                outcome = _activate(context, server, trained)
    _leave_card(context, served, outcome)
    return outcome.model_dump(mode="json", by_alias=False)


class _Trained:
    """What training knows of a model, to hold its engine against."""

    def __init__(self, context: RunContext, served: Served) -> None:
        self.served = served
        self.base = resolve_base_model(served.model.base_model, context.settings)
        self._tokenizer = load_tokenizer(self.base)

    def count_tokens(self, messages: Sequence[Message]) -> int:
        """Length of a conversation's prompt under the chat template of the training."""
        text = self._tokenizer.apply_chat_template(
            list(messages), tokenize=False, add_generation_prompt=True
        )
        return len(self._tokenizer(text, add_special_tokens=False)["input_ids"])


def _deploy(context: RunContext, server: Ollama, trained: _Trained) -> DeployOutcome:
    served = trained.served
    file = _exported(context, served)
    context.log(f"Deploying {file.path.name} ({file.size:,} bytes) as {served.tag}")
    found = deploy.deploy(
        server,
        served.tag,
        deploy.GgufFile("model.gguf", file.sha256, file.size, file.open, file.template),
        file.export.stop_tokens,
        trained.count_tokens,
        lambda done, what: context.progress(0.3 + 0.65 * done, what),
    )
    first = found.probes[0]
    context.log(
        f"{served.tag} answers: its prompt is {first.prompt_tokens} tokens long there and in "
        f"training, its template is the trained one, its digest {found.digest}"
    )
    return DeployOutcome(
        engine="ollama",
        digest=found.digest,
        ollama_name=served.tag,
        prompt_tokens=first.prompt_tokens,
        answer=first.answer,
        facts={"serverUrl": server.url, "file": file.facts},
    )


def _follow(context: RunContext, server: Ollama, served: Served, outcome: DeployOutcome) -> None:
    """Have the project's name lead to what its active version was just deployed as."""
    if served.model.status is ModelStatus.ACTIVE and outcome.digest is not None:
        for name in deploy.settle(server, [(served.tag, served.latest, outcome.digest)]):
            context.log(f"{name} is what was just deployed")


def _activate(context: RunContext, server: Ollama, trained: _Trained) -> DeployOutcome:
    served = trained.served
    digest = served.digest or ""
    if server.tags().get(served.tag) != digest:
        context.log(f"{served.tag} is not on the server any more; deploying it again", "warning")
        digest = _deploy(context, server, trained).digest or ""
    probe = deploy.activate(
        server,
        served.tag,
        served.latest,
        digest,
        trained.count_tokens,
        lambda done, what: context.progress(0.3 + 0.65 * done, what),
    )
    context.log(f"{served.latest} is {served.tag} now, and answers")
    return DeployOutcome(
        engine="ollama",
        digest=digest,
        ollama_name=served.latest,
        prompt_tokens=probe.prompt_tokens,
        answer=probe.answer,
        sample=_sample(context, trained, deploy.NamedModel(server, served.tag)),
        facts={"serverUrl": server.url},
    )


def _activate_here(context: RunContext, trained: _Trained) -> DeployOutcome:
    file = _exported(context, trained.served)
    context.progress(0.5, "loading it with llama.cpp")
    model = LlamaModel(file.path)
    try:
        probe = deploy.ask(model, trained.count_tokens)
        sample = _sample(context, trained, model)
    finally:
        model.close()
    context.log(f"{file.path.name} answers through llama.cpp")
    return DeployOutcome(
        engine="llama.cpp",
        prompt_tokens=probe.prompt_tokens,
        answer=probe.answer,
        sample=sample,
        facts={"file": file.facts},
    )


def _sample(context: RunContext, trained: _Trained, model: Answers) -> Sample | None:
    """One question of the dataset, to the model and to its base; never a reason to fail."""
    try:
        question = _question(context, trained.served.model.dataset_id)
        if question is None:
            return None
        context.progress(0.96, "asking the base model the same")
        asked: list[Message] = [{"role": "user", "content": question}]
        options = ChatOptions(max_tokens=SAMPLE_TOKENS)
        return Sample(
            question=question,
            base=base_answer(trained.base, question, SAMPLE_TOKENS),
            tuned="".join(piece.text for piece in model.chat(asked, options)).strip(),
        )
    except Cancelled:
        raise
    except AIForgeError as error:
        context.log(f"No answers were compared: {error.message}", "warning")
        return None


def _question(context: RunContext, dataset_id: str) -> str | None:
    """The first question of the dataset, without its context; ``None`` once it was deleted."""
    try:
        rows = context.storage.read_json(f"{dataset_dir(dataset_id)}/preview.json")
    except NotFound:
        return None
    questions = [str(row.get("instruction") or "").strip() for row in rows]
    return next(filter(None, questions), None)


def _exported(context: RunContext, served: Served) -> ExportedFile:
    """The export that the run names, else the model's newest, as soon as it is there."""
    context.progress(0.05, "waiting for its export")
    export_id = DeploySpec.model_validate(context.run.spec).export_id
    while True:
        file = exported.file_of(
            context.state, context.storage, context.settings, served.model, export_id
        )
        if file is not None:
            context.progress(0.1, "comparing its hash")
            file.require_intact()
            return file
        context.check_cancelled()
        time.sleep(POLL_SECONDS)


def _lock(context: RunContext, name: str) -> None:
    """Work on a server, or a project, alone: until this run ends, however it does."""
    run = context.run
    while (holder := context.state.call_sync(locks.acquire, name, run.id, run.attempt)) != run.id:
        context.progress(0.0, f"waiting for {holder}")
        time.sleep(POLL_SECONDS)


def _require_still_active(context: RunContext, spec: DeploySpec) -> None:
    """What is rolled back from must be active still, once its turn has come."""
    if spec.action != "rollback":
        return
    served = context.state.call_sync(answering.served, context.run.resource_id)
    if served.model.status is not ModelStatus.ACTIVE:
        raise Conflict(
            f"{served.model.name} is not active any more; look at GET /models/active.",
            code="model_not_active",
        )


def _settle(context: RunContext, server: Ollama) -> None:
    """Undo what an activation that died half-way left on the server."""
    active = context.state.call_sync(answering.active)
    wanted = [
        (one.tag, one.latest, one.digest)
        for one in active
        if one.digest is not None and one.engine == "ollama"
    ]
    for name in deploy.settle(server, wanted):
        context.log(f"{name} was not the active model; it is again", "warning")


def _leave_card(context: RunContext, served: Served, outcome: DeployOutcome) -> None:
    card = cards.of_model(context.state, served.model.id, outcome)
    context.artifact(
        "report",
        f"Model card of {served.model.name}",
        card.encode(),
        "text/markdown",
        resource_ids=[served.model.id, served.model.job_id],
    )
