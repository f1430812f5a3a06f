"""Label Studio's CSV and TSV exports, and tables that are none."""

import csv
import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from label_studio_sdk.converter.exports import csv2

from tagalong.backend.formats.file_format import ReadOptions
from tagalong.backend.label_studio.label_config import DEFAULT_LABEL_CONFIG, LabelConfig
from tagalong.ner.document import Document, Span
from tagalong.ner.errors import FormatError, OutputError
from tagalong.training.corpus import Corpus, read_corpus, write_documents
from tests.errors import raises
from tests.odd_documents import odd_documents

TEXT = 'Lithium, "given"\r\ncaused tremor 😀; fever.'
FEVER = TEXT.index("fever")
REGIONS = [
    {"start": 0, "end": 7, "text": "Lithium", "labels": ["Chemical"]},
    {"start": FEVER, "end": FEVER + 5, "text": "fever", "labels": ["Disease"]},
]
SPANS = (Span(0, 7, "Chemical"), Span(FEVER, FEVER + 5, "Disease"))
OLD_EXPORT = (
    "text,id,label,annotator,annotation_id,created_at,updated_at,lead_time\n"
    '"Lithium caused tremor.",1,"[{""start"":0,""end"":7,""text"":""Lithium"",'
    '""labels"":[""Chemical""]}]",1,1,2025,2025,1.0\n'
)


@pytest.fixture
def read(tmp_path: Path):
    def read(content: str, options: ReadOptions | None = None) -> Corpus:
        path = tmp_path / "export.csv"
        path.write_bytes(content.encode())
        return read_corpus([path], options)

    return read


def item(number: int, *regions: dict[str, Any], by: int = 1, **data: Any) -> dict[str, Any]:
    """An annotation as the exporter of Label Studio takes it."""
    return {
        "id": number,
        "input": {"text": TEXT, **data},
        "output": {"label": [{"type": "Labels", **one} for one in regions]} if regions else {},
        "completed_by": {"email": f"{by}@x.org"},
        "annotation_id": 10 * number + by,
        "created_at": "2026-11-22T18:08:35Z",
        "updated_at": "2026-11-22T18:08:35Z",
        "lead_time": 1.5,
    }


def export(tmp_path: Path, *items: dict[str, Any], sep: str = ",") -> str:
    path = tmp_path / "made.csv"
    csv2.convert(lambda _: iter(items), None, path, sep=sep)
    return path.read_bytes().decode()


def test_old_layout_is_read(read) -> None:
    corpus = read(OLD_EXPORT)
    assert [source.format for source in corpus.sources] == ["Label Studio CSV or TSV"]
    (document,) = corpus.documents
    assert (document.id, document.spans) == ("1", (Span(0, 7, "Chemical"),))
    assert corpus.warnings == ()


@pytest.mark.parametrize("sep", [",", "\t"])
def test_exports_of_label_studio_are_read(read, tmp_path: Path, sep: str) -> None:
    made = export(tmp_path, item(1, *REGIONS, pmid="123"), item(2), sep=sep)
    documents = read("\ufeff" + made).documents
    assert [(one.id, one.text, one.spans) for one in documents] == [
        ("1", TEXT, SPANS),
        ("2", TEXT, ()),
    ]
    assert documents[0].meta["pmid"] == 123


def test_annotators_of_a_task_vote(read, tmp_path: Path) -> None:
    votes = [item(1, *REGIONS, by=1), item(1, REGIONS[0], by=2), item(1, REGIONS[0], by=3)]
    corpus = read(export(tmp_path, *votes))
    assert corpus.documents[0].spans == SPANS[:1]
    assert [one.reason for one in corpus.dropped] == ["outvoted"]


def test_config_names_text_and_control(read, tmp_path: Path) -> None:
    made = export(tmp_path, item(1, *REGIONS, title="Lithium and tremor."))
    config = LabelConfig("label", "text", "text", ("CHEM",), {"Chemical": "CHEM"})
    corpus = read(made, ReadOptions(label_config=config))
    assert corpus.documents[0].spans == (Span(0, 7, "CHEM"),)
    assert [one.reason for one in corpus.dropped] == ["label unknown"]


@pytest.mark.parametrize("template", ["", "$note.parts[0].body"])
def test_nested_texts_are_read(read, tmp_path: Path, template: str) -> None:
    data = {"text": "", "note": {"parts": [{"body": TEXT}]}}
    made = export(tmp_path, item(1, *REGIONS, **data))
    config = LabelConfig(
        "label",
        "text",
        "note.parts[0].body",
        ("Chemical", "Disease"),
        {"Chemical": "Chemical", "Disease": "Disease"},
        template=template,
    )
    (document,) = read(made, ReadOptions(label_config=config)).documents
    assert (document.text, document.spans) == (TEXT, SPANS)


