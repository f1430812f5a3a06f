"""Tasks and results of Label Studio: finding the text, reading regions, writing spans.

Field names are those of Label Studio 1.23's JSON export and prediction format
(https://labelstud.io/guide/export, https://labelstud.io/guide/predictions). Text offsets count
Unicode code points, as in Python; carriage return and line feed count one each.

A further control type also needs a change in `label_config_parser`, and where `SPAN_TYPE` is
compared.
"""

import hashlib
import math
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from tagalong.backend.documents.offsets import RawSpan
from tagalong.backend.label_studio.label_config import LabelConfig
from tagalong.ner.document import Document, Prediction, Span
from tagalong.ner.errors import FormatError

# A key or path in the value of a tag; the editor shows the rest as it is (``utils/data.js``).
VARIABLE = re.compile(r"\$[A-Za-z0-9_\[\].{}]+")
PATH_STEP = re.compile(r"\A(?=\.)|\[([^\]]*)\]?|([^.\[]+)")
ARRAY_INDEX = re.compile(r"0|[1-9][0-9]{0,8}")
MAX_EXACT_INTEGER = 2**53  # a browser rounds larger ones
MAX_PLACED_ITEMS = 100  # of an array that is written for its last item
SPAN_TYPE = "labels"  # tag and type of the control, and the field of a value with its labels
TEXT_RANGES_KEY = "text_ranges"  # in the meta of a document: [start, end] by name of a <Text>
UNDEFINED_KEY = "$undefined$"  # data key of tasks imported from plain text
CONFIG_ADVICE = "give the project's labelling config with --label-config: it names the texts"
OTHER_OBJECT_BY_TYPE = {"hypertextlabels": "HyperText", "paragraphlabels": "Paragraphs"}
OTHER_OBJECT_ADVICE = {
    "HyperText": "its offsets point into HTML elements, not into a text: declare the object as "
    "<Text> in the labelling config, and annotate there",
    "Paragraphs": "its offsets count from the start of each paragraph, not in one text: import the "
    "dialogue as one text, and declare it as <Text> in the labelling config",
}
# Fields of a value that name its control, for regions that are not of a <Labels>.
OTHER_CONTROLS = ("taxonomy", "choices", "rating", "number", "datetime")
MAX_SCORE = 1.0  # also for a region without a score
MIN_SCORE = 1e-6  # Label Studio refuses 0


def name_task(task: Mapping[str, Any], number: int) -> str:
    """The id of a task as text; without one, its number in the file."""
    identifier = task.get("id")
    return str(number if identifier in (None, "") else identifier)


def find_value(data: object, key: str) -> object:
    """Find a value in a task's data by its key, or by a path; None if there is none.

    As in the editor, ``a.b[0].c`` is first a key, then a path through objects and arrays.
    """
    if isinstance(data, dict) and key in data:
        return data[key]
    value = data
    for index, name in PATH_STEP.findall(key):
        step = index or name
        if isinstance(value, dict):
            value = value.get(step)
        elif isinstance(value, list) and ARRAY_INDEX.fullmatch(step) and int(step) < len(value):
            value = value[int(step)]
        else:
            return None
    return value


def to_shown_text(value: object) -> str | None:
    """The text that the editor shows for a text or a number; None for anything else."""
    if isinstance(value, str):
        return value
    if type(value) not in (int, float):  # not isinstance, which accepts True
        return None
    number = repr(value).removesuffix(".0")
    is_plain = number.lstrip("-").replace(".", "", 1).isdigit() and number != "-0"
    return number if is_plain and abs(float(number)) < MAX_EXACT_INTEGER else None


def read_text_ranges(document: Document, config: LabelConfig) -> list[tuple[LabelConfig, int, int]]:
    """Find each ``<Text>`` of a config in the text of a document, as half-open ranges.

    Raises:
        FormatError: If the document is not of a task with these texts.
    """
    if not config.other_texts:
        return [(config, 0, len(document.text))]
    ranges = document.meta.get(TEXT_RANGES_KEY)
    found = []
    for text in config.texts:
        match ranges.get(text.object) if isinstance(ranges, dict) else None:
            case [int(start), int(end)] if 0 <= start <= end <= len(document.text):
                found.append((text, start, end))
            case _:
                raise FormatError(
                    f"document {document.id!r:.60} does not say which part of it belongs in "
                    f"<Text name={text.object!r:.60}>: give a config with one <Text>",
                    code="text-ranges-missing",
                )
    return found


