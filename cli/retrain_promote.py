"""What a retraining does last: make its version serve, and have the project go by it."""

from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from backend.retraining.run import Outcome, Run, RunState
from backend.retraining.runs import Runs
from ner.errors import JournalError, LabelStudioError, Superseded
from ner.store import Store

if TYPE_CHECKING:  # torch would make `tagalong --help` slow
    from backend.remote.client import LabelStudio


def promote(
    studio: "LabelStudio", run: Run, runs: Runs, store: Store, outcome: Outcome
) -> tuple[RunState, Outcome]:
    """Make a version serve, and have its project go by it.

    It is done once: a training that goes on after its process was killed leaves alone what somebody
    has promoted or rolled back to since.

    Args:
        studio: The Label Studio.
        run: The training that made it.
        runs: Told that it was promoted.
        store: Of versions.
        outcome: Which version.

    Returns:
        How the training ended.

    Raises:
        TagalongError: If it cannot be promoted; what served before serves on.
    """
    from backend.promotion import announce

    try:
        studio.project(run.project)
    except LabelStudioError as error:
        if error.problem != "missing":
            raise
        reason = (
            f"project {run.project} is gone; promote {outcome.version} yourself if it is wanted"
        )
        return RunState.KEPT, replace(outcome, promote=False, reason=reason)
    if not outcome.promoted:
        try:
            store.promote(run.tier, outcome.version, instead_of=outcome.against)
        except Superseded as error:
            return RunState.KEPT, replace(outcome, promote=False, reason=str(error))
        outcome = replace(outcome, promoted=True)
        with suppress(JournalError):  # it serves all the same
            runs.decide(run.id, outcome)
    elif (now := store.serving(run.tier)) != outcome.version:
        reason = f"it was promoted, and somebody has had {now or 'none'} serve since"
        return RunState.KEPT, replace(outcome, reason=reason)
    try:
        announced = announce(studio, run.project, outcome.version)
    except LabelStudioError as error:  # it serves all the same
        note = f"Label Studio was not told of it: {error}."
    else:
        note = told(announced.backends, announced.stale)
    return RunState.PROMOTED, replace(outcome, notes=(*outcome.notes, note))


def told(backends: tuple[str, ...], stale: int) -> str:
    """Say what Label Studio knows of a promotion."""
    shown = f"{stale:,} predictions of other versions are not shown any more." if stale else ""
    if not backends:
        return (
            "No backend of the project serves the version yet: connect `tagalong serve` with these "
            f"models. {shown}"
        ).strip()
    return f"The project and its backend go by its name now. {shown}".strip()
