"""BioC XML and BioC JSON: passages, what is left out, bad input and round trips."""

import io
import json
import re
from pathlib import Path
from typing import Any

import bioc
import pytest
from bioc import biocjson, biocxml
from hypothesis import given, settings
from hypothesis import strategies as st

from tagalong.backend.formats.bioc_xml import _stream_elements
from tagalong.backend.formats.sniff import sniff_file
from tagalong.backend.formats.text_file import TextFile
from tagalong.ner.document import Document, DroppedAnnotation, Span
from tagalong.ner.errors import FormatError, OutputError
from tagalong.training.corpus import Corpus, read_corpus, write_documents
from tests.errors import raises
from tests.odd_documents import odd_documents

SAMPLES = Path(__file__).parents[2] / "samples"
FORMATS = ("bioc-xml", "bioc-json")
TITLE, ABSTRACT = "Acute renal failure.", "Lithium may do it."


def annotation(
    *places: tuple[int, int], text: str, identifier: str = "1", **infons: str
) -> dict[str, Any]:
    locations = [{"offset": start, "length": length} for start, length in places]
    return {"id": identifier, "infons": infons, "text": text, "locations": locations}


def passage(offset: int, text: str | None, *annotations: dict[str, Any]) -> dict[str, Any]:
    made = {"offset": offset, "infons": {}, "sentences": [], "relations": []}
    return {**made, "text": text or "", "annotations": list(annotations)}


def document(*passages: dict[str, Any], identifier: str = "7") -> dict[str, Any]:
    made = {"id": identifier, "infons": {}, "annotations": [], "relations": []}
    return {**made, "passages": list(passages)}


def collection(*documents: dict[str, Any]) -> dict[str, Any]:
    return {"source": "", "date": "", "key": "", "infons": {}, "documents": list(documents)}


def write(folder: Path, value: dict[str, Any], option: str) -> Path:
    """Write a collection with the library `bioc`, as the makers of corpora do."""
    path = folder / option
    made = biocjson.loads(json.dumps(value))
    path.write_text(biocxml.dumps(made) if option == "bioc-xml" else biocjson.dumps(made))
    return path


def warned(corpus: Corpus) -> dict[str, int]:
    return {warning.kind: warning.count for warning in corpus.warnings}


@pytest.mark.parametrize("option", FORMATS)
def test_passages_stand_at_their_offsets_and_losses_are_counted(
    tmp_path: Path, option: str
) -> None:
    disease = annotation((106, 13), text="renal failure", type="Disease", MESH="D058186")
    split = annotation((100, 5), (112, 7), text="Acute failure", type="Disease")
    part = annotation((106, 5), text="renal", type="Disease", CompositeRole="IndividualMention")
    drug = annotation((121, 7), text="Lithium", type="Chemical", note="?")
    untyped = annotation((133, 2), text="do")
    value = document(passage(100, TITLE, disease, split, part), passage(121, ABSTRACT, drug))
    value["annotations"] = [untyped]
    value["relations"] = [{"id": "R1", "infons": {}, "nodes": [{"refid": "1", "role": "Chemical"}]}]
    corpus = read_corpus([write(tmp_path, collection(value), option)])
    text = f"{TITLE} {ABSTRACT}"
    spans = (Span(6, 19, "Disease"), Span(21, 28, "Chemical"))
    masked = ((0, 5), (12, 19), (33, 35))
    assert corpus.documents == (Document("7", text, spans, masked_ranges=masked),)
    assert corpus.dropped == (
        DroppedAnnotation("Disease", "Acute failure", "discontinuous", 0, 19, "7"),
    )
    assert warned(corpus) == {
        "region without a label": 1,
        "relation": 1,
        "attribute": 1,
        "concept id": 1,
        "individual mention": 1,
    }


def test_comments_in_xml_are_no_text(tmp_path: Path) -> None:
    drug = annotation((0, 7), text="Lithium", type="Chemical")
    path = write(tmp_path, collection(document(passage(0, ABSTRACT, drug))), "bioc-xml")
    path.write_text(path.read_text().replace("Lithium may", "Li<!-- ? -->th<?a b?>ium may"))
    (read,) = read_corpus([path]).documents
    assert read == Document("7", ABSTRACT, (Span(0, 7, "Chemical"),))


