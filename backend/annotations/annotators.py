"""Several annotators of one task -> one set of spans, or one document each."""

from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from operator import attrgetter
from typing import Literal

from tagalong.backend.annotations.annotated_task import AnnotatedTask, Annotation, StatedDocument
from tagalong.backend.annotations.import_log import ImportLog
from tagalong.backend.annotations.offset_evidence import (
    Alternative,
    ExportReading,
    find_alternatives,
    read_evidence,
    refutes,
)
from tagalong.backend.annotations.span_validation import (
    convert_to_code_points,
    find_gaps,
    find_masked_ranges,
    validate_raw_spans,
)
from tagalong.backend.documents.offsets import (
    Counting,
    RawSpan,
    is_address,
    is_counted_alike,
    stands_as_stated,
)
from tagalong.backend.label_studio.label_config import LabelConfig
from tagalong.ner.document import Document, Span
from tagalong.ner.errors import FormatError, InputError, OffsetError

SelectableAnnotatorPolicy = Literal["majority", "latest", "all"]
AnnotatorPolicy = Literal["majority", "latest", "all", "each"]  # "each" only to compare people
ANNOTATOR_META_KEY, TASK_META_KEY = "annotator", "task"  # in the meta of a document, with "each"
MAX_WAITING_TASKS = 256  # kept in memory until later ones show how the export counts
# Alternatives that are worth a warning: the countings of browsers.
COMMON_COUNTINGS = frozenset({"UTF-16 offsets", "CRLF counted as one"})

TaskReader = Callable[[ImportLog], Iterable[AnnotatedTask]]
CODE_POINT_READING = ExportReading()
get_stated_text = attrgetter("text")  # faster than a generator, for every annotation of a file


def adjudicate_export(
    tasks: TaskReader,
    *,
    policy: AnnotatorPolicy,
    config: LabelConfig | None,
    import_log: ImportLog,
    refusal: str | None,
) -> Iterator[Document]:
    """Make documents of all tasks of an export, as `adjudicate_task` does of each.

    A task without a usable text is left out with a warning. ``tasks`` reads the export from its
    start, and takes a log for losses and warnings. ``refusal`` is the sentence, with ``{name}``,
    on a task whose regions all contradict its text; if None, the task stays without them. Raises
    the error of the first task if no task can be used.
    """
    count, first_error = 0, None
    for task, reading, alternatives in _decide_readings(tasks, import_log):
        try:
            document = _choose_document(task, reading, import_log, refusal)
            documents = adjudicate_task(
                document,
                task.annotations,
                policy=policy,
                config=config,
                import_log=import_log,
                reading=reading,
            )
        except InputError as error:
            first_error = first_error or error
            import_log.record_warning("task set aside", str(error))
            continue
        if task.document is None or document.text != task.document.text:
            import_log.record_warning("another text", f"{task.name}: {reading.path}")
        _warn_of_alternatives(task, alternatives, import_log)
        yield from documents
        count += len(documents)
    if not count and first_error is not None:
        raise first_error


@dataclass(slots=True)
class _WaitingTasks:
    # Tasks in the order of the export, until later ones refute all alternatives of the first.
    tasks: deque[tuple[AnnotatedTask, frozenset[Alternative]]] = field(default_factory=deque)
    refuted: set[Alternative] = field(default_factory=set)

    def add(self, task: AnnotatedTask, alternatives: frozenset[Alternative]) -> None:
        asked = {one for _, waiting in self.tasks for one in waiting} | alternatives
        self.refuted |= {one for one in asked - self.refuted if refutes(task, one)}
        self.tasks.append((task, alternatives))

    def pop_decided(self) -> Iterator[AnnotatedTask]:
        while self.tasks and self.tasks[0][1] <= self.refuted:
            yield self.tasks.popleft()[0]


def _decide_readings(
    tasks: TaskReader, import_log: ImportLog
) -> Iterator[tuple[AnnotatedTask, ExportReading, frozenset[Alternative]]]:
    # Each task, how to read it, and how it could be read as well.
    waiting = _WaitingTasks()
    reading, is_known = CODE_POINT_READING, False
    for task in tasks(import_log):
        if not is_known:
            alternatives = find_alternatives(task)
            if alternatives is not None and len(waiting.tasks) < MAX_WAITING_TASKS:
                waiting.add(task, alternatives)
                for decided in waiting.pop_decided():
                    yield decided, reading, frozenset()
                continue
            # Few exports need this second reading. Its log is thrown away: the first has it all.
            reading, is_known = read_evidence(tasks(ImportLog())), True
            while waiting.tasks:
                yield waiting.tasks.popleft()[0], reading, frozenset()
        yield task, reading, frozenset()
    while waiting.tasks:
        task, alternatives = waiting.tasks.popleft()
        yield task, reading, frozenset(alternatives - waiting.refuted)