def split_texts(
    document: Document, prediction: Prediction, config: LabelConfig
) -> Iterator[tuple[Document, Prediction]]:
    """Divide a predicted task with several texts into a document for each, as exports are read."""
    if TEXT_RANGES_KEY not in document.meta or not document.text.strip():
        yield document, prediction
        return
    meta = {key: value for key, value in document.meta.items() if key != TEXT_RANGES_KEY}
    for text, start, end in read_text_ranges(document, config):
        if start == end:
            continue
        name = f"{document.id}@{text.object}"
        spans = tuple(
            replace(span, start=span.start - start, end=span.end - start)
            for whole in prediction.spans
            for span in _cut(document, whole, start, end)
        )
        dropped = tuple(
            replace(lost, start=lost.start - start, end=lost.end - start, document=name)
            for lost in prediction.dropped
            if start <= lost.start < end
        )
        part = Document(name, document.text[start:end], meta=meta)
        yield part, replace(prediction, spans=spans, dropped=dropped, tag_confidences=())


def _cut(document: Document, span: Span, start: int, end: int) -> Iterator[Span]:
    # The words of a span from start to end, if any.
    part = document.text[max(span.start, start) : min(span.end, end)]
    if words := part.strip():
        first = max(span.start, start) + part.index(words)
        yield replace(span, start=first, end=first + len(words))


def place_texts(document: Document, config: LabelConfig) -> dict[str, Any]:
    """Make the data of a task with its texts where the config expects them.

    Raises:
        FormatError: If the config joins a text from several values, or `read_text_ranges` does.
    """
    data: Any = {}
    for text, start, end in read_text_ranges(document, config):
        if text.template:
            raise FormatError(
                f"<Text name={text.object!r:.60}> shows {text.template!r:.60}, from which no text "
                "can be read back: to write tasks, give a config with one key, such as "
                'value="$text"',
                code="text-in-template",
            )
        data = _place(data, PATH_STEP.findall(text.data_key), document.text[start:end])
    return dict(data)


def _place(value: Any, path: Sequence[tuple[str, str]], text: str) -> Any:
    if not path:
        return text
    (index, name), *rest = path
    if ARRAY_INDEX.fullmatch(index) and int(index) < MAX_PLACED_ITEMS:
        value = value if isinstance(value, list) else []
        items = [*value, *[None] * (int(index) + 1 - len(value))]
        items[int(index)] = _place(items[int(index)], rest, text)
        return items
    fields = value if isinstance(value, dict) else {}
    step = index or name
    return {**fields, step: _place(fields.get(step), rest, text)}


def without_text(data: Mapping[str, Any], config: LabelConfig) -> dict[str, Any]:
    """The data of a task but for the values that hold its texts."""
    keys = {UNDEFINED_KEY}
    for text in config.texts:
        key = text.data_key
        keys.add(key if text.template or key in data else first_step(key))
    return {name: value for name, value in data.items() if name not in keys}


def first_step(path: str) -> str:
    """The key of a task's data that a path begins with."""
    return next((index or name for index, name in PATH_STEP.findall(path)), path)


def find_text_key(data: object, where: str, *, hint: str | None = None) -> str:
    """Find the key of the text in a task's data without a labelling config, which would name it.

    The hint is the ``to_name`` of regions, which often equals the key.

    Raises:
        FormatError: If there is no text, or there are several and none is named.
    """
    fields = data if isinstance(data, dict) else {}
    texts = {name: value for name, value in fields.items() if isinstance(value, str)}
    for name in (hint, "text"):
        if name is not None and to_shown_text(fields.get(name)) is not None:
            return name
    if len(texts) == 1:
        return next(iter(texts))
    raise FormatError(
        f"{where} has {len(texts) or 'no'} texts in its data ({format_names(texts or fields)}): "
        + CONFIG_ADVICE,
        code="task-text-not-unique",
    )


def format_names(names: Collection[str]) -> str:
    """Quote the first five names for a message, and count the rest."""
    shown = ", ".join(f"{name!r:.60}" for name in list(names)[:5])
    return f"{shown} and {len(names) - 5} more" if len(names) > 5 else shown or "nothing"


def is_span_result(item: Mapping[str, Any], where: str) -> bool:
    """Whether an item is a region over a ``<Text>``.

    Raises:
        FormatError: If it is one of a ``<HyperText>`` or ``<Paragraphs>``.
    """
    value = span_value(item)
    kind = item.get("type", SPAN_TYPE if SPAN_TYPE in value else None)
    if kind == SPAN_TYPE and "startOffset" not in value:  # nearly all
        return "start" in value and "end" in value
    name = OTHER_OBJECT_BY_TYPE.get(str(kind))
    if kind == SPAN_TYPE:  # beside the number of a paragraph, or a path
        name = "Paragraphs" if str(value.get("start")).isdecimal() else "HyperText"
    if name is not None:
        raise other_object_error(f"{where} has a region in", name)
    return False


