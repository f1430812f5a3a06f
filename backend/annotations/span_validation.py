"""Validate raw spans against their text, and log everything that does not fit."""

from collections.abc import Callable, Mapping, Sequence
from sys import intern

from tagalong.backend.annotations.import_log import ImportLog
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


def convert_to_code_points(
    document: Document,
    raw_spans: Sequence[RawSpan],
    import_log: ImportLog,
    *,
    fallback_unit: Callable[[], OffsetUnit] = lambda: "either",
) -> Sequence[RawSpan]:
    """Convert the offsets of one annotation in Label Studio to code points.

    Args:
        document: The text.
        raw_spans: As stated; old versions of Label Studio counted UTF-16 units.
        import_log: Records losses and warnings.
        fallback_unit: The unit of the whole export; called where these offsets fit both units.

    Returns:
        The spans, in code points.

    Raises:
        OffsetError: If the unit cannot be determined.
    """
    unit = detect_offset_unit(raw_spans, document.text)
    if unit == "either":
        unit = fallback_unit()
    if unit == "undecidable":
        raise OffsetError(
            f"document {document.id!r} has an emoji or the like, and the texts that its regions "
            "state fit neither code points nor UTF-16 units throughout: annotate it again, or "
            "take it out of the export",
            code="offset-unit-unknown",
        )
    if unit == "unchecked":
        import_log.record_warning("offsets unchecked", document.id)
    if unit == "either":
        import_log.record_warning("offsets ambiguous", document.id)
    if unit != "UTF-16 units":
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
    """Validate the spans of one annotation against the text.

    Args:
        document: The text; its own spans do not matter.
        raw_spans: As stated, in code points.
        config: The labelling config; without one, every label is known.
        import_log: Records losses and warnings.

    Returns:
        Each span once per label. They may overlap, and begin or end inside a word.
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
    """Find marked text without a label, whose true label is unknown.

    Args:
        document: The text.
        raw_spans: As stated, in code points.

    Returns:
        Half-open ranges of the text, to be masked from the loss.
    """
    # No other loss leaves a known place with an unknown truth. A label outside the config is not
    # annotated in this project, so O is right there; of two labels the first one stays; and an
    # offset outside the text has no place.
    return [
        (region.start, region.end)
        for region in raw_spans
        if not region.labels and 0 <= region.start < region.end <= len(document.text)
    ]


def _choose_label(
    document: Document, region: RawSpan, spellings: Mapping[str, str] | None, import_log: ImportLog
) -> str | None:
    # The first known label stays, the others are lost.
    offsets, chosen = (region.start, region.end), None
    if not region.labels:
        import_log.record_warning(
            "region without a label", f"{document.id}: {region.start} to {region.end}"
        )
    for stated in dict.fromkeys(region.labels):
        name = intern(stated) if spellings is None else spellings.get(stated)
        if name is None:
            import_log.record_dropped(
                document, offsets, stated, _raw_span_text(document, region), "label unknown"
            )
        elif chosen is None:
            chosen = name
        elif name != chosen:
            import_log.record_dropped(
                document, offsets, name, _raw_span_text(document, region), "second label"
            )
    return chosen


def _span_from_raw(
    document: Document, region: RawSpan, label: str, import_log: ImportLog
) -> Span | None:
    if not 0 <= region.start < region.end <= len(document.text):
        where = (region.start, region.end)
        import_log.record_dropped(document, where, label, region.text, "offset outside the text")
        return None
    covered = document.text[region.start : region.end]
    if region.text and not is_same_text(region.text, covered):
        import_log.record_warning(
            "text differs", f"{document.id}: {covered!r}, stated as {region.text!r}"
        )
    words = covered.strip()
    if not words:
        import_log.record_dropped(document, (region.start, region.end), label, covered, "no words")
        return None
    if words == covered:
        return Span(region.start, region.end, label, region.score)
    import_log.record_warning("white space trimmed", f"{document.id}: {covered!r}")
    start = region.start + covered.index(words)
    return Span(start, start + len(words), label, region.score)


def _raw_span_text(document: Document, region: RawSpan) -> str:
    return region.text or document.text[max(region.start, 0) : max(region.end, 0)]
