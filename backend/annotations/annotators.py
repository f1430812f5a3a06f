"""Several annotators of one task -> one set of spans, or one document each."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Literal

from tagalong.backend.documents.offsets import (
    OffsetUnit,
    RawSpan,
    combine_offset_units,
    detect_offset_unit,
)
from tagalong.backend.label_studio.results import LabelConfig
from tagalong.ner.document import Document, Span
from tagalong.backend.annotations.import_log import ImportLog
from tagalong.backend.annotations.span_validation import (
    convert_to_code_points,
    find_masked_ranges,
    validate_raw_spans,
)

SelectableAnnotatorPolicy = Literal["majority", "latest", "all"]
AnnotatorPolicy = Literal[
    "majority", "latest", "all", "each"
]  # the last is to compare people by, only
ANNOTATOR_META_KEY, TASK_META_KEY = (
    "annotator",
    "task",
)  # in the meta of a document read with "each"


@dataclass(frozen=True, slots=True)
class Annotation:
    """What one person submitted for one task.

    Attributes:
        annotator: Who; empty where that is not said.
        updated_at: When it was last changed, in seconds since 1970; 0 where that is not said.
        regions: What was drawn, unchecked.
        ground_truth: Whether it was marked as the truth.
    """

    annotator: str
    updated_at: float
    regions: tuple[RawSpan, ...]
    ground_truth: bool = False


AnnotatedTask = tuple[Document, Sequence[Annotation]]  # its text, without spans, and who drew what


def adjudicate_export(
    tasks: Callable[[ImportLog], Iterable[AnnotatedTask]],
    *,
    policy: AnnotatorPolicy,
    config: LabelConfig | None,
    import_log: ImportLog,
) -> Iterator[Document]:
    """Make documents of all tasks of an export.

    Args:
        tasks: Reads the export from its start, telling a ledger what it loses and judges.
        policy: As for `adjudicate_task`.
        config: The labelling config, if there is one.
        import_log: Gets what is lost, and what had to be judged.

    Yields:
        The documents of one task after the other.

    Raises:
        OffsetError: If it cannot be told what the offsets of a task count.
    """

    @cache
    def elsewhere() -> OffsetUnit:
        # Another reading, that few exports need; the first one's ledger must not tell all twice.
        return combine_offset_units(
            detect_offset_unit(annotation.regions, document.text)
            for document, annotations in tasks(ImportLog())
            for annotation in annotations
        )

    for document, annotations in tasks(import_log):
        yield from adjudicate_task(
            document,
            annotations,
            policy=policy,
            config=config,
            import_log=import_log,
            fallback_unit=elsewhere,
        )


def adjudicate_task(
    document: Document,
    annotations: Sequence[Annotation],
    *,
    policy: AnnotatorPolicy,
    config: LabelConfig | None,
    import_log: ImportLog,
    fallback_unit: Callable[[], OffsetUnit] = lambda: "either",
) -> list[Document]:
    """Make documents of a task and its annotations.

    Ground truth, where there is any, is all that counts. Nobody has two voices: of several
    annotations by the same person the last one counts. What was outvoted, or marked without a
    label, is unknown: somebody saw something there, so it must not be learnt as O.

    Args:
        document: The task's text.
        annotations: One or more, none of them cancelled.
        policy: "majority" keeps what more than half of the annotators drew exactly, "latest"
            what was submitted last, and "all" makes one document per annotator. "each" does so
            too, whatever is ground truth, and says in the meta of each whose it is.
        config: The labelling config, if there is one.
        import_log: Gets what is lost, and what had to be judged.
        fallback_unit: Says what the offsets of the whole export count.

    Returns:
        One document; with "all" and "each" one per annotator, with ids such as "12@3" for task 12
        and annotator 3.

    Raises:
        OffsetError: If it cannot be told what the offsets count.
    """
    heard = _considered_annotations(annotations, policy)
    if set_aside := len(annotations) - len(heard):
        import_log.record_warning("set aside", document.id, count=set_aside)
    names = [annotation.annotator or f"n{i}" for i, annotation in enumerate(heard, start=1)]
    drafts = [_document_for_annotator(document, name, policy) for name in names]
    read = [
        _annotated_document(
            draft,
            convert_to_code_points(
                draft, annotation.regions, import_log, fallback_unit=fallback_unit
            ),
            config,
            import_log,
        )
        for draft, annotation in zip(drafts, heard, strict=True)
    ]
    if policy in ("all", "each"):
        return read
    kept, outvoted = majority_vote([one.spans for one in read])
    unknown = [stretch for one in read for stretch in one.masked_ranges]
    unknown += [(span.start, span.end) for span in outvoted]
    for span in outvoted:
        where = (span.start, span.end)
        import_log.record_dropped(document, where, span.label, document.span_text(span), "outvoted")
    return [replace(document, spans=tuple(kept), masked_ranges=tuple(unknown))]


def _document_for_annotator(document: Document, name: str, strategy: AnnotatorPolicy) -> Document:
    """A task's text, under a name of its own where one person's spans are to stand in it."""
    if strategy not in ("all", "each"):
        return document
    whose = {ANNOTATOR_META_KEY: name, TASK_META_KEY: document.id} if strategy == "each" else {}
    return replace(document, id=f"{document.id}@{name}", meta={**document.meta, **whose})


def _annotated_document(
    draft: Document, regions: Sequence[RawSpan], config: LabelConfig | None, ledger: ImportLog
) -> Document:
    """What one person says of a text."""
    spans = validate_raw_spans(draft, regions, config=config, import_log=ledger)
    return replace(draft, spans=spans, masked_ranges=tuple(find_masked_ranges(draft, regions)))


def majority_vote(votes: Sequence[Sequence[Span]]) -> tuple[list[Span], list[Span]]:
    """Keep what more than half of the annotators drew exactly.

    Args:
        votes: The spans of each annotator.

    Returns:
        Spans kept and spans outvoted, each once, in the order of the text. Start, end and label
        must all be equal. The order of the annotators does not matter.
    """
    counts = Counter(span for spans in votes for span in set(spans))
    kept = sorted(span for span, count in counts.items() if 2 * count > len(votes))
    outvoted = sorted(span for span, count in counts.items() if 2 * count <= len(votes))
    return kept, outvoted


def _considered_annotations(
    annotations: Sequence[Annotation], strategy: AnnotatorPolicy
) -> list[Annotation]:
    """The annotations that count: ground truth, the last of each person, the last of all."""
    truth = [annotation for annotation in annotations if annotation.ground_truth]
    # Stable: of annotations without a date the one listed last counts as the last.
    heard = annotations if strategy == "each" else truth or annotations
    in_time = sorted(heard, key=lambda annotation: annotation.updated_at)
    if strategy == "latest":
        return in_time[-1:]
    # The unnamed are taken for different people: each is its own key.
    last = {one.annotator or f"\0{i}": one for i, one in enumerate(in_time)}
    return list(last.values())