def other_object_error(subject: str, name: str) -> FormatError:
    """The refusal of an object other than ``<Text>``, by the name of its tag."""
    return FormatError(f"{subject} <{name}>: {OTHER_OBJECT_ADVICE[name]}", code=name.lower())


def span_value(item: Mapping[str, Any]) -> Mapping[str, Any]:
    """The ``value`` of an item of a result; empty if it is not an object."""
    value = item.get("value")
    return value if isinstance(value, dict) else {}


def raw_span_from_value(value: Mapping[str, Any], where: str) -> RawSpan:
    """Read the ``value`` of a region without checking it against the text.

    Raises:
        FormatError: If offsets are not whole numbers, or labels are not text.
    """
    start, end, labels = value.get("start"), value.get("end"), value.get(SPAN_TYPE) or []
    text = value.get("text")
    if not type(start) is type(end) is int and type(text) is str:
        # A region of an <Audio> has no text, and counts seconds.
        start, end = (
            int(one) if isinstance(one, float) and one.is_integer() else one for one in (start, end)
        )
    if type(start) is not int or type(end) is not int:  # not isinstance, which accepts True
        raise FormatError(
            f"{where} has a region from {start!r:.40} to {end!r:.40}: offsets in a <Text> are "
            "whole numbers",
            code="region-offsets-not-integers",
        )
    if not isinstance(labels, list) or set(map(type, labels)) - {str}:
        raise FormatError(
            f"{where} has a region with the labels {labels!r:.60}: they must be text",
            code="region-labels-not-text",
        )
    return RawSpan(start, end, tuple(labels), text if type(text) is str else _join_texts(text))


def unlabelled_span(item: Mapping[str, Any]) -> RawSpan | None:
    """The stretch of a region of another control than ``<Labels>``; None if there is none."""
    value = span_value(item)
    start, end, text = value.get("start"), value.get("end"), value.get("text")
    if type(start) is not int or type(end) is not int or start >= end:
        return None
    fields = (name for name in OTHER_CONTROLS if name in value)
    kind = str(item.get("type") or next(fields, "another"))
    # In a region of a <TextArea>, the text is what the annotator wrote: a list.
    return RawSpan(start, end, (), text if isinstance(text, str) else "", control_type=kind)


def _join_texts(parts: object) -> str:
    is_texts = isinstance(parts, list) and all(isinstance(part, str) for part in parts)
    return " ".join(parts) if is_texts else ""  # type: ignore[arg-type]


def result_from_spans(document: Document, spans: Sequence[Span], config: LabelConfig) -> list[Any]:
    """Write spans as items of a result; labels may be names, values or aliases of the config.

    A span over several texts is cut into one for each.
    """
    if not config.other_texts:
        return [_result_item(document, span, config) for span in dict.fromkeys(spans)]
    ranges = read_text_ranges(document, config) if spans else []
    return [
        _result_item(document, piece, text, text_start=start)
        for span in dict.fromkeys(spans)
        for text, start, end in ranges
        for piece in _cut(document, span, start, end)
    ]


def _result_item(
    document: Document, span: Span, config: LabelConfig, *, text_start: int = 0
) -> dict[str, Any]:
    content = f"{document.id}\0{span.start}\0{span.end}\0{span.label}"
    label = config.names_by_spelling.get(span.label, span.label)
    item = {
        # From document and span only, because Label Studio drops the id when it copies an item. A
        # document id from JSON may hold a lone surrogate.
        "id": hashlib.blake2b(content.encode(errors="surrogatepass"), digest_size=5).hexdigest(),
        "from_name": config.control,
        "to_name": config.object,
        "type": SPAN_TYPE,
        "value": {
            "start": span.start - text_start,
            "end": span.end - text_start,
            "text": document.span_text(span),
            SPAN_TYPE: [label],
        },
    }
    return item if span.score is None else {**item, "score": span.score}


def prediction_to_label_studio(
    document: Document, prediction: Prediction, config: LabelConfig
) -> dict[str, Any]:
    """Write a prediction for ``/predict`` and imports, with scores in (0, 1] as these demand."""
    spans = [replace(span, score=_clamp_score(span.score)) for span in prediction.spans]
    return {
        "model_version": prediction.version,
        "score": _clamp_score(prediction.score),
        "result": result_from_spans(document, spans, config),
    }


def is_place(score: object) -> bool:
    """Whether the score of a stored prediction is its place in a queue, not a confidence."""
    return isinstance(score, int | float) and score < 0


def _clamp_score(score: float | None) -> float:
    # Label Studio refuses a whole request for one score outside (0, 1].
    if score is None:
        return MAX_SCORE
    return MIN_SCORE if math.isnan(score) else min(max(float(score), MIN_SCORE), MAX_SCORE)
