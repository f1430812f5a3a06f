"""Documents with error-prone offsets: emoji, CRLF, double spaces, combining marks.

Also Label Studio tasks with these documents.
"""

from typing import Any

from hypothesis import strategies as st

from tagalong.ner.document import Document, Span
from tagalong.ner.words import trim_to_words

LABELS = ("Chemical", "Disease", "Gene or gene product")
PIECES = (
    "Ca2+",
    "β-cell",
    "naïve",
    "nai\u0308ve",
    "😀",
    "𝛼-helix",
    "👩\u200d⚕️",
    "1,2-",
    "\\n",
    "x",
)
GAPS = (" ", "  ", "\r\n", "\n", "\t", "\u00a0", "", "\u2028", "\x85", "\0")

texts = st.lists(st.sampled_from(PIECES + GAPS), max_size=12).map("".join)


@st.composite
def spans_in(draw: st.DrawFn, text: str, most: int = 4) -> list[Span]:
    """Trimmed spans of a text. They may overlap and begin or end inside words."""
    if not text.strip():
        return []
    place = st.tuples(st.integers(0, len(text) - 1), st.integers(1, 12), st.sampled_from(LABELS))
    found = []
    for start, length, label in draw(st.lists(place, max_size=most)):
        if trimmed := trim_to_words(text, start, start + length):
            found.append(Span(*trimmed, label))
    return list(dict.fromkeys(found))


@st.composite
def odd_documents(draw: st.DrawFn) -> Document:
    """A document with an odd text and any distinct spans."""
    text = draw(texts)
    return Document(draw(st.uuids()).hex, text, tuple(draw(spans_in(text))))


def in_utf16(text: str, offset: int) -> int:
    """Convert an offset in code points to UTF-16 units, which JavaScript counts."""
    return len(text[:offset].encode("utf-16-le")) // 2


def shown(text: str) -> str:
    """The text of a region as Label Studio stores it."""
    return text.replace("\r", "\\r").replace("\n", "\\n")


def region(text: str, start: int, end: int, *labels: str, **more: Any) -> dict[str, Any]:
    """A region of a result."""
    stated = shown(text[start:end]) if 0 <= start < end <= len(text) else ""
    value = {"start": start, "end": end, "text": stated, "labels": list(labels)}
    item = {"from_name": "label", "to_name": "text", "type": "labels", "value": value}
    return {"id": f"{start}.{end}", **item, **more}


def annotation(*items: dict[str, Any], by: object = 1, **more: Any) -> dict[str, Any]:
    """A submitted annotation."""
    dates = {"created_at": "2026-11-22T18:08:35.192592Z", "updated_at": "2026-11-22T18:08:35Z"}
    return {"completed_by": by, "result": list(items), "was_cancelled": False, **dates, **more}


def task(
    text: str, *annotations: dict[str, Any], number: object = 1, **more: Any
) -> dict[str, Any]:
    """A task of an export."""
    return {"id": number, "annotations": list(annotations), "data": {"text": text}, **more}
