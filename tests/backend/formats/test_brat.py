"""brat standoff: folders of texts and annotations, what they cannot hold, and round trips."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tagalong.backend.batch.files import open_source
from tagalong.ner.document import Document, DroppedAnnotation, Span
from tagalong.ner.errors import FormatError, InputError, OutputError
from tagalong.training.corpus import Corpus, read_corpus, write_documents
from tests.errors import raises
from tests.odd_documents import odd_documents

TEXT = "Acute renal or hepatic failure after lithium."
ANNOTATIONS = (
    "T1\tDisease 0 11;23 30\tAcute renal failure\n"
    "T2\tDisease 15 30\thepatic failure\n"
    "T3\tChemical 37 44\tlithium\n"
    "R1\tCauses Arg1:T3 Arg2:T2\n"
    "*\tEquiv T1 T2\n"
    "E1\tCause:T3 Theme:T2\n"
    "A1\tNegated T2\n"
    "M2\tCertain T3\n"
    "N1\tReference T3 MeSH:D008094\tLithium\n"
    "#1\tAnnotatorNotes T3\tthe drug\n"
)


def write(folder: Path, **files: str | bytes) -> Path:
    """Write files; two underlines in a name are a full stop."""
    for name, content in files.items():
        path = folder / name.replace("__", ".")
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder


def warned(corpus: Corpus) -> dict[str, int]:
    return {warning.kind: warning.count for warning in corpus.warnings}


def test_pair_is_read_and_what_is_left_out_is_counted(tmp_path: Path) -> None:
    corpus = read_corpus([write(tmp_path, a__txt=TEXT, a__ann=ANNOTATIONS)])
    spans = (Span(15, 30, "Disease"), Span(37, 44, "Chemical"))
    assert corpus.documents == (Document("a", TEXT, spans, masked_ranges=((0, 11), (23, 30))),)
    assert corpus.dropped == (
        DroppedAnnotation("Disease", "Acute renal failure", "discontinuous", 0, 30, "a"),
    )
    assert warned(corpus) == {
        "relation": 2, "event": 1, "attribute": 2, "concept id": 1, "note": 1
    }  # fmt: skip


def test_nested_folders_and_endings_of_shared_tasks(tmp_path: Path) -> None:
    write(tmp_path / "b", x__txt=TEXT, x__a1=ANNOTATIONS.splitlines()[2], x__a2="")
    write(tmp_path, y__TXT="lithium", y__ann="", annotation__conf="[entities]\nDisease\n")
    corpus = read_corpus([tmp_path])
    assert [(one.id, len(one.spans)) for one in corpus.documents] == [("b/x", 1), ("y", 0)]
    assert corpus.warnings == ()


@pytest.mark.parametrize(
    ("text", "first"),
    [("\ufeffAcute lithium", 6), ("Acute\r\nlithium", 7), ("😀 ä lithium", 4)],
)
def test_offsets_count_code_points(tmp_path: Path, text: str, first: int) -> None:
    annotation = f"\ufeffT1\tChemical {first} {first + 7}\tlithium\r\n\r\n"
    (document,) = read_corpus([write(tmp_path, a__txt=text, a__ann=annotation)]).documents
    assert [document.span_text(span) for span in document.spans] == ["lithium"]


def test_offsets_outside_the_text_are_counted(tmp_path: Path) -> None:
    places = ("40 99", "9 5", "-4 5")
    lines = "T1\tChemical 37 44\tlithium\n" + "".join(f"T2\tDisease {one}\tx\n" for one in places)
    corpus = read_corpus([write(tmp_path, a__txt=TEXT, a__ann=lines)])
    outside = "offset outside the text"
    assert [lost.reason for lost in corpus.dropped] == [outside, "end before start", outside]


def test_contradicted_annotations_are_counted_and_masked(tmp_path: Path) -> None:
    lines = "T1\tChemical 37 44\tlithium\nT2\tDisease 0 5\tChronic\n"
    corpus = read_corpus([write(tmp_path, a__txt=TEXT, a__ann=lines)])
    assert [lost.reason for lost in corpus.dropped] == ["text differs"]
    assert corpus.documents[0].masked_ranges == ((0, 5),)


@pytest.mark.parametrize(
    ("text", "first", "finding"),
    [
        ("Acute\r\npain\r\nof lithium", 14, "CRLF counted as one"),
        ("😀😀 lithium", 5, "UTF-16 offsets"),
        ("\u00e4\u00e4 lithium", 5, "byte offsets"),
    ],
)
def test_offsets_of_other_tools_are_found(
    tmp_path: Path, text: str, first: int, finding: str
) -> None:
    lines = f"T1\tChemical {first} {first + 7}\tlithium\n"
    write(tmp_path, a__txt=text, a__ann=lines, b__txt=text, b__ann=lines)
    corpus = read_corpus([tmp_path])
    assert [one.span_text(one.spans[0]) for one in corpus.documents] == ["lithium"] * 2
    assert warned(corpus) == {finding: 2}


@pytest.mark.parametrize(
    ("annotations", "told"),
    [("T1\tDrug 0 7", 1), ("T1\tDrug 0 7\n", 0), ("T1\tDrug 0 7\tLithium", 0)],
)
def test_offsets_that_may_be_cut_off_are_told(tmp_path: Path, annotations: str, told: int) -> None:
    corpus = read_corpus([write(tmp_path, a__txt="Lithium", a__ann=annotations)])
    assert warned(corpus).get("last line without an end", 0) == told


def test_text_without_annotations_is_a_document_and_said(tmp_path: Path) -> None:
    corpus = read_corpus([write(tmp_path, a__txt=TEXT, a__ann="", b__txt="Lithium.")])
    assert corpus.documents[1] == Document("b", "Lithium.")
    assert warned(corpus) == {"text without annotations": 1}


def test_annotations_without_text_are_refused(tmp_path: Path) -> None:
    write(tmp_path, b__ann=ANNOTATIONS)
    for name in ("", "b.ann"):
        with raises(FormatError, "annotations-without-text") as raised:
            read_corpus([tmp_path / name])
        assert str(tmp_path / "b.ann") in str(raised.value)
    with raises(FormatError, "annotations-without-text"):
        read_corpus([write(tmp_path, only__txt=ANNOTATIONS) / "only.txt"])


def test_odd_pairs_are_set_aside_and_their_texts_are_predicted(tmp_path: Path) -> None:
    write(tmp_path, a__txt=TEXT, a__ann="", b__ann=ANNOTATIONS, c__txt=TEXT, c__ann="?")
    corpus = read_corpus([tmp_path])
    assert [one.id for one in corpus.documents] == ["a"]
    (warning,) = corpus.warnings
    assert (warning.kind, warning.count) == ("task set aside", 2)
    assert f"{tmp_path / 'c.ann'}, line 1 is '?'" in warning.examples[1]
    with open_source(tmp_path) as source:
        items = list(source)
    assert source.total_items == 3
    assert [(one.key, one.document is None) for one in items] == [
        ("a", False), ("b", True), ("c", False)
    ]  # fmt: skip


def test_file_of_annotations_is_read_with_its_text(tmp_path: Path) -> None:
    write(tmp_path, a__txt=TEXT, a__ann=ANNOTATIONS)
    corpus = read_corpus([tmp_path / "a.ann"])
    assert [(one.id, one.text, len(one.spans)) for one in corpus.documents] == [("a", TEXT, 2)]


@pytest.mark.parametrize(
    "line",
    [
        "Lithium\tB-Chemical",
        "T1\tChemical 0",
        "T1\tChemical 0 5;",
        "T1 Chemical 0 5 Acute",
        f"T1\tChemical 0 {'9' * 5000}\tAcute",
        '{"text": "Acute"}',
    ],
)
def test_lines_of_other_tools_are_refused_with_their_place(tmp_path: Path, line: str) -> None:
    annotations = "T9\tChemical 37 44\tlithium\n" * 30 + line + "\n"
    with raises(FormatError, "brat-line-unknown") as raised:
        read_corpus([write(tmp_path, a__txt=TEXT, a__ann=annotations)])
    assert f"{tmp_path / 'a.ann'}, line 31 " in str(raised.value)


@pytest.mark.parametrize(
    ("content", "code"),
    [(b"a\xe9", "file-not-utf8"), ("a".encode("utf-16"), "file-utf16"), (b"abc\0", "file-binary")],
)
@pytest.mark.parametrize("name", ["a__txt", "a__ann"])
def test_other_encodings_are_refused(tmp_path: Path, content: bytes, code: str, name: str) -> None:
    files: dict[str, str | bytes] = {"a__txt": TEXT, "a__ann": ANNOTATIONS, name: content}
    with raises(InputError, code) as raised:
        read_corpus([write(tmp_path, **files)])
    assert str(tmp_path / name.replace("__", ".")) in str(raised.value)


@settings(max_examples=30)
@given(st.lists(odd_documents(), min_size=1, max_size=3))
def test_documents_round_trip(
    tmp_path_factory: pytest.TempPathFactory, documents: list[Document]
) -> None:
    named = [
        Document(f"{number}/{document.id}", document.text, tuple(
            Span(span.start, span.end, span.label.replace(" ", "_")) for span in document.spans
        ))
        for number, document in enumerate(documents)
    ]  # fmt: skip
    out = tmp_path_factory.mktemp("odd") / "brat"
    written = write_documents(named, out, "brat")
    assert (written.document_count, written.dropped) == (len(named), ())
    assert written.replaced_characters == sum(one.text.count("\0") for one in named)
    corpus = read_corpus([out])
    assert corpus.documents == tuple(
        Document(one.id, one.text.replace("\0", "\ufffd"), one.spans) for one in named
    )
    assert (corpus.warnings, corpus.dropped) == ((), ())


def test_masked_ranges_are_counted(tmp_path: Path) -> None:
    document = Document("a", TEXT, masked_ranges=((0, 5), (6, 11)))
    assert write_documents([document], tmp_path / "b", "brat").masked_range_count == 2


@pytest.mark.parametrize(
    "identifier", ["", "..", "../a", "/a", "a//b", "a/", ".a", "a\nb", "a\0", "x" * 300]
)
def test_ids_that_are_no_names_are_refused(tmp_path: Path, identifier: str) -> None:
    with raises(OutputError, "id-not-for-format"):
        write_documents([Document(identifier, TEXT)], tmp_path / "out", "brat")
    assert list(tmp_path.iterdir()) == []


def test_labels_with_blanks_are_refused(tmp_path: Path) -> None:
    document = Document("a", TEXT, (Span(0, 5, "small molecule"),))
    with raises(OutputError, "label-not-for-format"):
        write_documents([document], tmp_path / "out", "brat")
    assert list(tmp_path.iterdir()) == []


def test_folder_is_never_overwritten_and_appears_whole(tmp_path: Path) -> None:
    documents = [Document("a", TEXT), Document("a.txt/b", TEXT)]  # a file and a folder "a.txt"
    with raises(OutputError, "output-unwritable"):
        write_documents(documents, tmp_path / "new", "brat")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "there").mkdir()
    with raises(OutputError, "output-exists"):
        write_documents(documents[:1], tmp_path / "there", "brat", overwrite=True)
    assert list((tmp_path / "there").iterdir()) == []
