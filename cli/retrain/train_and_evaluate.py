"""What a retraining does first: learn from a project, publish the version and judge it."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING

from tagalong.backend.retraining.job import Job, JobResult
from tagalong.backend.retraining.job_store import JobStore
from tagalong.backend.storage.model_store import ModelStore
from tagalong.cli.terminal.console import error_console
from tagalong.cli.terminal.openvino import compile_published_version
from tagalong.cli.terminal.options import load_tier_version
from tagalong.cli.train.run import TierTrainer, progress_bar, state_path_for
from tagalong.cli.train.trainers import build_trainer_like
from tagalong.ner.document import Document, Prediction
from tagalong.ner.errors import LabelStudioError
from tagalong.ner.manifest import Manifest, read_manifest
from tagalong.ner.model_registry import LLM

if TYPE_CHECKING:  # torch would make `tagalong --help` slow
    from tagalong.backend.label_studio.affected_projects import VersionChange
    from tagalong.backend.label_studio.api.client import LabelStudioClient
    from tagalong.backend.label_studio.api.retries import RateLimitedRetry
    from tagalong.backend.label_studio.results import LabelConfig
    from tagalong.backend.retraining.job import PromotionPolicy
    from tagalong.training.jobs.project_data import ProjectTrainingData
    from tagalong.training.recipes.schedule import TrainingProgress

STATUS_INTERVAL_SECONDS = 1.0  # seconds between two notes of what a training does


@dataclass(frozen=True, slots=True, kw_only=True)
class RetrainOptions:
    """How to retrain.

    Attributes:
        promotion_policy: When to promote.
        held_out_share: Of the documents, that is held out.
        recipe_from: The version whose recipe to go by; None for the one that serves.
        version_name: What the new version's name starts with; None for the project's.
        prelabel_tasks: How many tasks it predicts as soon as it serves.
        warm_start: Begin at the version that serves, instead of at its base.
    """

    promotion_policy: "PromotionPolicy"
    held_out_share: float
    recipe_from: str | None
    version_name: str | None
    prelabel_tasks: int = 0
    warm_start: bool = False


def train_and_evaluate(
    studio: "LabelStudioClient",
    job: Job,
    job_store: JobStore,
    store: ModelStore,
    options: RetrainOptions,
) -> JobResult:
    """Train on a project, publish the version and judge it; nothing is promoted.

    Args:
        studio: The Label Studio.
        job: The training.
        job_store: Told how it stands.
        store: Of versions.
        options: How to train.

    Returns:
        What is to be done.

    Raises:
        TagalongError: If it cannot be done.
    """
    from tagalong.backend.label_studio.affected_projects import VersionChange
    from tagalong.backend.label_studio.api.retries import RateLimitedRetry
    from tagalong.backend.label_studio.config import parse_label_config
    from tagalong.training.jobs.project_data import (
        compute_held_out_scores,
        fetch_annotated_tasks,
        predict_in_project_labels,
        prepare_training_data,
        write_tasks,
    )
    from tagalong.training.jobs.promotion_gate import decide_promotion

    config = parse_label_config(studio.get_project(job.project).label_config)
    polite = RateLimitedRetry(notify=partial(job_store.set_status_message, job.id))
    tasks = job_store.work_dir(job) / "tasks.json"
    if not tasks.is_file():
        job_store.set_status_message(job.id, "reading the annotations")
        write_tasks(tasks, fetch_annotated_tasks(studio, job.project, polite))
    lesson = prepare_training_data(tasks, config, held_out_share=options.held_out_share)
    trade = build_trainer_like(store, job.tier, options.recipe_from)
    if options.warm_start:
        trade, lesson = apply_warm_start(trade, lesson, store)
    sides = lesson.split
    state_path = (
        job_store.work_dir(job) / state_path_for(trade, store, sides).name
    )  # gone with all that is there
    with reporting_progress(job_store, job.id) as report:
        trained = trade.train(
            *(sides.train, sides.dev),
            labels=sides.labels,
            recipe=trade.recipe,
            state_path=state_path,
            resume=True,
            report=report,
        )
    job_store.set_status_message(job.id, "judging the new version")
    labels = sides.labels
    new = predict_in_project_labels(config, trained.tier, lesson.held_out_documents)
    manifest, _ = trade.publish(
        trained,
        sides,
        store=store,
        name=options.version_name or f"project-{job.project}",
        scores=compute_held_out_scores(lesson.held_out_documents, new, labels),
    )
    notes = lesson.notes
    if job.tier != LLM:
        job_store.set_status_message(job.id, "making its CPU engine")
        notes += tuple(
            filter(
                None,
                [
                    compile_published_version(
                        store.version_folder(job.tier, manifest.version), sides
                    )
                ],
            )
        )
    served = predict_with_served_version(
        store, job.tier, config, lesson.held_out_documents, manifest
    )
    if served.version == manifest.version:
        outcome = JobResult("nothing new was annotated: this is the version that serves")
    else:
        verdict = decide_promotion(
            lesson.held_out_documents,
            new,
            served.predictions,
            labels=labels,
            undertrained_labels=served.undertrained_labels,
            held_out_share=options.held_out_share,
            policy=options.promotion_policy,
        )
        outcome = JobResult(verdict.reason, should_promote=verdict.promote, strata=verdict.strata)
    outcome = replace(
        outcome,
        version=manifest.version,
        previous_version=served.version,
        documents=len(sides.train) + len(sides.dev),
        held_out=len(lesson.held_out_documents),
        notes=notes,
    )
    if options.promotion_policy == "auto" and served.version != manifest.version:
        change = VersionChange(
            job.project, job.tier, served.version, old_labels=served.labels, new_labels=labels
        )
        outcome = hold_back_for_other_projects(studio, polite, store, change, outcome)
    return outcome


@dataclass(frozen=True, slots=True)
class ServedVersion:
    """The served version, compared with a candidate.

    Attributes:
        version: Its name; empty if there is none.
        labels: Its labels.
        predictions: For the held-out documents, in the labels of the project; None if there is
            no served version.
        undertrained_labels: Its labels that the candidate has hardly learnt, with the entities that the
            candidate was trained on.
    """

    version: str = ""
    labels: tuple[str, ...] = ()
    predictions: Sequence[Prediction] | None = None
    undertrained_labels: Mapping[str, int] = field(default_factory=dict)


def predict_with_served_version(
    store: ModelStore,
    tier: str,
    config: "LabelConfig",
    held_out: Sequence[Document],
    candidate: Manifest,
) -> ServedVersion:
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
    from tagalong.training.jobs.project_data import predict_in_project_labels
    from tagalong.training.jobs.undertrained_labels import find_undertrained_labels

    version = store.served_version(tier)
    if not version:
        return ServedVersion()
    manifest = read_manifest(store.resolve(version), verify=False)
    model = load_tier_version(store, version)
    return ServedVersion(
        version,
        manifest.labels,
        predict_in_project_labels(config, model, held_out),
        find_undertrained_labels(candidate, manifest, config),
    )


def hold_back_for_other_projects(
    studio: "LabelStudioClient",
    retry: "RateLimitedRetry",
    store: ModelStore,
    change: "VersionChange",
    outcome: JobResult,
) -> JobResult:
    """Hold a promotion back if the served version also serves other projects.

    Args:
        studio: The Label Studio.
        retry: How to ask it.
        store: The models folder of the server.
        change: The planned promotion.
        outcome: The result so far, with the name of the candidate.

    Returns:
        The same, or the reason why nothing is promoted. If the gate has held the candidate back,
        its reason stays and a note names the projects, for users who promote by hand.
    """
    from tagalong.backend.events.store import EventStore
    from tagalong.backend.label_studio.affected_projects import (
        find_affected_projects,
        hold_back_reason,
    )
    from tagalong.backend.server.settings import Settings

    journal = EventStore(Settings(store.root).event_store_path)
    try:
        others = retry.call(partial(find_affected_projects, studio, journal, change))
    except LabelStudioError as error:
        reason = (
            f"it is unknown which other projects {change.version} serves ({error}). Retrain once "
            f"Label Studio answers, or run `tagalong models promote {outcome.version}`"
        )
        return (
            replace(outcome, should_promote=False, reason=reason)
            if outcome.should_promote
            else outcome
        )
    finally:
        journal.close()
    if not others:
        return outcome
    reason = hold_back_reason(change, others, outcome.version)
    if not outcome.should_promote:
        return replace(outcome, notes=(*outcome.notes, f"{reason}."))
    return replace(outcome, should_promote=False, reason=reason)


def apply_warm_start(
    trainer: TierTrainer, lesson: "ProjectTrainingData", store: ModelStore
) -> "tuple[TierTrainer, ProjectTrainingData]":
    """Have a training begin at the version that serves, where it can.

    Args:
        trainer: How it is trained.
        lesson: What is learnt.
        store: Of versions.

    Returns:
        Both, changed for it; or as they were, with a note that says why.
    """
    from tagalong.training.loop.warm_start import find_warm_start_obstacle
    from tagalong.training.recipes.recipe import EncoderRecipe

    folder = store.resolve(store.default_reference())
    manifest = read_manifest(folder)
    if isinstance(trainer.recipe, EncoderRecipe):
        reason = find_warm_start_obstacle(manifest, trainer.recipe, lesson.split.labels)
    else:
        reason = "an LLM's adapter is trained from its base"
    if reason:
        note = f"The training began at its base: {reason}."
        return trainer, replace(lesson, notes=(*lesson.notes, note))
    warm = replace(trainer, train=partial(trainer.train, start=folder))
    return warm, replace(lesson, split=replace(lesson.split, start=manifest.version))


@contextmanager
def reporting_progress(
    job_store: JobStore, job_id: int
) -> Iterator["Callable[[TrainingProgress], None]"]:
    """Note how a training goes, on the terminal and for the status page.

    Args:
        job_store: All trainings.
        job_id: This one.

    Yields:
        What a training reports to.
    """
    with progress_bar(error_console) as drawn:
        said = -STATUS_INTERVAL_SECONDS

        def report(now: "TrainingProgress") -> None:
            nonlocal said
            drawn(now)
            if time.monotonic() - said >= STATUS_INTERVAL_SECONDS:
                said = time.monotonic()
                best = f", dev F1 {max(now.dev_scores):.3f}" if now.dev_scores else ""
                job_store.set_status_message(
                    job_id, f"training, epoch {now.epoch} of {now.epochs}{best}"
                )

        yield report
