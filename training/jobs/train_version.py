"""One training from files of annotations to a published version."""

import hashlib
import json
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from tagalong.backend.formats.file_format import ReadOptions
from tagalong.backend.models.tagger import DocumentTagger
from tagalong.backend.retraining.job import PromotionPolicy
from tagalong.backend.storage.model_store import ModelStore
from tagalong.ner.document import Prediction
from tagalong.ner.errors import TrainingError
from tagalong.ner.manifest import Manifest
from tagalong.ner.model_registry import validate_name
from tagalong.ner.words import DEFAULT_WORD_RULE
from tagalong.training.corpus import Corpus, read_corpus
from tagalong.training.data.silver import ReservedDocuments, SilverOptions, read_silver
from tagalong.training.data.train_dev_split import TrainDevSplit, split_train_dev
from tagalong.training.evaluation.evaluate import EvaluationOptions, evaluate
from tagalong.training.evaluation.report import EvaluationReport
from tagalong.training.jobs.base_vocabulary import describe_unknown_words
from tagalong.training.jobs.promotion_gate import should_promote_by_dev
from tagalong.training.jobs.publish import compile_published_version, publish
from tagalong.training.jobs.tier_trainers import train_tier
from tagalong.training.loop.trainer import AnyTrainResult, ProgressCallback, create_accelerator
from tagalong.training.loop.training_state import delete_state, lock_training
from tagalong.training.loop.validation import check_annotated_splits
from tagalong.training.recipes.recipe import Recipe, recipe_to_json

GOLD_ONLY = "gold alone"  # name of the baseline in reports


@dataclass(frozen=True, slots=True)
class TrainInputs:
    """Files of one training, and how to read them."""

    export_files: Sequence[Path] = ()  # in any format that `read_corpus` reads
    dev_files: Sequence[Path] = ()  # none to take a share of the others
    dev_share: float = 0.1
    read_options: ReadOptions = field(default_factory=ReadOptions)
    word_rule: str | None = None  # its name; None to choose by what each would lose
    allow_losses: bool = False  # train where flat tags cannot hold many entities
    silver: SilverOptions | None = None


@dataclass(frozen=True, slots=True)
class TrainJob:
    """Settings of one training.

    The promotion policy ``auto`` promotes a version that finds entities in dev and is not worse
    than the baseline.
    """

    tier: str
    recipe: Recipe
    store: ModelStore  # receives the version
    name: str  # prefix of the version name
    model: str = ""  # receives the version; empty for the default model of the tier
    resume: bool = False  # from the saved state, if there is one
    promotion_policy: PromotionPolicy = "auto"

    def __post_init__(self) -> None:
        """Check the names, before an hour of training."""
        validate_name(self.name)
        self.store.check_tier(self.model_name, self.tier)

    @property
    def model_name(self) -> str:
        """The model that receives the version."""
        return self.model or self.tier


@dataclass(frozen=True, slots=True)
class TrainingData:
    """Documents of a training; `dev_corpus` is None if dev is a share of the exports.

    Of the processes that train together, the main process publishes and reports.
    """

    split: TrainDevSplit
    corpus: Corpus
    dev_corpus: Corpus | None
    is_main_process: bool


@dataclass(frozen=True, slots=True)
class TrainedVersion:
    """A published version."""

    manifest: Manifest
    promoted: bool
    comparison: EvaluationReport | None  # on dev, against gold alone; None without a baseline

    @property
    def f1_gain(self) -> float | None:
        """Strict F1 on dev minus that of gold alone; None without a baseline."""
        found = self.comparison.comparison if self.comparison else None
        return found.overall.strict.difference if found else None


def read_training_data(job: TrainJob, inputs: TrainInputs) -> TrainingData:
    """Read and split the files of a training.

    Raises `InputError` if a file cannot be read, or no silver document is left; `TrainingError` if
    silver is given and gold has no annotated spans.
    """
    corpus = read_corpus(inputs.export_files, inputs.read_options)
    dev = read_corpus(inputs.dev_files, inputs.read_options) if inputs.dev_files else None
    return build_training_data(job, corpus, dev, inputs)


def build_training_data(
    job: TrainJob, corpus: Corpus, dev: Corpus | None, inputs: TrainInputs | None = None
) -> TrainingData:
    """Split the documents of a training, and read its silver data; see `read_training_data`.

    Raises `TrainingError` if flat tags cannot hold many entities, and `inputs` does not allow that.
    """
    inputs = inputs or TrainInputs()
    split = split_train_dev(corpus, dev, dev_share=inputs.dev_share, word_rule=inputs.word_rule)
    if not inputs.allow_losses:
        _check_losses(split)
    if inputs.silver is not None:
        # First: without gold spans there are no labels that silver could share.
        check_annotated_splits(split.train, split.dev)
        files = inputs.silver.excluded_files
        held_out = read_corpus(files, inputs.read_options).documents if files else ()
        reserved: ReservedDocuments = {
            "text in dev": split.dev,
            "text held out": held_out,
            "text in gold": split.train,
        }
        split = replace(split, silver=read_silver(inputs.silver, reserved, split.tag_set))
    is_main_process = create_accelerator(job.recipe.schedule).is_main_process
    return TrainingData(split, corpus, dev, is_main_process)


