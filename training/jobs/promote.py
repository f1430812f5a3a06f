"""Promotion of a retrained version: in the model store, then in its project."""

from contextlib import suppress
from dataclasses import replace

from tagalong.backend.label_studio.api.client import LabelStudioClient
from tagalong.backend.label_studio.promotion import announce_promotion
from tagalong.backend.retraining.job import Job, JobResult, JobState
from tagalong.backend.retraining.job_store import JobStore
from tagalong.backend.storage.model_store import ModelStore
from tagalong.ner.errors import CurrentVersionChangedError, LabelStudioError, StateFileError


def promote_version(
    client: LabelStudioClient,
    job: Job,
    job_store: JobStore,
    store: ModelStore,
    result: JobResult,
) -> tuple[JobState, JobResult]:
    """Promote a version, and set it as the model version of its project.

    A job promotes once: when it continues after its process was killed, it does not undo what
    somebody has promoted or rolled back since.

    Args:
        client: Label Studio.
        job: The job that made the version.
        job_store: Records the promotion.
        store: The model store.
        result: The result so far, with the version.

    Returns:
        The final state and result of the job.

    Raises:
        TagalongError: If it cannot be promoted; the served version stays.
    """
    try:
        client.get_project(job.project)
    except LabelStudioError as error:
        if error.kind != "missing":
            raise
        reason = (
            f"project {job.project} is gone: promote {result.version} with `tagalong models "
            "promote` if you need it"
        )
        return JobState.REJECTED, replace(result, should_promote=False, reason=reason)
    if not result.was_promoted:
        try:
            store.promote(job.tier, result.version, expected_current=result.previous_version)
        except CurrentVersionChangedError as error:
            return JobState.REJECTED, replace(result, should_promote=False, reason=str(error))
        result = replace(result, was_promoted=True)
        with suppress(StateFileError):  # it is promoted all the same
            job_store.write_decision(job.id, result)
    elif (current := store.served_version(job.tier)) != result.version:
        reason = f"it was promoted, and {current or 'no version'} has replaced it since"
        return JobState.REJECTED, replace(result, reason=reason)
    try:
        announced = announce_promotion(client, job.project, result.version)
    except LabelStudioError as error:  # it is promoted all the same
        note = f"The model version of the project could not be set in Label Studio: {error}."
    else:
        note = describe_announcement(announced.backend_titles, announced.stale_predictions)
    return JobState.PROMOTED, replace(result, notes=(*result.notes, note))


def describe_announcement(backend_titles: tuple[str, ...], stale_predictions: int) -> str:
    """Describe what Label Studio shows after a promotion."""
    hidden = (
        f"{stale_predictions:,} predictions of other versions are no longer shown."
        if stale_predictions
        else ""
    )
    if not backend_titles:
        return (
            "No backend of the project serves the version: connect `tagalong serve` with this "
            f"models folder. {hidden}"
        ).strip()
    return f"The project and its backend use the version now. {hidden}".strip()
