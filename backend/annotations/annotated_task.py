"""A task of an export: its text, its annotations, and the rest of its data."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from tagalong.backend.documents.offsets import RawSpan
from tagalong.ner.document import Document
from tagalong.ner.errors import InputError

# A text without spans, and its annotations as a file states them.
StatedDocument = tuple[Document, Sequence[RawSpan]]
MAX_SECONDS = 1e15  # since 1970; times in milliseconds too are below it


@dataclass(frozen=True, slots=True)
class Annotation:
    """One person's annotation of one task."""

    annotator: str  # empty where unknown
    updated_at: float  # seconds since 1970; 0 where unknown
    regions: tuple[RawSpan, ...]
    ground_truth: bool = False
    is_partial: bool = False  # about its regions alone: the rest of the text is unknown


def seconds_from_number(value: object) -> float:
    """The seconds since 1970 of an annotation; 0 for what is no number, or too large for a time."""
    is_time = isinstance(value, int | float) and abs(value) < MAX_SECONDS
    return float(value) if is_time else 0.0  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class AnnotatedTask:
    """One task, whose text may be missing."""

    name: str
    document: Document | None  # the expected text, without spans; None where there is none
    annotations: Sequence[Annotation] = ()
    data: Mapping[str, Any] = field(default_factory=dict)
    error: InputError | None = None  # the reason why there is no document

    def other_texts(self) -> Iterator[tuple[str, str]]:
        """The paths and texts of the data, nested ones too, but for the expected text."""
        expected = None if self.document is None else self.document.text
        for path, text in _iterate_texts(self.data):
            if text != expected:
                yield path, text

    def with_text_under(self, path: str) -> Document | None:
        """The document with the text under a path; None if there is none."""
        text = next((text for other, text in self.other_texts() if other == path), None)
        if text is None:
            return None
        meta = {name: value for name, value in self.data.items() if name != path}
        if self.document is None:
            return Document(self.name, text, meta=meta)
        return replace(self.document, text=text, meta=meta)


def _iterate_texts(data: object) -> Iterator[tuple[str, str]]:
    # Paths as in labelling configs: a.b[0].c
    stack: list[tuple[str, object]] = [("", data)]
    while stack:
        path, value = stack.pop()
        match value:
            case str():
                yield path, value
            case dict():
                inner = [(f"{path}.{key}" if path else str(key), one) for key, one in value.items()]
                stack += reversed(inner)
            case list():
                stack += reversed([(f"{path}[{i}]", one) for i, one in enumerate(value)])
