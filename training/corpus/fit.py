"""Regions as they were stated -> spans of the text, with all that does not fit accounted for."""

from collections.abc import Callable, Mapping, Sequence
from sys import intern

from backend.label_studio import LabelConfig
from backend.regions import Counting, Region, detect_counting, from_utf16, says_the_same
from ner.document import Document, Span
from ner.errors import OffsetError
from training.corpus.ledger import Ledger


def in_code_points(
    document: Document,
    regions: Sequence[Region],
    ledger: Ledger,
    *,
    elsewhere: Callable[[], Counting] = lambda: "either",
) -> Sequence[Region]:
    """Make sure that the offsets of one person's regions in Label Studio count code points.

    Args:
        document: The text.
        regions: As they were stated.
        ledger: Gets what is lost, and what had to be judged.
        elsewhere: Says what the rest of the export counts; asked where these regions fit both ways.

    Returns:
        The regions, recounted where old versions of Label Studio counted UTF-16 units.

    Raises:
        OffsetError: If it cannot be told what the offsets count.
    """
    counting = detect_counting(regions, document.text)
    if counting == "either":
        counting = elsewhere()
    if counting == "undecidable":
        raise OffsetError(
            f"document {document.id!r} has an emoji or the like, and the texts that its regions "
            "state fit neither code points nor UTF-16 units throughout: annotate it again, or "
            "take it out of the export"
        )
    if counting == "unchecked":
        ledger.warn("offsets unchecked", document.id)
    if counting == "either":
        ledger.warn("offsets ambiguous", document.id)
    if counting != "UTF-16 units":
        return regions
    ledger.warn("UTF-16 offsets", document.id)
    moved = []
    for region, recounted in zip(regions, from_utf16(regions, document.text), strict=True):
        if recounted is not None:
            moved.append(recounted)
            continue
        for label in region.labels[:1]:
            where = (region.start, region.end)
            ledger.lose(document, where, label, region.text, "offset outside the text")
    return moved


def fit_regions(
    document: Document, regions: Sequence[Region], *, config: LabelConfig | None, ledger: Ledger
) -> tuple[Span, ...]:
    """Hold one person's regions against the text.

    Args:
        document: The text; its own spans are not looked at.
        regions: As they were stated, in code points.
        config: The labelling config; without one, every label is known.
        ledger: Gets what is lost, and what had to be judged.

    Returns:
        Each stretch once per label. They may overlap, and begin or end inside a word.
    """
    spellings = config.spellings if config else None
    spans: dict[Span, None] = {}
    for region in regions:
        label = _label(document, region, spellings, ledger)
        span = None if label is None else _place(document, region, label, ledger)
        if span is None:
            continue
        if span in spans:
            ledger.warn("drawn twice", f"{document.id}: {document.covered(span)!r}")
        spans[span] = None
    return tuple(spans)


def unlabelled_stretches(document: Document, regions: Sequence[Region]) -> list[tuple[int, int]]:
    """Find what somebody marked without saying as what: its truth is not known.

    Nothing else that reading loses leaves the truth unknown at a known place. A type that the
    labelling config does not have is not annotated in this project, so O is right where it was
    drawn; beside a second label the first one stays; and an offset outside the text has no place.

    Args:
        document: The text.
        regions: As they were stated, in code points.

    Returns:
        Half-open stretches of the text.
    """
    return [
        (region.start, region.end)
        for region in regions
        if not region.labels and 0 <= region.start < region.end <= len(document.text)
    ]


def _label(
    document: Document, region: Region, spellings: Mapping[str, str] | None, ledger: Ledger
) -> str | None:
    """The first known label of a region; the others are lost."""
    where, chosen = (region.start, region.end), None
    if not region.labels:
        ledger.warn("region without a label", f"{document.id}: {region.start} to {region.end}")
    for stated in dict.fromkeys(region.labels):
        name = intern(stated) if spellings is None else spellings.get(stated)
        if name is None:
            ledger.lose(document, where, stated, _text(document, region), "label unknown")
        elif chosen is None:
            chosen = name
        elif name != chosen:
            ledger.lose(document, where, name, _text(document, region), "second label")
    return chosen


def _place(document: Document, region: Region, label: str, ledger: Ledger) -> Span | None:
    """The stretch of text that a region covers, without white space at its edges."""
    if not 0 <= region.start < region.end <= len(document.text):
        where = (region.start, region.end)
        ledger.lose(document, where, label, region.text, "offset outside the text")
        return None
    covered = document.text[region.start : region.end]
    if region.text and not says_the_same(region.text, covered):
        ledger.warn("text differs", f"{document.id}: {covered!r}, stated as {region.text!r}")
    words = covered.strip()
    if not words:
        ledger.lose(document, (region.start, region.end), label, covered, "no words")
        return None
    if words == covered:
        return Span(region.start, region.end, label, region.score)
    ledger.warn("white space trimmed", f"{document.id}: {covered!r}")
    start = region.start + covered.index(words)
    return Span(start, start + len(words), label, region.score)


def _text(document: Document, region: Region) -> str:
    """What a region is about, for the report."""
    return region.text or document.text[max(region.start, 0) : max(region.end, 0)]
