"""``aiforge up | down | status | doctor | demo``: the platform itself."""

from __future__ import annotations

import shlex
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from aiforge.cli.frame import Cli, ExitCode, command, leave
from aiforge.cli.installation import Home, Port, installed, local_settings, log_to_terminal
from aiforge.cli.output import duration, facts, size
from aiforge.errors import Unavailable

if TYPE_CHECKING:
    from rich.console import Console

    from aiforge.cli.demo import Demo
    from aiforge.runtime.cluster import ClusterInfo
    from aiforge.settings import Settings


def register(app: typer.Typer) -> None:
    """Add the platform's commands to the application."""
    command(app, "up", examples=_UP)(up)
    command(app, "restart", examples="aiforge restart")(restart)
    command(app, "down", examples="aiforge down")(down)
    command(app, "env", examples='eval "$(aiforge env)"; ray job list')(env)
    command(app, "status", examples="aiforge status --json")(status)
    command(app, "doctor", examples="aiforge doctor")(doctor)
    command(app, "demo", examples=_DEMO)(demo)


_UP = """
aiforge up                    (stays in the foreground, Ctrl-C stops it)
aiforge up --detach           (returns when the API answers)
aiforge up --detach --port 8010 --home /data/aiforge
"""

_DEMO = """
aiforge demo
aiforge demo --source https://github.com/owner/repository
aiforge demo --source ~/projects/mine --fresh
"""


def up(
    cli: Cli,
    home: Home = None,
    port: Port = None,
    detach: Annotated[
        bool, typer.Option("--detach", "-d", help="Return once the platform is ready.")
    ] = False,
) -> None:
    """Start the platform on this machine: a Ray cluster, the state and the API.

    Databases, storage and an existing Ray cluster are named by AIFORGE_DATABASE_URL,
    AIFORGE_STORAGE_URI and AIFORGE_RAY_ADDRESS.
    """
    settings = local_settings(home, port)
    log_to_terminal(settings)
    begun = time.monotonic()
    info = _start(settings, cli.console)
    seconds = time.monotonic() - begun
    body = {"url": _url(settings), "home": str(settings.home), "seconds": round(seconds, 1)}
    if info is not None:
        body |= {"dashboard": info.dashboard, "log": info.log}
    cli.show(body, facts(_where(settings, info, seconds)))
    if detach:
        return
    cli.say("Ctrl-C stops it.")
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        signal.pause()
    finally:
        _stop(settings, cli.console)


def restart(cli: Cli, home: Home = None, port: Port = None) -> None:
    """Take up an installed version and changed settings, process by process; requests go on.

    Database, storage, address and port stay those of the start. Runs go on untouched, with the
    settings that they were started with.
    """
    settings = local_settings(home, port)
    log_to_terminal(settings)
    begun = time.monotonic()
    platform = installed("aiforge.runtime.platform")
    with cli.console.status("Restarting") as shown:
        platform.restart(settings, _application, lambda text: shown.update(f"{text} …"))
    seconds = round(time.monotonic() - begun, 1)
    body = {"url": _url(settings), "seconds": seconds}
    cli.show(body, facts([("restarted", f"in {seconds:g} s"), ("api", _url(settings))]))


def down(cli: Cli, home: Home = None) -> None:
    """Stop the platform; what was running goes on at the next start."""
    settings = local_settings(home, None)
    stopped = _stop(settings, cli.console)
    text = "Stopped." if stopped else f"Nothing was running from {settings.home}."
    cli.show({"stopped": stopped}, lambda console: console.print(text, markup=False))


def env(cli: Cli, home: Home = None) -> None:
    """Print the variables that `ray job submit` needs to reach the running platform."""
    from aiforge.runtime import cluster

    settings = local_settings(home, None)
    info = cluster.running(settings)
    if info is None:
        raise Unavailable(
            f"Nothing runs from {settings.home}; start it with `aiforge up --detach`.",
            code="platform_not_running",
        )
    variables = info.environment()
    lines = [f"export {name}={shlex.quote(value)}" for name, value in variables.items()]
    cli.show(variables, lambda console: print("\n".join(lines)))


def status(cli: Cli) -> None:
    """Show health, resources and what is running."""
    state = cli.forge.system.status()
    health = cli.forge.system.health()
    missing = [name for name, there in health.checks.model_dump().items() if not there]
    pairs = [
        ("health", str(health.status) + (f" (without {', '.join(missing)})" if missing else "")),
        ("version", f"{state.version}, up {duration(state.uptime)}"),
        ("jobs", f"{state.running_jobs} running, {state.queued_jobs} queued"),
        ("cpu", f"{state.cpu.utilization:.0f} % of {state.cpu.cores} cores"),
        ("memory", f"{size(state.memory.used)} of {size(state.memory.total)}"),
        ("gpu", ", ".join(gpu.name for gpu in state.gpus) or "none"),
        ("ollama", f"{state.ollama.status} {state.ollama.version or ''}".strip()),
    ]
    cli.show(state, facts(pairs))


