"""Tasks that several people annotated -> how far they agree, and on what they do not.

Agreement is F1 of one annotator's spans against another's (Hripcsak & Rothschild 2005, "Agreement,
the F-Measure, and Reliability in Information Retrieval": where nobody can say how many stretches
were *not* to be marked, as with entities, kappa comes down to it). Every two annotators of a task
are compared, both ways, so that it does not matter who is compared with whom: precision and recall
are then the same, the share of all spans drawn that the other one drew too.
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

AnnotatorPair = tuple[str, str]  # two annotators, sorted
F1_DECIMALS = 4  # of the figures in JSON


@dataclass(frozen=True, slots=True)
class AgreementScores:
    """How far people agree on some of the spans. Add with ``+``.

    Attributes:
        exact_counts: Spans that the other one drew with the same edges and label.
        overlap_counts: Spans that the other one drew with the same label and some of the same text.
    """

    exact_counts: Counts = field(default_factory=Counts)
    overlap_counts: Counts = field(default_factory=Counts)

    def __add__(self, other: "AgreementScores") -> "AgreementScores":
        return AgreementScores(
            self.exact_counts + other.exact_counts, self.overlap_counts + other.overlap_counts
        )

    @property
    def compared_spans(self) -> int:
        """How many spans were compared: those of both, in every comparison."""
        return self.exact_counts.gold

    @property
    def exact_f1(self) -> float:
        """From 0 to 1; 1.0 where nobody drew anything, for they agree on that."""
        return self.exact_counts.f1 if self.compared_spans else 1.0

    @property
    def overlap_f1(self) -> float:
        """Likewise, where some of the same text is enough."""
        return self.overlap_counts.f1 if self.compared_spans else 1.0


@dataclass(frozen=True, slots=True)
class TaskAgreement:
    """One task that several people annotated.

    Attributes:
        task_id: Its id.
        annotators: Who, sorted.
        scores: How far they agree on it.
        least_agreeing_pair: The two of them who agree least.
        text: What they annotated.
    """

    task_id: str
    annotators: tuple[str, ...]
    scores: AgreementScores
    least_agreeing_pair: AnnotatorPair
    text: str


@dataclass(frozen=True, slots=True)
class AgreementReport:
    """How far the annotators of a project agree.

    Attributes:
        single_annotator_tasks: Tasks that only one person annotated; they say nothing.
        overall: Over every comparison (the micro-average over pairs).
        by_label: The same by entity type, sorted.
        by_length: The same by the length of each span in words.
        by_pair: Of every two people who have a task in common.
        by_task: Of every task that was compared, the worst first.
    """

    single_annotator_tasks: int
    overall: AgreementScores
    by_label: Mapping[str, AgreementScores]
    by_length: Mapping[LengthBucket, AgreementScores]
    by_pair: Mapping[AnnotatorPair, AgreementScores]
    by_task: tuple[TaskAgreement, ...]

    def to_json(self) -> dict[str, Any]:
        """As one JSON object."""
        pairs = self.by_pair.items()
        return {
            "tasks": len(self.by_task),
            "alone": self.single_annotator_tasks,
            "overall": _scores_to_json(self.overall),
            "by_label": {label: _scores_to_json(agreed) for label, agreed in self.by_label.items()},
            "by_length": {
                length: _scores_to_json(agreed) for length, agreed in self.by_length.items()
            },
            "by_pair": [
                {"annotators": [*pair], **_scores_to_json(agreed)} for pair, agreed in pairs
            ],
            "by_task": [task_to_json(entry) for entry in self.by_task],
        }


def task_to_json(entry: TaskAgreement) -> dict[str, Any]:
    """Write a task as a JSON object.

    Args:
        entry: Of an agreement.

    Returns:
        Its id, who annotated it, and how far they agree.
    """
    return {
        "task": entry.task_id,
        "annotators": list(entry.annotators),
        **_scores_to_json(entry.scores),
    }


def _scores_to_json(agreed: AgreementScores) -> dict[str, Any]:
    """Both figures, and of how many spans they are."""
    return {
        "spans": agreed.compared_spans,
        "exact_f1": round(agreed.exact_f1, F1_DECIMALS),
        "overlap_f1": round(agreed.overlap_f1, F1_DECIMALS),
    }


def compute_agreement(documents: Iterable[Document]) -> AgreementReport:
    """Compare every two annotators of every task.

    Args:
        documents: One for each annotator of each task, as they are read with "each". Neither the
            order of tasks nor that of annotators matters.

    Returns:
        How far they agree.

    Raises:
        InputError: If no task was annotated by two people.
    """
    tasks = group_by_annotator(documents)
    shared = {task: voices for task, voices in tasks.items() if len(voices) > 1}
    if not shared:
        raise InputError(
            f"of {len(tasks)} tasks none was annotated by two people: give Label Studio's JSON "
            "export of a project where several people annotate the same tasks"
        )
    cells: defaultdict[tuple[str, LengthBucket], AgreementScores] = defaultdict(AgreementScores)
    by_pair: defaultdict[AnnotatorPair, AgreementScores] = defaultdict(AgreementScores)
    by_task = []
    for (task, text), voices in shared.items():
        pairs: dict[AnnotatorPair, AgreementScores] = {}
        for pair in combinations(sorted(voices), 2):
            compared = _compare_annotators(*(voices[name] for name in pair))
            cells.update({cell: cells[cell] + part for cell, part in compared.items()})
            pairs[pair] = _sum_scores(compared.values())
            by_pair[pair] += pairs[pair]
        apart = min(pairs, key=lambda pair: (pairs[pair].exact_f1, pairs[pair].overlap_f1))
        agreed = _sum_scores(pairs.values())
        by_task.append(TaskAgreement(task, tuple(sorted(voices)), agreed, apart, text))
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
    """What each annotator says of each task; two projects may use an id for different texts.

    Args:
        documents: One for each annotator of each task.

    Returns:
        By task and text, and then by annotator.
    """
    tasks: defaultdict[tuple[str, str], dict[str, Document]] = defaultdict(dict)
    for document in documents:
        task = str(document.meta.get(TASK_META_KEY, document.id))
        # Nobody has two voices: of several files with the same task the last one counts.
        tasks[task, document.text][str(document.meta.get(ANNOTATOR_META_KEY, ""))] = document
    return tasks


def _compare_annotators(
    one: Document, other: Document
) -> dict[tuple[str, LengthBucket], AgreementScores]:
    """What two people agree on, by label and length of the spans."""
    scores = score_spans(one.text, one.spans, other.spans)
    relaxed = scores.relaxed.cells
    return {
        cell: AgreementScores(_symmetric_counts(counts), _symmetric_counts(relaxed[cell]))
        for cell, counts in scores.strict.cells.items()
    }


def _symmetric_counts(counts: Counts) -> Counts:
    """Counts of a comparison and of the same with the sides exchanged."""
    matched, wrong = counts.tp + counts.tp_predicted, counts.fp + counts.fn
    return Counts(tp=matched, tp_predicted=matched, fp=wrong, fn=wrong)


def _sum_scores(parts: Iterable[AgreementScores]) -> AgreementScores:
    """All of them together."""
    return sum(parts, AgreementScores())


def _agreement_sort_key(entry: TaskAgreement) -> tuple[object, ...]:
    """What tasks are sorted by: of equal ones that with more spans comes first."""
    agreed = entry.scores
    return agreed.exact_f1, agreed.overlap_f1, -agreed.compared_spans, entry.task_id
