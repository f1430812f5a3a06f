"""Tagalong from Python: load a version, predict, evaluate, train."""

import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias, cast, overload

from transformers.utils import logging as transformers_logging

from tagalong.backend.annotations.import_log import ImportLog
from tagalong.backend.bundled import BUNDLED_MODELS_FOLDER
from tagalong.backend.formats.file_format import ReadOptions
from tagalong.backend.formats.registry import read_predictions
from tagalong.backend.label_studio.label_config_parser import read_label_config
from tagalong.backend.label_studio.label_map import accept_model_labels
from tagalong.backend.models.load import load_version
from tagalong.backend.models.openvino.compile import should_use_openvino
from tagalong.backend.models.tagger import DocumentTagger
from tagalong.backend.retraining.job import PromotionPolicy
from tagalong.backend.storage.model_store import ModelStore
from tagalong.ner.document import Document, Prediction, Span
from tagalong.ner.errors import InputError
from tagalong.ner.tiers import ENCODER
from tagalong.training.corpus import Corpus, describe_log, describe_warning, read_corpus
from tagalong.training.evaluation.alignment import SystemOutput, align_predictions
from tagalong.training.evaluation.evaluate import EvaluationOptions
from tagalong.training.evaluation.evaluate import evaluate as evaluate_aligned
from tagalong.training.evaluation.label_names import map_system_labels
from tagalong.training.evaluation.report import EvaluationReport
from tagalong.training.jobs.train_version import (
    TrainInputs,
    TrainJob,
    build_training_data,
    train_version,
)
from tagalong.training.loop.trainer import ProgressCallback
from tagalong.training.recipes.encoder_recipe import EncoderRecipe, raise_min_steps

AnyPath: TypeAlias = str | os.PathLike[str]
Annotations: TypeAlias = AnyPath | Sequence[AnyPath] | Sequence[Document]
Output: TypeAlias = "Tagger | AnyPath | Sequence[Prediction]"


class Tagger:
    """A loaded version; made by `load`.

    Args:
        tier: The version.
    """

    def __init__(self, tagger: DocumentTagger) -> None:
        self._tagger = tagger

    @property
    def version(self) -> str:
        """Name of the version."""
        return self._tagger.version

    @property
    def labels(self) -> tuple[str, ...]:
        """Entity types that it finds."""
        return self._tagger.labels

    @overload
    def predict(self, texts: str) -> list[Span]: ...  # type: ignore[overload-overlap]

    @overload
    def predict(self, texts: Sequence[str]) -> list[list[Span]]: ...

    def predict(self, texts: str | Sequence[str]) -> list[Span] | list[list[Span]]:
        """Find the entities of a text, or of each of several texts.

        Offsets count code points, so that ``text[span.start:span.end]`` is the entity.
        """
        documents = [
            Document(str(number), text)
            for number, text in enumerate([texts] if isinstance(texts, str) else texts)
        ]
        spans = [list(prediction.spans) for prediction in self.predict_documents(documents)]
        return spans[0] if isinstance(texts, str) else spans

    def predict_documents(self, documents: Sequence[Document]) -> list[Prediction]:
        """Predict documents without looking at their spans; also scores words and documents."""
        blank = [replace(document, spans=(), masked_ranges=()) for document in documents]
        with _quiet_libraries():
            return self._tagger.predict(blank)

    def __repr__(self) -> str:
        return f"Tagger({self.version!r}, labels={self.labels!r})"


def load(reference: str | None = None, *, models: AnyPath | None = None) -> Tagger:
    """Load a version.

    Args:
        reference: Name of a version; ``"bundled"``, the one that comes with Tagalong;
            a tier such as ``"llm"``, its current one; or None, the default version.
        models: Folder of model versions; None for that of ``TAGALONG_MODELS``, or ``models``.

    Returns:
        The version, ready to predict.

    Raises:
        VersionNotFound: If there is no such version.
        VersionInvalid: If it is damaged.
        BaseModelError: If it is an adapter and its base model is not available.
    """
    with _quiet_libraries():
        tagger = load_version(_open_store(models), reference, use_openvino=should_use_openvino())
    return Tagger(tagger)