def _check_losses(split: TrainDevSplit) -> None:
    losses, choice = split.flat_losses, split.word_rule_choice
    if losses is None or choice is None or not losses.is_high:
        return
    is_worse = choice.lost[choice.rule.name] > min(choice.lost.values())
    is_edge = next(iter(losses.counts)) == "edge inside a word"
    advice = "take another --word-rule, " if is_worse and is_edge else ""
    raise TrainingError(
        f"{losses.describe()}; correct what `tagalong data check` lists, "
        f"{advice}or give --allow-losses to train without them",
        code="flat-tags-lose-entities",
    )


def train_version(
    job: TrainJob,
    data: TrainingData,
    *,
    on_progress: ProgressCallback = lambda _: None,
    on_message: Callable[[str], None] = lambda _: None,
) -> TrainedVersion | None:
    """Train, publish and promote a version.

    With silver data and a baseline there are two trainings: on gold alone, then on both.
    `on_progress` is called after every step and every evaluation; `on_message` receives sentences
    about what was done or could not be done.

    Returns the version; None on a process that helps another one.

    Raises:
        TrainingError: If the training cannot start, or cannot go on.
        BaseModelError: If the base is not available.
        PublishError: If the version cannot be written.
    """
    splits = [data.split]
    if data.split.silver is not None and data.split.silver.options.with_baseline:
        splits.insert(0, replace(data.split, silver=None))
    train = partial(train_tier, job.tier, resume=job.resume, on_progress=on_progress)
    # All states are kept until the end: the second training may be stopped after the first.
    paths = [training_state_path(job.store, job.model_name, job.recipe, split) for split in splits]
    with ExitStack() as locks:
        if data.is_main_process:  # of the processes that train together, one locks for all
            for path in paths:
                locks.enter_context(lock_training(path))
        if job.resume and not any(path.is_file() for path in paths):
            on_message(
                "There is nothing to resume: no training of this recipe on these documents stopped."
            )
        if message := describe_unknown_words(job.recipe.base, data.split):
            on_message(message)
        baseline = None
        if len(splits) == 2:
            on_message("Training on gold alone, for the comparison.")
            tagger = train(splits[0], job.recipe, job.store, state_path=paths[0]).tagger
            baseline = _predict_as(GOLD_ONLY, tagger, data.split)
            on_message("Training on gold and silver.")
        trained = train(data.split, job.recipe, job.store, state_path=paths[-1])
        if not trained.is_main_process:
            return None
        version = _publish(job, data.split, trained, baseline, on_message)
        for path in paths:
            delete_state(path)
    return version


def _publish(
    job: TrainJob,
    split: TrainDevSplit,
    trained: AnyTrainResult,
    baseline: Sequence[Prediction] | None,
    on_message: Callable[[str], None],
) -> TrainedVersion:
    manifest = publish(
        trained, split, store=job.store, tier=job.tier, name=job.name, model=job.model_name
    )
    folder = job.store.version_folder(job.model_name, manifest.version)
    if message := compile_published_version(folder, manifest, split):
        on_message(message)
    comparison = None
    if baseline is not None:
        predictions = _predict_as(manifest.version, trained.tagger, split)
        options = EvaluationOptions(labels=trained.tagger.labels)
        comparison = evaluate(
            split.dev, predictions, source="dev", against=baseline, options=options
        )
    version = TrainedVersion(manifest, False, comparison)
    dev_f1 = manifest.scores["dev"]["strict_f1"]
    if not should_promote_by_dev(job.promotion_policy, dev_f1, version.f1_gain):
        return version
    job.store.promote(job.model_name, manifest.version)
    return replace(version, promoted=True)


def _predict_as(name: str, tagger: DocumentTagger, split: TrainDevSplit) -> list[Prediction]:
    return [replace(one, version=name) for one in tagger.predict(split.dev)]


def training_state_path(
    store: ModelStore, model: str, recipe: Recipe, split: TrainDevSplit
) -> Path:
    """The state file of a stopped training, named by its recipe and data."""
    silver = split.silver.fingerprint if split.silver else ""
    # Absent ones are left out, so that trainings that earlier releases stopped are found.
    rule = "" if split.word_rule is DEFAULT_WORD_RULE else split.word_rule.name
    optional = filter(None, [silver, split.warm_start_version, rule])
    content = json.dumps(
        [recipe_to_json(recipe), split.labels, split.fingerprint, *optional], sort_keys=True
    )
    key = hashlib.sha256(content.encode()).hexdigest()[:16]
    return store.model_folder(model) / f".training-{key}"
