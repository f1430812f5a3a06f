"""JSON lines: our own files, one document or prediction a line, and the pipes between commands.

A document is ``{"id", "text", "entities": [{"start", "end", "label"}]}``; offsets are half-open
and count code points. It may have ``"unknown": [[start, end]]``, where nobody can say what is
right. A prediction adds ``score`` to every entity, and ``score``,
``model_version`` and ``lost`` to the line.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from tagalong.backend.documents.offsets import RawSpan
from tagalong.ner.document import (
    DROP_REASONS,
    Document,
    DroppedAnnotation,
    DropReason,
    Prediction,
    Span,
)
from tagalong.ner.errors import FormatError, OffsetError
from tagalong.ner.text_sanitizing import escape_unprintable

LINE_SHAPE = '{"id", "text", "entities": [{"start", "end", "label"}]}'
UNKNOWN_VERSION = "unknown"  # the version of predictions that do not name one
DEFAULT_SCORE = 1.0  # the score of predictions that do not give one


def parse_lines(lines: Iterable[bytes], name: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Parse JSON lines one at a time.

    Args:
        lines: Lines of a binary file or pipe; blank ones are skipped.
        name: What to call the file in messages.

    Yields:
        Where the line is ("name, line 3") and its object.

    Raises:
        FormatError: If a line is not UTF-8, not JSON, or not an object.
    """
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        where = f"{name}, line {number}"
        try:
            parsed = json.loads(line.decode("utf-8-sig" if number == 1 else "utf-8"))
        except UnicodeDecodeError as error:
            raise FormatError(f"{where} is not UTF-8: save the file as UTF-8") from error
        except (ValueError, RecursionError) as error:
            raise FormatError(
                f"{where} is not JSON ({error}), but should be {LINE_SHAPE}"
            ) from error
        if not isinstance(parsed, dict):
            raise FormatError(f"{where} is not a JSON object: each line must be {LINE_SHAPE}")
        yield where, parsed


def document_text_from_json(line: Mapping[str, Any], where: str) -> Document:
    """Read a document without its annotations, as prediction wants it.

    Args:
        line: The object of a line.
        where: Where it is; also the id of a document that has none.

    Returns:
        The document, without spans.

    Raises:
        FormatError: If it has no text, an id that is neither text nor a number, or half a
            character in any of them or in its meta.
    """
    # The name of a file may hold bytes that are no characters; an id must be written again.
    text, identifier = line.get("text"), line.get("id", escape_unprintable(where))
    meta = line.get("meta", {})
    if not isinstance(text, str):
        raise FormatError(f'{where} has no "text": each line must be {LINE_SHAPE}')
    if isinstance(identifier, bool) or not isinstance(identifier, str | int):
        raise FormatError(f'{where} has the "id" {identifier!r}: it must be text or a number')
    if not isinstance(meta, dict):
        raise FormatError(f'{where} has a "meta" that is not an object')
    for said in _iterate_strings(meta):
        reject_lone_surrogates(said, where, field="meta")
    return Document(
        reject_lone_surrogates(str(identifier), where, field="id"),
        reject_lone_surrogates(text, where),
        meta=meta,
    )


def _iterate_strings(value: object) -> Iterator[str]:
    """Every text in a JSON value, keys too; without recursion, for it may be nested deeply."""
    waiting = [value]
    while waiting:
        match waiting.pop():
            case str(text):
                yield text
            case dict(fields):
                waiting += [*fields, *fields.values()]
            case list(items):
                waiting += items


def reject_lone_surrogates(text: str, where: str, *, field: str = "text") -> str:
    r"""Check that a text has no halves of UTF-16 pairs, which a JSON escape can smuggle in.

    Args:
        text: Any text; ``\\ud83d`` on its own is such a half.
        where: Where it is.
        field: Of what is there it is.

    Returns:
        The text itself.

    Raises:
        FormatError: If no encoding could ever write it.
    """
    try:
        text.encode()
    except UnicodeEncodeError as error:
        half = f"\\u{ord(text[error.start]):04x}"
        raise FormatError(
            f"{where} has half a character, {half}, at position {error.start} of its {field}: "
            "mend it where the file was made"
        ) from error
    return text


def raw_spans_from_json(line: Mapping[str, Any], where: str) -> list[RawSpan]:
    """Read the annotations of a document, unchecked.

    Args:
        line: The object of a line.
        where: Where it is.

    Returns:
        One region per entity, in order.

    Raises:
        FormatError: If an entity is not of our shape.
    """
    entities = line.get("entities")
    if not isinstance(entities, list):
        raise FormatError(f'{where} has no list "entities": each line must be {LINE_SHAPE}')
    return [
        _raw_span_from_json(entity, f"{where}, entity {i}")
        for i, entity in enumerate(entities, start=1)
    ]


def _raw_span_from_json(entity: object, where: str) -> RawSpan:
    """Read one entity."""
    fields = entity if isinstance(entity, dict) else {}
    start, end, label = fields.get("start"), fields.get("end"), fields.get("label")
    score, text = fields.get("score"), fields.get("text", "")
    # Not isinstance: True is an int to it.
    if type(start) is not int or type(end) is not int or not isinstance(label, str) or not label:
        raise FormatError(f'{where} must be {{"start", "end", "label"}} with whole numbers')
    if not isinstance(text, str):
        raise FormatError(f'{where} has a "text" that is not text')
    label, text = (
        reject_lone_surrogates(label, where, field="label"),
        reject_lone_surrogates(text, where),
    )
    return RawSpan(
        start, end, (label,), text, None if score is None else _check_score(score, where)
    )


