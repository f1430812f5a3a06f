"""spaCy's DocBin: round trips, missing annotation, damaged files, and a missing spaCy."""

import importlib.util
import sys
import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tagalong.backend.batch.files import open_source
from tagalong.ner.document import Document, Span
from tagalong.ner.errors import FormatError, InputError
from tagalong.training.corpus import read_corpus, write_documents
from tests.errors import raises
from tests.odd_documents import odd_documents

needs_spacy = pytest.mark.skipif(
    importlib.util.find_spec("spacy") is None, reason="spaCy is an extra: pip install -e '.[spacy]'"
)
DOCUMENT = Document(
    "a",
    "Renal failure, K+ and IL2.",
    (
        Span(0, 13, "Disease"),
        Span(6, 13, "Disease"),
        Span(15, 16, "Chemical"),
        Span(22, 24, "Gene"),
    ),
    masked_ranges=((18, 21), (24, 26)),
)


@needs_spacy
def test_overlaps_word_parts_and_masked_ranges_are_held(tmp_path: Path) -> None:
    path = tmp_path / "train.spacy"
    written = write_documents([DOCUMENT, Document("b", "")], path, "spacy")
    assert (written.dropped, written.masked_range_count) == ((), 0)
    corpus = read_corpus([path])
    assert [source.format for source in corpus.sources] == ["spaCy DocBin"]
    assert corpus.documents == (DOCUMENT, Document("b", ""))
    assert corpus.warnings == ()


@needs_spacy
def test_files_of_spacy_are_read(tmp_path: Path) -> None:
    import spacy
    from spacy.tokens import DocBin
    from spacy.tokens import Span as DocSpan

    language = spacy.blank("en")
    annotated, bare = language("Lithium caused\ntremor 😀."), language("Nothing here.")
    annotated.ents = [annotated.char_span(0, 7, "Chemical", kb_id="Q1")]
    annotated.cats = {"positive": 1.0}
    annotated.spans["other"] = [DocSpan(annotated, 1, 2, label="X")]
    path = tmp_path / "dev.spacy"
    DocBin(docs=[annotated, bare], store_user_data=True).to_disk(path)
    corpus = read_corpus([path])
    assert [(one.id, one.text, one.spans) for one in corpus.documents] == [
        ("dev#1", annotated.text, (Span(0, 7, "Chemical"),))
    ]
    kinds = {warning.kind: warning.count for warning in corpus.warnings}
    assert kinds == {
        "task without annotation": 1, "span group": 1, "concept id": 1, "other annotation": 1
    }  # fmt: skip
    with open_source(path) as source:
        assert [item.document and item.document.text for item in source] == [
            annotated.text,
            bare.text,
        ]


@needs_spacy
@given(st.lists(odd_documents(), min_size=1, max_size=4, unique_by=lambda one: one.id))
def test_documents_round_trip(
    tmp_path_factory: pytest.TempPathFactory, documents: list[Document]
) -> None:
    path = tmp_path_factory.mktemp("spacy") / "train.spacy"
    assert write_documents(documents, path, "spacy").dropped == ()
    corpus = read_corpus([path])
    assert corpus.documents == tuple(documents)
    assert corpus.dropped == ()


@needs_spacy
@pytest.mark.parametrize("cut", [30, 100])
def test_damaged_file_is_refused(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "train.spacy"
    write_documents([DOCUMENT], path, "spacy")
    path.write_bytes(path.read_bytes()[:cut])
    with raises(FormatError, "docbin-broken"):
        read_corpus([path])


def test_other_binary_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "train.spacy"
    path.write_bytes(zlib.compress(b"something else"))
    with raises(FormatError, "binary-format-unknown"):
        read_corpus([path])


def test_missing_spacy_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "spacy", None)  # as if it were not installed
    path = tmp_path / "train.spacy"
    with raises(InputError, "spacy-missing"):
        write_documents([DOCUMENT], path, "spacy")
    assert not path.exists()
    path.write_bytes(zlib.compress(b"\x8a\xa7version\xa30.1\xa5attrs\x91\x01"))
    with raises(InputError, "spacy-missing"):
        read_corpus([path])
