"""A project's annotations to a judged version: what a retraining does besides training itself."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from tagalong.backend.formats.file_format import ReadOptions
from tagalong.backend.label_studio.api.client import LabelStudioClient
from tagalong.backend.label_studio.api.connection import PAGE_SIZE
from tagalong.backend.label_studio.api.retries import RateLimitedRetry
from tagalong.backend.label_studio.label_map import map_labels
from tagalong.backend.label_studio.results import LabelConfig
from tagalong.backend.models.tier import Tier
from tagalong.ner.atomic_io import open_atomically, translate_os_errors
from tagalong.ner.document import Document, Prediction
from tagalong.ner.errors import TrainingError
from tagalong.training.corpus import Corpus, read_corpus
from tagalong.training.corpus.hash_split import split_off_held_out
from tagalong.training.data.train_dev_split import TrainDevSplit, split_train_dev
from tagalong.training.evaluation.evaluate import EvaluationOptions, evaluate
from tagalong.training.jobs.publish import summarize_report

DEFAULT_HELD_OUT_SHARE = (
    0.2  # of a project's documents, kept out of all training to judge versions by
)


@dataclass(frozen=True, slots=True)
class ProjectTrainingData:
    """What a project gives to learn from.

    Attributes:
        split: To learn from and to stop by.
        held_out_documents: To judge versions by; nothing is ever learnt from them.
        notes: What else to know of the annotations, a sentence each.
    """

    split: TrainDevSplit
    held_out_documents: tuple[Document, ...]
    notes: tuple[str, ...]


def fetch_annotated_tasks(
    studio: LabelStudioClient, project: int, retry: RateLimitedRetry
) -> Iterator[dict[str, Any]]:
    """Read the annotated tasks of a project, page by page.

    Args:
        studio: The Label Studio.
        project: Its id.
        retry: How to ask.

    Yields:
        Each as Label Studio's JSON export has it.

    Raises:
        TrainingError: If there is none.
        LabelStudioError: If Label Studio says no, or has been away for too long.
    """
    last, page = 0, list[dict[str, Any]]()
    while not last or len(page) == PAGE_SIZE:
        page = retry.call(partial(studio.tasks.list_annotated_after, project, last))
        if not page and not last:
            raise TrainingError(
                f"nobody has annotated a task of project {project} yet: submit some annotations"
            )
        yield from page
        last = int(page[-1]["id"]) if page else last


def write_tasks(path: Path, tasks: Iterable[Mapping[str, Any]]) -> int:
    """Keep annotated tasks in a file that only its owner may read, whole or not at all.

    Args:
        path: Of the file; its folder is made where it is missing.
        tasks: As Label Studio's JSON export has them.

    Returns:
        How many there are.

    Raises:
        PublishError: If the file system refuses.
    """
    count = 0
    with translate_os_errors(f"keep the annotations in {path.parent}"):
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with open_atomically(path, mode=0o600) as file:
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
    """Read a project's annotations, and hold out what versions are judged by.

    Args:
        path: Of the tasks that `write_tasks` wrote.
        config: The project's labelling config.
        held_out_share: Of the documents, that is held out.
        dev_share: Of the others, that training stops by.

    Returns:
        What there is to learn from.

    Raises:
        InputError: If the annotations cannot be read, or have no label of the config.
        TrainingError: If there are too few to learn from and to stop by.
    """
    corpus = read_corpus([path], ReadOptions(label_config=config))
    rest, held_out = split_off_held_out(corpus.documents, held_out_share)
    if len(rest) < 2:
        raise TrainingError(
            f"there are {len(corpus.documents)} annotated documents, of which {len(held_out)} are "
            "held out to judge by: too few to learn from, annotate more"
        )
    sides = split_train_dev(replace(corpus, documents=tuple(rest)), dev_share=dev_share)
    return ProjectTrainingData(
        sides, tuple(held_out), tuple(_describe_data_problems(corpus, sides))
    )


def _describe_data_problems(corpus: Corpus, sides: TrainDevSplit) -> Iterator[str]:
    """What a team should know of its annotations."""
    gone = Counter(lost.label for lost in corpus.dropped if lost.reason == "label unknown")
    for label, count in gone.most_common():
        yield f"The labelling config has no label {label}: {_format_region_count(count)} left out."
    if outvoted := sum(lost.reason == "outvoted" for lost in corpus.dropped):
        yield (
            f"Annotators disagree: {_format_region_count(outvoted)} left open, since no more than half of "
            "those who did the task drew it."
        )
    learnt = {span.label for document in sides.train for span in document.spans}
    for label in sides.labels:
        if label not in learnt:
            yield f"No document to learn from has a {label}, so the version never says it."


def _format_region_count(count: int) -> str:
    """A number of regions, as a subject."""
    return f"{count:,} region{'s are' if count != 1 else ' is'}"


def predict_in_project_labels(
    config: LabelConfig, tier: Tier, documents: Sequence[Document]
) -> list[Prediction]:
    """Have a version predict, in the labels of a project.

    Args:
        config: The project's labelling config.
        tier: The version.
        documents: Whose spans it does not see.

    Returns:
        A prediction for each; what the project has no label for is left out.
    """
    names = map_labels(tier.labels, config)
    blank = [replace(document, spans=(), masked_ranges=()) for document in documents]
    found = tier.predict(blank)
    return [names.apply(one, said) for one, said in zip(blank, found, strict=True)]


def compute_held_out_scores(
    documents: Sequence[Document], predictions: Sequence[Prediction], labels: tuple[str, ...]
) -> dict[str, Any]:
    """What a manifest says of the held-out documents; empty where there are none.

    Args:
        documents: Held out.
        predictions: For each, in the same order.
        labels: Of the project.

    Returns:
        The split's name and its figures.
    """
    if not documents:
        return {}
    return {
        "held out": summarize_report(
            evaluate(documents, predictions, options=EvaluationOptions(labels=labels))
        )
    }
