"""PubTator: titles, abstracts, what is left out, bad input and round trips."""

from pathlib import Path

import pytest
from bioc import pubtator
from hypothesis import given, settings
from hypothesis import strategies as st

from tagalong.backend.batch.files import open_source
from tagalong.ner.document import Document, Span
from tagalong.ner.errors import FormatError, OutputError
from tagalong.training.corpus import Corpus, read_corpus, write_documents
from tests.errors import assert_wording, raises
from tests.odd_documents import odd_documents

SAMPLES = Path(__file__).parents[2] / "samples"
# The form of BC5CDR's own files.
CONTENT = (
    "7|t|Acute renal and hepatic failure. \n"
    "7|a|Lithium may do it.\n"
    "7\t6\t31\trenal and hepatic failure\tDisease\tD1|D2\trenal failure|hepatic failure\n"
    "7\t34\t41\tLithium\tChemical\tD008094\n"
    "7\t0\t5\tAcute\tDisease\t-1\n"
    "7\tCID\tD008094\tD1\n"
    "7\tAssociation\tD008094\t672\tNovel\n"
)
SECOND = "".join(f"6{line[1:]}\n" for line in CONTENT.splitlines())
TEXT = "Acute renal and hepatic failure.  Lithium may do it."
SPANS = (Span(0, 5, "Disease"), Span(6, 31, "Disease"), Span(34, 41, "Chemical"))


@pytest.fixture
def read(tmp_path: Path):
    def read(content: str) -> Corpus:
        path = tmp_path / "x"
        path.write_bytes(content.encode())
        return read_corpus([path])

    return read


def warned(corpus: Corpus) -> dict[str, int]:
    return {warning.kind: warning.count for warning in corpus.warnings}


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("start", ["", "\ufeff", "\n\n"])
def test_file_is_read_and_what_is_left_out_is_counted(read, end: str, start: str) -> None:
    content = start + CONTENT + "\n" + "8|t|Lithium.\n8|a|\n" + "9|a|Only.\n9\t0\t4\tOnly\tX\n"
    corpus = read(content.replace("\n", end))
    assert corpus.documents == (
        Document("7", TEXT, SPANS),
        Document("8", "Lithium."),
        Document("9", "Only.", (Span(0, 4, "X"),)),
    )
    assert warned(corpus) == {"relation": 2, "concept id": 2, "individual mention": 2}


def test_title_longer_than_the_head_of_a_file(read) -> None:
    title = "lithium " * 10_000
    corpus = read(f"7|t|{title}\n7\t79992\t79999\tlithium\tDrug\n")
    assert corpus.documents == (Document("7", title, (Span(79_992, 79_999, "Drug"),)),)


def test_offsets_outside_the_text_are_counted(read) -> None:
    corpus = read(CONTENT + "7\t40\t99\tx\tA\n7\t5\t5\tx\tA\n7\t-1\t5\tx\tA\n")
    assert len(corpus.dropped) == 3


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("8\t0\t5\tAcute\tDisease", "pubtator-other-document"),
        ("7\t0\t5\tAcute", "pubtator-line-unknown"),
        ("7\t0\t5\tAcute\tDisease\tD1\tx\ty", "pubtator-line-unknown"),
        ("7\t0", "pubtator-line-unknown"),
        ("7", "pubtator-line-unknown"),
        (f"7\t{'9' * 5000}\t5\tAcute\tDisease\tD1", "pubtator-line-unknown"),
        ("T1\tDisease 0 5\tAcute", "pubtator-other-document"),
        ("Acute renal failure", "pubtator-line-unknown"),
        ("7 0 5 Acute Disease", "pubtator-line-unknown"),
    ],
)
def test_document_with_another_line_is_set_aside(
    read, tmp_path: Path, line: str, code: str
) -> None:
    line = line.replace("7", "6", 1)
    corpus = read(f"{CONTENT}\n{SECOND}{line}\n\n9|t|Lithium.\n")
    assert [one.id for one in corpus.documents] == ["7", "9"]
    assert corpus.documents[0].spans == SPANS
    (warning,) = [one for one in corpus.warnings if one.kind == "task set aside"]
    assert warning.count == 1
    assert f"{tmp_path / 'x'}, line 16 " in warning.examples[0]
    assert_wording(warning.examples[0], code)
    with raises(FormatError, code):  # without a good document
        read(f"{SECOND}{line}\n")


@pytest.mark.parametrize("title", ["8|x|Lithium.", "\n8 Lithium.", "\n8\t0\t7\tLithium\tDrug"])
def test_document_without_its_title_is_set_aside_alone(read, title: str) -> None:
    corpus = read(f"{CONTENT}{title}\n8|a|It may do.\n8\t0\t7\tLithium\tDrug\n9|t|Lithium.\n")
    assert [one.id for one in corpus.documents] == ["7", "9"]
    assert warned(corpus)["task set aside"] >= 1


