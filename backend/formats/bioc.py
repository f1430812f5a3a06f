"""BioC documents, which BioC XML and BioC JSON have alike.

A document has passages, or passages of sentences, each with its offset in the document. Offsets of
annotations count from the start of the document too. The text of a document is its passages at
their offsets, with blanks between them.

Format: Comeau et al., Database 2013, bat064. The library `bioc` writes documents. Its readers keep
a whole file in memory, and resolve the entities of XML, so we read documents ourselves.
"""

from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain, pairwise
from operator import attrgetter
from typing import Any, NamedTuple

from bioc import BioCAnnotation, BioCDocument, BioCLocation, BioCPassage

from tagalong.backend.annotations.import_log import ImportLog
from tagalong.backend.formats.standoff import StandoffDocument
from tagalong.ner.document import Document
from tagalong.ner.errors import FormatError
from tagalong.ner.text_sanitizing import escape_unprintable, reject_lone_surrogates

ADVICE = "correct the program that wrote the file: offsets count from the start of the document"
LABEL_KEY, COMPOSITE_KEY = "type", "CompositeRole"
# Names of corpora for ids of terminologies, in lower case.
CONCEPT_KEYS = frozenset(
    {"accession", "chebi", "identifier", "mesh", "ncbi gene", "ncbi taxonomy", "omim"}
)
MAX_GAP = 100_000  # characters between two passages; more is a wrong offset
MAX_OFFSET = 10**12


class _Passage(NamedTuple):
    offset: int
    text: str


class _Place(NamedTuple):
    offset: int  # of a passage, as stated
    start: int  # in the text


def parse_bioc_document(
    value: Mapping[str, Any], where: str, default_id: str, import_log: ImportLog
) -> StandoffDocument:
    """Make a document of one in the form of BioC JSON; counts what it leaves out.

    It is set aside if fields are missing or of a wrong type, or if passages overlap.
    """
    try:
        return _parse_document(value, where, default_id, import_log)
    except FormatError as error:
        return StandoffDocument(
            escape_unprintable(str(value.get("id") or default_id)), "", error=error
        )


def _parse_document(
    value: Mapping[str, Any], where: str, default_id: str, import_log: ImportLog
) -> StandoffDocument:
    where = f"{where} (id {value['id']!s:.40})" if value.get("id") else where
    passages = _objects(value, "passages", where)
    sentences = [one for passage in passages for one in _objects(passage, "sentences", where)]
    text, places = _join_passages(_parse_passages(passages, where), where)
    start = places[0].offset if places else 0
    name = reject_lone_surrogates(str(value.get("id") or default_id), where, field="id")
    standoff = StandoffDocument(name, reject_lone_surrogates(text, where))
    left_out = Counter[str]()
    for part in (value, *passages, *sentences):
        left_out["relation"] += len(_objects(part, "relations", where))
        annotations = _objects(part, "annotations", where)
        passage_start = _find_place(part, places, where) + start if annotations else 0
        for annotation in annotations:
            left_out += _add_annotation(standoff, annotation, start, passage_start, where)
    for kind, count in (+left_out).items():
        import_log.record_warning(kind, standoff.id, count=count)
    return standoff


def iterate_documents(value: object, where: str) -> Iterator[Mapping[str, Any]]:
    """The documents of a collection, of nested collections, or one document itself."""
    if not isinstance(value, Mapping):
        raise _unreadable(where, f"{value!r:.40} is no document")
    inner = value.get("documents")
    if inner is None:
        yield value
        return
    yield from chain.from_iterable(
        iterate_documents(one, where) for one in _objects(value, "documents", where)
    )


def document_to_bioc(document: Document) -> BioCDocument:
    """Make a document of one passage."""
    made, passage = BioCDocument(), BioCPassage()
    made.id, passage.offset, passage.text = document.id, 0, document.text
    for number, span in enumerate(document.spans, start=1):
        annotation = BioCAnnotation()
        annotation.id, annotation.text = f"T{number}", document.span_text(span)
        annotation.infons[LABEL_KEY] = span.label
        annotation.add_location(BioCLocation(span.start, span.end - span.start))
        passage.add_annotation(annotation)
    made.add_passage(passage)
    return made


