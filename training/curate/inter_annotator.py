"""Inter-annotator agreement on tasks with several annotators.

Agreement is F1 of one annotator's spans against another's (Hripcsak & Rothschild 2005, "Agreement,
the F-Measure, and Reliability in Information Retrieval"). Kappa approaches it if the number of
true negatives is large or unknown, as with entities. All pairs of annotators of a task are compared
in both directions, so precision equals recall: the share of spans that the other annotator has.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

from tagalong.backend.annotations.annotators import ANNOTATOR_META_KEY, TASK_META_KEY
from tagalong.ner.document import Document
from tagalong.ner.errors import InputError
from tagalong.ner.length_buckets import LENGTH_BUCKETS, LengthBucket
from tagalong.ner.scoring import Counts, score_spans

AnnotatorPair = tuple[str, str]  # sorted
F1_DECIMALS = 4  # in JSON


@dataclass(frozen=True, slots=True)
class AgreementScores:
    """Agreement on a set of spans. Add with ``+``."""

    exact_counts: Counts = field(default_factory=Counts)  # equal boundaries and label
    overlap_counts: Counts = field(default_factory=Counts)  # overlapping text and equal label

    def __add__(self, other: "AgreementScores") -> "AgreementScores":
        return AgreementScores(
            self.exact_counts + other.exact_counts, self.overlap_counts + other.overlap_counts
        )

    @property
    def compared_spans(self) -> int:
        """Number of spans of both annotators, over all pairs."""
        return self.exact_counts.gold

    @property
    def exact_f1(self) -> float:
        """F1 of exact matches; 1.0 without spans, because the annotators agree."""
        return self.exact_counts.f1 if self.compared_spans else 1.0

    @property
    def overlap_f1(self) -> float:
        """F1 of overlap matches; 1.0 without spans."""
        return self.overlap_counts.f1 if self.compared_spans else 1.0

    def to_json(self) -> dict[str, Any]:
        """Convert to JSON types."""
        return {
            "spans": self.compared_spans,
            "exact_f1": round(self.exact_f1, F1_DECIMALS),
            "overlap_f1": round(self.overlap_f1, F1_DECIMALS),
        }


@dataclass(frozen=True, slots=True)
class TaskAgreement:
    """Agreement on one task."""

    task_id: str
    annotators: tuple[str, ...]  # sorted names
    scores: AgreementScores
    least_agreeing_pair: AnnotatorPair  # the pair with the lowest agreement
    text: str

    def to_json(self) -> dict[str, Any]:
        """Convert to JSON types."""
        return {
            "task": self.task_id,
            "annotators": list(self.annotators),
            **self.scores.to_json(),
        }


@dataclass(frozen=True, slots=True)
class AgreementReport:
    """Agreement of the annotators of a project."""

    single_annotator_tasks: int  # tasks with one annotator, which are ignored
    overall: AgreementScores  # micro-average over all pairs
    by_label: Mapping[str, AgreementScores]  # sorted by label
    by_length: Mapping[LengthBucket, AgreementScores]  # by span length in words
    by_pair: Mapping[AnnotatorPair, AgreementScores]  # pairs of annotators with common tasks
    by_task: tuple[TaskAgreement, ...]  # compared tasks, least agreement first

    def to_json(self) -> dict[str, Any]:
        """Convert to JSON types."""
        return {
            "tasks": len(self.by_task),
            "single_annotator_tasks": self.single_annotator_tasks,
            "overall": self.overall.to_json(),
            "by_label": {label: scores.to_json() for label, scores in self.by_label.items()},
            "by_length": {length: scores.to_json() for length, scores in self.by_length.items()},
            "by_pair": [
                {"annotators": [*pair], **scores.to_json()} for pair, scores in self.by_pair.items()
            ],
            "by_task": [entry.to_json() for entry in self.by_task],
        }


def compute_agreement(documents: Iterable[Document]) -> AgreementReport:
    """Compare all pairs of annotators of each task.

    The documents are one per annotator and task, read with the annotator policy "each".

    Raises:
        InputError: If no task has two annotators.
    """
    tasks = group_by_annotator(documents)
    shared = {task: by_annotator for task, by_annotator in tasks.items() if len(by_annotator) > 1}
    if not shared:
        raise InputError(
            f"none of {len(tasks)} tasks has two annotators: give a Label Studio JSON export of a "
            "project with several annotators per task",
            code="no-task-with-two-annotators",
        )
    cells: defaultdict[tuple[str, LengthBucket], AgreementScores] = defaultdict(AgreementScores)
    by_pair: defaultdict[AnnotatorPair, AgreementScores] = defaultdict(AgreementScores)
    by_task = []
    for (task, text), by_annotator in shared.items():
        pairs: dict[AnnotatorPair, AgreementScores] = {}
        for pair in combinations(sorted(by_annotator), 2):
            compared = _compare_annotators(*(by_annotator[name] for name in pair))
            cells.update({cell: cells[cell] + part for cell, part in compared.items()})
            pairs[pair] = _sum_scores(compared.values())
            by_pair[pair] += pairs[pair]
        least_agreeing = min(pairs, key=lambda pair: (pairs[pair].exact_f1, pairs[pair].overlap_f1))
        agreement = _sum_scores(pairs.values())
        by_task.append(
            TaskAgreement(task, tuple(sorted(by_annotator)), agreement, least_agreeing, text)
        )
    return AgreementReport(
        single_annotator_tasks=len(tasks) - len(shared),
        overall=_sum_scores(cells.values()),
        by_label={
            label: _sum_scores(cells[cell] for cell in cells if cell[0] == label)
            for label in sorted({label for label, _ in cells})
        },
        by_length={
            length: _sum_scores(cells[cell] for cell in cells if cell[1] == length)
            for length in LENGTH_BUCKETS
        },
        by_pair=dict(sorted(by_pair.items())),
        by_task=tuple(sorted(by_task, key=_task_sort_key)),
    )


def group_by_annotator(documents: Iterable[Document]) -> dict[tuple[str, str], dict[str, Document]]:
    """Group documents by task and annotator: by (task id, text), then by annotator.

    The key contains the text, because two projects may use the same task id.
    """
    tasks: defaultdict[tuple[str, str], dict[str, Document]] = defaultdict(dict)
    for document in documents:
        task = str(document.meta.get(TASK_META_KEY, document.id))
        # If several files contain the same task, the last one is used.
        tasks[task, document.text][str(document.meta.get(ANNOTATOR_META_KEY, ""))] = document
    return tasks


def _compare_annotators(
    one: Document, other: Document
) -> dict[tuple[str, LengthBucket], AgreementScores]:
    scores = score_spans(one.text, one.spans, other.spans)
    relaxed = scores.relaxed.cells
    return {
        cell: AgreementScores(_symmetric_counts(counts), _symmetric_counts(relaxed[cell]))
        for cell, counts in scores.strict.cells.items()
    }


def _symmetric_counts(counts: Counts) -> Counts:
    # The reverse comparison is not computed: it has the same matches, and swaps both errors.
    matched, wrong = counts.tp + counts.tp_predicted, counts.fp + counts.fn
    return Counts(tp=matched, tp_predicted=matched, fp=wrong, fn=wrong)


def _sum_scores(parts: Iterable[AgreementScores]) -> AgreementScores:
    return sum(parts, AgreementScores())


def _task_sort_key(entry: TaskAgreement) -> tuple[object, ...]:
    scores = entry.scores  # of equal agreement, the task with most spans is the first
    return scores.exact_f1, scores.overlap_f1, -scores.compared_spans, entry.task_id
