"""The first half of a retraining: train on a project, publish the version and compare it."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from tagalong.backend.label_studio.api.client import LabelStudioClient
from tagalong.backend.label_studio.api.objects import Project
from tagalong.backend.label_studio.api.outage_retry import RateLimitedRetry
from tagalong.backend.label_studio.connected_project import read_project_config
from tagalong.backend.label_studio.label_config import LabelConfig
from tagalong.backend.label_studio.plain_texts import (
    make_project_text_reader,
    plain_text_config,
    with_plain_texts,
)
from tagalong.backend.models.load import load_version
from tagalong.backend.models.openvino.compile import COMPILED_TIERS
from tagalong.backend.retraining.job import Job, JobResult
from tagalong.backend.retraining.job_store import JobStore
from tagalong.backend.storage.model_store import ModelStore
from tagalong.backend.storage.project_key import ProjectKey
from tagalong.ner.counted_nouns import pluralize
from tagalong.ner.document import Prediction
from tagalong.ner.errors import TrainingError
from tagalong.ner.manifest import Manifest, read_manifest
from tagalong.training.data.train_dev_split import TrainDevSplit
from tagalong.training.jobs.base_vocabulary import describe_unknown_words
from tagalong.training.jobs.job_requests import RetrainOptions
from tagalong.training.jobs.project_data import (
    ProjectTrainingData,
    compute_held_out_scores,
    fetch_annotated_tasks,
    predict_in_project_labels,
    prepare_training_data,
    write_tasks,
)
from tagalong.training.jobs.project_model import find_project_models
from tagalong.training.jobs.promotion_gate import (
    apply_policy,
    decide_promotion,
    find_undertrained_labels,
)
from tagalong.training.jobs.publish import compile_published_version, publish
from tagalong.training.jobs.tier_trainers import find_trainer, read_retraining_recipe, train_tier
from tagalong.training.jobs.train_version import training_state_path
from tagalong.training.loop.trainer import AnyTrainResult, ProgressCallback
from tagalong.training.recipes.recipe import Recipe
from tagalong.training.recipes.schedule import TrainingProgress

STATUS_INTERVAL_SECONDS = 1.0  # between two status messages of a training


@dataclass(frozen=True, slots=True)
class Retraining:
    """A job that runs, and what it runs with."""

    job: Job
    job_store: JobStore  # receives the status messages and the decision
    store: ModelStore  # receives the version
    options: RetrainOptions
    client: LabelStudioClient
    retry: RateLimitedRetry  # of calls that may wait for Label Studio to come back
    on_progress: ProgressCallback  # called after every step and every evaluation

    def show(self, status: str) -> None:
        """Set the status message of the job."""
        self.job_store.set_status_message(self.job.id, status)


def train_and_evaluate(run: Retraining) -> JobResult:
    """Train on a project, publish the version and decide about its promotion.

    Returns the result, with the decision; nothing is promoted yet. Raises `TagalongError` if a step
    fails.
    """
    job, store, options = run.job, run.store, run.options
    find_trainer(job.tier)  # before anything is downloaded
    project = read_project(run)
    key = ProjectKey(project.id, project.created)
    models = run.retry.call(partial(find_project_models, store, run.client, key, job.tier))
    serving = models.serving.name
    # Fails sooner than reading the annotations.
    recipe = read_retraining_recipe(store, job.tier, options.recipe_from, model=serving)
    config = run.retry.call(partial(read_project_config, run.client, project))
    data = _read_data(run, config)
    config = plain_text_config(config)
    if options.warm_start:
        data = _apply_warm_start(data, job.tier, recipe, store, model=serving)
    trained = _train(run, recipe, data.split)
    run.show("evaluating the new version")
    labels, held_out = data.split.labels, data.held_out_documents
    predictions = predict_in_project_labels(config, trained.tagger, held_out)
    manifest = publish(
        trained,
        data.split,
        store=store,
        tier=job.tier,
        name=options.version_name or f"project-{job.project.id}",
        model=models.target,
        scores=compute_held_out_scores(held_out, predictions, labels),
    )
    if job.tier in COMPILED_TIERS:
        run.show("compiling it for OpenVINO")
    notes = (
        *data.notes,
        describe_unknown_words(recipe.base, data.split),
        compile_published_version(
            store.version_folder(models.target, manifest.version), manifest, data.split
        ),
        models.note,
    )
    current_name = store.current_version(serving)
    current = read_manifest(store.resolve(serving), verify=False) if current_name else None
    is_new = current_name != manifest.version  # the same content has the same name
    decision = (
        _decide(run, serving, config, data, predictions, (manifest, current))
        if is_new
        else JobResult("there are no new annotations: the current version is the same")
    )
    return replace(
        decision,
        model=models.target,
        version=manifest.version,
        compared_model=serving,
        compared_version=current_name,
        documents=len(data.split.train) + len(data.split.dev),
        held_out=len(held_out),
        notes=(*filter(None, notes),),
    )


def read_project(run: Retraining) -> Project:
    """The project of a job in Label Studio.

    Raises `LabelStudioError` if Label Studio refuses, `TrainingError` if the project of this id is
    another one than the job is for.
    """
    project, key = run.client.get_project(run.job.project.id), run.job.project
    if key.created is not None and key.created != project.created:
        raise TrainingError(
            f"project {key.id} of {run.client.url} is not the one that the training is for: that "
            "one is of another Label Studio, or was deleted and its number used again; start the "
            "training in the project that you want",
            code="training-of-another-project",
        )
    return project


def _read_data(run: Retraining, config: LabelConfig) -> ProjectTrainingData:
    # A job that continues trains on the same annotations, or its training state would not fit.
    path, failures = run.job_store.work_dir(run.job.id) / "tasks.json", list[str]()
    if not path.is_file():
        run.show("reading the annotations")
        tasks = fetch_annotated_tasks(run.client, run.job.project.id, run.retry)
        texts = make_project_text_reader(run.client, run.options.allowed_hosts)
        write_tasks(path, with_plain_texts(tasks, config, texts, on_unreadable=failures.append))
    data = prepare_training_data(
        path, plain_text_config(config), held_out_share=run.options.held_out_share
    )
    if not failures:
        return data
    note = (
        f"{pluralize(len(failures), 'task was', 'tasks were')} left out, the first because: "
        f"{failures[0]}."
    )
    return replace(data, notes=(note, *data.notes))


def _apply_warm_start(
    data: ProjectTrainingData, tier: str, recipe: Recipe, store: ModelStore, *, model: str
) -> ProjectTrainingData:
    """Start the training from the current version, or note why that is not possible."""
    if not store.current_version(model):
        note = "The training started from its base: there is no current version."
        return replace(data, notes=(*data.notes, note))
    manifest = read_manifest(store.resolve(model))
    labels = data.split.labels
    if reason := find_trainer(tier).explain_no_warm_start(manifest, recipe, labels):
        note = f"The training started from its base: {reason}."
        return replace(data, notes=(*data.notes, note))
    return replace(data, split=replace(data.split, warm_start_version=manifest.version))


def _train(run: Retraining, recipe: Recipe, split: TrainDevSplit) -> AnyTrainResult:
    last_time = -STATUS_INTERVAL_SECONDS

    def report(progress: TrainingProgress) -> None:
        nonlocal last_time
        run.on_progress(progress)
        if time.monotonic() - last_time >= STATUS_INTERVAL_SECONDS:  # a write per step is slow
            last_time = time.monotonic()
            scores = progress.dev_scores
            best = f", dev F1 {max(scores):.3f}" if scores else ""
            run.show(f"training, epoch {progress.epoch} of {progress.epochs}{best}")

    name = training_state_path(run.store, run.job.tier, recipe, split).name
    # In the work folder, which is deleted with the job.
    state_path = run.job_store.work_dir(run.job.id) / name
    return train_tier(
        run.job.tier,
        split,
        recipe,
        run.store,
        state_path=state_path,
        resume=True,
        on_progress=report,
    )


def _decide(
    run: Retraining,
    serving: str,
    config: LabelConfig,
    data: ProjectTrainingData,
    predictions: Sequence[Prediction],
    manifests: tuple[Manifest, Manifest | None],
) -> JobResult:
    """Decide between the candidate and the version that serves the project, which may be None."""
    candidate, current = manifests
    current_predictions: Sequence[Prediction] | None = None
    undertrained: Mapping[str, int] = {}
    if current is not None:
        tagger = load_version(run.store, serving)
        current_predictions = predict_in_project_labels(config, tagger, data.held_out_documents)
        undertrained = find_undertrained_labels(candidate, current, config)
    decision = decide_promotion(
        data.held_out_documents,
        predictions,
        current_predictions,
        labels=data.split.labels,
        undertrained_labels=undertrained,
        held_out_share=run.options.held_out_share,
    )
    return apply_policy(decision, run.options.promotion_policy)