def evaluate(
    gold: Annotations,
    predictions: Output,
    *,
    labels: Sequence[str] | None = None,
    label_config: AnyPath | None = None,
) -> EvaluationReport:
    """Evaluate predictions by label and by entity length.

    Args:
        gold: Annotated documents, or files of them in any format that `tagalong evaluate` reads.
        predictions: A tagger; a file of predictions; or a prediction for each gold document.
        labels: Labels of the system, which count as misses where it never predicts them; None for
            those of the tagger, or those that occur.
        label_config: Labelling config of the project, an XML file. It maps all labels to those of
            the project, as the server does.

    Returns:
        The report: ``report.overall.strict.counts`` has precision, recall and F1.

    Raises:
        InputError: If a file cannot be read, or the documents differ from those of gold.
    """
    config = None if label_config is None else read_label_config(Path(label_config))
    reading = ReadOptions(label_config=config)
    accepted = None if config is None else accept_model_labels(config)
    corpus = _as_corpus(gold, replace(reading, label_config=accepted))
    documents = corpus.documents
    output = _as_system_output(predictions, documents, reading)
    if labels:
        output = replace(output, labels=tuple(labels))
    aligned = align_predictions(documents, [output], only_common_documents=False, config=config)
    known = output.labels and map_system_labels(output.labels, config)
    report = evaluate_aligned(
        aligned.gold,
        aligned.predicted[0],
        dropped=(*corpus.dropped, *aligned.dropped),
        options=EvaluationOptions(labels=known),
    )
    notes = [describe_warning(warning, "gold") for warning in corpus.warnings]
    return replace(report, warnings=(*notes, *aligned.notes, *report.warnings))


def train_encoder(
    train: Annotations,
    *,
    dev: Annotations | None = None,
    name: str = ENCODER,
    models: AnyPath | None = None,
    recipe: EncoderRecipe | None = None,
    promote: PromotionPolicy = "auto",
    allow_losses: bool = False,
    on_progress: ProgressCallback = lambda _: None,
) -> Tagger:
    """Train an encoder, and publish it in the models folder as `tagalong train encoder` does.

    Args:
        train: Annotated documents, or files of them in any format that `tagalong train` reads.
        dev: The same for early stopping; None for a tenth of the training documents.
        name: Prefix of the version name.
        models: Folder of model versions; None for that of ``TAGALONG_MODELS``, or ``models``.
        recipe: Settings; None for the defaults, with at least 300 steps.
        promote: When to make the version current. ``auto``: if it finds entities in dev.
        allow_losses: Whether to train if flat tags cannot hold more than 5 % of the entities.
        on_progress: Called after every step and every evaluation.

    Returns:
        The version, ready to predict.

    Raises:
        InputError: If a file cannot be read.
        TrainingError: If there are no annotated spans to train on, or too many would be lost.
        BaseModelError: If the base model is not available.
    """
    store = _open_store(models)
    recipe = recipe or raise_min_steps(EncoderRecipe())
    job = TrainJob(ENCODER, recipe, store, name, promotion_policy=promote)
    corpus, dev_corpus = _as_corpus(train), None if dev is None else _as_corpus(dev)
    with _quiet_libraries():
        data = build_training_data(job, corpus, dev_corpus, TrainInputs(allow_losses=allow_losses))
        version = train_version(job, data, on_progress=on_progress)
    if version is None:
        raise RuntimeError("only the main process of a training publishes: load the version there")
    return load(version.manifest.version, models=store.root)


def _as_system_output(
    predictions: Output, documents: Sequence[Document], reading: ReadOptions
) -> SystemOutput:
    if isinstance(predictions, Tagger):
        found = predictions.predict_documents(documents)
        pairs = list(zip(documents, found, strict=True))
        return SystemOutput(predictions.version, pairs, predictions.labels)
    if isinstance(predictions, str | os.PathLike):
        name, log = os.fspath(predictions), ImportLog()
        pairs = read_predictions(Path(predictions), reading, log)
        return SystemOutput(name, pairs, notes=describe_log(log, name))
    if len(predictions) != len(documents):
        raise InputError(
            f"there are {len(predictions)} predictions for {len(documents)} gold documents: "
            "give one for each, in the same order",
            code="prediction-count",
        )
    return SystemOutput("predictions", list(zip(documents, predictions, strict=True)))


def _open_store(models: AnyPath | None) -> ModelStore:
    folder = models or os.environ.get("TAGALONG_MODELS") or "models"
    return ModelStore(Path(folder), bundled_root=BUNDLED_MODELS_FOLDER)


def _as_corpus(annotations: Annotations, options: ReadOptions | None = None) -> Corpus:
    if isinstance(annotations, str | os.PathLike):
        return read_corpus([Path(annotations)], options)
    if not all(isinstance(one, Document) for one in annotations):
        paths = [Path(path) for path in cast(Sequence[AnyPath], annotations)]
        return read_corpus(paths, options)
    documents = tuple(cast(Sequence[Document], annotations))
    labels = sorted({span.label for document in documents for span in document.spans})
    return Corpus(documents, dropped=(), warnings=(), labels=tuple(labels), sources=())


@contextmanager
def _quiet_libraries() -> Iterator[None]:
    """Silence banners and warnings that libraries address to their own developers."""
    verbosity = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_error()
    try:
        with warnings.catch_warnings():
            # transformers and peft on names of their own that they have renamed
            warnings.filterwarnings("ignore", category=FutureWarning, module="transformers|peft")
            yield
    finally:
        transformers_logging.set_verbosity(verbosity)
