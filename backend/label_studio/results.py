"""Label Studio's tasks and results: where a text is, result -> regions, spans -> result.

Field names are those of Label Studio 1.23's JSON export and prediction format
(https://labelstud.io/guide/export, https://labelstud.io/guide/predictions). Text offsets there
count Unicode code points, carriage return and line feed one each, as in Python.
"""

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from tagalong.backend.documents.offsets import RawSpan
from tagalong.ner.document import Document, Prediction, Span
from tagalong.ner.errors import FormatError

UNDEFINED_KEY = "$undefined$"  # what Label Studio calls the text of tasks imported from plain text
CONFIG_ADVICE = "say which with --label-config and the project's labelling config"
HYPERTEXT_ADVICE = (
    "its offsets point into HTML elements, not into a text: declare the object as <Text> in the "
    "labelling config, and annotate there"
)
TextEncoding = Literal[
    "text",  # the data hold the text itself
    "url",  # they hold an address; the editor shows what is there
    "base64",  # they hold base64; the editor shows one character for each byte
    "base64unicode",  # they hold base64 of UTF-8; the editor shows the characters
]
MAX_SCORE = 1.0  # the score of a region that nobody has given one
MIN_SCORE = 1e-6  # the score of a region that a model gives none, or next to none


@dataclass(frozen=True, slots=True)
class LabelConfig:
    """What a labelling config says about annotating spans of a text.

    Attributes:
        control: Name of the ``<Labels>``, the ``from_name`` of every region.
        object: Name of the ``<Text>``, the ``to_name`` of every region.
        data_key: Key of the text in a task's data.
        labels: Names in the order of the config: the alias of a label where it has one, because
            Label Studio accepts nothing else in predictions, and its value otherwise.
        names_by_spelling: Every value and alias, with the name it stands for.
        predicted_values: Labels of models, with the name of the label that claims them in its
            ``predicted_values``; one that two labels claim is not among them.
        text_encoding: How the data hold the text that the editor shows.
    """

    control: str
    object: str
    data_key: str
    labels: tuple[str, ...]
    names_by_spelling: Mapping[str, str] = field(hash=False)
    predicted_values: Mapping[str, str] = field(default_factory=dict, hash=False)
    text_encoding: TextEncoding = "text"


DEFAULT_LABEL_CONFIG = LabelConfig(
    control="label", object="text", data_key="text", labels=(), names_by_spelling={}
)


def find_text_key(data: object, where: str, *, key: str | None, hint: str | None = None) -> str:
    """Find out under which key of its data a task holds the text.

    Args:
        data: The task's ``data``.
        where: Which task, for messages.
        key: The data key, where a labelling config says it.
        hint: Where none does: the name of the object that regions point to, often the same.

    Returns:
        A key of the data, whose value is text.

    Raises:
        FormatError: If there is no such text, or several and nothing says which.
    """
    fields = data if isinstance(data, dict) else {}
    texts = {name: value for name, value in fields.items() if isinstance(value, str)}
    for name in (hint, "text") if key is None else (key, UNDEFINED_KEY):
        if name is not None and name in texts:
            return name
    if key is not None:
        raise FormatError(
            f"{where} has no text under {key!r}, where the labelling config expects it, only "
            f"{format_names(fields)}: give the config of the very project that was exported"
        )
    if len(texts) == 1:
        return next(iter(texts))
    raise FormatError(
        f"{where} has {len(texts) or 'no'} texts in its data ({format_names(texts or fields)}): "
        + CONFIG_ADVICE
    )


def format_names(names: Mapping[str, Any]) -> str:
    """Write names for a message; a task may have hundreds.

    Args:
        names: Keys of a task's data.

    Returns:
        The first five, and how many more there are.
    """
    shown = ", ".join(f"{name!r:.60}" for name in list(names)[:5])
    return f"{shown} and {len(names) - 5} more" if len(names) > 5 else shown or "nothing"


def require_plain_text(config: LabelConfig) -> None:
    """Check that the tasks of a project hold their texts, as exports must to be learned from.

    Args:
        config: The project's labelling config.

    Raises:
        FormatError: If they hold addresses or encoded texts.
    """
    if config.text_encoding != "text":
        raise FormatError(
            f"<Text name={config.object!r}> holds a URL or an encoded text, which offsets do not "
            'count: import the plain text, and leave out valueType="url" and encoding'
        )


