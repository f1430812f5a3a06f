"""The first half of a retraining: train on a project, publish the version and compare it."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from tagalong.backend.events.store import EventStore
from tagalong.backend.label_studio.affected_projects import (
    VersionChange,
    find_affected_projects,
    hold_back_reason,
)
from tagalong.backend.label_studio.api.client import LabelStudioClient
from tagalong.backend.label_studio.api.retries import RateLimitedRetry
from tagalong.backend.label_studio.config import parse_label_config
from tagalong.backend.label_studio.results import LabelConfig
from tagalong.backend.models.load import load_version
from tagalong.backend.models.tier_specs import TIER_SPECS
from tagalong.backend.retraining.job import Job, JobResult
from tagalong.backend.retraining.job_store import JobStore
from tagalong.backend.server.settings import Settings
from tagalong.backend.storage.model_store import ModelStore
from tagalong.ner.document import Document, Prediction
from tagalong.ner.errors import LabelStudioError
from tagalong.ner.manifest import Manifest, read_manifest
from tagalong.training.data.train_dev_split import TrainDevSplit
from tagalong.training.jobs.openvino import compile_published_version
from tagalong.training.jobs.project_data import (
    ProjectTrainingData,
    compute_held_out_scores,
    fetch_annotated_tasks,
    predict_in_project_labels,
    prepare_training_data,
    write_tasks,
)
from tagalong.training.jobs.promotion_gate import apply_policy, decide_promotion
from tagalong.training.jobs.publish import publish
from tagalong.training.jobs.retrain_options import RetrainOptions
from tagalong.training.jobs.tier_trainers import (
    TIER_TRAINERS,
    TrainOptions,
    read_retraining_recipe,
)
from tagalong.training.jobs.train_version import training_state_path
from tagalong.training.jobs.undertrained_labels import find_undertrained_labels
from tagalong.training.loop.trainer import AnyTrainResult, ProgressCallback
from tagalong.training.recipes.recipe import Recipe
from tagalong.training.recipes.schedule import TrainingProgress

STATUS_INTERVAL_SECONDS = 1.0  # between two status messages of a training


def train_and_evaluate(
    client: LabelStudioClient,
    job: Job,
    job_store: JobStore,
    store: ModelStore,
    options: RetrainOptions,
    on_progress: ProgressCallback = lambda _: None,
) -> JobResult:
    """Train on a project, publish the version and decide about its promotion.

    Args:
        client: Label Studio.
        job: The job.
        job_store: Receives status messages.
        store: Receives the version.
        options: How to retrain.
        on_progress: Called after every step and every evaluation of the training.

    Returns:
        The result, with the decision; nothing is promoted yet.

    Raises:
        TagalongError: If a step fails.
    """
    retry = RateLimitedRetry(notify=partial(job_store.set_status_message, job.id))
    config = parse_label_config(client.get_project(job.project).label_config)
    data = _read_data(client, job, job_store, config, retry, options)
    recipe = read_retraining_recipe(store, job.tier, options.recipe_from)
    if options.warm_start:
        data = apply_warm_start(data, job.tier, recipe, store)
    on_progress = _report_to_status(job_store, job.id, on_progress)
    trained = _train(job, job_store, store, recipe, data.split, on_progress)
    job_store.set_status_message(job.id, "evaluating the new version")
    labels, held_out = data.split.labels, data.held_out_documents
    predictions = predict_in_project_labels(config, trained.tier, held_out)
    manifest = publish(
        trained,
        data.split,
        store=store,
        tier=job.tier,
        name=options.version_name or f"project-{job.project}",
        scores=compute_held_out_scores(held_out, predictions, labels),
    )
    if TIER_SPECS[job.tier].uses_openvino:
        job_store.set_status_message(job.id, "compiling it for OpenVINO")
        folder = store.version_folder(job.tier, manifest.version)
        if note := compile_published_version(folder, data.split):
            data = replace(data, notes=(*data.notes, note))
    served = predict_with_served_version(store, job.tier, config, held_out, manifest)
    if served.version == manifest.version:
        result = JobResult("there are no new annotations: the served version is the same")
        return _describe_data(result, manifest, served, data)
    result = _decide(data, predictions, served, options)
    result = _describe_data(result, manifest, served, data)
    if options.promotion_policy != "auto":
        return result
    change = VersionChange(
        job.project, job.tier, served.version, old_labels=served.labels, new_labels=labels
    )
    return hold_back_for_other_projects(client, retry, store, change, result)


def _read_data(
    client: LabelStudioClient,
    job: Job,
    job_store: JobStore,
    config: LabelConfig,
    retry: RateLimitedRetry,
    options: RetrainOptions,
) -> ProjectTrainingData:
    # A job that continues trains on the same annotations, or its training state would not fit.
    path = job_store.work_dir(job) / "tasks.json"
    if not path.is_file():
        job_store.set_status_message(job.id, "reading the annotations")
        write_tasks(path, fetch_annotated_tasks(client, job.project, retry))
    return prepare_training_data(path, config, held_out_share=options.held_out_share)


def _decide(
    data: ProjectTrainingData,
    predictions: Sequence[Prediction],
    served: "ServedVersion",
    options: RetrainOptions,
) -> JobResult:
    decision = decide_promotion(
        data.held_out_documents,
        predictions,
        served.predictions,
        labels=data.split.labels,
        undertrained_labels=served.undertrained_labels,
        held_out_share=options.held_out_share,
    )
    decision = apply_policy(decision, options.promotion_policy)
    return JobResult(decision.reason, should_promote=decision.promote, strata=decision.strata)


def _describe_data(
    result: JobResult,
    manifest: Manifest,
    served: "ServedVersion",
    data: ProjectTrainingData,
) -> JobResult:
    return replace(
        result,
        version=manifest.version,
        previous_version=served.version,
        documents=len(data.split.train) + len(data.split.dev),
        held_out=len(data.held_out_documents),
        notes=data.notes,
    )


def _train(
    job: Job,
    job_store: JobStore,
    store: ModelStore,
    recipe: Recipe,
    split: TrainDevSplit,
    on_progress: ProgressCallback,
) -> AnyTrainResult:
    # In the work folder, which is deleted with the job.
    name = training_state_path(store, job.tier, recipe, split).name
    options = TrainOptions(
        store=store,
        state_path=job_store.work_dir(job) / name,
        resume=True,
        on_progress=on_progress,
    )
    return TIER_TRAINERS[job.tier].train(split, recipe, options)


def _report_to_status(
    job_store: JobStore, job_id: int, on_progress: ProgressCallback
) -> ProgressCallback:
    """Also report progress as the status message of a job, at most once a second."""
    last_time = -STATUS_INTERVAL_SECONDS

    def report(progress: TrainingProgress) -> None:
        nonlocal last_time
        on_progress(progress)
        if time.monotonic() - last_time >= STATUS_INTERVAL_SECONDS:
            last_time = time.monotonic()
            scores = progress.dev_scores
            best = f", dev F1 {max(scores):.3f}" if scores else ""
            job_store.set_status_message(
                job_id, f"training, epoch {progress.epoch} of {progress.epochs}{best}"
            )

    return report


@dataclass(frozen=True, slots=True)
class ServedVersion:
    """The served version, compared with a candidate.

    Attributes:
        version: Its name; empty if there is none.
        labels: Its labels.
        predictions: For the held-out documents, in the labels of the project; None if there is no
            served version.
        undertrained_labels: Its labels with few training entities of the candidate, and their
            number.
    """

    version: str = ""
    labels: tuple[str, ...] = ()
    predictions: Sequence[Prediction] | None = None
    undertrained_labels: Mapping[str, int] = field(default_factory=dict)


def predict_with_served_version(
    store: ModelStore,
    tier: str,
    config: LabelConfig,
    held_out: Sequence[Document],
    candidate: Manifest,
) -> ServedVersion:
    """Predict the held-out documents with the served version.

    Raises `TagalongError` if it cannot be loaded.
    """
    version = store.served_version(tier)
    if not version:
        return ServedVersion()
    manifest = read_manifest(store.resolve(version), verify=False)
    model = load_version(store, version)
    return ServedVersion(
        version,
        manifest.labels,
        predict_in_project_labels(config, model, held_out),
        find_undertrained_labels(candidate, manifest, config),
    )


def hold_back_for_other_projects(
    client: LabelStudioClient,
    retry: RateLimitedRetry,
    store: ModelStore,
    change: VersionChange,
    result: JobResult,
) -> JobResult:
    """Hold a promotion back if the served version also serves other projects.

    Args:
        client: Label Studio.
        retry: Retries its calls.
        store: The models folder of the server.
        change: The planned promotion.
        result: The result so far, with the name of the candidate.

    Returns:
        The same, or the reason why nothing is promoted. If the gate has rejected the candidate,
        its reason stays and a note names the projects, for users who promote by hand.
    """
    events = EventStore(Settings(store.root).event_store_path)
    try:
        others = retry.call(partial(find_affected_projects, client, events, change))
    except LabelStudioError as error:
        reason = (
            f"it is unknown which other projects {change.version} serves ({error}). Retrain once "
            f"Label Studio answers, or run `tagalong models promote {result.version}`"
        )
        return (
            replace(result, should_promote=False, reason=reason)
            if result.should_promote
            else result
        )
    finally:
        events.close()
    if not others:
        return result
    reason = hold_back_reason(change, others, result.version)
    if not result.should_promote:
        return replace(result, notes=(*result.notes, f"{reason}."))
    return replace(result, should_promote=False, reason=reason)


def apply_warm_start(
    data: ProjectTrainingData, tier: str, recipe: Recipe, store: ModelStore
) -> ProjectTrainingData:
    """Start the training from the served version, or note why that is not possible."""
    manifest = read_manifest(store.resolve(store.default_reference()))
    labels = data.split.labels
    if reason := TIER_TRAINERS[tier].warm_start_obstacle(manifest, recipe, labels):
        note = f"The training started from its base: {reason}."
        return replace(data, notes=(*data.notes, note))
    return replace(data, split=replace(data.split, warm_start_version=manifest.version))
