"""Several annotators of one task -> one set of spans, or one document each."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Literal

from backend.label_studio import LabelConfig
from backend.regions import Counting, Region, detect_counting, pool_countings
from ner.document import Document, Span
from training.corpus.fit import fit_regions, in_code_points, unlabelled_stretches
from training.corpus.ledger import Ledger

Strategy = Literal["majority", "latest", "all"]
Hearing = Literal["majority", "latest", "all", "each"]  # the last is to compare people by, only
ANNOTATOR, TASK = "annotator", "task"  # in the meta of a document read with "each"


@dataclass(frozen=True, slots=True)
class Annotation:
    """What one person submitted for one task.

    Attributes:
        annotator: Who; empty where that is not said.
        when: When it was last changed, in seconds since 1970; 0 where that is not said.
        regions: What was drawn, unchecked.
        ground_truth: Whether it was marked as the truth.
    """

    annotator: str
    when: float
    regions: tuple[Region, ...]
    ground_truth: bool = False


Task = tuple[Document, Sequence[Annotation]]  # its text, without spans, and who drew what


def settle_export(
    tasks: Callable[[Ledger], Iterable[Task]],
    *,
    strategy: Hearing,
    config: LabelConfig | None,
    ledger: Ledger,
) -> Iterator[Document]:
    """Make documents of all tasks of an export.

    Args:
        tasks: Reads the export from its start, telling a ledger what it loses and judges.
        strategy: As for `settle`.
        config: The labelling config, if there is one.
        ledger: Gets what is lost, and what had to be judged.

    Yields:
        The documents of one task after the other.

    Raises:
        OffsetError: If it cannot be told what the offsets of a task count.
    """

    @cache
    def elsewhere() -> Counting:
        # Another reading, that few exports need; the first one's ledger must not tell all twice.
        return pool_countings(
            detect_counting(annotation.regions, document.text)
            for document, annotations in tasks(Ledger())
            for annotation in annotations
        )

    for document, annotations in tasks(ledger):
        yield from settle(
            document,
            annotations,
            strategy=strategy,
            config=config,
            ledger=ledger,
            elsewhere=elsewhere,
        )


def settle(
    document: Document,
    annotations: Sequence[Annotation],
    *,
    strategy: Hearing,
    config: LabelConfig | None,
    ledger: Ledger,
    elsewhere: Callable[[], Counting] = lambda: "either",
) -> list[Document]:
    """Make documents of a task and its annotations.

    Ground truth, where there is any, is all that counts. Nobody has two voices: of several
    annotations by the same person the last one counts. What was outvoted, or marked without a
    label, is unknown: somebody saw something there, so it must not be learnt as O.

    Args:
        document: The task's text.
        annotations: One or more, none of them cancelled.
        strategy: "majority" keeps what more than half of the annotators drew exactly, "latest"
            what was submitted last, and "all" makes one document per annotator. "each" does so
            too, whatever is ground truth, and says in the meta of each whose it is.
        config: The labelling config, if there is one.
        ledger: Gets what is lost, and what had to be judged.
        elsewhere: Says what the offsets of the whole export count.

    Returns:
        One document; with "all" and "each" one per annotator, with ids such as "12@3" for task 12
        and annotator 3.

    Raises:
        OffsetError: If it cannot be told what the offsets count.
    """
    heard = _heard(annotations, strategy)
    if set_aside := len(annotations) - len(heard):
        ledger.warn("set aside", document.id, count=set_aside)
    names = [annotation.annotator or f"n{i}" for i, annotation in enumerate(heard, start=1)]
    drafts = [_draft(document, name, strategy) for name in names]
    read = [
        _read(
            draft,
            in_code_points(draft, annotation.regions, ledger, elsewhere=elsewhere),
            config,
            ledger,
        )
        for draft, annotation in zip(drafts, heard, strict=True)
    ]
    if strategy in ("all", "each"):
        return read
    kept, outvoted = agree([one.spans for one in read])
    unknown = [stretch for one in read for stretch in one.unknown]
    unknown += [(span.start, span.end) for span in outvoted]
    for span in outvoted:
        where = (span.start, span.end)
        ledger.lose(document, where, span.label, document.covered(span), "outvoted")
    return [replace(document, spans=tuple(kept), unknown=tuple(unknown))]


def _draft(document: Document, name: str, strategy: Hearing) -> Document:
    """A task's text, under a name of its own where one person's spans are to stand in it."""
    if strategy not in ("all", "each"):
        return document
    whose = {ANNOTATOR: name, TASK: document.id} if strategy == "each" else {}
    return replace(document, id=f"{document.id}@{name}", meta={**document.meta, **whose})


def _read(
    draft: Document, regions: Sequence[Region], config: LabelConfig | None, ledger: Ledger
) -> Document:
    """What one person says of a text."""
    spans = fit_regions(draft, regions, config=config, ledger=ledger)
    return replace(draft, spans=spans, unknown=tuple(unlabelled_stretches(draft, regions)))


def agree(votes: Sequence[Sequence[Span]]) -> tuple[list[Span], list[Span]]:
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


def _heard(annotations: Sequence[Annotation], strategy: Hearing) -> list[Annotation]:
    """The annotations that count: ground truth, the last of each person, the last of all."""
    truth = [annotation for annotation in annotations if annotation.ground_truth]
    # Stable: of annotations without a date the one listed last counts as the last.
    heard = annotations if strategy == "each" else truth or annotations
    in_time = sorted(heard, key=lambda annotation: annotation.when)
    if strategy == "latest":
        return in_time[-1:]
    # The unnamed are taken for different people: each is its own key.
    last = {one.annotator or f"\0{i}": one for i, one in enumerate(in_time)}
    return list(last.values())
