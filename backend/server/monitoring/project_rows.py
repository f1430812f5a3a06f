"""The table of projects on the status page: one row for each project and tier."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tagalong.backend.retraining.job import Job
from tagalong.backend.server.monitoring.snapshot import AssignmentState, ProjectState, Snapshot
from tagalong.backend.storage.project_key import ProjectKey

MAX_JOBS_IN_ROW = 3


@dataclass(frozen=True, slots=True)
class ProjectRow:
    """A project that sent requests, has an assignment or was retrained."""

    project: ProjectKey | None  # None for requests that name none
    tier: str
    state: ProjectState | None = None  # None before the first request
    assignment: AssignmentState | None = None
    jobs: Sequence[Job] = ()  # the newest first

    @property
    def fault(self) -> str:
        """Why the default model answers in place of the assigned one; empty if it does not."""
        if self.assignment is None or (self.state and self.state.model != self.tier):
            return ""  # the URL of the backend may name a model
        return self.assignment.fault

    @property
    def model(self) -> str:
        """The model of the last request, or else of the next one."""
        if self.state and self.state.model:
            return self.state.model
        return self.assignment.model if self.assignment and not self.fault else self.tier

    @property
    def found_labels(self) -> int:
        """How many labels of the project the model predicts."""
        return len({*self.state.labels.values()} - {None}) if self.state else 0


def make_project_rows(snapshot: Snapshot, jobs: Iterable[Job]) -> list[ProjectRow]:
    """The rows: projects by their last request, and then those without one by their number."""
    states = {(state.project, state.tier): state for state in snapshot.projects}
    assignments = {(one.project, one.tier): one for one in snapshot.pool.assignments}
    trained: defaultdict[tuple[ProjectKey, str], list[Job]] = defaultdict(list)
    for job in jobs:
        trained[job.project, job.tier].append(job)
    silent = sorted(
        {*assignments, *trained} - {*states},
        key=lambda key: (key[0].id, key[0].created or 0, key[1]),
    )
    return [
        ProjectRow(
            project,
            tier,
            states.get((project, tier)),
            assignments.get((project, tier)) if project else None,
            trained[project, tier][:MAX_JOBS_IN_ROW] if project else (),
        )
        for project, tier in (*states, *silent)
    ]
