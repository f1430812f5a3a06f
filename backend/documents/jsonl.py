"""JSON lines: our own files, one document or prediction a line, and the pipes between commands.

A document is ``{"id", "text", "entities": [{"start", "end", "label"}]}``; offsets are half-open and
count code points. ``"unknown": [[start, end]]`` lists its masked ranges. A prediction adds
``score`` to every entity, and ``score``, ``model_version`` and ``lost`` to the line.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from tagalong.backend.documents.offsets import RawSpan
from tagalong.ner.counted_nouns import pluralize
from tagalong.ner.document import DROP_REASONS, Document, DroppedAnnotation, Prediction, Span
from tagalong.ner.errors import FormatError
from tagalong.ner.text_sanitizing import escape_unprintable, reject_lone_surrogates

LINE_SHAPE = '{"id", "text", "entities": [{"start", "end", "label"}]}'
UNKNOWN_VERSION = "unknown"  # of predictions without a version
DEFAULT_SCORE = 1.0  # of predictions without a score
PLACE_OF_LINE = re.compile(r", line \d+$")


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictedDocument(Document):
    """A document whose spans are a prediction, as a file states it."""

    score: float = DEFAULT_SCORE
    version: str = UNKNOWN_VERSION
    lost: tuple[DroppedAnnotation, ...] = ()  # in predicting


class Record(NamedTuple):
    """A JSON value of a file, usually an object, or the reason why there is none."""

    where: str  # the place, for messages
    shape: str  # the expected one, for messages
    content: object = None
    error: FormatError | None = None

    @property
    def value(self) -> object:
        """The value; raises `FormatError` if there is none."""
        if self.error is not None:
            raise self.error
        return self.content

    @property
    def fields(self) -> dict[str, Any]:
        """The object; raises `FormatError` if it is none."""
        if not isinstance(self.value, dict):
            raise FormatError(
                f"{self.where} is {self.value!r:.60}, but should be {self.shape}",
                code="record-not-an-object",
            )
        return self.value

    def name(self, number: int) -> str:
        """The id as text; without one, the number of the record."""
        stated = self.content.get("id") if isinstance(self.content, dict) else None
        is_id = isinstance(stated, int | str) and stated != ""
        return str(stated if is_id else number)


def read_lines(lines: Iterable[bytes], name: str, shape: str = LINE_SHAPE) -> Iterator[Record]:
    """Parse JSON lines one at a time; blank ones are skipped. Places are like "name, line 3"."""
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        where = f"{name}, line {number}"
        try:
            # Windows editors begin a file with a byte order mark, and files may be joined.
            yield Record(where, shape, json.loads(line.decode("utf-8-sig").rstrip()))
        except UnicodeDecodeError:
            message = f"{where} is not UTF-8: save the file as UTF-8"
            yield Record(where, shape, error=FormatError(message, code="line-not-utf-8"))
        except (ValueError, RecursionError) as error:
            # Only a last line can lack its end.
            is_cut = not line.endswith((b"\n", b"\r"))
            message = f"{where} is not JSON ({_explain(error)}), but should be {shape}" + (
                "; it has no end, so the file may be cut off" * is_cut
            )
            yield Record(where, shape, error=FormatError(message, code="line-not-json"))


def _explain(error: Exception) -> str:
    # Python's own words are about Python where it is not the syntax.
    if isinstance(error, RecursionError):
        return "its objects and lists are nested too deeply"
    if isinstance(error, json.JSONDecodeError):
        return f"{error.msg.removesuffix(' at')} at column {error.colno}"
    return "a number is too long"


def parse_lines(lines: Iterable[bytes], name: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the place and the object of each line; raises `FormatError` if one is no object."""
    for record in read_lines(lines, name):
        yield record.where, record.fields


def document_text_from_json(line: Mapping[str, Any], where: str) -> Document:
    """Read a document without its annotations, for prediction.

    The place of the line is also the id of a document without one. Raises `FormatError` if text,
    id or meta are missing, of a wrong type, or have half a character.
    """
    # A file name may hold bytes that are no characters, but an id is written to files again.
    text, identifier = line.get("text"), line.get("id")
    if identifier in (None, ""):
        identifier = escape_unprintable(where)
    if isinstance(identifier, float) and identifier.is_integer():
        identifier = int(identifier)  # tables of numbers with gaps are written so
    meta = line.get("meta", {})
    if not isinstance(text, str):
        raise FormatError(
            f'{where} has no "text": each line must be {LINE_SHAPE}', code="line-without-text"
        )
    if isinstance(identifier, bool) or not isinstance(identifier, str | int):
        raise FormatError(
            f'{where} has the "id" {identifier!r}: it must be text or a number', code="id-invalid"
        )
    if not isinstance(meta, dict):
        raise FormatError(f'{where} has a "meta" that is not an object', code="meta-invalid")
    check_strings(meta, where, field="meta")
    return Document(
        reject_lone_surrogates(str(identifier), where, field="id"),
        reject_lone_surrogates(text, where),
        meta=meta,
    )


def is_place_of_line(document_id: str) -> bool:
    """Whether an id is the place of a line, as `document_text_from_json` gives it."""
    return PLACE_OF_LINE.search(document_id) is not None


def check_strings(value: object, where: str, *, field: str) -> None:
    """Raise `FormatError` if a text in a JSON value has half a character."""
    for text in _iterate_strings(value):
        reject_lone_surrogates(text, where, field=field)


def _iterate_strings(value: object) -> Iterator[str]:
    """Every text in a JSON value, keys too."""
    stack = [value]  # instead of recursion, which deep nesting would exhaust
    while stack:
        match stack.pop():
            case str(text):
                yield text
            case dict(fields):
                stack += [*fields, *fields.values()]
            case list(items):
                stack += items


