"""WebAnno TSV 3: layers, offsets, annotations of several tokens, escapes and broken files."""

import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tagalong.backend.batch.files import open_source
from tagalong.ner.document import Document, Span
from tagalong.ner.errors import FormatError, OutputError
from tagalong.ner.words import word_offsets
from tagalong.training.corpus import Corpus, read_corpus, write_documents
from tests.errors import raises
from tests.odd_documents import in_utf16, odd_documents

HEAD = "#FORMAT=WebAnno TSV 3.3\n#T_SP=custom.Span|label\n\n\n"


@pytest.fixture
def read(tmp_path: Path):
    def read(content: str) -> Corpus:
        path = tmp_path / "some.tsv"
        path.write_text(content, encoding="utf-8", newline="")
        return read_corpus([path])

    return read


def covered(document: Document) -> list[tuple[str, str]]:
    return [(document.span_text(span), span.label) for span in document.spans]


def test_one_layer(read) -> None:
    corpus = read(
        HEAD + "#Text=Lithium caused tremor.\n1-1\t0-7\tLithium\tChemical\n1-2\t8-14\tcaused\t_\n"
        "1-3\t15-21\ttremor\tDisease\n"
    )
    assert [source.format for source in corpus.sources] == ["WebAnno TSV 3"]
    (document,) = corpus.documents
    assert document.text == "Lithium caused tremor."
    assert covered(document) == [("Lithium", "Chemical"), ("tremor", "Disease")]


# A file as INCEpTION writes it: several layers, sentences behind white space, an emoji, parts of
# tokens, stacks, an annotation over two sentences, trailing tabs.
LAYERS = (
    "#FORMAT=WebAnno TSV 3.3\n"
    "#T_SP=de.tudarmstadt.ukp.dkpro.core.api.lexmorph.type.pos.POS|PosValue|coarseValue\n"
    "#T_SP=de.tudarmstadt.ukp.dkpro.core.api.ner.type.NamedEntity|identifier|value\n"
    "#T_SP=webanno.custom.Negated\n"
    "#T_RL=webanno.custom.Causes|how|BT_de.tudarmstadt.ukp.dkpro.core.api.ner.type.NamedEntity\n"
    "\n\n"
    "#Text=😀 acute renal failure\n"
    "1-1\t2-4\t😀\tSYM\t*\t_\t_\t_\t_\t_\t\n"
    "1-2\t5-10\tacute\tADJ\t*\thttp://x/1[1]|*[2]\tDis\\_ease[1]|Finding[2]\t_\t_\t_\t\n"
    "1-3\t11-16\trenal\tADJ\t*\thttp://x/1[1]\tDis\\_ease[1]\t*\t_\t_\t\n"
    "1-3.1\t11-13\tre\t_\t_\t*\t*\t_\t_\t_\t\n"
    "1-4\t17-24\tfailure\tN\t*\thttp://x/1[1]\tDis\\_ease[1]\t_\tby\t1-2[1_0]\t\n"
    "\n"
    "#Text=of the\n#Text=left\n"
    "2-1\t30-32\tof\tP\t*\t_\t_\t_\t_\t_\t\n"
    "2-2\t33-36\tthe\tD\t*\t_\t_\t_\t_\t_\t\n"
    "2-3\t37-41\tleft\tN\t*\t*[4]\tSite[4]\t_\t_\t_\t\n"
    "\n"
    "#Text=kidney \\\\ | \\t\n"
    "3-1\t43-49\tkidney\tN\t*\t*[4]\tSite[4]\t_\t_\t_\t\n"
    "3-2\t50-51\t\\\\\tX\t*\t_\t_\t_\t_\t_\t\n"
)


def test_layers_stacks_and_parts(read) -> None:
    corpus = read(LAYERS)
    (document,) = corpus.documents
    assert document.text == "😀 acute renal failure\nof the\nleft\nkidney \\ | \t"
    assert covered(document) == [
        ("acute renal failure", "Dis_ease"),
        ("acute", "Finding"),
        ("renal", "Negated"),
        ("left\nkidney", "Site"),
    ]
    assert document.masked_ranges == ((8, 10),)  # a part without a label
    assert {one.kind: one.count for one in corpus.warnings} == {
        "relation": 1, "attribute": 1, "region without a label": 1
    }  # fmt: skip


def test_folder_of_files(tmp_path: Path) -> None:
    for name in ("a", "b/c"):
        path = tmp_path / f"{name}.tsv"
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"{HEAD}#Text={name}\n1-1\t0-{len(name)}\t{name}\tX\n")
    documents = read_corpus([tmp_path]).documents
    assert [(document.id, document.text) for document in documents] == [("a", "a"), ("b/c", "b/c")]


