"""Regions as they were stated -> spans of the text, with all that does not fit accounted for."""

from collections.abc import Callable, Mapping, Sequence
from sys import intern

from tagalong.backend.documents.offsets import (
    OffsetUnit,
    RawSpan,
    detect_offset_unit,
    is_same_text,
    utf16_to_code_points,
)
from tagalong.backend.label_studio.results import LabelConfig
from tagalong.ner.document import Document, Span
from tagalong.ner.errors import OffsetError
from tagalong.backend.annotations.import_log import ImportLog


def convert_to_code_points(
    document: Document,
    raw_spans: Sequence[RawSpan],
    import_log: ImportLog,
    *,
    fallback_unit: Callable[[], OffsetUnit] = lambda: "either",
) -> Sequence[RawSpan]:
    """Make sure that the offsets of one person's regions in Label Studio count code points.

    Args:
        document: The text.
        raw_spans: As they were stated.
        import_log: Gets what is lost, and what had to be judged.
        fallback_unit: Says what the rest of the export counts; asked where these regions fit both ways.

    Returns:
        The regions, recounted where old versions of Label Studio counted UTF-16 units.

    Raises:
        OffsetError: If it cannot be told what the offsets count.
    """
    counting = detect_offset_unit(raw_spans, document.text)
    if counting == "either":
        counting = fallback_unit()
    if counting == "undecidable":
        raise OffsetError(
            f"document {document.id!r} has an emoji or the like, and the texts that its regions "
            "state fit neither code points nor UTF-16 units throughout: annotate it again, or "
            "take it out of the export"
        )
    if counting == "unchecked":
        import_log.record_warning("offsets unchecked", document.id)
    if counting == "either":
        import_log.record_warning("offsets ambiguous", document.id)
    if counting != "UTF-16 units":
        return raw_spans
    import_log.record_warning("UTF-16 offsets", document.id)
    moved = []
    for region, recounted in zip(
        raw_spans, utf16_to_code_points(raw_spans, document.text), strict=True
    ):
        if recounted is not None:
            moved.append(recounted)
            continue
        for label in region.labels[:1]:
            where = (region.start, region.end)
            import_log.record_dropped(
                document, where, label, region.text, "offset outside the text"
            )
    return moved


def validate_raw_spans(
    document: Document,
    raw_spans: Sequence[RawSpan],
    *,
    config: LabelConfig | None,
    import_log: ImportLog,
) -> tuple[Span, ...]:
    """Hold one person's regions against the text.

    Args:
        document: The text; its own spans are not looked at.
        raw_spans: As they were stated, in code points.
        config: The labelling config; without one, every label is known.
        import_log: Gets what is lost, and what had to be judged.

    Returns:
        Each stretch once per label. They may overlap, and begin or end inside a word.
    """
    spellings = config.names_by_spelling if config else None
    spans: dict[Span, None] = {}
    for region in raw_spans:
        label = _choose_label(document, region, spellings, import_log)
        span = None if label is None else _span_from_raw(document, region, label, import_log)
        if span is None:
            continue
        if span in spans:
            import_log.record_warning("drawn twice", f"{document.id}: {document.span_text(span)!r}")
        spans[span] = None
    return tuple(spans)


def find_masked_ranges(document: Document, raw_spans: Sequence[RawSpan]) -> list[tuple[int, int]]:
    """Find what somebody marked without saying as what: its truth is not known.

    Nothing else that reading loses leaves the truth unknown at a known place. A type that the
    labelling config does not have is not annotated in this project, so O is right where it was
    drawn; beside a second label the first one stays; and an offset outside the text has no place.

    Args:
        document: The text.
        raw_spans: As they were stated, in code points.

    Returns:
        Half-open stretches of the text.
    """
    return [
        (region.start, region.end)
        for region in raw_spans
        if not region.labels and 0 <= region.start < region.end <= len(document.text)
    ]


def _choose_label(
    document: Document, region: RawSpan, spellings: Mapping[str, str] | None, ledger: ImportLog
) -> str | None:
    """The first known label of a region; the others are lost."""
    where, chosen = (region.start, region.end), None
    if not region.labels:
        ledger.record_warning(
            "region without a label", f"{document.id}: {region.start} to {region.end}"
        )
    for stated in dict.fromkeys(region.labels):
        name = intern(stated) if spellings is None else spellings.get(stated)
        if name is None:
            ledger.record_dropped(
                document, where, stated, _raw_span_text(document, region), "label unknown"
            )
        elif chosen is None:
            chosen = name
        elif name != chosen:
            ledger.record_dropped(
                document, where, name, _raw_span_text(document, region), "second label"
            )
    return chosen


def _span_from_raw(
    document: Document, region: RawSpan, label: str, ledger: ImportLog
) -> Span | None:
    """The stretch of text that a region covers, without white space at its edges."""
    if not 0 <= region.start < region.end <= len(document.text):
        where = (region.start, region.end)
        ledger.record_dropped(document, where, label, region.text, "offset outside the text")
        return None
    covered = document.text[region.start : region.end]
    if region.text and not is_same_text(region.text, covered):
        ledger.record_warning(
            "text differs", f"{document.id}: {covered!r}, stated as {region.text!r}"
        )
    words = covered.strip()
    if not words:
        ledger.record_dropped(document, (region.start, region.end), label, covered, "no words")
        return None
    if words == covered:
        return Span(region.start, region.end, label, region.score)
    ledger.record_warning("white space trimmed", f"{document.id}: {covered!r}")
    start = region.start + covered.index(words)
    return Span(start, start + len(words), label, region.score)


def _raw_span_text(document: Document, region: RawSpan) -> str:
    """What a region is about, for the report."""
    return region.text or document.text[max(region.start, 0) : max(region.end, 0)]