def _check_score(score: object, where: str) -> float:
    """Check a confidence."""
    if isinstance(score, bool) or not isinstance(score, int | float) or not 0 <= score <= 1:
        raise FormatError(f"{where} has the score {score!r}: it must be a number from 0 to 1")
    return float(score)


def masked_ranges_from_json(
    line: Mapping[str, Any], document: Document, where: str
) -> tuple[tuple[int, int], ...]:
    """Read the stretches of a document whose truth is not known.

    Args:
        line: The object of a line.
        document: Its text.
        where: Where it is.

    Returns:
        Half-open stretches, none where the line says nothing of them.

    Raises:
        FormatError: If they are not stretches of the text.
    """
    entries = line.get("unknown", [])
    if not isinstance(entries, list):
        raise FormatError(f'{where} has an "unknown" that is not a list of [start, end]')
    stretches = []
    for entry in entries:
        # Not isinstance: True is an int to it.
        match entry:
            case [start, end] if type(start) is int and type(end) is int:
                stretches.append((start, end))
            case _:
                raise FormatError(
                    f'{where} has {entry!r:.40} in "unknown": it must be [start, end]'
                )
        if not 0 <= start < end <= len(document.text):
            raise FormatError(
                f'{where} has [{start}, {end}] in "unknown", which is no stretch of its text of '
                f"{len(document.text)} code points"
            )
    return tuple(stretches)


def document_from_json(line: Mapping[str, Any], where: str) -> Document:
    """Read a document with its annotations, which must all fit.

    Args:
        line: The object of a line.
        where: Where it is.

    Returns:
        The document.

    Raises:
        FormatError: If the object is not of our shape.
        OffsetError: If an entity is empty, reversed, or outside the text.
    """
    document = document_text_from_json(line, where)
    try:
        spans = tuple(_span_from_raw(region) for region in raw_spans_from_json(line, where))
        unknown = masked_ranges_from_json(line, document, where)
        return replace(document, spans=spans, masked_ranges=unknown)
    except OffsetError as error:
        raise OffsetError(f"{where}: {error}") from error


def _span_from_raw(region: RawSpan) -> Span:
    """A region that is taken at its word."""
    return Span(region.start, region.end, region.labels[0], region.score)


def document_to_json(document: Document) -> dict[str, Any]:
    """Write a document as the object of a line.

    Args:
        document: Any document.

    Returns:
        What `document_from_json` reads back as an equal document, as far as JSON can hold `meta`.
    """
    line: dict[str, Any] = {
        "id": document.id,
        "text": document.text,
        "entities": [_entity_to_json(span) for span in document.spans],
    }
    if document.masked_ranges:
        line["unknown"] = [list(stretch) for stretch in document.masked_ranges]
    return {**line, "meta": dict(document.meta)} if document.meta else line


def _entity_to_json(span: Span) -> dict[str, Any]:
    """One entity; a score only where there is one."""
    entity = {"start": span.start, "end": span.end, "label": span.label}
    return entity if span.score is None else {**entity, "score": span.score}


def prediction_from_json(line: Mapping[str, Any], where: str) -> tuple[Document, Prediction]:
    """Read a prediction, ours or any other tool's.

    Args:
        line: The object of a line; scores and version may be missing.
        where: Where it is.

    Returns:
        The document without spans, and what was predicted for it. An entity that is not a stretch
        of the text is among what was lost.

    Raises:
        FormatError: If the object is not of our shape.
    """
    document = document_text_from_json(line, where)
    spans: list[Span] = []
    entries = line.get("lost", [])
    if not isinstance(entries, list):
        raise FormatError(f'{where} has a "lost" that is not a list')
    lost = [_dropped_from_json(entry, document.id, where) for entry in entries]
    for region in raw_spans_from_json(line, where):
        if 0 <= region.start < region.end <= len(document.text):
            spans.append(_span_from_raw(region))
        else:
            (label,) = region.labels
            reason: DropReason = "offset outside the text"
            lost.append(
                DroppedAnnotation(label, region.text, reason, region.start, region.end, document.id)
            )
    score = _check_score(line.get("score", DEFAULT_SCORE), where)
    version = reject_lone_surrogates(
        str(line.get("model_version", UNKNOWN_VERSION)), where, field="model_version"
    )
    return document, Prediction(tuple(sorted(spans)), score, version, dropped=tuple(lost))


def _dropped_from_json(entry: object, document: str, where: str) -> DroppedAnnotation:
    """Read one lost annotation."""
    fields = entry if isinstance(entry, dict) else {}
    reason, label, text = fields.get("reason"), fields.get("label"), fields.get("text")
    start, end = fields.get("start"), fields.get("end")
    if reason not in DROP_REASONS or not isinstance(label, str) or not isinstance(text, str):
        raise FormatError(f'{where} has a "lost" entry that is not {{"label", "text", "reason"}}')
    if type(start) is not int or type(end) is not int:
        raise FormatError(f'{where} has a "lost" entry without whole numbers "start" and "end"')
    for said in (label, text):
        reject_lone_surrogates(said, where, field='"lost"')
    return DroppedAnnotation(label, text, reason, start, end, document)


def prediction_to_json(document: Document, prediction: Prediction) -> dict[str, Any]:
    """Write a prediction as the object of a line.

    Args:
        document: What was predicted for; its own spans are not written.
        prediction: What a tier said.

    Returns:
        What `prediction_from_json` reads back, but for the confidences of single words.
    """
    lost = (
        {"label": one.label, "text": one.text, "reason": one.reason}
        | {"start": one.start, "end": one.end}
        for one in prediction.dropped
    )
    return {
        "id": document.id,
        "text": document.text,
        "entities": [_entity_to_json(span) for span in prediction.spans],
        "score": prediction.score,
        "model_version": prediction.version,
        "lost": list(lost),
    }
