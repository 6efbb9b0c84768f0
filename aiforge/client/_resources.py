"""The resources of a client, each with its operations, in both faces."""

from __future__ import annotations

from aiforge.client._binding import async_iterating, awaiting, blocking, iterating
from aiforge.client._flow import AsyncDriver, Driver
from aiforge.client._flows import (
    artifacts,
    audit,
    chat,
    datasets,
    events,
    exports,
    jobs,
    keys,
    missions,
    models,
    sources,
    system,
    webhooks,
)
from aiforge.client._handles import (
    Artifact,
    AsyncArtifact,
    AsyncDataset,
    AsyncJob,
    AsyncMission,
    AsyncModel,
    AsyncSource,
    Dataset,
    Job,
    Mission,
    MissionPage,
    Model,
    Source,
)


class _Resource:
    def __init__(self, driver: Driver) -> None:
        self._driver = driver


class _AsyncResource:
    def __init__(self, driver: AsyncDriver) -> None:
        self._driver = driver


class Sources(_Resource):
    """Data sources: git repositories, directories and uploads."""

    create_git = blocking(sources.create_git, Source.of)
    create_local = blocking(sources.create_local, Source.of)
    upload = blocking(sources.upload, Source.of)
    list = blocking(sources.list_, Source.page)
    get = blocking(sources.get, Source.of)
    files = blocking(sources.files)
    sync = blocking(sources.sync, Source.of)
    update = blocking(sources.update, Source.of)
    wait = blocking(sources.wait, Source.of)
    delete = blocking(sources.delete)


class AsyncSources(_AsyncResource):
    """Data sources: git repositories, directories and uploads."""

    create_git = awaiting(sources.create_git, AsyncSource.of)
    create_local = awaiting(sources.create_local, AsyncSource.of)
    upload = awaiting(sources.upload, AsyncSource.of)
    list = awaiting(sources.list_, AsyncSource.page)
    get = awaiting(sources.get, AsyncSource.of)
    files = awaiting(sources.files)
    sync = awaiting(sources.sync, AsyncSource.of)
    update = awaiting(sources.update, AsyncSource.of)
    wait = awaiting(sources.wait, AsyncSource.of)
    delete = awaiting(sources.delete)


class Datasets(_Resource):
    """RAFT datasets."""

    generate = blocking(datasets.generate, Dataset.of)
    list = blocking(datasets.list_)
    get = blocking(datasets.get, Dataset.of)
    wait = blocking(datasets.wait, Dataset.of)
    examples = iterating(datasets.examples)
    delete = blocking(datasets.delete)


class AsyncDatasets(_AsyncResource):
    """RAFT datasets."""

    generate = awaiting(datasets.generate, AsyncDataset.of)
    list = awaiting(datasets.list_)
    get = awaiting(datasets.get, AsyncDataset.of)
    wait = awaiting(datasets.wait, AsyncDataset.of)
    examples = async_iterating(datasets.examples)
    delete = awaiting(datasets.delete)


class Jobs(_Resource):
    """Training jobs."""

    fine_tune = blocking(jobs.fine_tune, Job.of)
    plan = blocking(jobs.plan)
    list = blocking(jobs.list_, Job.page)
    get = blocking(jobs.get, Job.of)
    cancel = blocking(jobs.cancel, Job.of)
    wait = blocking(jobs.wait, Job.of)
    follow = iterating(jobs.follow)
    logs = blocking(jobs.logs)
    metrics = blocking(jobs.metrics)
    validation = blocking(jobs.validation)
    validate = blocking(jobs.validate)
    wait_validation = blocking(jobs.wait_validation)


class AsyncJobs(_AsyncResource):
    """Training jobs."""

    fine_tune = awaiting(jobs.fine_tune, AsyncJob.of)
    plan = awaiting(jobs.plan)
    list = awaiting(jobs.list_, AsyncJob.page)
    get = awaiting(jobs.get, AsyncJob.of)
    cancel = awaiting(jobs.cancel, AsyncJob.of)
    wait = awaiting(jobs.wait, AsyncJob.of)
    follow = async_iterating(jobs.follow)
    logs = awaiting(jobs.logs)
    metrics = awaiting(jobs.metrics)
    validation = awaiting(jobs.validation)
    validate = awaiting(jobs.validate)
    wait_validation = awaiting(jobs.wait_validation)


class Keys(_Resource):
    """API keys."""

    create = blocking(keys.create)
    list = blocking(keys.list_)
    revoke = blocking(keys.revoke)


class AsyncKeys(_AsyncResource):
    """API keys."""

    create = awaiting(keys.create)
    list = awaiting(keys.list_)
    revoke = awaiting(keys.revoke)


class Audit(_Resource):
    """Who did what, when, from where, and what became of it."""

    list = blocking(audit.list_)


