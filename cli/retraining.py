"""A retraining from its beginning to its end: learn, judge, promote, and note every step."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from types import FrameType
from typing import TYPE_CHECKING, Literal, cast

from backend.retraining.runs import ELSEWHERE, Outcome, Run, Runs, RunState
from cli.console import errors
from cli.options import LLM, load_model
from cli.prelabel_next import prelabel_next
from cli.trades import trade_like
from cli.training import Trade, progress_bar, unfinished
from ner.errors import InputError, LabelStudioError, TagalongError
from ner.manifest import read_manifest
from ner.store import Store

if TYPE_CHECKING:  # torch would make `tagalong --help` slow
    from backend.remote.client import LabelStudio
    from training.gate import Policy
    from training.retrain import Lesson
    from training.schedule import Progress

TierName = Literal["encoder", "llm"]
EVERY = 1.0  # seconds between two notes of what a training does


@dataclass(frozen=True, slots=True, kw_only=True)
class How:
    """How to retrain.

    Attributes:
        policy: When to promote.
        share: Of the documents, that is held out.
        like: The version whose recipe to go by; None for the one that serves.
        name: What the new version's name starts with; None for the project's.
        prelabel: How many tasks it predicts as soon as it serves.
        warm: Begin at the version that serves, instead of at its base.
    """

    policy: "Policy"
    share: float
    like: str | None
    name: str | None
    prelabel: int = 0
    warm: bool = False


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
        state, outcome = promote(studio, run, store, outcome)
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


def learn(studio: "LabelStudio", run: Run, runs: Runs, store: Store, how: How) -> Outcome:
    """Train on a project, publish the version and judge it; nothing is promoted.

    Args:
        studio: The Label Studio.
        run: The training.
        runs: Told how it stands.
        store: Of versions.
        how: How to train.

    Returns:
        What is to be done.

    Raises:
        TagalongError: If it cannot be done.
    """
    from backend.batch.politeness import Politeness
    from backend.label_config import parse_label_config
    from training.gate import decide
    from training.retrain import fetch, held_out_scores, predict_in, prepare, write_tasks

    config = parse_label_config(studio.project(run.project).label_config)
    tasks = runs.place(run) / "tasks.json"
    if not tasks.is_file():
        runs.tell(run.id, "reading the annotations")
        polite = Politeness(tell=partial(runs.tell, run.id))
        write_tasks(tasks, fetch(studio, run.project, polite))
    lesson = prepare(tasks, config, share=how.share)
    trade = trade_like(store, run.tier, how.like)
    if how.warm:
        trade, lesson = begin_warm(trade, lesson, store)
    sides = lesson.sides
    state_path = (
        runs.place(run) / unfinished(trade, store, sides).name
    )  # gone with all that is there
    with telling(runs, run.id) as report:
        trained = trade.train(
            *(sides.train, sides.dev),
            labels=sides.labels,
            recipe=trade.recipe,
            state_path=state_path,
            resume=True,
            report=report,
        )
    runs.tell(run.id, "judging the new version")
    labels = sides.labels
    new = predict_in(config, trained.tier, lesson.held_out)
    manifest, _ = trade.publish(
        trained,
        sides,
        store=store,
        name=how.name or f"project-{run.project}",
        scores=held_out_scores(lesson.held_out, new, labels),
    )
    old, against = None, serving(store, run.tier)
    if against:
        old = predict_in(config, load_model(store, against), lesson.held_out)
    if against == manifest.version:
        outcome = Outcome("nothing new was annotated: this is the version that serves")
    else:
        verdict = decide(lesson.held_out, new, old, labels=labels, policy=how.policy)
        outcome = Outcome(verdict.reason, promote=verdict.promote, strata=verdict.strata)
    return replace(
        outcome,
        version=manifest.version,
        against=against,
        documents=len(sides.train) + len(sides.dev),
        held_out=len(lesson.held_out),
        notes=lesson.notes,
    )


def begin_warm(trade: Trade, lesson: "Lesson", store: Store) -> "tuple[Trade, Lesson]":
    """Have a training begin at the version that serves, where it can.

    Args:
        trade: How it is trained.
        lesson: What is learnt.
        store: Of versions.

    Returns:
        Both, changed for it; or as they were, with a note that says why.
    """
    from training.recipe import Recipe
    from training.start import why_not

    folder = store.resolve(store.default())
    manifest = read_manifest(folder)
    if isinstance(trade.recipe, Recipe):
        reason = why_not(manifest, trade.recipe, lesson.sides.labels)
    else:
        reason = "an LLM's adapter is trained from its base"
    if reason:
        note = f"The training began at its base: {reason}."
        return trade, replace(lesson, notes=(*lesson.notes, note))
    warm = replace(trade, train=partial(trade.train, start=folder))
    return warm, replace(lesson, sides=replace(lesson.sides, start=manifest.version))


def serving(store: Store, tier: str) -> str:
    """The version of a tier that serves; empty where none does."""
    if tier == LLM and store.current(tier) is None:
        return ""
    return read_manifest(store.resolve(store.default(tier)), verify=False).version


def promote(
    studio: "LabelStudio", run: Run, store: Store, outcome: Outcome
) -> tuple[RunState, Outcome]:
    """Make a version serve, and have its project go by it.

    Args:
        studio: The Label Studio.
        run: The training that made it.
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
    store.promote(run.tier, outcome.version)
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


@contextmanager
def telling(runs: Runs, number: int) -> Iterator["Callable[[Progress], None]"]:
    """Note how a training goes, on the terminal and for the status page.

    Args:
        runs: All trainings.
        number: This one.

    Yields:
        What a training reports to.
    """
    with progress_bar(errors) as drawn:
        said = -EVERY

        def report(now: "Progress") -> None:
            nonlocal said
            drawn(now)
            if time.monotonic() - said >= EVERY:
                said = time.monotonic()
                best = f", dev F1 {max(now.scores):.3f}" if now.scores else ""
                runs.tell(number, f"training, epoch {now.epoch} of {now.epochs}{best}")

        yield report


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
