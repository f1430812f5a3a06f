"""Validate raw spans against their text, and log everything that does not fit."""

from collections.abc import Iterator, Mapping, Sequence
from sys import intern

from tagalong.backend.annotations.import_log import ImportLog
from tagalong.backend.documents.offsets import (
    CODE_POINTS,
    Counting,
    RawSpan,
    explain_misplacement,
    is_contradicted,
    is_inside,
    is_same_text,
)
from tagalong.backend.label_studio.label_config import LabelConfig
from tagalong.ner.document import Document, Span
from tagalong.ner.words import trim_to_words


def convert_to_code_points(
    document: Document, raw_spans: Sequence[RawSpan], counting: Counting, import_log: ImportLog
) -> Sequence[RawSpan]:
    """Convert the offsets of one annotation to code points; drop and log what has no place."""
    if counting == CODE_POINTS:
        return raw_spans
    converted = counting.to_code_points(raw_spans, document.text)
    if converted != [*raw_spans]:
        import_log.record_warning(counting.name, document.id)
    for region, moved in zip(raw_spans, converted, strict=True):
        if moved is None and region.labels:  # without a label there is no annotation to lose
            label, text = region.labels[0], region.text
            import_log.record_dropped(document, region, "offset outside the text", label, text)
    return [moved for moved in converted if moved is not None]


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
    """Find marked text whose true label is unknown, which is masked from the loss.

    It has no label, or the region states another text.
    """
    # Other dropped regions are not masked. A label outside the config is not annotated in this
    # project, so O is right there. Of two labels the first one stays. An offset outside the text
    # has no words.
    text = document.text
    return [
        (region.start, region.end)
        for region in raw_spans
        # Few are left.
        if not (region.labels and region.text in ("", text[region.start : region.end]))
        and is_inside(region, text)
        and (not region.labels or is_contradicted(region, text))
    ]


def find_gaps(document: Document, spans: Sequence[Span]) -> Iterator[tuple[int, int]]:
    """Find the stretches between spans, which are unknown if only the spans were asked about."""
    end = 0
    for span in sorted(spans):
        if span.start > end:
            yield end, span.start
        end = max(end, span.end)
    if end < len(document.text):
        yield end, len(document.text)


def _choose_label(
    document: Document, region: RawSpan, spellings: Mapping[str, str] | None, import_log: ImportLog
) -> str | None:
    """The first known label; the others are recorded as lost."""
    chosen = None
    if not region.labels and not region.is_part:
        place = f"{document.id}: {region.start} to {region.end}"
        if region.control_type:
            import_log.record_warning("region of another kind", f"{place}, {region.control_type}")
        else:
            import_log.record_warning("region without a label", place)
    for stated in dict.fromkeys(region.labels):
        # Interned: an export repeats few labels in very many spans.
        name = intern(stated) if spellings is None else spellings.get(stated)
        if name is None:
            text = _stated_text(document, region)
            import_log.record_dropped(document, region, "label unknown", stated, text)
        elif chosen is None:
            chosen = name
        elif name != chosen:
            text = _stated_text(document, region)
            import_log.record_dropped(document, region, "second label", name, text)
    return chosen


def _stated_text(document: Document, region: RawSpan) -> str:
    return region.text or document.text[max(region.start, 0) : max(region.end, 0)]


def _span_from_raw(
    document: Document, region: RawSpan, label: str, import_log: ImportLog
) -> Span | None:
    if not is_inside(region, document.text):
        reason = explain_misplacement(region, document.text)
        import_log.record_dropped(document, region, reason, label, region.text)
        return None
    covered = document.text[region.start : region.end]
    if region.text and region.text != covered and not is_same_text(region.text, covered):
        import_log.record_dropped(document, region, "text differs", label, region.text)
        return None
    edges = covered[0] + covered[-1]
    if edges.isascii() and edges.isalnum():  # nearly all
        return Span(region.start, region.end, label, region.score)
    trimmed = trim_to_words(document.text, region.start, region.end)
    if trimmed is None:
        import_log.record_dropped(document, region, "no words", label, covered)
        return None
    if trimmed != (region.start, region.end):
        import_log.record_warning("white space trimmed", f"{document.id}: {covered!r}")
    return Span(*trimmed, label, region.score)