def doctor(cli: Cli, home: Home = None, port: Port = None) -> None:
    """Say what this machine lacks, and the remedy."""
    from dataclasses import asdict

    from aiforge.cli.doctor import examine, passed

    checks = examine(local_settings(home, port))
    cli.show([asdict(check) for check in checks], lambda console: _show_checks(console, checks))
    if not passed(checks):
        leave(ExitCode.FAILURE)


def _show_checks(console: Console, checks: list[Any]) -> None:
    from rich.table import Table
    from rich.text import Text

    marks = {"ok": Text("ok", "green"), "missing": Text("missing", "red")}
    grid = Table.grid(padding=(0, 2))
    for check in checks:
        mark = marks.get(check.verdict, Text("optional", "yellow"))
        grid.add_row(mark, check.name, Text(check.found), Text(check.remedy, "dim"))
    console.print(grid)


def demo(
    cli: Cli,
    source: Annotated[
        str | None,
        typer.Option("--source", help="URL or path of a git repository; this project by default."),
    ] = None,
    recipe: Annotated[
        Path | None, typer.Option("--recipe", help="Another file like configs/train/demo.yaml.")
    ] = None,
    home: Home = None,
    port: Port = None,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Make everything anew, reuse nothing.")
    ] = False,
) -> None:
    """From a git repository to a fine-tuned, measured model that answers, in a few minutes.

    Starts the platform if none runs, and goes through its REST interface only.
    """
    from aiforge.cli.demo import Demo, next_steps, own_repository, read_recipe, summary

    repository = _repository(source) if source else own_repository()
    chosen = read_recipe(recipe)
    settings = local_settings(home, port, root=repository)
    log_to_terminal(settings)
    begun = time.monotonic()
    started = _ensure_up(cli, settings)
    ready = time.monotonic() - begun
    from aiforge.client import AIForge

    with AIForge(_url(settings)) as forge:
        story_teller = Demo(forge, chosen, repository, fresh=fresh, console=cli.console)
        story = _run(story_teller, settings, cli, started=started)
    if started:
        story.seconds = {"start": ready} | story.seconds
    body = {
        "sourceId": story.source.id,
        "datasetId": story.dataset.id,
        "jobId": story.job.id,
        "validation": story.validation and story.validation.model_dump(mode="json"),
        "plot": str(story.plot),
        "modelId": story.model.id,
        "engine": story.model.engine,
        "sample": story.sample and story.sample.model_dump(mode="json"),
        "answer": story.answer,
        "seconds": {part: round(value, 1) for part, value in story.seconds.items()},
    }
    cli.show(body, lambda console: console.print("\n", summary(story)))
    cli.say("\nTry next:")
    for line in next_steps(story, _url(settings)):
        cli.say(f"  {line}")


def _run(demo: Demo, settings: Settings, cli: Cli, *, started: bool) -> Any:
    try:
        return demo.run(settings.home / "demo")
    except KeyboardInterrupt:
        cli.say("\nInterrupted; tidying up.")
        demo.cancel()
        if started:
            _stop(settings, cli.console)
        raise


def _ensure_up(cli: Cli, settings: Settings) -> bool:
    """Start the platform unless one answers; whether it was started."""
    from aiforge.client import AIForge
    from aiforge.runtime import cluster

    if cluster.running(settings) is None:
        info = _start(settings, cli.console)
        cli.console.print(f"Ready: {_url(settings)}" + (f", {info.dashboard}" if info else ""))
        return True
    with AIForge(_url(settings)) as forge:
        health = forge.system.health()
    if health.status == "unhealthy":
        raise Unavailable(
            "The running platform is unhealthy; restart it: aiforge down && aiforge up --detach.",
            code="platform_unhealthy",
        )
    return False


def _start(settings: Settings, console: Console) -> ClusterInfo | None:
    platform = installed("aiforge.runtime.platform")
    with console.status("Starting") as shown:
        info: ClusterInfo | None = platform.start(
            settings, _application, lambda text: shown.update(f"{text} …")
        )
    return info


def _application(settings: Settings) -> Any:
    from aiforge.api.app import build

    return build(settings)


def _stop(settings: Settings, console: Console) -> bool:
    from aiforge.runtime import cluster

    with console.status("Stopping …"):
        return cluster.stop(settings)


def _where(
    settings: Settings, info: ClusterInfo | None, seconds: float
) -> list[tuple[str, str | None]]:
    from aiforge import logs

    return [
        ("ready", f"after {seconds:.1f} s"),
        ("api", f"{_url(settings)}  (OpenAPI: /openapi.json)"),
        ("ray dashboard", info.dashboard if info else None),
        ("database", _without_password(settings.resolved_database_url)),
        ("storage", settings.resolved_storage_uri),
        ("logs", f"{settings.home / logs.FILE}" + (f", {info.log}" if info else "")),
        ("batch runs", 'eval "$(aiforge env)"; ray job submit … (see configs/train)'),
        ("stop", "aiforge down"),
    ]


def _without_password(url: str) -> str:
    head, at, tail = url.rpartition("@")
    return f"{head.split('://')[0]}://…@{tail}" if at else url


def _repository(source: str) -> str:
    path = Path(source).expanduser()
    return str(path.resolve()) if path.exists() else source


def _url(settings: Settings) -> str:
    return f"http://{settings.host}:{settings.port}"
