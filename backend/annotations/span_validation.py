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
from tagalong.backend.label_studio.label_config import LabelConfig
from tagalong.ner.document import Document, Span
from tagalong.ner.errors import OffsetError


def convert_to_code_points(
    document: Document,
    raw_spans: Sequence[RawSpan],
    import_log: ImportLog,
    *,
    fallback_unit: Callable[[], OffsetUnit] = lambda: "either",
) -> Sequence[RawSpan]:
    """Convert the offsets of one annotation to code points; old Label Studios counted UTF-16 units.

    Where the offsets fit both units, ``fallback_unit`` gives that of the whole export. Raises
    `OffsetError` if the unit cannot be determined.
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
    recounted = utf16_to_code_points(raw_spans, document.text)
    for region, moved in zip(raw_spans, recounted, strict=True):
        if moved is None and region.labels:  # without a label there is no annotation to lose
            label, text = region.labels[0], region.text
            import_log.record_dropped(document, region, "offset outside the text", label, text)
    return [moved for moved in recounted if moved is not None]


def validate_raw_spans(
    document: Document,
    raw_spans: Sequence[RawSpan],
    *,
    config: LabelConfig | None,
    import_log: ImportLog,
) -> tuple[Span, ...]:
    """Validate the spans of one annotation, in code points, against the text.

    Without a labelling config, every label is known. Returns each span once per label. Spans may
    overlap, and begin or end inside a word.
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
    """Find marked text without a label, whose true label is unknown: it is masked from the loss."""
    # Other dropped regions are not masked. A label outside the config is not annotated in this
    # project, so O is right there. Of two labels the first one stays. An offset outside the text
    # has no words.
    return [
        (region.start, region.end)
        for region in raw_spans
        if not region.labels and 0 <= region.start < region.end <= len(document.text)
    ]


def _choose_label(
    document: Document, region: RawSpan, spellings: Mapping[str, str] | None, import_log: ImportLog
) -> str | None:
    """The first known label; the others are recorded as lost."""
    text = region.text or document.text[max(region.start, 0) : max(region.end, 0)]
    chosen = None
    if not region.labels:
        import_log.record_warning(
            "region without a label", f"{document.id}: {region.start} to {region.end}"
        )
    for stated in dict.fromkeys(region.labels):
        # Interned: an export repeats few labels in very many spans.
        name = intern(stated) if spellings is None else spellings.get(stated)
        if name is None:
            import_log.record_dropped(document, region, "label unknown", stated, text)
        elif chosen is None:
            chosen = name
        elif name != chosen:
            import_log.record_dropped(document, region, "second label", name, text)
    return chosen


def _span_from_raw(
    document: Document, region: RawSpan, label: str, import_log: ImportLog
) -> Span | None:
    if not 0 <= region.start < region.end <= len(document.text):
        import_log.record_dropped(document, region, "offset outside the text", label, region.text)
        return None
    covered = document.text[region.start : region.end]
    if region.text and not is_same_text(region.text, covered):
        import_log.record_warning(
            "text differs", f"{document.id}: {covered!r}, stated as {region.text!r}"
        )
    words = covered.strip()
    if not words:
        import_log.record_dropped(document, region, "no words", label, covered)
        return None
    if words == covered:
        return Span(region.start, region.end, label, region.score)
    import_log.record_warning("white space trimmed", f"{document.id}: {covered!r}")
    start = region.start + covered.index(words)
    return Span(start, start + len(words), label, region.score)