def test_numbers_begin_again_further_down(read) -> None:
    rows = "#Text=Fever\n{0}-1\t{1}-{2}\tFever\t{3}\n\n"
    values = ("D[1]", "D[1]", "_", "D[1]")  # the first two are one annotation
    sentences = (
        rows.format(number, 6 * number - 6, 6 * number - 1, value)
        for number, value in enumerate(values, start=1)
    )
    (document,) = read(HEAD + "".join(sentences)).documents
    assert document.spans == (Span(0, 11, "D"), Span(18, 23, "D"))


def test_parts_of_tokens_behind_an_emoji_in_code_points(read) -> None:
    rows = "1-1\t0-1\t\U0001f600\t_\n1-2\t2-5\tIL2\t_\n1-2.1\t2-4\tIL\tGene\n"
    (document,) = read(f"{HEAD}#Text=\U0001f600 IL2\n{rows}").documents
    assert document.spans == (Span(2, 4, "Gene"),)


def test_texts_of_a_folder_say_which_file_is_broken(tmp_path: Path) -> None:
    whole = HEAD + "#Text=Lithium\n1-1\t0-7\tLithium\t_\n"
    for name, content in {"a": whole, "b": whole.replace("Text=Lit", "Text=Hel")}.items():
        (tmp_path / f"{name}.tsv").write_text(content)
    with open_source(tmp_path) as source:
        first, second = source
    assert first.document == Document("a", "Lithium")
    assert second.document is None
    assert "b.tsv, line 6" in second.read_error


def test_offsets_in_code_points_or_none_at_all(read) -> None:
    rows = "#Text=😀 Li\n1-1\t{}\t😀\t_\n1-2\t{}\tLi\tChemical\n"
    for places in (("0-2", "3-5"), ("0-1", "2-4"), ("0-0", "9-9")):
        assert covered(read(HEAD + rows.format(*places)).documents[0]) == [("Li", "Chemical")]


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ("#FORMAT=WebAnno TSV 2\n", 1),
        (HEAD + "#Text=a\n1-1\t0-1\ta\n", 6),  # cut off
        (HEAD + "#Text=a\n1-1\t0-1\ta\tX\tY\n", 6),
        (HEAD + "#Text=a\na\tX\n", 6),
        (HEAD + "1-1\t0-1\ta\tX\n", 5),
        (HEAD + "#Text=abc\n1-1\t0-1\tx\tX\n", 6),
        ("#FORMAT=WebAnno TSV 3.2\n#T_XX=y\n", 2),
    ],
)
def test_broken_files_are_refused_with_their_line(read, content: str, line: int) -> None:
    with raises(FormatError, "webanno-broken") as raised:
        read(content)
    assert f"line {line} " in str(raised.value)


def test_file_without_a_layer_of_spans_is_refused(read) -> None:
    with raises(FormatError, "webanno-without-spans"):
        read("#FORMAT=WebAnno TSV 3.2\n#T_SP=x.pos.POS|v\n\n#Text=a\n1-1\t0-1\ta\tN\n")


SPECIAL = re.compile(r"[\\\[\]|_;*]|->|\t")


def escape(value: str) -> str:
    return SPECIAL.sub(lambda match: "\\" + match[0].replace("\t", "t"), value)


WORDS = st.text(st.sampled_from("aß😀|[1]_*\\;->高"), min_size=1, max_size=4)
LABELS = st.text(st.sampled_from("aB |[2]_*\\->;"), min_size=1, max_size=4).filter(str.strip)


@given(st.lists(st.lists(WORDS, min_size=1, max_size=4), min_size=1, max_size=3), st.data())
def test_annotations_come_back(
    tmp_path_factory: pytest.TempPathFactory, sentences: list[list[str]], data: st.DataObject
) -> None:
    text, tokens = "", []
    for sentence in sentences:
        text += "\n" if text else ""
        for index, word in enumerate(sentence):
            text += " " if index else ""
            tokens.append((len(text), len(text) + len(word)))
            text += word
    ends = st.tuples(st.integers(0, len(tokens) - 1), st.integers(0, len(tokens) - 1), LABELS)
    spans = {
        Span(tokens[min(pair)][0], tokens[max(pair)][1], label)
        for *pair, label in data.draw(st.lists(ends, max_size=5))
    }
    lines, position = [HEAD.rstrip("\n")], 0
    for number, sentence in enumerate(sentences, start=1):
        shown = " ".join(sentence).replace("\\", "\\\\")
        lines += ["", f"#Text={shown}"]
        for index, word in enumerate(sentence, start=1):
            start, end = tokens[position]
            position += 1
            cells = [
                f"{escape(span.label)}[{identifier}]"
                for identifier, span in enumerate(sorted(spans), start=1)
                if span.start <= start and end <= span.end
            ]
            place = f"{in_utf16(text, start)}-{in_utf16(text, end)}"
            lines.append(f"{number}-{index}\t{place}\t{escape(word)}\t{'|'.join(cells) or '_'}\t")
    path = tmp_path_factory.mktemp("tsv") / "x.tsv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8", newline="")
    (document,) = read_corpus([path]).documents
    assert document.text == text
    assert set(document.spans) == spans