def read_by_evidence(
    read: Callable[[ImportLog], Iterator[StatedDocument]],
    *,
    config: LabelConfig | None,
    import_log: ImportLog,
) -> Iterator[Document]:
    """Make a document of each text and its annotations, of a format that need not state texts.

    Where no annotation states its text, offsets count code points. ``read`` reads the file from its
    start, and takes a log for losses and warnings.
    """

    def make_document(document: Document, raw_spans: Sequence[RawSpan]) -> Document:
        spans = validate_raw_spans(document, raw_spans, config=config, import_log=import_log)
        masked = tuple(find_masked_ranges(document, raw_spans))
        return replace(document, spans=spans, masked_ranges=masked)

    records = read(import_log)
    waiting: list[StatedDocument] = []  # until one states a text
    is_waiting = True
    for document, raw_spans in records:
        is_stated = any(map(get_stated_text, raw_spans))
        if is_stated and not is_counted_alike(raw_spans, document.text):
            rest = chain(waiting, [(document, raw_spans)], records)
            break
        if is_waiting and not is_stated and len(waiting) < MAX_WAITING_TASKS:
            waiting.append((document, raw_spans))
            continue
        if is_waiting:
            yield from (make_document(*one) for one in waiting)
            waiting, is_waiting = [], False
        yield make_document(document, raw_spans)
    else:
        yield from (make_document(*one) for one in waiting)
        return

    def read_tasks(log: ImportLog) -> Iterator[AnnotatedTask]:
        # The first reading goes on; a second one has another log.
        for one, regions in rest if log is import_log else read(log):
            yield AnnotatedTask(one.id, one, (Annotation("", 0.0, tuple(regions)),))

    yield from adjudicate_export(
        read_tasks, policy="latest", config=config, import_log=import_log, refusal=None
    )


def _choose_document(
    task: AnnotatedTask, reading: ExportReading, import_log: ImportLog, refusal: str | None
) -> Document:
    other = None if reading.path is None else task.with_text_under(reading.path)
    document = other or task.document
    if document is None:
        raise task.error or FormatError(f"task {task.name} has no text", code="task-without-text")
    if refusal is None:
        return document
    text = document.text
    stated = sum(bool(region.text) for one in task.annotations for region in one.regions)
    is_fitting = stated and any(
        place is not None and place.text and stands_as_stated(place, text)
        for annotation in task.annotations
        for counting, _ in [reading.choose_counting(annotation.regions, text)]
        for place in counting.to_code_points(annotation.regions, text)
    )
    if not is_fitting and is_address(text):
        raise FormatError(
            f"task {task.name} holds the address of its text: give the project with --project, "
            "or import the plain text into Label Studio and annotate it there",
            code="task-with-address",
        )
    if stated and not is_fitting:
        _drop_all_regions(document, task.annotations, import_log)
        raise OffsetError(refusal.format(name=task.name), code="task-with-another-text")
    return document


def _drop_all_regions(
    document: Document, annotations: Sequence[Annotation], import_log: ImportLog
) -> None:
    for region in (region for one in annotations for region in one.regions if region.labels):
        label = region.labels[0]
        import_log.record_dropped(document, region, "text differs", label, region.text)


def _warn_of_alternatives(
    task: AnnotatedTask, alternatives: frozenset[Alternative], import_log: ImportLog
) -> None:
    if any(isinstance(one, Counting) and one.name in COMMON_COUNTINGS for one in alternatives):
        is_stated = any(region.text for one in task.annotations for region in one.regions)
        kind = "offsets ambiguous" if is_stated else "offsets unchecked"
        import_log.record_warning(kind, task.name)


def adjudicate_task(
    document: Document,
    annotations: Sequence[Annotation],
    *,
    policy: AnnotatorPolicy,
    config: LabelConfig | None,
    import_log: ImportLog,
    reading: ExportReading = CODE_POINT_READING,
) -> list[Document]:
    """Make one document of a task and its annotations, of which none is cancelled.

    Ground truth, where there is any, is all that counts. Of several annotations by the same person
    the last one counts. Outvoted spans and spans without a label are masked from the loss: somebody
    saw something there, so the text must not be trained as O.

    The policy "majority" keeps spans that more than half of the annotators drew exactly, and
    "latest" the last annotation. The policy "all" makes one document per annotator, with ids such
    as "12@3" for task 12 and annotator 3. The policy "each" does so too, ignores ground truth, and
    writes annotator and task into the meta. ``reading`` is how the export counts offsets.
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
        counting, is_ambiguous = reading.choose_counting(annotation.regions, draft.text)
        if is_ambiguous:
            import_log.record_warning("offsets ambiguous", draft.id)
        regions = convert_to_code_points(draft, annotation.regions, counting, import_log)
        spans = validate_raw_spans(draft, regions, config=config, import_log=import_log)
        masked = (
            tuple(find_gaps(draft, spans))
            if annotation.is_partial
            else tuple(find_masked_ranges(draft, regions))
        )
        adjudicated.append(replace(draft, spans=spans, masked_ranges=masked))
    if policy in ("all", "each") or len(adjudicated) == 1:
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