def raw_spans_from_json(line: Mapping[str, Any], where: str) -> list[RawSpan]:
    """Read the annotations of a document, in order; raises `FormatError` for another shape."""
    entities = line.get("entities")
    if not isinstance(entities, list):
        raise FormatError(
            f'{where} has no list "entities": each line must be {LINE_SHAPE}',
            code="line-without-entities",
        )
    return [
        _raw_span_from_json(entity, f"{where}, entity {number}")
        for number, entity in enumerate(entities, start=1)
    ]


def _raw_span_from_json(entity: object, where: str) -> RawSpan:
    fields = entity if isinstance(entity, dict) else {}
    start, end, label = fields.get("start"), fields.get("end"), fields.get("label")
    score, text = fields.get("score"), fields.get("text", "")
    # Not isinstance: True is an int to it.
    if type(start) is not int or type(end) is not int or not isinstance(label, str) or not label:
        raise FormatError(
            f'{where} must be {{"start", "end", "label"}} with whole numbers', code="entity-invalid"
        )
    if not isinstance(text, str):
        raise FormatError(f'{where} has a "text" that is not text', code="entity-text-invalid")
    return RawSpan(
        start,
        end,
        (reject_lone_surrogates(label, where, field="label"),),
        reject_lone_surrogates(text, where),
        None if score is None else _check_score(score, where),
    )


def _check_score(score: object, where: str) -> float:
    if isinstance(score, bool) or not isinstance(score, int | float) or not 0 <= score <= 1:
        raise FormatError(
            f"{where} has the score {score!r}: it must be a number from 0 to 1",
            code="score-invalid",
        )
    return float(score)


def masked_ranges_from_json(
    line: Mapping[str, Any], document: Document, where: str
) -> tuple[tuple[int, int], ...]:
    """Read the stretches of unknown labels; raises `FormatError` if one is not in the text."""
    entries = line.get("unknown", [])
    if not isinstance(entries, list):
        raise FormatError(
            f'{where} has an "unknown" that is not a list of [start, end]', code="unknown-invalid"
        )
    for entry in entries:
        match entry:
            # Not int(): True is an int to it.
            case [start, end] if type(start) is type(end) is int:
                if not 0 <= start < end <= len(document.text):
                    raise FormatError(
                        f'{where} has [{start}, {end}] in "unknown", which is no stretch of its '
                        f"text of {pluralize(len(document.text), 'code point')}",
                        code="unknown-outside-text",
                    )
            case _:
                raise FormatError(
                    f'{where} has {entry!r:.40} in "unknown": it must be [start, end]',
                    code="unknown-invalid",
                )
    return tuple((start, end) for start, end in entries)


def document_to_json(document: Document) -> dict[str, Any]:
    """Write a document as the object of a line."""
    line: dict[str, Any] = {
        "id": document.id,
        "text": document.text,
        "entities": [_entity_to_json(span) for span in document.spans],
    }
    if document.masked_ranges:
        line["unknown"] = [list(stretch) for stretch in document.masked_ranges]
    return {**line, "meta": dict(document.meta)} if document.meta else line


def _entity_to_json(span: Span) -> dict[str, Any]:
    entity = {"start": span.start, "end": span.end, "label": span.label}
    return entity if span.score is None else {**entity, "score": span.score}


def predicted_document_from_json(line: Mapping[str, Any], where: str) -> PredictedDocument:
    """Read a prediction of Tagalong, or of a tool that states no scores and no version.

    The document has no spans yet. Raises `FormatError` if the object has another shape.
    """
    document = document_text_from_json(line, where)
    entries = line.get("lost", [])
    if not isinstance(entries, list):
        raise FormatError(f'{where} has a "lost" that is not a list', code="lost-invalid")
    return PredictedDocument(
        document.id,
        document.text,
        meta=document.meta,
        score=_check_score(line.get("score", DEFAULT_SCORE), where),
        version=reject_lone_surrogates(
            str(line.get("model_version", UNKNOWN_VERSION)), where, field="model_version"
        ),
        lost=tuple(_dropped_from_json(entry, document.id, where) for entry in entries),
    )


def _dropped_from_json(entry: object, document: str, where: str) -> DroppedAnnotation:
    fields = entry if isinstance(entry, dict) else {}
    reason, label, text = fields.get("reason"), fields.get("label"), fields.get("text")
    start, end = fields.get("start"), fields.get("end")
    if reason not in DROP_REASONS or not isinstance(label, str) or not isinstance(text, str):
        raise FormatError(
            f'{where} has a "lost" entry that is not {{"label", "text", "reason"}}',
            code="lost-invalid",
        )
    if type(start) is not int or type(end) is not int:
        raise FormatError(
            f'{where} has a "lost" entry without whole numbers "start" and "end"',
            code="lost-invalid",
        )
    for value in (label, text):
        reject_lone_surrogates(value, where, field='"lost"')
    return DroppedAnnotation(label, text, reason, start, end, document)


def prediction_to_json(document: Document, prediction: Prediction) -> dict[str, Any]:
    """Write a prediction as the object of a line, without its tag confidences."""
    names = ("label", "text", "reason", "start", "end")  # the document is that of the line
    return {
        "id": document.id,
        "text": document.text,
        "entities": [_entity_to_json(span) for span in prediction.spans],
        "score": prediction.score,
        "model_version": prediction.version,
        "lost": [{name: getattr(one, name) for name in names} for one in prediction.dropped],
    }
