"""A retraining from its beginning to its end, with a note of every step."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from types import FrameType
from typing import Literal, cast

from backend.retraining.run import Outcome, Run, RunState
from backend.retraining.runs import ELSEWHERE, Runs
from cli.prelabel_next import prelabel_next
from cli.retrain_learn import How, learn
from cli.retrain_promote import promote
from ner.errors import InputError, TagalongError
from ner.store import Store

TierName = Literal["encoder", "llm"]


def carry_out(
    runs: Runs, number: int, store: Store, *, url: str | None, key: str | None, how: How
) -> Run:
    """Run a training to its end, and note how it ended.

    Args:
        runs: All trainings.
        number: Of this one.
        store: Of versions.
        url: Of Label Studio.
        key: A token.
        how: How to train.

    Returns:
        The training, ended.

    Raises:
        KeyboardInterrupt: If it was interrupted and not cancelled: it can go on.
        SystemExit: If another process runs it.
    """
    run = runs.run(number)
    if run is None or run.state.is_over:
        raise InputError(f"training {number} is not there to be run any more")
    with runs.alone(run.project, run.tier) as ours:
        if not ours:
            raise SystemExit(ELSEWHERE)
        if run.state is RunState.WAITING:
            runs.begin(number)
        runs.holds(number, os.getpid())
        with terminable():
            try:
                state, outcome = retrain(runs, run, store, url=url, key=key, how=how)
            except KeyboardInterrupt:
                if not _unwanted(runs, number):
                    raise
                state, outcome = RunState.CANCELLED, Outcome("it was cancelled")
            except (TagalongError, OSError) as error:
                state, outcome = RunState.FAILED, Outcome(str(error))
        runs.clear(run)
        runs.end(number, state, outcome)
    ended = runs.run(number)
    assert ended is not None  # noqa: S101 (rows are never removed)
    return ended


def retrain(
    runs: Runs, run: Run, store: Store, *, url: str | None, key: str | None, how: How
) -> tuple[RunState, Outcome]:
    """Learn from a project, judge what came of it, and do what follows.

    Args:
        runs: All trainings; told how this one stands.
        run: This one.
        store: Of versions.
        url: Of Label Studio.
        key: A token.
        how: How to train.

    Returns:
        How it ended, and what came of it.

    Raises:
        TagalongError: If it cannot be done.
    """
    from backend.remote.client import connect

    if not url or not key:
        raise InputError(
            "Label Studio's address and key are not known: set LABEL_STUDIO_URL and "
            "LABEL_STUDIO_API_KEY"
        )
    with connect(url, key) as studio:
        outcome = run.outcome
        if outcome is None:
            outcome = learn(studio, run, runs, store, how)
            runs.decide(run.id, outcome)
        if not outcome.promote:
            return RunState.KEPT, outcome
        runs.tell(run.id, "promoting")
        state, outcome = promote(studio, run, runs, store, outcome)
    if state is RunState.PROMOTED and how.prelabel:
        runs.tell(run.id, "pre-labelling what comes next")
        journal = runs.place(run) / "batch.journal"
        tier = cast("TierName", run.tier)
        try:
            count = prelabel_next(
                store, tier, run.project, how.prelabel, url=url, key=key, journal=journal
            )
        except TagalongError as error:  # it serves all the same
            note = f"Not all that comes next was pre-labelled: {error}."
        else:
            note = f"{count:,} tasks that nobody has annotated were pre-labelled by it."
        outcome = replace(outcome, notes=(*outcome.notes, note))
    return state, outcome


@contextmanager
def terminable() -> Iterator[None]:
    """Take a request to end for Ctrl-C, which leaves everything as it was.

    Yields:
        Nothing.
    """

    def interrupted(_: int, __: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupted)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _unwanted(runs: Runs, number: int) -> bool:
    """Whether nobody wants a training any more."""
    run = runs.run(number)
    return run is not None and run.unwanted
