"""spaCy's DocBin: the binary files ``*.spacy`` that ``spacy train`` reads.

It needs spaCy, which is an extra, but no pipeline. Nothing is unpickled: a DocBin is compressed
msgpack with arrays of integers. Entities are ``Doc.ents`` and the span group "sc", where spans may
overlap. Tokens without annotation are masked ranges. Files that we write have a token border at
each edge of a span, so that none is lost.
"""

import json
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from tagalong.backend.annotations.import_log import ImportLog
from tagalong.backend.annotations.span_validation import validate_raw_spans
from tagalong.backend.documents.jsonl import (
    document_text_from_json,
    document_to_json,
    masked_ranges_from_json,
    raw_spans_from_json,
)
from tagalong.backend.documents.offsets import RawSpan
from tagalong.backend.documents.source_item import SourceItem
from tagalong.backend.formats.file_format import (
    FileFormat,
    FormatWriter,
    ReadOptions,
    SerializedDocument,
)
from tagalong.backend.formats.records import choose_flat_spans, name_document
from tagalong.backend.formats.sniff import FileHead
from tagalong.backend.formats.spacy_json import SPAN_GROUP
from tagalong.backend.label_studio.label_config import LabelConfig
from tagalong.ner.document import Document, Span
from tagalong.ner.errors import FormatError, InputError
from tagalong.ner.words import overlapping_words, word_offsets

if TYPE_CHECKING:
    from spacy.tokens import Doc

WRITTEN_ATTRIBUTES = ("ENT_IOB", "ENT_TYPE")
MISSING = 0  # ``Token.ent_iob`` of a token without annotation
SNIFFED_BYTES, SNIFFED_CONTENT_BYTES = 1024, 64
ATTRIBUTES_KEY = b"\xa5attrs"  # in msgpack
# What spaCy and numpy raise for damaged files.
READ_ERRORS = (ValueError, KeyError, IndexError, TypeError, OverflowError)


@dataclass(frozen=True, slots=True)
class _AnnotatedDoc:
    document: Document  # with masked ranges, without spans
    raw_spans: Sequence[RawSpan]
    is_annotated: bool
    left_out: Mapping[str, int]  # numbers by the kind of the warning


def is_docbin(head: FileHead) -> bool:
    """Whether a file is compressed, and begins like a DocBin."""
    if head.structure != "binary":
        return False
    start = head.file.open_stream().read(SNIFFED_BYTES)
    try:
        content = zlib.decompressobj().decompress(start, SNIFFED_CONTENT_BYTES)
    except zlib.error:
        return False
    return ATTRIBUTES_KEY in content


def read_docbin(head: FileHead, options: ReadOptions, import_log: ImportLog) -> Iterator[Document]:
    """Read a document from each Doc; one without annotation is counted and left out.

    Raises:
        FormatError: If the file is damaged.
        InputError: If spaCy is not installed.
    """
    for doc in _read_docs(head):
        document = doc.document
        if not doc.is_annotated:
            import_log.record_warning("task without annotation", document.id)
            continue
        for kind, count in doc.left_out.items():
            import_log.record_warning(kind, document.id, count=count)
        spans = validate_raw_spans(
            document, doc.raw_spans, config=options.label_config, import_log=import_log
        )
        yield replace(document, spans=spans)


def read_docbin_texts(head: FileHead, _config: LabelConfig | None) -> Iterator[SourceItem]:
    """Read the text of each Doc, with or without annotation."""
    for position, doc in enumerate(_read_docs(head)):
        text = replace(doc.document, masked_ranges=())
        yield SourceItem(position, text.id, text)


def _check_spacy() -> None:
    try:
        import spacy  # noqa: F401
    except ImportError as error:
        raise InputError(
            "spaCy's binary files need spaCy: run pip install -e '.[spacy]' in Tagalong's folder",
            code="spacy-missing",
        ) from error


def _read_docs(head: FileHead) -> Iterator[_AnnotatedDoc]:
    _check_spacy()
    from spacy.tokens import DocBin
    from spacy.vocab import Vocab

    try:
        docs = DocBin().from_bytes(head.file.open_stream().read()).get_docs(Vocab())
        for number, doc in enumerate(docs, start=1):
            yield _parse_doc(doc, name_document(head, number), str(head.path))
    except READ_ERRORS as error:
        raise FormatError(
            f"{head.path} is a damaged DocBin of spaCy ({error!s:.100}): write it again",
            code="docbin-broken",
        ) from error


