"""Several annotators of one task -> one set of spans, or one document each."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Literal

from tagalong.backend.annotations.import_log import ImportLog
from tagalong.backend.annotations.span_validation import (
    convert_to_code_points,
    find_masked_ranges,
    validate_raw_spans,
)
from tagalong.backend.documents.offsets import (
    OffsetUnit,
    RawSpan,
    combine_offset_units,
    detect_offset_unit,
)
from tagalong.backend.label_studio.label_config import LabelConfig
from tagalong.ner.document import Document, Span

SelectableAnnotatorPolicy = Literal["majority", "latest", "all"]
AnnotatorPolicy = Literal["majority", "latest", "all", "each"]  # "each" only to compare people
ANNOTATOR_META_KEY, TASK_META_KEY = "annotator", "task"  # in the meta of a document, with "each"


@dataclass(frozen=True, slots=True)
class Annotation:
    """One person's annotation of one task."""

    annotator: str  # empty where unknown
    updated_at: float  # seconds since 1970; 0 where unknown
    regions: tuple[RawSpan, ...]
    ground_truth: bool = False


AnnotatedTask = tuple[Document, Sequence[Annotation]]  # its text, without spans


def adjudicate_export(
    tasks: Callable[[ImportLog], Iterable[AnnotatedTask]],
    *,
    policy: AnnotatorPolicy,
    config: LabelConfig | None,
    import_log: ImportLog,
) -> Iterator[Document]:
    """Make documents of all tasks of an export, as `adjudicate_task` does of each.

    ``tasks`` reads the export from its start, and takes a log for losses and warnings. Raises
    `OffsetError` if the unit of a task's offsets cannot be determined.
    """

    @cache
    def unit_of_export() -> OffsetUnit:
        # Few exports need this second reading. Its log is thrown away: the first one has it all.
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
            fallback_unit=unit_of_export,
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
    """Make one document of a task and its annotations, of which none is cancelled.

    Ground truth, where there is any, is all that counts. Of several annotations by the same person
    the last one counts. Outvoted spans and spans without a label are masked from the loss: somebody
    saw something there, so the text must not be trained as O.

    The policy "majority" keeps spans that more than half of the annotators drew exactly, and
    "latest" the last annotation. The policy "all" makes one document per annotator, with ids such
    as "12@3" for task 12 and annotator 3. The policy "each" does so too, ignores ground truth, and
    writes annotator and task into the meta. Raises `OffsetError` if the unit of the offsets cannot
    be determined; ``fallback_unit`` is that of the whole export.
    """
    considered = _considered_annotations(annotations, policy)
    if unused := len(annotations) - len(considered):
        import_log.record_warning("set aside", document.id, count=unused)
    adjudicated = []
    for number, annotation in enumerate(considered, start=1):
        draft, name = document, annotation.annotator or f"n{number}"
        if policy in ("all", "each"):  # documents with other spans, so with ids of their own
            own = {ANNOTATOR_META_KEY: name, TASK_META_KEY: document.id} if policy == "each" else {}
            draft = replace(document, id=f"{document.id}@{name}", meta={**document.meta, **own})
        regions = convert_to_code_points(
            draft, annotation.regions, import_log, fallback_unit=fallback_unit
        )
        spans = validate_raw_spans(draft, regions, config=config, import_log=import_log)
        masked = tuple(find_masked_ranges(draft, regions))
        adjudicated.append(replace(draft, spans=spans, masked_ranges=masked))
    if policy in ("all", "each"):
        return adjudicated
    kept, outvoted = majority_vote([one.spans for one in adjudicated])
    masked = tuple(stretch for one in adjudicated for stretch in one.masked_ranges)
    masked += tuple((span.start, span.end) for span in outvoted)
    import_log.dropped += [document.drop_span(span, "outvoted") for span in outvoted]
    return [replace(document, spans=tuple(kept), masked_ranges=masked)]


def majority_vote(votes: Sequence[Sequence[Span]]) -> tuple[list[Span], list[Span]]:
    """The spans that more than half of the annotators drew exactly, and the others, in order."""
    counts = Counter(span for spans in votes for span in set(spans))
    kept = sorted(span for span, count in counts.items() if 2 * count > len(votes))
    outvoted = sorted(span for span, count in counts.items() if 2 * count <= len(votes))
    return kept, outvoted


def _considered_annotations(
    annotations: Sequence[Annotation], policy: AnnotatorPolicy
) -> list[Annotation]:
    truth = [annotation for annotation in annotations if annotation.ground_truth]
    # Stable: of annotations without a date, the one listed last is the last.
    considered = annotations if policy == "each" else truth or annotations
    in_time = sorted(considered, key=lambda annotation: annotation.updated_at)
    if policy == "latest":
        return in_time[-1:]
    # Unnamed annotators are different people: each has a key of its own.
    last = {one.annotator or f"\0{i}": one for i, one in enumerate(in_time)}
    return list(last.values())
