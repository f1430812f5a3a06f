"""What a retraining does last: make its version serve, and have the project go by it."""

from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from tagalong.backend.retraining.job import Job, JobResult, JobState
from tagalong.backend.retraining.job_store import JobStore
from tagalong.backend.storage.model_store import ModelStore
from tagalong.ner.errors import CurrentVersionChangedError, LabelStudioError, StateFileError

if TYPE_CHECKING:  # torch would make `tagalong --help` slow
    from tagalong.backend.label_studio.api.client import LabelStudioClient


def promote_version(
    studio: "LabelStudioClient",
    job: Job,
    job_store: JobStore,
    store: ModelStore,
    outcome: JobResult,
) -> tuple[JobState, JobResult]:
    """Make a version serve, and have its project go by it.

    It is done once: a training that goes on after its process was killed leaves alone what somebody
    has promoted or rolled back to since.

    Args:
        studio: The Label Studio.
        job: The training that made it.
        job_store: Told that it was promoted.
        store: Of versions.
        outcome: Which version.

    Returns:
        How the training ended.

    Raises:
        TagalongError: If it cannot be promoted; what served before serves on.
    """
    from tagalong.backend.label_studio.promotion import announce_promotion

    try:
        studio.get_project(job.project)
    except LabelStudioError as error:
        if error.kind != "missing":
            raise
        reason = (
            f"project {job.project} is gone; promote {outcome.version} yourself if it is wanted"
        )
        return JobState.REJECTED, replace(outcome, should_promote=False, reason=reason)
    if not outcome.was_promoted:
        try:
            store.promote(job.tier, outcome.version, expected_current=outcome.previous_version)
        except CurrentVersionChangedError as error:
            return JobState.REJECTED, replace(outcome, should_promote=False, reason=str(error))
        outcome = replace(outcome, was_promoted=True)
        with suppress(StateFileError):  # it serves all the same
            job_store.write_decision(job.id, outcome)
    elif (now := store.served_version(job.tier)) != outcome.version:
        reason = f"it was promoted, and somebody has had {now or 'none'} serve since"
        return JobState.REJECTED, replace(outcome, reason=reason)
    try:
        announced = announce_promotion(studio, job.project, outcome.version)
    except LabelStudioError as error:  # it serves all the same
        note = f"Label Studio was not told of it: {error}."
    else:
        note = describe_announcement(announced.backend_titles, announced.stale_predictions)
    return JobState.PROMOTED, replace(outcome, notes=(*outcome.notes, note))


def describe_announcement(backends: tuple[str, ...], stale: int) -> str:
    """Say what Label Studio knows of a promotion."""
    shown = f"{stale:,} predictions of other versions are not shown any more." if stale else ""
    if not backends:
        return (
            "No backend of the project serves the version yet: connect `tagalong serve` with these "
            f"models. {shown}"
        ).strip()
    return f"The project and its backend go by its name now. {shown}".strip()
