"""What a retraining does first: learn from a project, publish the version and judge it."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from backend.retraining.run import Outcome, Run
from backend.retraining.runs import Runs
from cli.console import errors
from cli.engines import engine_of
from cli.options import LLM, load_model
from cli.trades import trade_like
from cli.training import Trade, progress_bar, unfinished
from ner.errors import LabelStudioError
from ner.manifest import read_manifest
from ner.store import Store

if TYPE_CHECKING:  # torch would make `tagalong --help` slow
    from backend.batch.politeness import Politeness
    from backend.neighbours import Change
    from backend.remote.client import LabelStudio
    from training.gate import Policy
    from training.retrain import Lesson
    from training.schedule import Progress

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
    from backend.neighbours import Change
    from training.gate import decide
    from training.retrain import fetch, held_out_scores, predict_in, prepare, write_tasks

    config = parse_label_config(studio.project(run.project).label_config)
    polite = Politeness(tell=partial(runs.tell, run.id))
    tasks = runs.place(run) / "tasks.json"
    if not tasks.is_file():
        runs.tell(run.id, "reading the annotations")
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
    notes = lesson.notes
    if run.tier != LLM:
        runs.tell(run.id, "making its CPU engine")
        notes += tuple(filter(None, [engine_of(store.folder(run.tier, manifest.version), sides)]))
    old, against, known = None, store.serving(run.tier), tuple[str, ...]()
    if against:
        serving = load_model(store, against)
        old, known = predict_in(config, serving, lesson.held_out), serving.labels
    if against == manifest.version:
        outcome = Outcome("nothing new was annotated: this is the version that serves")
    else:
        verdict = decide(lesson.held_out, new, old, labels=labels, policy=how.policy)
        outcome = Outcome(verdict.reason, promote=verdict.promote, strata=verdict.strata)
    if outcome.promote and how.policy == "auto":
        change = Change(run.project, against, old=known, new=labels)
        outcome = spare_neighbours(studio, polite, change, outcome)
    return replace(
        outcome,
        version=manifest.version,
        against=against,
        documents=len(sides.train) + len(sides.dev),
        held_out=len(lesson.held_out),
        notes=notes,
    )


def spare_neighbours(
    studio: "LabelStudio", polite: "Politeness", change: "Change", outcome: Outcome
) -> Outcome:
    """Keep a version back that other projects of the same server would lose labels by.

    Args:
        studio: The Label Studio.
        polite: How to ask.
        change: What is to serve instead of what.
        outcome: What is to be done, going by this project alone.

    Returns:
        What is to be done.
    """
    from backend.neighbours import neighbours_without

    try:
        others = polite.patiently(partial(neighbours_without, studio, change))
    except LabelStudioError as error:
        gone = " and ".join(change.gone)
        reason = f"it finds no {gone}, and nobody could say if another project needs that: {error}"
        return replace(outcome, promote=False, reason=reason)
    if not others:
        return outcome
    lost = "; ".join(
        f"project {other.project} ({other.title}) would get no {' and no '.join(other.missed)}"
        for other in others
    )
    reason = (
        f"other projects go by the same server, and {lost} any more: give each project a server "
        "and a --models folder of its own, or promote it with `tagalong models promote`"
    )
    return replace(outcome, promote=False, reason=reason)


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
