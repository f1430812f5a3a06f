"""CoNLL files: tagging schemes, columns and round trips."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tagalong.ner.document import Document, Span
from tagalong.ner.errors import FormatError, OutputError
from tagalong.ner.tags import TagSet
from tagalong.ner.words import word_offsets
from tagalong.training.corpus import Corpus, read_corpus, write_documents
from tests.errors import raises
from tests.odd_documents import LABELS, odd_documents

WORDS = ["Acute", "renal", "failure", "lithium", "aspirin", "again"]


@pytest.fixture
def read(tmp_path: Path):
    def read(content: str) -> Corpus:
        path = tmp_path / "some.conll"
        path.write_bytes(content.encode())
        return read_corpus([path])

    return read


def rows(*tags: str) -> str:
    return "".join(f"{word}\t{tag}\n" for word, tag in zip(WORDS, tags, strict=True))


def covered(document: Document) -> list[tuple[str, str]]:
    return [(document.span_text(span), span.label) for span in document.spans]


TRUTH = [("Acute renal failure", "D"), ("lithium", "C"), ("aspirin", "C")]


@pytest.mark.parametrize(
    ("tags", "orphans"),
    [
        (("B-D", "I-D", "I-D", "B-C", "B-C", "O"), 0),  # IOB2
        (("I-D", "I-D", "I-D", "I-C", "B-C", "O"), 2),  # IOB1
        (("B-D", "I-D", "E-D", "S-C", "S-C", "O"), 0),  # IOBES
        (("B-D", "I-D", "L-D", "U-C", "U-C", "O"), 0),  # BILOU
        (("B-D", "I-D", "I-D", "I-C", "B-C", "O"), 1),  # broken IOB2
        (("I-D", "I-D", "E-D", "E-C", "E-C", "O"), 3),  # broken IOBES
    ],
)
def test_tagging_schemes_are_read_alike(read, tags: tuple[str, ...], orphans: int) -> None:
    corpus = read(rows(*tags))
    assert covered(corpus.documents[0]) == TRUTH
    assert corpus.documents[0].text == " ".join(WORDS)
    assert sum(warning.count for warning in corpus.warnings) == orphans
    assert {warning.kind for warning in corpus.warnings} <= {"I- without B-"}


def test_inside_tag_after_o_begins_an_entity(read) -> None:
    (document,) = read(rows("B-D", "O", "I-D", "O", "I-C", "I-D")).documents
    assert covered(document) == [
        ("Acute", "D"), ("failure", "D"), ("aspirin", "C"), ("again", "D")
    ]  # fmt: skip


@pytest.mark.parametrize(
    "content",
    [
        "EU NNP B-NP B-ORG\nrejects VBZ B-VP O\n\nPeter NNP B-NP B-PER\n",
        "-DOCSTART- -X- -X- O\n\nEU NNP B-NP B-ORG\nrejects VBZ B-VP O\n\n\nPeter NNP B-NP B-PER",
        "\ufeff# a remark\r\nEU\tB-ORG\r\nrejects\tO\r\n \r\nPeter\tB-PER\r\n\r\n",
        "-DOCSTART- -X- O\nEU -X- _ B-ORG\nrejects -X- _ O\n\nPeter -X- _ B-PER\n\n",
    ],
)
def test_columns_comments_and_line_ends(read, content: str) -> None:
    documents = read(content).documents
    assert [document.id for document in documents] == ["some#1", "some#2"]
    assert [document.text for document in documents] == ["EU rejects", "Peter"]
    assert [covered(document) for document in documents] == [[("EU", "ORG")], [("Peter", "PER")]]


def test_docstart_lines_group_sentences(read) -> None:
    corpus = read(
        "-DOCSTART- -X- O\n\nEU B-ORG\nrejects O\n\nPeter B-PER\n\n"
        "-DOCSTART- -X- O\n\nLisbon B-LOC\n"
    )
    assert [document.text for document in corpus.documents] == ["EU rejects\nPeter", "Lisbon"]
    assert covered(corpus.documents[0]) == [("EU", "ORG"), ("Peter", "PER")]


def test_brackets_and_labels_with_spaces(read) -> None:
    (document,) = read("[\tNN\tO\n{\tB-gene or\tB-Gene or gene product\n").documents
    assert covered(document) == [("{", "Gene or gene product")]


@pytest.mark.parametrize(
    ("row", "code"),
    [
        ("word", "conll-columns-differ"),
        ("word\tnoun\tO", "conll-columns-differ"),
        ("\tO", "conll-row-without-token"),
        ("word\tnoun", "conll-row-without-tag"),
        ("word\tB-", "conll-row-without-tag"),
        ("word\tX-D", "conll-row-without-tag"),
    ],
)
@pytest.mark.parametrize("good", ["word\tO\n" * 30, "word\tB-D\n" * 30])
def test_rows_of_another_kind_are_refused_with_line_number(
    read, good: str, row: str, code: str
) -> None:
    if (row, good[5]) == ("word\tnoun", "O"):
        return  # a plain label
    with raises(FormatError, code) as raised:
        read(f"{good}{row}\n")
    assert "line 31 " in str(raised.value)


@given(odd_documents())
def test_word_tags_round_trip(tmp_path_factory: pytest.TempPathFactory, document: Document) -> None:
    path = tmp_path_factory.mktemp("odd") / "x.conll"
    tags = TagSet(LABELS)
    tagged = tags.encode(document)
    written = write_documents([document], path, "conll")
    assert written.dropped == tagged.dropped
    assert written.document_count == bool(tagged.words)
    if not tagged.words:
        return  # nothing to read
    corpus = read_corpus([path])
    (back,) = corpus.documents
    again = tags.encode(back)
    assert again.tags == tuple(max(tag, 0) for tag in tagged.tags)
    assert [back.text[start:end] for start, end in again.words] == [
        document.text[start:end] for start, end in tagged.words
    ]
    assert corpus.warnings == ()


@pytest.mark.parametrize("text", ["\ufeffa", "# a", "[ b", "{ b", '{"a": 1}', "-DOCSTART-"])
def test_first_word_may_be_anything(tmp_path: Path, text: str) -> None:
    write_documents([Document("1", text)], tmp_path / "x.conll", "conll")
    (back,) = read_corpus([tmp_path / "x.conll"]).documents
    words = [text[start:end] for start, end in word_offsets(text)]
    assert back.text.split(" ") == words


def test_label_with_line_break_is_refused(tmp_path: Path) -> None:
    document = Document("1", "Aspirin", (Span(0, 7, "a\nb"),))
    with raises(OutputError, "label-not-for-conll"):
        write_documents([document], tmp_path / "x.conll", "conll")
    assert not any(tmp_path.iterdir())


@given(st.text(st.sampled_from("ab \t\n\r\0\x0b\x85\u2028-O"), min_size=1, max_size=4))
def test_label_round_trips_or_is_refused(
    tmp_path_factory: pytest.TempPathFactory, label: str
) -> None:
    path = tmp_path_factory.mktemp("odd") / "x.conll"
    document = Document("1", "Aspirin", (Span(0, 7, label),))
    try:
        write_documents([document], path, "conll")
    except OutputError:
        assert not label.isalpha()
        return
    assert read_corpus([path]).documents[0].spans == document.spans
