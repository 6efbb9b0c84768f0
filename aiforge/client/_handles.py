"""Resources that know their client: ``job.wait()``, ``source.files()``."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any, ClassVar, Concatenate, ParamSpec, Protocol, Self, TypeVar, cast

from pydantic import BaseModel, PrivateAttr

from aiforge.client._binding import documented
from aiforge.client._flow import AsyncDriver, Driver, Flow, ItemFlow
from aiforge.client._flows import artifacts, datasets, exports, jobs, missions, models, sources
from aiforge.client._flows.common import Page, html_of
from aiforge.client._html import facts
from aiforge.schemas.artifacts import Artifact as ArtifactFields
from aiforge.schemas.datasets import DatasetDetail as DatasetFields
from aiforge.schemas.jobs import Job as JobFields
from aiforge.schemas.missions import MissionDetail as MissionFields
from aiforge.schemas.missions import MissionList
from aiforge.schemas.models import Model as ModelFields
from aiforge.schemas.sources import Source as SourceFields

P = ParamSpec("P")
T = TypeVar("T")
B = TypeVar("B", bound="_Blocking")
A = TypeVar("A", bound="_Awaiting")


class _Blocking(Protocol):
    id: str
    _driver: Driver

    def _adopt(self, value: BaseModel) -> Self: ...


class _Awaiting(Protocol):
    id: str
    _driver: AsyncDriver

    def _adopt(self, value: BaseModel) -> Self: ...


class _Handle(BaseModel):
    """A resource as it was when it was read last."""

    id: str
    _driver: Any = PrivateAttr()
    _shown: ClassVar[tuple[str, ...]] = ()

    @classmethod
    def of(cls, driver: Any, value: BaseModel) -> Self:
        """A handle on a value that the server answered."""
        handle = cls.model_construct(value.model_fields_set, **value.__dict__)
        handle._driver = driver
        return cast(Self, handle)

    @classmethod
    def page(cls, driver: Any, values: Page[Any]) -> Page[Self]:
        """Handles on a page of values."""
        page = Page(cls.of(driver, value) for value in values)
        page.total = values.total
        return page

    def _adopt(self, value: BaseModel) -> Self:
        self.__dict__.update(value.__dict__)
        return self

    def _repr_html_(self) -> str:
        return facts((name, getattr(self, name)) for name in ("id", *self._shown))


class _SyncHandle(_Handle):
    _driver: Driver = PrivateAttr()


class _AsyncHandle(_Handle):
    _driver: AsyncDriver = PrivateAttr()


def _ask(
    flow: Callable[Concatenate[str, P], Flow[T]],
) -> Callable[Concatenate[_Blocking, P], T]:
    def method(self: _Blocking, *args: Any, **kwargs: Any) -> Any:
        return self._driver.run(flow(self.id, *args, **kwargs))

    return documented(method, flow, bound=True)


def _update(
    flow: Callable[Concatenate[str, P], Flow[Any]],
) -> Callable[Concatenate[B, P], B]:
    def method(self: _Blocking, *args: Any, **kwargs: Any) -> Any:
        return self._adopt(self._driver.run(flow(self.id, *args, **kwargs)))

    return documented(method, flow, bound=True)


def _iterate(
    flow: Callable[Concatenate[str, P], ItemFlow[T]],
) -> Callable[Concatenate[_Blocking, P], Iterator[T]]:
    def method(self: _Blocking, *args: Any, **kwargs: Any) -> Any:
        return self._driver.iterate(flow(self.id, *args, **kwargs))

    return documented(method, flow, bound=True)


def _ask_async(
    flow: Callable[Concatenate[str, P], Flow[T]],
) -> Callable[Concatenate[_Awaiting, P], Awaitable[T]]:
    async def method(self: _Awaiting, *args: Any, **kwargs: Any) -> Any:
        return await self._driver.run(flow(self.id, *args, **kwargs))

    return documented(method, flow, bound=True)


def _update_async(
    flow: Callable[Concatenate[str, P], Flow[Any]],
) -> Callable[Concatenate[A, P], Awaitable[A]]:
    async def method(self: _Awaiting, *args: Any, **kwargs: Any) -> Any:
        return self._adopt(await self._driver.run(flow(self.id, *args, **kwargs)))

    return documented(method, flow, bound=True)


def _iterate_async(
    flow: Callable[Concatenate[str, P], ItemFlow[T]],
) -> Callable[Concatenate[_Awaiting, P], AsyncIterator[T]]:
    def method(self: _Awaiting, *args: Any, **kwargs: Any) -> Any:
        return self._driver.iterate(flow(self.id, *args, **kwargs))

    return documented(method, flow, bound=True)


class _SourceActions:
    refresh = _update(sources.get)
    sync = _update(sources.sync)
    update = _update(sources.update)
    wait = _update(sources.wait)
    files = _ask(sources.files)
    delete = _ask(sources.delete)


class Source(SourceFields, _SyncHandle, _SourceActions):
    """A data source; what changes or reads it brings it up to date in place."""

    _shown = ("name", "type", "status", "revision", "file_count", "skipped_count", "error")


class _AsyncSourceActions:
    refresh = _update_async(sources.get)
    sync = _update_async(sources.sync)
    update = _update_async(sources.update)
    wait = _update_async(sources.wait)
    files = _ask_async(sources.files)
    delete = _ask_async(sources.delete)


class AsyncSource(SourceFields, _AsyncHandle, _AsyncSourceActions):
    """A data source; what changes or reads it brings it up to date in place."""

    _shown = Source._shown


class _DatasetActions:
    refresh = _update(datasets.get)
    wait = _update(datasets.wait)
    delete = _ask(datasets.delete)


class Dataset(DatasetFields, _SyncHandle, _DatasetActions):
    """A dataset; ``refresh`` and ``wait`` bring it up to date in place."""

    _shown = ("name", "status", "example_count", "format", "quality", "error")


class _AsyncDatasetActions:
    refresh = _update_async(datasets.get)
    wait = _update_async(datasets.wait)
    delete = _ask_async(datasets.delete)


class AsyncDataset(DatasetFields, _AsyncHandle, _AsyncDatasetActions):
    """A dataset; ``refresh`` and ``wait`` bring it up to date in place."""

    _shown = Dataset._shown


class _JobActions:
    refresh = _update(jobs.get)
    cancel = _update(jobs.cancel)
    wait = _update(jobs.wait)
    follow = _iterate(jobs.follow)
    logs = _ask(jobs.logs)
    metrics_history = _ask(jobs.metrics)
    validation = _ask(jobs.validation)
    validate_again = _ask(jobs.validate)
    wait_validation = _ask(jobs.wait_validation)
    export = _ask(exports.create)
    exports = _ask(exports.list_)


class Job(JobFields, _SyncHandle, _JobActions):
    """A training job; ``refresh``, ``cancel`` and ``wait`` bring it up to date in place."""

    _shown = ("project_name", "status", "base_model", "method", "progress", "dataset_name", "error")


class _AsyncJobActions:
    refresh = _update_async(jobs.get)
    cancel = _update_async(jobs.cancel)
    wait = _update_async(jobs.wait)
    follow = _iterate_async(jobs.follow)
    logs = _ask_async(jobs.logs)
    metrics_history = _ask_async(jobs.metrics)
    validation = _ask_async(jobs.validation)
    validate_again = _ask_async(jobs.validate)
    wait_validation = _ask_async(jobs.wait_validation)
    export = _ask_async(exports.create)
    exports = _ask_async(exports.list_)


class AsyncJob(JobFields, _AsyncHandle, _AsyncJobActions):
    """A training job; ``refresh``, ``cancel`` and ``wait`` bring it up to date in place."""

    _shown = Job._shown


class _ModelActions:
    refresh = _update(models.get)
    deploy = _update(models.deploy)
    activate = _update(models.activate)
    lineage = _ask(models.lineage)
    history = _ask(models.history)
    delete = _ask(models.delete)


class Model(ModelFields, _SyncHandle, _ModelActions):
    """A model version; ``refresh``, ``deploy`` and ``activate`` bring it up to date in place."""

    _shown = ("name", "status", "base_model", "ollama_name", "engine", "job_id", "error")


class _AsyncModelActions:
    refresh = _update_async(models.get)
    deploy = _update_async(models.deploy)
    activate = _update_async(models.activate)
    lineage = _ask_async(models.lineage)
    history = _ask_async(models.history)
    delete = _ask_async(models.delete)


class AsyncModel(ModelFields, _AsyncHandle, _AsyncModelActions):
    """A model version; ``refresh``, ``deploy`` and ``activate`` bring it up to date in place."""

    _shown = Model._shown


class _MissionActions:
    refresh = _update(missions.get)
    wait = _update(missions.wait)
    approve = _ask(missions.approve)
    reject = _ask(missions.reject)


class Mission(MissionFields, _SyncHandle, _MissionActions):
    """A mission; ``refresh`` and ``wait`` bring it up to date in place."""

    _shown = ("title", "status", "type", "priority", "confidence", "project_name", "description")


class _AsyncMissionActions:
    refresh = _update_async(missions.get)
    wait = _update_async(missions.wait)
    approve = _ask_async(missions.approve)
    reject = _ask_async(missions.reject)


class AsyncMission(MissionFields, _AsyncHandle, _AsyncMissionActions):
    """A mission; ``refresh`` and ``wait`` bring it up to date in place."""

    _shown = Mission._shown


class MissionPage(MissionList):
    """One page of missions, newest first, with the number of those that wait for a decision."""

    @classmethod
    def of(cls, driver: Any, value: MissionList) -> Self:
        """The page that the server answered."""
        return cast(Self, cls.model_construct(value.model_fields_set, **value.__dict__))

    def _repr_html_(self) -> str:
        return html_of(self.missions, self.total)


class _ArtifactActions:
    content = _ask(artifacts.content)
    save = _ask(artifacts.save)


class Artifact(ArtifactFields, _SyncHandle, _ArtifactActions):
    """A chart, a report, a log or a file; ``content`` and ``save`` fetch it."""

    _shown = ("type", "name", "mime_type", "size", "owner_id", "created_at")


class _AsyncArtifactActions:
    content = _ask_async(artifacts.content)
    save = _ask_async(artifacts.save)


class AsyncArtifact(ArtifactFields, _AsyncHandle, _AsyncArtifactActions):
    """A chart, a report, a log or a file; ``content`` and ``save`` fetch it."""

    _shown = Artifact._shown