def test_document_of_a_row_elsewhere_is_not_read_without_it(read) -> None:
    row = "8\t0\t7\tLithium\tDrug\n"
    corpus = read(f"{CONTENT}\n{SECOND}{row}8|t|Lithium.\n9|t|Lithium.\n")
    assert [one.id for one in corpus.documents] == ["7", "9"]
    assert warned(corpus)["task set aside"] == 2
    with raises(FormatError, "pubtator-other-document"):
        read(f"8|t|Lithium.\n{CONTENT}{row}9|t|Lithium.\n")


def test_texts_of_good_documents_are_read(read, tmp_path: Path) -> None:
    (tmp_path / "x").write_text(f"{CONTENT}\n{SECOND}6\t0\n\n9|t|Lithium.\n")
    with open_source(tmp_path / "x") as source:
        assert [(one.key, one.document is None) for one in source] == [
            ("7", False), ("6", True), ("9", False)
        ]  # fmt: skip


def test_file_of_another_kind_is_refused_by_its_first_lines(read, tmp_path: Path) -> None:
    paragraphs = "".join(f"\n{number} is some text.\n" for number in range(30))
    with raises(FormatError, "pubtator-line-unknown") as raised:
        read(f"a|t|b\n{paragraphs}{CONTENT}")
    assert f"{tmp_path / 'x'}, line 3 " in str(raised.value)


def test_id_may_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    document = Document("\ufeff1", "Fever.")
    write_documents([document], tmp_path / "x", "pubtator")
    assert read_corpus([tmp_path / "x"]).documents == (document,)


@settings(max_examples=40)
@given(st.lists(odd_documents(), min_size=1, max_size=3, unique_by=lambda one: one.id))
def test_documents_round_trip(
    tmp_path_factory: pytest.TempPathFactory, documents: list[Document]
) -> None:
    out = tmp_path_factory.mktemp("odd") / "x"
    written = write_documents(documents, out, "pubtator")
    blank = str.maketrans({"\n": " ", "\r": " ", "\0": "\ufffd"})
    assert written.replaced_characters == sum(
        one.text.count("\n") + one.text.count("\r") + one.text.count("\0") for one in documents
    )
    corpus = read_corpus([out])
    assert corpus.documents == tuple(
        Document(one.id, one.text.translate(blank), one.spans) for one in documents
    )
    assert (corpus.warnings, corpus.dropped, written.dropped) == ((), (), ())


def test_title_ends_at_the_first_line_or_sentence(tmp_path: Path) -> None:
    documents = [Document("1", "A. b\nC. d"), Document("2", "A. b"), Document("3", "A b")]
    write_documents(documents, tmp_path / "x", "pubtator")
    theirs = pubtator.loads((tmp_path / "x").read_text())
    assert [(one.title, one.abstract) for one in theirs] == [
        ("A. b", "C. d"), ("A.", "b"), ("A b", "")
    ]  # fmt: skip


@pytest.mark.parametrize("identifier", ["", "a|b", "a\tb", "a\nb", " a", "a\0"])
def test_ids_that_would_break_lines_are_refused(tmp_path: Path, identifier: str) -> None:
    with raises(OutputError, "id-not-for-format"):
        write_documents([Document(identifier, TEXT)], tmp_path / "x", "pubtator")


@pytest.mark.parametrize("label", ["a\tb", "a\nb", "a "])
def test_labels_that_would_break_lines_are_refused(tmp_path: Path, label: str) -> None:
    with raises(OutputError, "label-not-for-format"):
        write_documents([Document("1", TEXT, (Span(0, 5, label),))], tmp_path / "x", "pubtator")


def test_bc5cdr_as_its_makers_distribute_it_equals_ours(tmp_path: Path) -> None:
    ours = read_corpus([SAMPLES / "bc5cdr_test.jsonl"]).documents
    theirs = []
    for document in ours:
        title, _, abstract = document.text.partition(". ")
        made = pubtator.PubTator(document.id, f"{title}.", abstract)
        for span in document.spans:
            covered = document.span_text(span)
            made.add_annotation(
                pubtator.PubTatorAnn(
                    document.id, span.start, span.end, covered, span.label, "D1", ["a|b"]
                )
            )
        made.add_relation(pubtator.PubTatorRel(document.id, "CID", "D1", "D2"))
        theirs.append(made)
    (tmp_path / "x").write_text(pubtator.dumps(theirs))
    assert read_corpus([tmp_path / "x"]).documents == ours
