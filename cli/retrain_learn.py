"""What a retraining does first: learn from a project, publish the version and judge it."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING

from backend.retraining.run import Outcome, Run
from backend.retraining.runs import Runs
from cli.console import errors
from cli.engines import engine_of
from cli.options import LLM, load_model
from cli.trades import trade_like
from cli.training import Trade, progress_bar, unfinished
from ner.document import Document, Prediction
from ner.errors import LabelStudioError
from ner.manifest import Manifest, read_manifest
from ner.store import Store

if TYPE_CHECKING:  # torch would make `tagalong --help` slow
    from backend.batch.politeness import Politeness
    from backend.label_studio import LabelConfig
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
    served = ask_served(store, run.tier, config, lesson.held_out, manifest)
    if served.version == manifest.version:
        outcome = Outcome("nothing new was annotated: this is the version that serves")
    else:
        verdict = decide(
            lesson.held_out,
            new,
            served.predictions,
            labels=labels,
            hardly_learnt=served.hardly_learnt,
            share=how.share,
            policy=how.policy,
        )
        outcome = Outcome(verdict.reason, promote=verdict.promote, strata=verdict.strata)
    outcome = replace(
        outcome,
        version=manifest.version,
        against=served.version,
        documents=len(sides.train) + len(sides.dev),
        held_out=len(lesson.held_out),
        notes=notes,
    )
    if how.policy == "auto" and served.version != manifest.version:
        change = Change(run.project, run.tier, served.version, old=served.labels, new=labels)
        outcome = spare_neighbours(studio, polite, store, change, outcome)
    return outcome


@dataclass(frozen=True, slots=True)
class Served:
    """The served version, compared with a candidate.

    Attributes:
        version: Its name; empty if there is none.
        labels: Its labels.
        predictions: For the held-out documents, in the labels of the project; None if there is
            no served version.
        hardly_learnt: Its labels that the candidate has hardly learnt, with the entities that the
            candidate was trained on.
    """

    version: str = ""
    labels: tuple[str, ...] = ()
    predictions: Sequence[Prediction] | None = None
    hardly_learnt: Mapping[str, int] = field(default_factory=dict)


def ask_served(
    store: Store,
    tier: str,
    config: "LabelConfig",
    held_out: Sequence[Document],
    candidate: Manifest,
) -> Served:
    """Have the served version predict the held-out documents.

    Args:
        store: The models folder.
        tier: Tier of the candidate.
        config: The project's labelling config.
        held_out: Documents to predict.
        candidate: Manifest of the candidate.

    Returns:
        The served version and its predictions.

    Raises:
        TagalongError: If it cannot be loaded.
    """
    from training.label_counts import find_hardly_learnt
    from training.retrain import predict_in

    version = store.serving(tier)
    if not version:
        return Served()
    manifest = read_manifest(store.resolve(version), verify=False)
    model = load_model(store, version)
    return Served(
        version,
        manifest.labels,
        predict_in(config, model, held_out),
        find_hardly_learnt(candidate, manifest, config),
    )


def spare_neighbours(
    studio: "LabelStudio", polite: "Politeness", store: Store, change: "Change", outcome: Outcome
) -> Outcome:
    """Hold a promotion back if the served version also serves other projects.

    Args:
        studio: The Label Studio.
        polite: How to ask it.
        store: The models folder of the server.
        change: The planned promotion.
        outcome: The result so far, with the name of the candidate.

    Returns:
        The same, or the reason why nothing is promoted. If the gate has held the candidate back,
        its reason stays and a note names the projects, for users who promote by hand.
    """
    from backend.neighbours import find_neighbours, hold_back_reason
    from backend.server.journal import Journal
    from backend.server.settings import Settings

    journal = Journal(Settings(store.root).journal_path)
    try:
        others = polite.patiently(partial(find_neighbours, studio, journal, change))
    except LabelStudioError as error:
        reason = (
            f"it is unknown which other projects {change.version} serves ({error}). Retrain once "
            f"Label Studio answers, or run `tagalong models promote {outcome.version}`"
        )
        return replace(outcome, promote=False, reason=reason) if outcome.promote else outcome
    finally:
        journal.close()
    if not others:
        return outcome
    reason = hold_back_reason(change, others, outcome.version)
    if not outcome.promote:
        return replace(outcome, notes=(*outcome.notes, f"{reason}."))
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
