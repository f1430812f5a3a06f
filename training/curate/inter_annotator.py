"""Inter-annotator agreement on tasks with several annotators.

Agreement is F1 of one annotator's spans against another's (Hripcsak & Rothschild 2005, "Agreement,
the F-Measure, and Reliability in Information Retrieval"). Kappa converges to it if the number of
true negatives is unknown, as with entities. All pairs of annotators of a task are compared in both
directions, so precision equals recall: the share of spans that the other annotator marked too.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

from tagalong.backend.annotations.annotators import ANNOTATOR_META_KEY, TASK_META_KEY
from tagalong.ner.document import Document
from tagalong.ner.errors import InputError
from tagalong.ner.scoring import LENGTH_BUCKETS, Counts, LengthBucket, score_spans

AnnotatorPair = tuple[str, str]  # sorted
F1_DECIMALS = 4  # in JSON


@dataclass(frozen=True, slots=True)
class AgreementScores:
    """Agreement on a set of spans. Add with ``+``.

    Attributes:
        exact_counts: Matches with equal boundaries and label.
        overlap_counts: Matches with overlapping text and equal label.
    """

    exact_counts: Counts = field(default_factory=Counts)
    overlap_counts: Counts = field(default_factory=Counts)

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


@dataclass(frozen=True, slots=True)
class TaskAgreement:
    """Agreement on one task.

    Attributes:
        annotators: Sorted names.
        least_agreeing_pair: The pair with the lowest agreement.
    """

    task_id: str
    annotators: tuple[str, ...]
    scores: AgreementScores
    least_agreeing_pair: AnnotatorPair
    text: str


@dataclass(frozen=True, slots=True)
class AgreementReport:
    """Agreement of the annotators of a project.

    Attributes:
        single_annotator_tasks: Tasks with one annotator, which are ignored.
        overall: Micro-average over all pairs.
        by_label: Sorted by label.
        by_length: By span length in words.
        by_pair: Pairs of annotators with common tasks.
        by_task: Compared tasks, least agreement first.
    """

    single_annotator_tasks: int
    overall: AgreementScores
    by_label: Mapping[str, AgreementScores]
    by_length: Mapping[LengthBucket, AgreementScores]
    by_pair: Mapping[AnnotatorPair, AgreementScores]
    by_task: tuple[TaskAgreement, ...]

    def to_json(self) -> dict[str, Any]:
        """Convert to JSON types."""
        pairs = self.by_pair.items()
        return {
            "tasks": len(self.by_task),
            "alone": self.single_annotator_tasks,
            "overall": _scores_to_json(self.overall),
            "by_label": {
                label: _scores_to_json(agreement) for label, agreement in self.by_label.items()
            },
            "by_length": {
                length: _scores_to_json(agreement) for length, agreement in self.by_length.items()
            },
            "by_pair": [
                {"annotators": [*pair], **_scores_to_json(agreement)} for pair, agreement in pairs
            ],
            "by_task": [task_to_json(entry) for entry in self.by_task],
        }


def task_to_json(entry: TaskAgreement) -> dict[str, Any]:
    """Convert the agreement on a task to JSON types."""
    return {
        "task": entry.task_id,
        "annotators": list(entry.annotators),
        **_scores_to_json(entry.scores),
    }


def _scores_to_json(agreement: AgreementScores) -> dict[str, Any]:
    return {
        "spans": agreement.compared_spans,
        "exact_f1": round(agreement.exact_f1, F1_DECIMALS),
        "overlap_f1": round(agreement.overlap_f1, F1_DECIMALS),
    }


def compute_agreement(documents: Iterable[Document]) -> AgreementReport:
    """Compare all pairs of annotators of each task.

    Args:
        documents: One per annotator and task, read with the annotator policy "each", in any order.

    Returns:
        The agreement report.

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
    labels = sorted({label for label, _ in cells})
    return AgreementReport(
        single_annotator_tasks=len(tasks) - len(shared),
        overall=_sum_scores(cells.values()),
        by_label={
            label: _sum_scores(cells[cell] for cell in cells if cell[0] == label)
            for label in labels
        },
        by_length={
            length: _sum_scores(cells[cell] for cell in cells if cell[1] == length)
            for length in LENGTH_BUCKETS
        },
        by_pair=dict(sorted(by_pair.items())),
        by_task=tuple(sorted(by_task, key=_agreement_sort_key)),
    )


def group_by_annotator(documents: Iterable[Document]) -> dict[tuple[str, str], dict[str, Document]]:
    """Group documents by task and annotator.

    The key contains the text, because two projects may use the same task id.

    Args:
        documents: One per annotator and task.

    Returns:
        Documents by (task id, text), then by annotator.
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
    """Add the counts of a comparison and of its reverse."""
    matched, wrong = counts.tp + counts.tp_predicted, counts.fp + counts.fn
    return Counts(tp=matched, tp_predicted=matched, fp=wrong, fn=wrong)


def _sum_scores(parts: Iterable[AgreementScores]) -> AgreementScores:
    return sum(parts, AgreementScores())


def _agreement_sort_key(entry: TaskAgreement) -> tuple[object, ...]:
    """Least agreement first; ties by number of spans."""
    agreement = entry.scores
    return agreement.exact_f1, agreement.overlap_f1, -agreement.compared_spans, entry.task_id