class AsyncAudit(_AsyncResource):
    """Who did what, when, from where, and what became of it."""

    list = awaiting(audit.list_)


class Webhooks(_Resource):
    """Who is told of which events."""

    create = blocking(webhooks.create)
    list = blocking(webhooks.list_)
    get = blocking(webhooks.get)
    delete = blocking(webhooks.delete)
    test = blocking(webhooks.test)
    enable = blocking(webhooks.enable)
    rotate = blocking(webhooks.rotate)
    deliveries = blocking(webhooks.deliveries)
    replay = blocking(webhooks.replay)


class AsyncWebhooks(_AsyncResource):
    """Who is told of which events."""

    create = awaiting(webhooks.create)
    list = awaiting(webhooks.list_)
    get = awaiting(webhooks.get)
    delete = awaiting(webhooks.delete)
    test = awaiting(webhooks.test)
    enable = awaiting(webhooks.enable)
    rotate = awaiting(webhooks.rotate)
    deliveries = awaiting(webhooks.deliveries)
    replay = awaiting(webhooks.replay)


class Exports(_Resource):
    """Exports of what jobs trained."""

    create = blocking(exports.create)
    list = blocking(exports.list_)
    get = blocking(exports.get)
    download = blocking(exports.download)
    cancel = blocking(exports.cancel)
    delete = blocking(exports.delete)


class AsyncExports(_AsyncResource):
    """Exports of what jobs trained."""

    create = awaiting(exports.create)
    list = awaiting(exports.list_)
    get = awaiting(exports.get)
    download = awaiting(exports.download)
    cancel = awaiting(exports.cancel)
    delete = awaiting(exports.delete)


class Models(_Resource):
    """The model registry."""

    list = blocking(models.list_, Model.page)
    get = blocking(models.get, Model.of)
    active = blocking(models.active, Model.of)
    lineage = blocking(models.lineage)
    history = blocking(models.history)
    deploy = blocking(models.deploy, Model.of)
    activate = blocking(models.activate, Model.of)
    rollback = blocking(models.rollback, Model.of)
    delete = blocking(models.delete)


class AsyncModels(_AsyncResource):
    """The model registry."""

    list = awaiting(models.list_, AsyncModel.page)
    get = awaiting(models.get, AsyncModel.of)
    active = awaiting(models.active, AsyncModel.of)
    lineage = awaiting(models.lineage)
    history = awaiting(models.history)
    deploy = awaiting(models.deploy, AsyncModel.of)
    activate = awaiting(models.activate, AsyncModel.of)
    rollback = awaiting(models.rollback, AsyncModel.of)
    delete = awaiting(models.delete)


class Chat(_Resource):
    """Chat with a project's active model."""

    complete = blocking(chat.complete)
    stream = iterating(chat.stream)
    models = blocking(chat.models)


class AsyncChat(_AsyncResource):
    """Chat with a project's active model."""

    complete = awaiting(chat.complete)
    stream = async_iterating(chat.stream)
    models = awaiting(chat.models)


class Missions(_Resource):
    """Missions: what the platform proposes, and what a person decides."""

    list = blocking(missions.list_, MissionPage.of)
    get = blocking(missions.get, Mission.of)
    approve = blocking(missions.approve)
    reject = blocking(missions.reject)
    wait = blocking(missions.wait, Mission.of)
    policy = blocking(missions.policy)
    set_policy = blocking(missions.set_policy)
    track_record = blocking(missions.track_record)


class Artifacts(_Resource):
    """Artifacts: charts, reports and logs that runs and missions leave."""

    list = blocking(artifacts.list_, Artifact.page)
    get = blocking(artifacts.get, Artifact.of)
    content = blocking(artifacts.content)
    save = blocking(artifacts.save)


class System(_Resource):
    """The platform itself."""

    health = blocking(system.health)
    status = blocking(system.status)
    events = iterating(events.events)


class AsyncMissions(_AsyncResource):
    """Missions: what the platform proposes, and what a person decides."""

    list = awaiting(missions.list_, MissionPage.of)
    get = awaiting(missions.get, AsyncMission.of)
    approve = awaiting(missions.approve)
    reject = awaiting(missions.reject)
    wait = awaiting(missions.wait, AsyncMission.of)
    policy = awaiting(missions.policy)
    set_policy = awaiting(missions.set_policy)
    track_record = awaiting(missions.track_record)


class AsyncArtifacts(_AsyncResource):
    """Artifacts: charts, reports and logs that runs and missions leave."""

    list = awaiting(artifacts.list_, AsyncArtifact.page)
    get = awaiting(artifacts.get, AsyncArtifact.of)
    content = awaiting(artifacts.content)
    save = awaiting(artifacts.save)


class AsyncSystem(_AsyncResource):
    """The platform itself."""

    health = awaiting(system.health)
    status = awaiting(system.status)
    events = async_iterating(events.events)
