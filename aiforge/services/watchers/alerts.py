"""Alerts about what a project's runs left behind."""

from __future__ import annotations

from aiforge.schemas.datasets import Dataset
from aiforge.schemas.jobs import Job, JobStatus
from aiforge.schemas.missions import MissionPolicy, Reasoning, RecommendedAction, Watcher
from aiforge.services.confidence import of_repetition
from aiforge.services.context import Services
from aiforge.services.watchers import charts
from aiforge.services.watchers.base import Finding, Found, Quiet
from aiforge.state import jobs, predecessors
from aiforge.state.proposals import Proposal

_MOST_JOBS = 20
_LOG_LINES = 30


class FailedJobs:
    """Jobs of a project that failed for one cause, one after another.

    The confidence that the next one fails too is Laplace's rule of succession.
    """

    name: Watcher = "failed_jobs"

    async def look(self, services: Services, project: str, policy: MissionPolicy) -> Finding:
        page = await services.state.call(jobs.page, _MOST_JOBS, 0, None, project)
        ended = [job for job in page.items if job.status in (JobStatus.COMPLETED, JobStatus.FAILED)]
        alike = _alike(ended)
        if len(alike) < policy.failures:
            return Quiet("The last job did not fail, or for another cause than the one before.")
        lines = await services.state.call(jobs.log_tail, alike[0].id, _LOG_LINES)
        excerpt = [f"[{line.level.upper()}] {line.message}" for line in lines]
        log = charts.log_excerpt(f"Log of {alike[0].id}", excerpt)
        return Found(_failures(project, alike, policy), [log])


def _alike(ended: list[Job]) -> list[Job]:
    """The newest jobs that failed with one and the same code, newest first."""
    alike: list[Job] = []
    for job in ended:
        is_failed = job.status is JobStatus.FAILED
        if not is_failed or (alike and job.error_code != alike[0].error_code):
            break
        alike.append(job)
    return alike


def _failures(project: str, alike: list[Job], policy: MissionPolicy) -> Proposal:
    last, cause = alike[0], alike[0].error_code or "failed"
    return Proposal(
        project_name=project,
        watcher="failed_jobs",
        subject=cause,
        title=f"{len(alike)} jobs of {project} failed with {cause}",
        description=f"{last.id} failed like the {len(alike) - 1} before it: {last.error}",
        priority="high" if len(alike) > policy.failures else "medium",
        confidence=of_repetition(len(alike)),
        magnitude=float(len(alike)),
        reasoning=Reasoning(
            trigger="Jobs failed for the same cause",
            analysis=f"The last {len(alike)} jobs ended with {cause}: {last.error}",
            expected_outcome="Another job fails the same way until its cause is removed.",
        ),
        action=RecommendedAction(type="acknowledge", parameters={"cause": cause}),
        evidence={"cause": cause, "jobs": [job.id for job in alike], "error": last.error},
        job_ids=[job.id for job in alike],
        dataset_ids=sorted({job.dataset_id for job in alike}),
    )


class DatasetQuality:
    """A rebuilt dataset whose quality fell below that of the one before from the same sources."""

    name: Watcher = "dataset_quality"

    async def look(self, services: Services, project: str, policy: MissionPolicy) -> Finding:
        pair = await services.state.call(predecessors.of_project, project)
        if pair is None:
            return Quiet("The project has no two datasets of the same sources.")
        newest, before = pair.newest, pair.before
        drop = (before.quality or 0.0) - (newest.quality or 0.0)
        if drop < policy.quality_drop:
            return Quiet(f"The quality of {newest.name} is within {policy.quality_drop} again.")
        return Found(_quality(project, newest, before, drop, policy))


def _quality(
    project: str, newest: Dataset, before: Dataset, drop: float, policy: MissionPolicy
) -> Proposal:
    return Proposal(
        project_name=project,
        watcher="dataset_quality",
        subject=newest.id,
        title=f"The quality of {newest.name} fell to {newest.quality:.2f}",
        description=(
            f"{newest.id} has a quality of {newest.quality:.2f}; {before.id}, built from the same "
            f"sources before it, had {before.quality:.2f}."
        ),
        priority="high" if drop > 2 * policy.quality_drop else "medium",
        # Each figure is of a whole dataset; what there is to doubt is how many examples that was.
        confidence=of_repetition(min(newest.example_count, before.example_count)),
        magnitude=round(drop, 4),
        reasoning=Reasoning(
            trigger="A dataset's quality fell",
            analysis=f"Quality {before.quality:.3f} → {newest.quality:.3f} ({-drop:+.3f}).",
            expected_outcome="A model trained on it is likely to be worse; look at its report.",
        ),
        action=RecommendedAction(type="acknowledge", parameters={"datasetId": newest.id}),
        evidence={"quality": newest.quality, "before": before.quality, "drop": round(drop, 4)},
        dataset_ids=[newest.id, before.id],
    )