@pytest.mark.parametrize(
    ("encoding", "unit", "finding"),
    [("utf-8", 1, "byte offsets"), ("utf-16-le", 2, "UTF-16 offsets")],
)
def test_other_countings_move_passages_and_annotations(
    tmp_path: Path, encoding: str, unit: int, finding: str
) -> None:
    texts, text = ["😀😀 Fever", "😀 after lithium"], "😀😀 Fever 😀 after lithium"

    def place(word: str) -> tuple[int, int]:
        before = text[: text.index(word)].encode(encoding)
        return len(before) // unit, len(word)

    passages = [
        passage(0, texts[0], annotation(place("Fever"), text="Fever", type="A")),
        passage(
            len(f"{texts[0]} ".encode(encoding)) // unit,
            texts[1],
            annotation(place("lithium"), text="lithium", type="A"),
        ),
    ]
    corpus = read_corpus([write(tmp_path, collection(document(*passages)), "bioc-json")])
    spans = tuple(
        Span(text.index(one), text.index(one) + len(one), "A") for one in ("Fever", "lithium")
    )
    assert corpus.documents == (Document("7", text, spans),)
    assert warned(corpus) == {finding: 1}


@pytest.mark.parametrize("option", FORMATS)
@pytest.mark.parametrize("first", [0, 100])
def test_offsets_from_each_passage_are_found(tmp_path: Path, option: str, first: int) -> None:
    # In the first document, the word stands at the offset in both readings.
    texts = ("Lithium again.", "Lithium may do it."), (TITLE, ABSTRACT)
    documents = []
    for number, (title, abstract) in enumerate(texts):
        drug = annotation((0, 7), text="Lithium", type="Chemical")
        split = annotation((0, 7), (12, 2), text="Lithium do", type="Chemical")
        parts = passage(first, title), passage(first + len(title) + 1, abstract, drug, split)
        documents.append(document(*parts, identifier=str(number)))
    corpus = read_corpus([write(tmp_path, collection(*documents), option)])
    assert [[(one.start, one.end) for one in made.spans] for made in corpus.documents] == [
        [(15, 22)],
        [(21, 28)],
    ]
    assert corpus.documents[1].masked_ranges == ((21, 28), (33, 35))
    assert warned(corpus) == {"offsets from each passage": 2}


def test_offsets_from_each_sentence_are_found(tmp_path: Path) -> None:
    renal = annotation((6, 13), text="renal failure", type="Disease")
    drug = annotation((0, 7), text="Lithium", type="Chemical")
    sentences = [passage(0, TITLE, renal), passage(21, ABSTRACT, drug)]
    value = document({**passage(0, ""), "sentences": sentences})
    corpus = read_corpus([write(tmp_path, collection(value), "bioc-json")])
    assert [one.start for one in corpus.documents[0].spans] == [6, 21]


@pytest.mark.parametrize("option", FORMATS)
def test_sentences_in_place_of_texts_of_passages(tmp_path: Path, option: str) -> None:
    value = passage(0, None)
    drug = annotation((21, 7), text="Lithium", type="Chemical")
    value["sentences"] = [
        {"offset": 0, "text": TITLE, "infons": {}, "annotations": [], "relations": []},
        {"offset": 21, "text": ABSTRACT, "infons": {}, "annotations": [drug], "relations": []},
    ]
    corpus = read_corpus([write(tmp_path, collection(document(value)), option)])
    spans = (Span(21, 28, "Chemical"),)
    assert corpus.documents == (Document("7", f"{TITLE} {ABSTRACT}", spans),)


@pytest.mark.parametrize("option", FORMATS)
def test_offsets_outside_the_text_are_counted(tmp_path: Path, option: str) -> None:
    places = [((99, 5),), ((0, 0),), ((5, -2),), ()]
    annotations = [annotation(*one, text="x", type="Disease") for one in places]
    annotations.append(annotation((0, 5), text="Acute", type="Disease"))
    value = collection(document(passage(0, TITLE, *annotations)))
    corpus = read_corpus([write(tmp_path, value, option)])
    assert len(corpus.dropped) == 4
    assert corpus.documents == (Document("7", TITLE, (Span(0, 5, "Disease"),)),)