def _parse_doc(doc: "Doc", name: str, where: str) -> _AnnotatedDoc:
    stated = doc.user_data.get("id")
    document = document_text_from_json(
        {"id": stated if isinstance(stated, str | int) else name, "text": doc.text}, where
    )
    found = [*doc.ents, *doc.spans.get(SPAN_GROUP, ())]
    places = dict.fromkeys((one.start_char, one.end_char, one.label_) for one in found)
    return _AnnotatedDoc(
        replace(document, masked_ranges=tuple(_find_missing(doc))),
        [RawSpan(start, end, (label,) if label else ()) for start, end, label in places],
        is_annotated=not len(doc) or doc.has_annotation("ENT_IOB") or SPAN_GROUP in doc.spans,
        left_out=+Counter(
            {
                "span group": sum(len(doc.spans[key]) for key in doc.spans if key != SPAN_GROUP),
                "concept id": sum(bool(one.kb_id_) for one in doc.ents),
                "other annotation": len(doc.cats),
            }
        ),
    )


def _find_missing(doc: "Doc") -> Iterator[tuple[int, int]]:
    # Runs of tokens without annotation; none where only the span group is annotated.
    if not doc.has_annotation("ENT_IOB"):
        return
    start = end = -1
    for token in doc:
        if token.ent_iob == MISSING:
            start = token.idx if start < 0 else start
            end = token.idx + len(token)
        elif start >= 0:
            yield start, end
            start = -1
    if start >= 0:
        yield start, end


def _serialize(document: Document, _config: LabelConfig) -> SerializedDocument:
    # A DocBin has one vocabulary for all documents, so `_join` makes it.
    _check_spacy()
    kept, _ = choose_flat_spans(document)
    places = [(span.start, span.end) for span in kept]
    hits = (overlapping_words(places, start, end) for start, end in document.masked_ranges)
    hidden = sum(first < last for first, last in hits)
    line = json.dumps(document_to_json(document))
    return SerializedDocument(line, masked_range_count=hidden)


def _join(lines: Iterable[str]) -> Iterator[bytes]:
    from spacy.tokens import DocBin
    from spacy.vocab import Vocab

    docbin, vocab = DocBin(attrs=WRITTEN_ATTRIBUTES, store_user_data=True), Vocab()
    for line in lines:
        docbin.add(_make_doc(json.loads(line), vocab))
    yield docbin.to_bytes()


def _make_doc(line: Mapping[str, Any], vocab: Any) -> "Doc":
    from spacy.tokens import Doc
    from spacy.tokens import Span as DocSpan

    document = document_text_from_json(line, "")
    masked = masked_ranges_from_json(line, document, "")
    spans = tuple(Span(one.start, one.end, one.labels[0]) for one in raw_spans_from_json(line, ""))
    document = replace(document, spans=spans, masked_ranges=masked)
    tokens = _split_tokens(document)
    words = [document.text[start:end] for start, end in tokens]
    nexts = [*(start for start, _ in tokens), len(document.text)][1:]
    spaces = [after > end for (_, end), after in zip(tokens, nexts, strict=True)]
    doc = Doc(vocab, words=words, spaces=spaces, user_data={"id": document.id})
    starts = {start: index for index, (start, _) in enumerate(tokens)}
    ends = {end: index for index, (_, end) in enumerate(tokens, start=1)}

    def make(span: Span) -> DocSpan:
        return DocSpan(doc, starts[span.start], ends[span.end], label=span.label)

    kept, dropped = choose_flat_spans(document)
    entities = [make(span) for span in kept]
    known = {index for one in entities for index in range(one.start, one.end)}
    unknown = {
        index
        for start, end in document.masked_ranges
        for index in range(*overlapping_words(tokens, start, end))
    }
    missing = [DocSpan(doc, index, index + 1) for index in sorted(unknown - known)]
    doc.set_ents(entities, missing=missing, default="outside")
    if dropped:
        doc.spans[SPAN_GROUP] = [make(span) for span in document.spans]
    return doc


def _split_tokens(document: Document) -> list[tuple[int, int]]:
    # Words, and the white space between them; a blank behind a token belongs to it.
    edges = [edge for span in document.spans for edge in (span.start, span.end)]
    edges += [edge for stretch in document.masked_ranges for edge in stretch]
    edges += [edge for word in word_offsets(document.text) for edge in word]
    cuts = sorted({0, len(document.text), *edges})
    tokens: list[tuple[int, int]] = []
    span_starts = {span.start for span in document.spans}
    for start, end in pairwise(cuts):
        is_blank = document.text[start] == " " and start not in span_starts
        follows = bool(tokens) and tokens[-1][1] == start
        first = start + (is_blank and follows)
        if first < end:
            tokens.append((first, end))
    return tokens


DOCBIN_FORMAT = FileFormat(
    name="spaCy DocBin",
    matches=is_docbin,
    read_annotations=read_docbin,
    read_texts=read_docbin_texts,
    writer=FormatWriter(
        option="spacy", description="spaCy's DocBin", serialize=_serialize, join=_join
    ),
)