def _parse_passages(passages: Sequence[Mapping[str, Any]], where: str) -> Iterator[_Passage]:
    # A passage has a text of its own, or sentences with theirs.
    for passage in passages:
        parts = [passage] if passage.get("text") else _objects(passage, "sentences", where)
        for part in parts:
            text = part.get("text") or ""
            if not isinstance(text, str):
                raise _unreadable(where, f"{text!r:.40} is no text")
            if text:
                yield _Passage(_number(part, "offset", where), text)


def _join_passages(passages: Iterable[_Passage], where: str) -> tuple[str, list[_Place]]:
    # Also the place of each passage in the text, in order. A section of a paper need not begin
    # at 0.
    ordered = sorted(passages, key=lambda one: one.offset)
    # Offsets of the passages show how a file counts. The texts that its annotations state show it
    # to the reader of the annotations too.
    by_counting = ([*_gaps(ordered, width)] for width in (len, _utf16_width, _utf8_width))
    tight = (gaps for gaps in by_counting if set(gaps) <= {0, 1})
    gaps = next(tight, [*_gaps(ordered, len)])
    for gap, before, passage in zip(gaps, ordered, ordered[1:], strict=False):
        if not 0 <= gap <= MAX_GAP:
            raise _unreadable(
                where,
                f"a passage begins at {passage.offset}, but the one before it ends at "
                f"{before.offset + len(before.text)}",
            )
    pieces, places, length = [], list[_Place](), 0
    for gap, passage in zip([0, *gaps], ordered, strict=False):
        pieces += [" " * gap, passage.text]
        places.append(_Place(passage.offset, length + gap))
        length += gap + len(passage.text)
    return "".join(pieces), places


def _find_place(part: Mapping[str, Any], places: Sequence[_Place], where: str) -> int:
    # Where a passage or sentence begins in the text, if it says so.
    offset = 0 if part.get("offset") is None else _number(part, "offset", where)
    number = bisect_right(places, offset, key=attrgetter("offset"))
    return offset - places[number - 1].offset + places[number - 1].start if number else 0


def _gaps(passages: Sequence[_Passage], width: Callable[[str], int]) -> Iterator[int]:
    for before, passage in pairwise(passages):
        yield passage.offset - before.offset - width(before.text)


def _utf16_width(text: str) -> int:
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def _utf8_width(text: str) -> int:
    return len(text.encode("utf-8", "surrogatepass"))


def _add_annotation(
    standoff: StandoffDocument,
    annotation: Mapping[str, Any],
    start: int,
    passage_start: int,
    where: str,
) -> Counter[str]:
    # Returns what was left out. The text of the document begins at the start.
    infons = annotation.get("infons") or {}
    if not isinstance(infons, Mapping):
        raise _unreadable(where, f"the infons {infons!r:.40} are no object")
    if infons.get(COMPOSITE_KEY) == "IndividualMention":
        return Counter({"individual mention": 1})
    label, text = infons.get(LABEL_KEY), annotation.get("text") or ""
    if not (label is None or isinstance(label, str)) or not isinstance(text, str):
        raise _unreadable(where, f"an annotation has the type {label!r:.40} and {text!r:.40}")
    stretches = []
    for location in _objects(annotation, "locations", where):
        offset = _number(location, "offset", where) - start
        stretches.append((offset, offset + _number(location, "length", where)))
    standoff.add_annotation(label or None, stretches or [(0, 0)], text, passage_start)
    others = {key.lower() for key, stated in infons.items() if stated} - {
        LABEL_KEY,
        COMPOSITE_KEY.lower(),
    }
    return Counter("concept id" if key in CONCEPT_KEYS else "attribute" for key in others)


def _objects(value: Mapping[str, Any], key: str, where: str) -> list[Mapping[str, Any]]:
    items = value.get(key, [])
    if items is None:
        return []
    if not isinstance(items, list) or not all(isinstance(one, Mapping) for one in items):
        raise _unreadable(where, f"its {key} are no list of objects")
    return items


def _number(value: Mapping[str, Any], key: str, where: str) -> int:
    stated = value.get(key)
    try:
        number = int(stated) if isinstance(stated, int | str) else MAX_OFFSET
    except ValueError:
        number = MAX_OFFSET  # refused below
    if not -MAX_OFFSET < number < MAX_OFFSET:
        raise _unreadable(where, f"the {key} {stated!r:.40} is no place in a text")
    return number


def _unreadable(where: str, problem: str) -> FormatError:
    return FormatError(
        f"{where} is no BioC document: {problem}; correct the program that wrote the file",
        code="bioc-document-unreadable",
    )
