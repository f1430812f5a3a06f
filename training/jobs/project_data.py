"""A project's annotations as training data, and predictions in the labels of the project."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from tagalong.backend.formats.file_format import ReadOptions
from tagalong.backend.label_studio.api.client import LabelStudioClient
from tagalong.backend.label_studio.api.http_client import PAGE_SIZE
from tagalong.backend.label_studio.api.outage_retry import RateLimitedRetry
from tagalong.backend.label_studio.label_config import LabelConfig
from tagalong.backend.label_studio.label_map import map_labels
from tagalong.backend.models.tagger import DocumentTagger
from tagalong.ner.atomic_io import PRIVATE_FOLDER_MODE, open_atomically, translate_os_errors
from tagalong.ner.counted_nouns import pluralize
from tagalong.ner.document import Document, Prediction
from tagalong.ner.errors import TrainingError
from tagalong.training.corpus import Corpus, describe_losses, describe_warning, read_corpus
from tagalong.training.corpus.hash_split import split_off_held_out
from tagalong.training.data.train_dev_split import TrainDevSplit, split_train_dev
from tagalong.training.evaluation.evaluate import EvaluationOptions, evaluate
from tagalong.training.jobs.job_requests import DEFAULT_HELD_OUT_SHARE
from tagalong.training.jobs.publish import summarize_report


@dataclass(frozen=True, slots=True)
class ProjectTrainingData:
    """Annotated documents of a project."""

    split: TrainDevSplit
    held_out_documents: tuple[Document, ...]  # for comparing versions, never used in training
    notes: tuple[str, ...]  # problems of the annotations, one sentence each


def fetch_annotated_tasks(
    client: LabelStudioClient, project: int, retry: RateLimitedRetry
) -> Iterator[dict[str, Any]]:
    """Read the annotated tasks of a project in pages, in the form of Label Studio's JSON export.

    Raises `TrainingError` if there is none, `LabelStudioError` if Label Studio refuses, or stays
    unreachable.
    """
    last, page = 0, list[dict[str, Any]]()
    while not last or len(page) == PAGE_SIZE:
        page = retry.call(partial(client.tasks.list_annotated_after, project, last))
        if not page and not last:
            raise TrainingError(
                f"project {project} has no annotated task: submit some annotations",
                code="no-annotated-tasks",
            )
        yield from page
        last = int(page[-1]["id"]) if page else last  # pages by id: offsets shift with changes


def write_tasks(path: Path, tasks: Iterable[Mapping[str, Any]]) -> int:
    """Write annotated tasks to a file that only its owner may read, complete or absent.

    Returns the number of tasks. Raises `PublishError` if the file system refuses.
    """
    count = 0
    with translate_os_errors(f"keep the annotations in {path.parent}"):
        path.parent.mkdir(parents=True, exist_ok=True, mode=PRIVATE_FOLDER_MODE)
        with open_atomically(path) as file:
            file.write(b"[")
            for count, task in enumerate(tasks, start=1):
                file.write(b"\n" if count == 1 else b",\n")
                file.write(json.dumps(task, ensure_ascii=False).encode())
            file.write(b"\n]\n")
    return count


def prepare_training_data(
    path: Path,
    config: LabelConfig,
    *,
    held_out_share: float = DEFAULT_HELD_OUT_SHARE,
    dev_share: float = 0.1,
) -> ProjectTrainingData:
    """Read a project's annotations from a file of `write_tasks`, and split them.

    `held_out_share` is a share of all documents, `dev_share` one of the others. Raises `InputError`
    if the annotations cannot be read, or have no label of the config; `TrainingError` if there are
    too few documents.
    """
    corpus = read_corpus([path], ReadOptions(label_config=config))
    rest, held_out = split_off_held_out(corpus.documents, held_out_share)
    if len(rest) < 2:
        raise TrainingError(
            f"{pluralize(len(corpus.documents), 'annotated document')}, {len(held_out)} of them "
            "held out, are "
            "too few to train on: annotate more",
            code="too-few-annotated-documents",
        )
    split = split_train_dev(replace(corpus, documents=tuple(rest)), dev_share=dev_share)
    return ProjectTrainingData(split, tuple(held_out), tuple(_describe_problems(corpus, split)))


def _describe_problems(corpus: Corpus, split: TrainDevSplit) -> Iterator[str]:
    removed = Counter(one.label for one in corpus.dropped if one.reason == "label unknown")
    for label, count in removed.most_common():
        yield f"The label config has no label {label}: {_format_region_count(count)} left out."
    if outvoted := sum(one.reason == "outvoted" for one in corpus.dropped):
        yield (
            f"Annotators disagree: {_format_region_count(outvoted)} left open, because at most "
            "half of the annotators of the task drew it."
        )
    known = ("label unknown", "outvoted")  # described above
    yield from describe_losses(one for one in corpus.dropped if one.reason not in known)
    yield from map(describe_warning, corpus.warnings)
    if split.word_rule_choice is not None and split.word_rule_choice.is_needed:
        yield split.word_rule_choice.describe()
    if split.flat_losses is not None and split.flat_losses.lost:
        yield f"{split.flat_losses.describe()}. The training ignores their words."
    train_labels = {span.label for document in split.train for span in document.spans}
    for label in split.labels:
        if label not in train_labels:
            yield f"No training document has the label {label}: the version never predicts it."


def _format_region_count(count: int) -> str:
    return f"{count:,} region{'s are' if count != 1 else ' is'}"


def predict_in_project_labels(
    config: LabelConfig, tagger: DocumentTagger, documents: Sequence[Document]
) -> list[Prediction]:
    """Predict documents in the labels of a project; entities of other labels are dropped."""
    label_map = map_labels(tagger.labels, config)
    blank = [replace(document, spans=(), masked_ranges=()) for document in documents]
    predictions = tagger.predict(blank)
    return [label_map.apply(*pair) for pair in zip(blank, predictions, strict=True)]


def compute_held_out_scores(
    documents: Sequence[Document], predictions: Sequence[Prediction], labels: tuple[str, ...]
) -> dict[str, Any]:
    """Scores on the held-out documents for the manifest; empty without held-out documents."""
    if not documents:
        return {}
    report = evaluate(documents, predictions, options=EvaluationOptions(labels=labels))
    return {"held out": summarize_report(report)}