def test_columns_with_semicolons_are_read(read) -> None:
    rows = list(csv.reader(io.StringIO(OLD_EXPORT)))
    made = io.StringIO()
    csv.writer(made, delimiter=";").writerows(rows)
    assert len(read(made.getvalue()).documents[0].spans) == 1


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (OLD_EXPORT + "Fever.,2\n", "table-row-uneven"),
        (OLD_EXPORT + '"Fever', "table-broken"),
        (OLD_EXPORT + '"Fever" "x",2,,1,1,2025,2025,1\n', "table-broken"),
        (OLD_EXPORT.replace('""end"":7', '""end"":""7""'), "region-offsets-not-integers"),
    ],
)
def test_bad_rows_are_refused(read, content: str, code: str) -> None:
    with raises(FormatError, code) as raised:
        read(content)
    assert "export.csv" in str(raised.value)


def test_long_cells_are_read(read) -> None:
    text = "Lithium " + "x" * 200_000
    regions = json.dumps([{"start": 0, "end": 7, "text": "Lithium", "labels": ["Chemical"]}])
    made = io.StringIO()
    header = OLD_EXPORT.split("\n", maxsplit=1)[0].split(",")
    csv.writer(made).writerows([header, [text, 1, regions, 1, 1, 2025, 2025, 1.0]])
    assert read(made.getvalue()).documents[0].spans == (Span(0, 7, "Chemical"),)


@settings(max_examples=25)
@given(st.lists(odd_documents(), min_size=1, max_size=3, unique_by=lambda one: one.id))
def test_documents_round_trip(
    tmp_path_factory: pytest.TempPathFactory, documents: list[Document]
) -> None:
    out = tmp_path_factory.mktemp("odd") / "x"
    written = write_documents(documents, out, "label-studio-csv")
    assert written.replaced_characters == sum(one.text.count("\0") for one in documents)
    corpus = read_corpus([out])
    assert corpus.documents == tuple(
        Document(one.id, one.text.replace("\0", "\ufffd"), one.spans) for one in documents
    )
    assert (corpus.warnings, corpus.dropped, written.dropped) == ((), (), ())


def test_meta_and_the_names_of_a_config_are_written(tmp_path: Path) -> None:
    config = LabelConfig("ner", "body", "abstract", ("CHEM",), {"Chemical": "CHEM", "CHEM": "CHEM"})
    documents = [
        Document("1", TEXT, SPANS[:1], {"[pmid]": 7, "title": "A, b", "ner": "x"}),
        Document("2", "Tremor.", meta={"authors": ["A", "B"]}, masked_ranges=((0, 1),)),
    ]
    out = tmp_path / "out.csv"
    written = write_documents(documents, out, "label-studio-csv", config=config)
    assert written.masked_range_count == 1
    first, second = csv.DictReader(io.StringIO(out.read_bytes().decode(), newline=""))
    assert (first["abstract"], first["[pmid]"], first["title"]) == (TEXT, "7", "A, b")
    assert json.loads(first["ner"])[0]["labels"] == ["CHEM"]
    assert (second["id"], second["ner"], second["authors"]) == ("2", "", '["A", "B"]')
    back = read_corpus([out], ReadOptions(label_config=config)).documents
    assert [(one.text, one.spans) for one in back] == [
        (TEXT, (Span(0, 7, "CHEM"),)),
        ("Tremor.", ()),
    ]


def test_a_text_that_is_a_number_stays(tmp_path: Path) -> None:
    document = Document("1", "1.50", (Span(0, 4, "A"),))
    write_documents([document], tmp_path / "x", "label-studio-csv")
    assert read_corpus([tmp_path / "x"]).documents == (document,)
    config = replace(DEFAULT_LABEL_CONFIG, data_key="note", names_by_spelling={"A": "A"})
    write_documents([document], tmp_path / "y", "label-studio-csv", config=config)
    options = ReadOptions(label_config=config)
    assert read_corpus([tmp_path / "y"], options).documents == (document,)


def test_what_cannot_be_held_is_refused(tmp_path: Path) -> None:
    def write(name: str, config: LabelConfig | None = None) -> None:
        write_documents([Document(name, TEXT)], tmp_path / "x", "label-studio-csv", config=config)

    with raises(OutputError, "id-not-for-format"):
        write("")
    with raises(FormatError, "control-like-a-column"):
        write("1", LabelConfig("text", "text", "text", ("CHEM",), {}))
    several = LabelConfig("ner", "a", "a", ("CHEM",), {})
    several = replace(several, other_texts=(replace(several, object="b", data_key="b"),))
    with raises(FormatError, "regions-without-object"):
        write("1", several)
