"""Clinical sentences in scripts without Latin letters, with entities; drug names in both."""

import re
from pathlib import Path

from tagalong.ner.document import Document, Span

LANGUAGES = ("zh", "ja", "ko", "th", "hi", "ar")
FOLDER = Path(__file__).parent / "samples" / "languages"
LABELS = ("Chemical", "Disease")
LABEL_BY_BRACKET = dict(zip("[{", LABELS, strict=True))


def read_sentences(language: str) -> list[Document]:
    """A document for each line of a sample, whose brackets are its entities."""
    lines = (FOLDER / f"{language}.txt").read_text(encoding="utf-8").splitlines()
    return [_read_line(f"{language}-{number}", line) for number, line in enumerate(lines, start=1)]


def _read_line(name: str, line: str) -> Document:
    text, spans = "", []
    for before, bracket, mention in re.findall(r"([^\[{]*)(?:([\[{])([^\]}]*)[\]}])?", line):
        text += before
        if mention:
            spans.append(Span(len(text), len(text) + len(mention), LABEL_BY_BRACKET[bracket]))
            text += mention
    return Document(name, text, tuple(spans))