@pytest.mark.parametrize("option", FORMATS)
@pytest.mark.parametrize("offset", [3, 10**9])
def test_passages_that_cannot_be_placed_are_refused(
    tmp_path: Path, option: str, offset: int
) -> None:
    value = collection(document(passage(0, TITLE), passage(offset, ABSTRACT)))
    with raises(FormatError, "bioc-document-unreadable") as raised:
        read_corpus([write(tmp_path, value, option)])
    assert "(id 7)" in str(raised.value)
    assert str(offset) in str(raised.value)


VALUE = collection(document(passage(0, TITLE, annotation((0, 5), text="Acute", type="A"))))


@pytest.mark.parametrize(
    "content",
    [
        json.dumps(VALUE),
        json.dumps(VALUE, indent=1),
        json.dumps([VALUE]),
        json.dumps(VALUE["documents"]),
        json.dumps(VALUE["documents"][0]),
        json.dumps(VALUE["documents"][0], indent=1),
        json.dumps({"PubTator3": VALUE["documents"]}),
        json.dumps({"PubTator3": VALUE["documents"]}, indent=1),
        json.dumps(collection(VALUE), indent=1),  # nested
        json.dumps({"passages": [{"offset": "0", "text": TITLE, "annotations": [
            {"infons": {"type": "A"}, "locations": [{"offset": "0", "length": "5"}]}
        ]}], "id": 7}),
    ],
)  # fmt: skip
def test_json_of_every_shape(tmp_path: Path, content: str) -> None:
    (tmp_path / "x").write_text(content)
    assert read_corpus([tmp_path / "x"]).documents == (Document("7", TITLE, (Span(0, 5, "A"),)),)


@pytest.mark.parametrize(
    "value",
    [
        {"passages": {}},
        {"passages": ["x"]},
        {"passages": [{"text": "x"}]},
        {"passages": [{"text": 7, "offset": 0}]},
        {"passages": [{"text": "x", "offset": "9" * 5000}]},
        {"passages": [{"text": "x", "offset": 0.5}]},
        {"passages": [{"text": "x", "offset": 0, "annotations": [{"infons": [1]}]}]},
        {"passages": [{"text": "x", "offset": 0, "annotations": [{"infons": {"type": 7}}]}]},
        {"passages": [{"text": "x", "offset": 0, "annotations": [{"locations": [{}]}]}]},
    ],
)
def test_broken_json_documents_are_refused_with_their_place(tmp_path: Path, value: Any) -> None:
    path = tmp_path / "x"
    good = json.dumps(VALUE["documents"][0])
    path.write_text("\n" + json.dumps({"passages": [], **value}) + "\n")
    with raises(FormatError, "bioc-document-unreadable") as raised:
        read_corpus([path])
    assert f"{path}, line 2" in str(raised.value)
    path.write_text(f"{good}\n{json.dumps(value)}\n")
    corpus = read_corpus([path])
    assert [one.id for one in corpus.documents] == ["7"]
    assert warned(corpus) == {"task set aside": 1}


def xml(inner: str, start: str = "") -> str:
    return f"{start}<collection><document><id>7</id>{inner}</document></collection>"


PASSAGE = "<passage><offset>0</offset><text>a&amp;b<!-- no --><i>c</i></text></passage>"


@pytest.mark.parametrize(
    "start",
    [
        "",
        "<?xml version='1.0' encoding='latin-1'?>",
        "<?xml version='1.0'?>\n<!DOCTYPE collection SYSTEM 'BioC.dtd'>\n<!-- ours -->",
        "<!DOCTYPE collection SYSTEM 'http://127.0.0.1:9/BioC.dtd'>",
    ],
)
def test_xml_of_every_shape(tmp_path: Path, start: str) -> None:
    (tmp_path / "x").write_text(xml(PASSAGE.replace("b", "ü"), start), encoding="utf-8")
    assert read_corpus([tmp_path / "x"]).documents == (Document("7", "a&üc"),)


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (xml("<passage>&x;</passage>", "<!DOCTYPE collection [<!ENTITY x 'y'>]>"), "entities"),
        (
            xml(
                "<passage><offset>0</offset><text>&x;</text></passage>",
                "<!DOCTYPE collection [<!ENTITY x SYSTEM 'file:///etc/passwd'>]>",
            ),
            "entities",
        ),
        (xml("<passage>&x;</passage>", "<!DOCTYPE collection SYSTEM 'BioC.dtd'>"), "entities"),
        (xml("<passage>&x;</passage>"), "broken"),
        (xml(PASSAGE)[:-20], "broken"),
        (xml("<passage></document>"), "broken"),
    ],
)
def test_unsafe_and_broken_xml_is_refused(tmp_path: Path, content: str, code: str) -> None:
    (tmp_path / "x").write_text(content)
    with raises(FormatError, f"xml-{'with-' * (code == 'entities')}{code}"):
        read_corpus([tmp_path / "x"])