def test_file_is_as_inception_writes_it(tmp_path: Path) -> None:
    text = " 😀 IL2_b\n\nrenal \\ failure\r\n  again "
    spans = (
        Span(3, 5, "Gene"),
        Span(3, 8, "Gene|x"),
        Span(10, 25, "Disease"),
        Span(10, 15, "Site"),
        Span(29, 34, "*"),
    )
    document = Document("a/1.2", text, spans, masked_ranges=((1, 2), (6, 8)))
    written = write_documents([document, Document("b", " \n")], tmp_path / "out", "webanno")
    assert (written.document_count, written.dropped, written.masked_range_count) == (1, (), 0)
    assert written.replaced_characters == 3  # blanks
    assert (tmp_path / "out" / "a" / "1.2.tsv").read_bytes().decode() == (
        "#FORMAT=WebAnno TSV 3.3\n"
        "#T_SP=de.tudarmstadt.ukp.dkpro.core.api.ner.type.NamedEntity|value\n\n\n"
        "#Text=😀 IL2_b\n#Text=\n"
        "1-1\t0-2\t😀\t*\t\n"
        "1-2\t3-8\tIL2_b\tGene\\|x\t\n"
        "1-2.1\t3-5\tIL\tGene\t\n"
        "1-2.2\t6-8\t_b\t*\t\n"
        "\n"
        "#Text=renal \\\\ failure\\r\n#Text=  again \n"
        "2-1\t10-15\trenal\tDisease[1]|Site[2]\t\n"
        "2-2\t16-17\t\\\\\tDisease[1]\t\n"
        "2-3\t18-25\tfailure\tDisease[1]\t\n"
        "2-4\t29-34\tagain\t\\*\t\n"
    )
    (back,) = read_corpus([tmp_path / "out"]).documents
    assert (back.id, back.text) == ("a/1.2", text[1:])
    assert covered(back) == covered(document)
    assert back.masked_ranges == ((0, 1), (5, 7))


@settings(max_examples=25)
@given(st.lists(odd_documents(), min_size=1, max_size=3, unique_by=lambda one: one.id))
def test_documents_round_trip(
    tmp_path_factory: pytest.TempPathFactory, documents: list[Document]
) -> None:
    out = tmp_path_factory.mktemp("odd") / "out"
    written = write_documents(documents, out, "webanno")
    expected = []
    for one in sorted(documents, key=lambda one: one.id):
        if words := word_offsets(one.text):
            first = words[0][0]
            spans = (Span(span.start - first, span.end - first, span.label) for span in one.spans)
            text = one.text[first:].replace("\0", "\ufffd")
            expected.append(Document(one.id, text, tuple(spans)))
    assert (written.document_count, written.dropped) == (len(expected), ())
    if expected:
        corpus = read_corpus([out])
        assert corpus.documents == tuple(expected)
        assert (corpus.warnings, corpus.dropped) == ((), ())


@given(st.text(st.sampled_from("a \t\n\r\0\\[]|_;*->"), min_size=1, max_size=4))
def test_label_round_trips_or_is_refused(
    tmp_path_factory: pytest.TempPathFactory, label: str
) -> None:
    out = tmp_path_factory.mktemp("odd") / "out"
    document = Document("1", "Aspirin", (Span(0, 7, label),))
    if not label.strip() or "\0" in label:
        with raises(OutputError, "label-not-for-format"):
            write_documents([document], out, "webanno")
        return
    write_documents([document], out, "webanno")
    assert read_corpus([out]).documents == (document,)


def test_spans_without_words_are_counted(tmp_path: Path) -> None:
    document = Document("1", "a  b", (Span(1, 3, "X"),))
    written = write_documents([document], tmp_path / "out", "webanno")
    assert [lost.reason for lost in written.dropped] == ["no words"]