def is_span_result(item: Mapping[str, Any], where: str) -> bool:
    """Whether an item of a result is a labelled stretch of text, and not another control's.

    Args:
        item: One item of a result.
        where: Which task, for messages.

    Returns:
        True for ``<Labels>`` over ``<Text>``; False for choices, relations, rectangles and others.

    Raises:
        FormatError: If it is a stretch of a ``<HyperText>``.
    """
    value = item.get("value")
    if not isinstance(value, dict):
        return False
    kind = item.get("type", "labels" if "labels" in value else None)
    if kind == "hypertextlabels" or (kind == "labels" and "startOffset" in value):
        raise FormatError(f"{where} has a region in <HyperText>: {HYPERTEXT_ADVICE}")
    return kind == "labels" and "start" in value and "end" in value


def raw_span_from_value(value: Mapping[str, Any], where: str) -> RawSpan:
    """Read the value of a labelled stretch of text, unchecked.

    Args:
        value: The ``value`` of an item of a result.
        where: Which task, for messages.

    Returns:
        The region; without labels where the annotator chose none.

    Raises:
        FormatError: If offsets are not whole numbers, or labels are not text.
    """
    start, end, labels = value.get("start"), value.get("end"), value.get("labels") or []
    if type(start) is not int or type(end) is not int:  # not isinstance: True is an int to it
        raise FormatError(
            f"{where} has a region from {start!r} to {end!r}: offsets in a <Text> are whole numbers"
        )
    if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
        raise FormatError(f"{where} has a region with the labels {labels!r}: they must be text")
    text = value.get("text")
    return RawSpan(start, end, tuple(labels), text if isinstance(text, str) else "")


def result_from_spans(document: Document, spans: Sequence[Span], config: LabelConfig) -> list[Any]:
    """Write spans as a result, for a prediction or an annotation.

    Args:
        document: What the spans belong to.
        spans: Their labels are names, values or aliases of the config.
        config: The project's labelling config.

    Returns:
        One item per span. Ids are the same every time, and unique within the document.
    """
    return [_result_item(document, span, config) for span in dict.fromkeys(spans)]


def _result_item(document: Document, span: Span, config: LabelConfig) -> dict[str, Any]:
    """One item of a result. Label Studio leaves out the id when it copies one without."""
    content = f"{document.id}\0{span.start}\0{span.end}\0{span.label}"
    label = config.names_by_spelling.get(span.label, span.label)
    item = {
        # An id that came by JSON can hold half a character.
        "id": hashlib.blake2b(content.encode(errors="surrogatepass"), digest_size=5).hexdigest(),
        "from_name": config.control,
        "to_name": config.object,
        "type": "labels",
        "value": {
            "start": span.start,
            "end": span.end,
            "text": document.span_text(span),
            "labels": [label],
        },
    }
    return item if span.score is None else {**item, "score": span.score}


def prediction_to_label_studio(
    document: Document, prediction: Prediction, config: LabelConfig
) -> dict[str, Any]:
    """Write a prediction as Label Studio takes it, from ``/predict`` and on import.

    Args:
        document: What was predicted for.
        prediction: What a tier said.
        config: The project's labelling config.

    Returns:
        Version, score and result. Every score is in (0, 1], as Label Studio demands.
    """
    spans = [replace(span, score=_clamp_score(span.score)) for span in prediction.spans]
    return {
        "model_version": prediction.version,
        "score": _clamp_score(prediction.score),
        "result": result_from_spans(document, spans, config),
    }


def is_place(score: object) -> bool:
    """Whether the score of a stored prediction is a place in the queue, and not a confidence."""
    return isinstance(score, int | float) and score < 0


def _clamp_score(score: float | None) -> float:
    """A score that Label Studio takes: one it refuses costs the predictions of a whole batch."""
    if score is None:
        return MAX_SCORE
    return MIN_SCORE if math.isnan(score) else min(max(float(score), MIN_SCORE), MAX_SCORE)
