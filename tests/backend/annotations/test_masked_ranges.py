"""Masked ranges, from the export to the tags: their words are never learnt as O."""

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tagalong.backend.documents.jsonl import document_to_json
from tagalong.ner.document import Document, Span
from tagalong.ner.errors import FormatError, OffsetError
from tagalong.ner.tags import IGNORE_INDEX, OUTSIDE, TagSet
from tagalong.ner.words import word_offsets
from tagalong.training.corpus import compute_fingerprint, read_corpus
from tagalong.training.corpus.hash_split import split_documents
from tagalong.training.corpus.write import write_documents
from tests.errors import raises
from tests.odd_documents import LABELS, annotation, odd_documents, region, spans_in, task
from tests.spans import document_from_json

# BC5CDR, train, document 227508 (public domain).
TEXT = "Naloxone reverses the antihypertensive effect of clonidine."
EFFECT = (22, 45)
NALOXONE = region(TEXT, 0, 8, "Chemical")
WORDS = {TEXT[start:end]: i for i, (start, end) in enumerate(word_offsets(TEXT))}


@st.composite
def documents_with_masked_ranges(draw: st.DrawFn) -> Document:
    document = draw(odd_documents())
    stretches = ((span.start, span.end) for span in draw(spans_in(document.text)))
    return replace(document, masked_ranges=tuple(stretches))


def read(tmp_path, *annotations) -> Document:
    path = tmp_path / "export.json"
    path.write_text(json.dumps([task(TEXT, *annotations)]), encoding="utf-8")
    (document,) = read_corpus([path]).documents
    return document


def masked(document: Document) -> list[str]:
    tagged = TagSet(LABELS).encode(document)
    return [
        document.text[start:end]
        for (start, end), tag in zip(tagged.words, tagged.tags, strict=True)
        if tag == IGNORE_INDEX
    ]


def test_outvoted_span_is_masked(tmp_path) -> None:
    drawn = region(TEXT, *EFFECT, "Disease")
    document = read(tmp_path, annotation(NALOXONE, drawn, by=1), annotation(NALOXONE, by=2))
    assert document.masked_ranges == (EFFECT,)
    assert masked(document) == ["antihypertensive", "effect"]
    assert TagSet(LABELS).encode(document).tags[WORDS["clonidine"]] == OUTSIDE


def test_outvoted_boundary_masks_only_the_disputed_words(tmp_path) -> None:
    short, long = region(TEXT, 22, 38, "Disease"), region(TEXT, 22, 45, "Disease")
    votes = (annotation(short, by=1), annotation(short, by=2), annotation(long, by=3))
    document = read(tmp_path, *votes)
    assert document.spans == (Span(22, 38, "Disease"),)
    assert masked(document) == ["effect"]


def test_region_without_label_is_masked(tmp_path) -> None:
    document = read(tmp_path, annotation(NALOXONE, region(TEXT, 49, 58)))
    assert masked(document) == ["clonidine"]


@given(documents_with_masked_ranges())
def test_uncovered_words_of_masked_ranges_are_masked(document: Document) -> None:
    sure = TagSet(LABELS).encode(replace(document, masked_ranges=()))
    unsure = TagSet(LABELS).encode(document)
    assert (unsure.words, unsure.dropped) == (sure.words, sure.dropped)
    for (start, end), before, after in zip(sure.words, sure.tags, unsure.tags, strict=True):
        touched = any(start < last and first < end for first, last in document.masked_ranges)
        assert after == (IGNORE_INDEX if touched and before == OUTSIDE else before)


@given(documents_with_masked_ranges())
def test_masked_ranges_round_trip_through_json_lines(document: Document) -> None:
    line = json.loads(json.dumps(document_to_json(document)))
    assert ("unknown" in line) == bool(document.masked_ranges)
    assert document_from_json(line, "line 1") == document


def test_masked_ranges_survive_convert_and_split(tmp_path) -> None:
    document = Document("1", TEXT, (Span(0, 8, "Chemical"),), masked_ranges=(EFFECT,))
    write_documents([document], tmp_path / "corpus.jsonl", "jsonl")
    (back,) = read_corpus([tmp_path / "corpus.jsonl"]).documents
    assert back == document
    sides = split_documents([back], {"train": 0.5, "dev": 0.5})
    assert [one for side in sides.values() for one in side] == [document]


@pytest.mark.parametrize(("target", "count"), [("jsonl", 0), ("conll", 2), ("label-studio", 2)])
def test_masked_ranges_that_a_format_drops_are_counted(tmp_path, target, count) -> None:
    document = Document("1", TEXT, (Span(0, 8, "Chemical"),), masked_ranges=(EFFECT, (49, 58)))
    written = write_documents([document, Document("2", TEXT)], tmp_path / "x", target)
    assert (written.masked_range_count, written.dropped) == (count, ())


def test_fingerprint_covers_masked_ranges() -> None:
    sure = Document("1", TEXT, (Span(0, 8, "Chemical"),))
    names = {
        compute_fingerprint([replace(sure, masked_ranges=one)])
        for one in ((), ((0, 8),), (EFFECT,))
    }
    assert len(names) == 3


def test_other_masked_ranges_make_another_document(tmp_path) -> None:
    path = tmp_path / "corpus.jsonl"
    line = {"id": "1", "text": TEXT, "entities": []}
    lines = [line, {**line, "unknown": [[22, 45]]}, {**line, "unknown": [[22, 45]]}]
    path.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    corpus = read_corpus([path])
    assert [document.masked_ranges for document in corpus.documents] == [(), (EFFECT,)]
    assert [one.kind for one in corpus.warnings] == ["duplicate document", "annotated again"]


@pytest.mark.parametrize("stretch", [(3, 3), (5, 2), (-1, 4), (0, len(TEXT) + 1)])
def test_masked_range_outside_the_text_is_refused(stretch: tuple[int, int]) -> None:
    with raises(OffsetError, "stretch-outside-text"):
        Document("1", TEXT, masked_ranges=(stretch,))
    line = {"id": "1", "text": TEXT, "entities": [], "unknown": [list(stretch)]}
    with raises(FormatError, "unknown-outside-text") as raised:
        document_from_json(line, "f, line 3")
    assert str(raised.value).startswith("f, line 3 ")


@pytest.mark.parametrize("unknown", ["x", {}, [3], [[1]], [[1, 2, 3]], [["1", 2]], [[True, 2]]])
def test_malformed_masked_range_is_refused(unknown: object) -> None:
    line = {"id": "1", "text": TEXT, "entities": [], "unknown": unknown}
    with raises(FormatError, "unknown-invalid"):
        document_from_json(line, "f, line 3")