def test_broken_xml_documents_are_refused_with_their_line(tmp_path: Path) -> None:
    content = "<collection>\n<document><id>7</id>\n<passage><text>x</text></passage></document>"
    (tmp_path / "x").write_text(content + "</collection>")
    with raises(FormatError, "bioc-document-unreadable") as raised:
        read_corpus([tmp_path / "x"])
    assert f"{tmp_path / 'x'}, line 2 (id 7)" in str(raised.value)


def test_xml_is_read_as_a_stream(tmp_path: Path) -> None:
    """The tree holds the documents of one buffer at most."""
    path = tmp_path / "x"
    content = "<document><id>7</id><passage><offset>0</offset><text>b</text></passage></document>\n"
    path.write_text(f"<collection>{content * 3000}</collection>")
    with TextFile(path) as file:
        sizes = [len(one.getparent()) for one in _stream_elements(sniff_file(file))]
    assert len(sizes) == 3000
    assert max(sizes) < 1000


@pytest.mark.parametrize("option", FORMATS)
@settings(max_examples=30)
@given(documents=st.lists(odd_documents(), min_size=1, max_size=3, unique_by=lambda one: one.id))
def test_documents_round_trip(
    tmp_path_factory: pytest.TempPathFactory, option: str, documents: list[Document]
) -> None:
    out = tmp_path_factory.mktemp("odd") / "x"
    written = write_documents(documents, out, option)
    held = documents
    if option == "bioc-xml":
        assert written.replaced_characters == sum(one.text.count("\0") for one in documents)
        held = [Document(one.id, one.text.replace("\0", "\ufffd"), one.spans) for one in documents]
    corpus = read_corpus([out])
    assert corpus.documents == tuple(held)
    assert (corpus.warnings, corpus.dropped, written.dropped) == ((), (), ())
    load = bioc.load if option == "bioc-xml" else biocjson.load
    with io.StringIO(re.sub("encoding=.UTF-8.", "", out.read_text(encoding="utf-8"))) as file:
        theirs = load(file).documents
    assert [one.id for one in theirs] == [one.id for one in held]


@pytest.mark.parametrize("option", FORMATS)
def test_what_cannot_be_held_is_counted_or_refused(tmp_path: Path, option: str) -> None:
    held = Document("a", TITLE, masked_ranges=((0, 5), (6, 11)))
    assert write_documents([held], tmp_path / "x", option).masked_range_count == 2
    with raises(OutputError, "id-not-for-format"):
        write_documents([Document("", TITLE)], tmp_path / "y", option)
    if option == "bioc-xml":
        with raises(OutputError, "label-not-for-format"):
            write_documents([Document("a", TITLE, (Span(0, 5, "a\x01"),))], tmp_path / "y", option)
    assert not (tmp_path / "y").exists()


@pytest.mark.parametrize("option", FORMATS)
def test_bc5cdr_as_its_makers_distribute_it_equals_ours(tmp_path: Path, option: str) -> None:
    ours = read_corpus([SAMPLES / "bc5cdr_test.jsonl"]).documents
    theirs = [as_distributed(one) for one in ours]
    assert read_corpus([write(tmp_path, collection(*theirs), option)]).documents == ours


def as_distributed(ours: Document) -> dict[str, Any]:
    """A title and an abstract, with their annotations and concept ids."""
    title = len(ours.text.partition(". ")[0]) + 1
    passages = [passage(0, ours.text[:title]), passage(title + 1, ours.text[title + 1 :])]
    for number, span in enumerate(ours.spans):
        place = (span.start, span.end - span.start)
        text = ours.span_text(span)
        made = annotation(place, text=text, identifier=str(number), type=span.label, MESH="D1")
        passages[span.start > title]["annotations"].append(made)
    return document(*passages, identifier=ours.id)
