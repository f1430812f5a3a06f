"""TSV of mentions: where the text is, quoting, bad input and round trips."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tagalong.ner.document import Document, Span
from tagalong.ner.errors import FormatError, OutputError
from tagalong.training.corpus import Corpus, read_corpus, write_documents
from tests.errors import assert_wording, raises
from tests.odd_documents import odd_documents

TEXT = "Lithium may do it to 5' cells."
DOCUMENT = Document("7", TEXT, (Span(0, 7, "Drug"), Span(21, 29, "Cell")))
HEADER = "id\tstart\tend\ttext\tlabel\n"
MENTIONS = "7\t0\t7\tLithium\tDrug\n7\t21\t29\t5' cells\tCell\n"


@pytest.fixture
def read(tmp_path: Path):
    def read(content: str) -> Corpus:
        path = tmp_path / "x.tsv"
        path.write_bytes(content.encode())
        return read_corpus([path])

    return read


@pytest.mark.parametrize(
    "content",
    [
        HEADER + f"7\t\t\t{TEXT}\t\n" + MENTIONS,
        HEADER + MENTIONS + f"7\t\t\t{TEXT}\t\n",
        HEADER + f"7\t0\t7\t{TEXT}\tDrug\n7\t21\t29\t{TEXT}\tCell\n",  # in every row
        f"7\t0\t7\t{TEXT}\tDrug\n7\t21\t29\t{TEXT}\tCell\n",
        MENTIONS + f"7\t\t\t{TEXT}\t",
        "PMID\tType\tmore\tStart\tEnd\tMention\n7\tDrug\tx\t0\t7\tLithium\n"
        f"7\tCell\tx\t21\t29\t5' cells\n7\t\tx\t\t\t{TEXT}\n",
        f'{HEADER}"7"\t""\t\t"{TEXT}"\t\n{MENTIONS}',
    ],
)
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_tables_of_every_shape(read, content: str, end: str) -> None:
    assert read(content.replace("\n", end)).documents == (DOCUMENT,)


def test_text_beside_the_table(read, tmp_path: Path) -> None:
    (tmp_path / "7.txt").write_text(TEXT)
    assert read(HEADER + MENTIONS).documents == (DOCUMENT,)
    (tmp_path / "9.txt").write_text("Lithium")
    with raises(FormatError, "table-without-text"):
        read(HEADER + f"../{tmp_path.name}/9\t0\t7\tLithium\tDrug\n")


@pytest.mark.parametrize(
    "rows",
    [
        "7\t0\t1\tLithium\tDrug\n",  # cuts a word
        "7\t0\t1\tLithium\tDrug\n7\t5\t6\tLithium\tDrug\n",
        # Of two documents, the first alone could be a text.
        "7\t0\t2\tof cells\tCell\n8\t0\t1\tLithium\tDrug\n8\t4\t5\tcells\tCell\n",
    ],
)
def test_mentions_counted_in_tokens_are_no_texts(read, rows: str) -> None:
    with raises(FormatError, "table-without-text"):
        read(HEADER + rows)


def test_parts_of_words_in_texts_of_every_row(read) -> None:
    rows = "7\t0\t2\tIL2 helps\tGene\n7\t2\t3\tIL2 helps\tNumber\n"
    whole = f"8\t0\t7\t{TEXT}\tDrug\n9\t21\t29\t{TEXT}\tCell\n"
    assert [one.text for one in read(HEADER + rows + whole).documents] == ["IL2 helps", TEXT, TEXT]


def test_quotes_that_do_not_pair_are_characters(read) -> None:
    corpus = read(f'{HEADER}7\t\t\t"Lithium" or not\t\n7\t0\t9\t"Lithium"\tDrug\n')
    assert corpus.documents == (Document("7", '"Lithium" or not', (Span(0, 9, "Drug"),)),)


@pytest.mark.parametrize(
    ("row", "code"),
    [
        ("8\t0\t7\tLithium", "table-row-unknown"),
        ("8\t0\tx\tLithium\tDrug", "table-row-unknown"),
        ("8\t\t7\tLithium\tDrug", "table-row-unknown"),
        ("\t0\t7\tLithium\tDrug", "table-row-unknown"),
        ("8\t\t\tLithium\tDrug", "table-row-unknown"),
        (f"8\t0\t{'9' * 5000}\tLithium\tDrug", "table-row-unknown"),
        ("8\t0\t7\tLithium\tDrug", "table-without-text"),
        ("8\t\t\tLithium\t\n8\t\t\tLithium\t", "table-without-text"),
    ],
)
def test_document_of_a_broken_row_is_set_aside(read, tmp_path: Path, row: str, code: str) -> None:
    content = f'{HEADER}7\t\t\t"{TEXT}\n"\t\n{MENTIONS}{row}\n'
    corpus = read(f"{content}9\t\t\tLithium\t\n")
    assert [(one.id, len(one.spans)) for one in corpus.documents] == [("7", 2), ("9", 0)]
    (warning,) = corpus.warnings
    assert (warning.kind, warning.count) == ("task set aside", 1)
    assert f"{tmp_path / 'x.tsv'}, line {6 + row.count(chr(10))}" in warning.examples[0]
    assert_wording(warning.examples[0], code)
    with raises(FormatError, code):  # without a good document
        read(f"{HEADER}{row}\n")


@pytest.mark.parametrize("row", ["# a note", "1O\t0\t7\tLithium\tDrug", "7\t1"])
def test_rows_around_an_odd_one_are_one_odd_document(read, row: str) -> None:
    corpus = read(f"{HEADER}6\t\t\tA\t\n7\t\t\t{TEXT}\t\n{row}\n{MENTIONS}9\t\t\tB\t\n")
    assert [one.id for one in corpus.documents] == ["6", "9"]
    assert [one.count for one in corpus.warnings] == [1]


def test_rows_apart_are_refused_if_their_document_was_good(read, tmp_path: Path) -> None:
    with raises(FormatError, "table-rows-apart") as raised:
        read(f"{HEADER}7\t\t\t{TEXT}\t\n6\t\t\tLithium\t\n{MENTIONS}")
    assert f"{tmp_path / 'x.tsv'}, line 4 " in str(raised.value)
    corpus = read(f"{HEADER}7\t1\n6\t\t\tLithium\t\n{MENTIONS}8\t\t\tB\t\n7\t\t\tC\t\n")
    assert [one.id for one in corpus.documents] == ["6", "8"]


def test_few_odd_documents_wait_for_their_other_rows(read, monkeypatch: pytest.MonkeyPatch) -> None:
    odd = "".join(f"{name}\t0\t7\tLithium\tDrug\n" for name in ("a", "b"))
    content = f"{HEADER}6\t\t\tB\t\n7\t\t\t{TEXT}\t\n{odd}{MENTIONS}"
    assert [one.id for one in read(content).documents] == ["6"]
    monkeypatch.setattr("tagalong.backend.formats.mention_table.MAX_WAITING", 2)
    with raises(FormatError, "table-rows-apart"):  # the document was passed on
        read(content)


def test_file_of_another_kind_is_refused_by_its_first_rows(read, tmp_path: Path) -> None:
    rows = "".join(f"w{number}\t0\t7\tNN\tDT\n" for number in range(30))
    with raises(FormatError, "table-without-text") as raised:
        read(f"{rows}7\t\t\t{TEXT}\t\n")
    assert f"{tmp_path / 'x.tsv'}, line 1:" in str(raised.value)


@settings(max_examples=40)
@given(st.lists(odd_documents(), min_size=1, max_size=3, unique_by=lambda one: one.id))
def test_documents_round_trip(
    tmp_path_factory: pytest.TempPathFactory, documents: list[Document]
) -> None:
    out = tmp_path_factory.mktemp("odd") / "x"
    written = write_documents(documents, out, "tsv")
    assert written.replaced_characters == sum(one.text.count("\0") for one in documents)
    corpus = read_corpus([out])
    assert corpus.documents == tuple(
        Document(one.id, one.text.replace("\0", "\ufffd"), one.spans) for one in documents
    )
    assert (corpus.warnings, corpus.dropped, written.dropped) == ((), (), ())


def test_masked_ranges_and_long_texts_round_trip(tmp_path: Path) -> None:
    text = 'lithium "x" ' * 20_000
    document = Document('a"\t', text, (Span(12, 19, "A B"),), masked_ranges=((0, 7),))
    assert write_documents([document], tmp_path / "x", "tsv").masked_range_count == 0
    assert read_corpus([tmp_path / "x"]).documents == (document,)


def test_what_cannot_be_held_is_refused(tmp_path: Path) -> None:
    with raises(OutputError, "id-not-for-format"):
        write_documents([Document("", TEXT)], tmp_path / "x", "tsv")
    with raises(OutputError, "label-not-for-format"):
        write_documents([Document("7", TEXT, (Span(0, 7, "\0"),))], tmp_path / "x", "tsv")


def test_table_of_tokens_and_tags_is_no_such_table(read) -> None:
    corpus = read("1\t0\t7\tLithium\tB-Drug\n1\t8\t11\tmay\tO\n")
    assert corpus.sources[0].format == "CoNLL"
