"""Data sets of Hugging Face: JSON, Parquet and Arrow, and the names of numbered tags."""

import builtins
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from tagalong.backend.batch.files import open_source
from tagalong.backend.formats.columns import ColumnOptions
from tagalong.backend.formats.file_format import ReadOptions
from tagalong.ner.document import Document, Span
from tagalong.ner.errors import FormatError, InputError, OutputError
from tagalong.ner.tags import TagSet
from tagalong.ner.words import FILLERS
from tagalong.training.corpus import read_corpus, write_documents
from tests.errors import assert_wording, raises
from tests.odd_documents import LABELS, odd_documents

NAMES = ["O", "B-CHEM", "I-CHEM", "B-DIS"]
ROWS = [
    {"id": "7", "tokens": ["Lithium", "carbonate", "helps"], "ner_tags": [1, 2, 0]},
    {"id": "8", "tokens": ["Acute", "tremor"], "ner_tags": [-100, 3]},
]
STATED = [
    {**row, "ner_tags": [NAMES[tag] if tag >= 0 else -100 for tag in row["ner_tags"]]}
    for row in ROWS
]
FEATURE = {"feature": {"names": NAMES, "_type": "ClassLabel"}, "_type": "Sequence"}
README = (
    "---\ndataset_info:\n  features:\n  - name: ner_tags\n    sequence:\n      class_label:\n"
    "        names:\n          '0': O\n          '1': B-CHEM\n          '2': I-CHEM\n"
    "          '3': B-DIS\n---\n# A data set\n"
)


def to_lines(rows: list[dict[str, Any]]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def write_parquet(path: Path, rows: list[dict[str, Any]], **features: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pyarrow.Table.from_pylist(rows)
    metadata = {"huggingface": json.dumps({"info": {"features": features}})} if features else None
    parquet.write_table(table.replace_schema_metadata(metadata), path)


def write_arrow(path: Path, rows: list[dict[str, Any]], open_writer: Callable[..., Any]) -> None:
    table = pyarrow.Table.from_pylist(rows)
    path.parent.mkdir(parents=True, exist_ok=True)
    with open_writer(str(path), table.schema) as writer:
        writer.write_table(table)


def assert_rows(documents: tuple[Document, ...], prefix: str) -> None:
    first, second = documents
    assert (first.id, second.id) == (f"{prefix}#7", f"{prefix}#8")
    assert (first.text, second.text) == ("Lithium carbonate helps", "Acute tremor")
    assert [(first.span_text(span), span.label) for span in first.spans] == [
        ("Lithium carbonate", "CHEM")
    ]
    assert [(second.span_text(span), span.label) for span in second.spans] == [("tremor", "DIS")]
    assert second.masked_ranges == ((0, 5),)


@pytest.mark.parametrize("content", [to_lines(STATED), json.dumps(STATED)])
def test_json_with_named_tags(tmp_path: Path, content: str) -> None:
    path = tmp_path / "train.json"
    path.write_text(content)
    corpus = read_corpus([path])
    assert [source.format for source in corpus.sources] == ["Hugging Face JSON"]
    assert_rows(corpus.documents, "train")
    with open_source(path) as source:
        assert [item.key for item in source] == ["train#7", "train#8"]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("dataset_info.json", json.dumps({"features": {"ner_tags": FEATURE}})),
        ("dataset_infos.json", json.dumps({"default": {"features": {"ner_tags": FEATURE}}})),
        ("dataset_infos.json", json.dumps({"a": {"features": {"ner_tags": [FEATURE["feature"]]}}})),
        ("README.md", README),
        ("README.md", README.replace("\n", "\r\n")),
        ("README.md", README.replace("dataset_info:", "updated: 2020-99-99\ndataset_info:")),
        ("README.md", README.replace("features:", "features:\n  - name: [id]")),
    ],
)
def test_names_of_numbers_are_beside_the_file(tmp_path: Path, name: str, content: str) -> None:
    (tmp_path / "train.jsonl").write_text(to_lines(ROWS))
    with raises(FormatError, "tag-names-missing"):
        read_corpus([tmp_path / "train.jsonl"])
    (tmp_path / name).write_text(content, newline="")
    assert_rows(read_corpus([tmp_path / "train.jsonl"]).documents, "train")
    assert_rows(read_corpus([tmp_path]).documents, "train")


def test_folder_of_parquet(tmp_path: Path) -> None:
    write_parquet(tmp_path / "data" / "train-00000-of-00001.parquet", ROWS, ner_tags=FEATURE)
    assert_rows(read_corpus([tmp_path]).documents, "data/train-00000-of-00001")
    path = tmp_path / "data" / "train-00000-of-00001.parquet"
    assert_rows(read_corpus([path]).documents, "train-00000-of-00001")
    with open_source(path) as source:
        assert source.total_items == 2


@pytest.mark.parametrize("open_writer", [pyarrow.ipc.new_stream, pyarrow.ipc.new_file])
def test_folder_that_datasets_saved(tmp_path: Path, open_writer: Callable[..., Any]) -> None:
    name = "data-00000-of-00001"
    write_arrow(tmp_path / "train" / f"{name}.arrow", ROWS, open_writer)
    write_arrow(tmp_path / "train" / "cache-1.arrow", ROWS, open_writer)
    info = {"features": {"ner_tags": FEATURE}}
    (tmp_path / "train" / "dataset_info.json").write_text(json.dumps(info))
    (tmp_path / "dataset_dict.json").write_text('{"splits": ["train"]}')
    assert_rows(read_corpus([tmp_path / "train" / f"{name}.arrow"]).documents, name)
    assert_rows(read_corpus([tmp_path]).documents, f"train/{name}")


def test_columns_are_named(tmp_path: Path) -> None:
    rows = [{"w": one["tokens"], "fine": one["ner_tags"]} for one in STATED]
    write_parquet(tmp_path / "a.parquet", [{**rows[0], "n": 1}])
    with raises(FormatError, "dataset-columns-unknown"):
        read_corpus([tmp_path])
    options = ReadOptions(columns=ColumnOptions("w", "fine"))
    (document,) = read_corpus([tmp_path], options).documents
    assert document.id == "a#1"
    assert [span.label for span in document.spans] == ["CHEM"]


@pytest.mark.parametrize(
    "row",
    [
        {"tokens": ["a", "b"], "ner_tags": ["O"]},
        {"tokens": ["a"], "ner_tags": ["X-Y"]},
        {"tokens": [1], "ner_tags": ["O"]},
        {"tokens": ["a"], "ner_tags": None},
        {"tokens": ["a"], "ner_tags": 10**30},
        {"tokens": ["a"], "ner_tags": [9]},
    ],
)
def test_odd_row_is_set_aside(tmp_path: Path, row: dict[str, Any]) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(to_lines([STATED[0], row, STATED[0]]))
    corpus = read_corpus([path])
    assert [one.id for one in corpus.documents] == ["a#7"]  # the third is a copy
    warning = corpus.warnings[0]
    assert (warning.kind, warning.count) == ("task set aside", 1)
    assert_wording(warning.examples[0], "dataset-row-invalid")
    assert "a.jsonl, line 2 " in warning.examples[0]
    path.write_text(to_lines([STATED[0], *[row] * 18, STATED[0]]))
    with pytest.raises(FormatError, match=r"a\.jsonl(, line 2)? (has|does)"):  # nearly all
        read_corpus([path])


@pytest.mark.parametrize(
    "row",
    [{"tokens": ["\ud800"], "ner_tags": ["O"]}, {"tokens": ["a"], "ner_tags": ["B-\ud800"]}],
)
def test_row_with_half_a_character_is_set_aside(tmp_path: Path, row: dict[str, Any]) -> None:
    (tmp_path / "a.jsonl").write_text(to_lines([STATED[0], row]))
    corpus = read_corpus([tmp_path / "a.jsonl"])
    assert [one.id for one in corpus.documents] == ["a#7"]
    assert_wording(corpus.warnings[0].examples[0], "half-a-character")


def test_texts_say_which_rows_are_set_aside(tmp_path: Path) -> None:
    odd = {"tokens": ["a"], "ner_tags": []}
    (tmp_path / "a.jsonl").write_text(to_lines([odd, *STATED, odd]))
    with open_source(tmp_path / "a.jsonl") as source:
        items = list(source)
    assert [(item.position, item.key) for item in items] == [
        (0, "1"), (1, "a#7"), (2, "a#8"), (3, "4")
    ]  # fmt: skip
    assert [item.document is None for item in items] == [True, False, False, True]
    assert "a.jsonl, line 4 " in items[3].read_error


def test_column_of_other_values_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(to_lines([{"tokens": ["a"], "ner_tags": ["?"]}]))
    with raises(FormatError, "dataset-without-tags"):
        read_corpus([tmp_path / "a.jsonl"])


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("dataset_info.json", '{"features": {"ner_tags": {"names": {"first": "O"}}}}'),
        ("dataset_info.json", '{"features": {"ner_tags": {"names": {"0": "O", "2": "B-CHEM"}}}}'),
        ("README.md", "---\n" + "[" * 5000 + "\n---\n"),
    ],
)
def test_odd_names_of_numbers_are_none(tmp_path: Path, name: str, content: str) -> None:
    (tmp_path / "train.jsonl").write_text(to_lines(ROWS))
    (tmp_path / name).write_text(content)
    with raises(FormatError, "tag-names-missing"):
        read_corpus([tmp_path])


@pytest.mark.parametrize("metadata", ["{", "[]", '{"info": null}', '{"info": {"features": [1]}}'])
def test_odd_metadata_of_a_table_has_no_names(tmp_path: Path, metadata: str) -> None:
    table = pyarrow.Table.from_pylist(STATED[:1]).replace_schema_metadata({"huggingface": metadata})
    parquet.write_table(table, tmp_path / "train.parquet")
    (document,) = read_corpus([tmp_path]).documents
    assert [span.label for span in document.spans] == ["CHEM"]


def test_table_with_other_texts_than_utf8_is_refused(tmp_path: Path) -> None:
    write_parquet(tmp_path / "a.parquet", STATED[:1])
    content = (tmp_path / "a.parquet").read_bytes()
    (tmp_path / "a.parquet").write_bytes(content.replace(b"Lithium", b"Lithi\xffm"))
    with raises(FormatError, "table-file-broken"):
        read_corpus([tmp_path])


@pytest.mark.parametrize("name", ["a.parquet", "a.arrow"])
def test_damaged_tables_are_refused(tmp_path: Path, name: str) -> None:
    write_parquet(tmp_path / "whole.parquet", STATED[:1])
    (tmp_path / name).write_bytes((tmp_path / "whole.parquet").read_bytes()[:99])
    (tmp_path / "whole.parquet").unlink()
    for path in (tmp_path, tmp_path / name):
        with raises(FormatError, "table-file-broken") as raised:
            read_corpus([path])
        assert "Either the file" not in str(raised.value)  # pyarrow's guesses
    (tmp_path / name).write_bytes(b"PAR1 is a gene")
    with raises(FormatError, "table-file-broken"):
        read_corpus([tmp_path])


def test_text_may_begin_like_a_table(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("PAR1 is a gene")
    with open_source(tmp_path / "a.txt") as source:
        assert [item.key for item in source] == ["a.txt"]


def test_damaged_info_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(to_lines(ROWS))
    (tmp_path / "dataset_info.json").write_text("{")
    with raises(FormatError, "dataset-info-broken"):
        read_corpus([tmp_path / "a.jsonl"])


def test_missing_library_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_parquet(tmp_path / "a.parquet", STATED[:1])
    load = builtins.__import__

    def refuse(name: str, *rest: Any) -> Any:
        if name.startswith("pyarrow"):
            raise ImportError(name)
        return load(name, *rest)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with raises(InputError, "pyarrow-missing"):
        read_corpus([tmp_path])
    with raises(InputError, "pyarrow-missing"):
        write_documents([Document("1", "Lithium")], tmp_path / "b", "parquet")
    assert not (tmp_path / "b").exists()


VISIBLE = st.characters(exclude_categories=("Z", "C"), exclude_characters=FILLERS)
TOKENS = st.text(VISIBLE, min_size=1, max_size=5)
DATA = st.lists(
    st.lists(st.tuples(TOKENS, st.sampled_from(("", "A", "B"))), min_size=1, max_size=6),
    min_size=1,
    max_size=3,
)


@given(DATA, st.booleans())
def test_entities_come_back(
    tmp_path_factory: pytest.TempPathFactory, data: list[list[tuple[str, str]]], numbers: bool
) -> None:
    names = ["O", "B-A", "B-B"]
    folder = tmp_path_factory.mktemp("any")
    rows = [
        {
            "tokens": [token for token, _ in row],
            "ner_tags": [
                names.index(f"B-{label}" if label else "O") if numbers else f"B-{label}"
                if label else "O" for _, label in row
            ],
        }
        for row in data
    ]  # fmt: skip
    feature = {"feature": {"names": names}}
    write_parquet(folder / "a.parquet", rows, **({"ner_tags": feature} if numbers else {}))
    documents = read_corpus([folder]).documents
    found = [[(one.span_text(span), span.label) for span in one.spans] for one in documents]
    assert found == [[pair for pair in row if pair[1]] for row in data]


WRITTEN = Document(
    "7",
    "Lithium\u200b  carbonate, K+",
    (Span(0, 19, "CHEM"), Span(0, 7, "ION"), Span(21, 22, "CHEM")),
    masked_ranges=((19, 20),),
)


@pytest.mark.parametrize("option", ["hugging-face", "parquet"])
def test_written_rows_have_text_and_unknown_tags(tmp_path: Path, option: str) -> None:
    path = tmp_path / "train.x"
    written = write_documents([WRITTEN, Document("b", "")], path, option)
    assert [(lost.label, lost.reason) for lost in written.dropped] == [("ION", "overlap")]
    if option == "parquet":
        table = parquet.read_table(path)
        info = json.loads(table.schema.metadata[b"huggingface"])["info"]
        names = info["features"]["ner_tags"]["feature"]["names"]
        assert names == ["O", "B-CHEM", "I-CHEM"]
        rows = table.to_pylist()
        tags = [names[tag] if tag >= 0 else None for tag in rows[0]["ner_tags"]]
    else:
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        tags = rows[0]["ner_tags"]
    assert rows[0]["tokens"] == ["Lithium", "carbonate", ",", "K", "+"]
    assert tags == ["B-CHEM", "I-CHEM", None, "B-CHEM", "O"]
    first, second = read_corpus([path]).documents
    assert (first.id, first.text, first.masked_ranges) == ("7", WRITTEN.text, ((19, 20),))
    assert first.spans == (WRITTEN.spans[0], WRITTEN.spans[2])
    assert second == Document("b", "")


@settings(max_examples=25)
@given(
    st.lists(odd_documents(), min_size=1, max_size=3, unique_by=lambda one: one.id),
    st.sampled_from(("hugging-face", "parquet")),
)
def test_documents_round_trip(
    tmp_path_factory: pytest.TempPathFactory, documents: list[Document], option: str
) -> None:
    path = tmp_path_factory.mktemp("odd") / "x"
    tags = TagSet(LABELS)
    tagged = [tags.encode(document) for document in documents]
    written = write_documents(documents, path, option)
    assert written.document_count == len(documents)
    assert written.dropped == tuple(lost for one in tagged for lost in one.dropped)
    corpus = read_corpus([path])
    assert [(one.id, one.text) for one in corpus.documents] == [
        (one.id, one.text) for one in documents
    ]
    again = [tags.encode(document) for document in corpus.documents]
    assert [(one.words, one.tags) for one in again] == [(one.words, one.tags) for one in tagged]
    assert (corpus.warnings, corpus.dropped) == ((), ())


def test_several_rows_of_a_document_have_ids(tmp_path: Path) -> None:
    rows = [{**row, "document_id": 5} for row in STATED]
    (tmp_path / "a.jsonl").write_text(to_lines(rows))
    assert [one.id for one in read_corpus([tmp_path / "a.jsonl"]).documents] == ["a#7", "a#8"]


def test_text_of_other_tokens_is_not_used(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(to_lines([{**STATED[0], "text": "Sodium carbonate helps"}]))
    corpus = read_corpus([tmp_path / "a.jsonl"])
    assert corpus.documents[0].text == "Lithium carbonate helps"
    assert [one.kind for one in corpus.warnings] == ["text line not used"]


@pytest.mark.parametrize("label", ["A|B-C", " A", "A\n"])
def test_labels_that_are_no_tags_are_refused(tmp_path: Path, label: str) -> None:
    with raises(OutputError, "label-not-for-format"):
        document = Document("1", "Lithium", (Span(0, 7, label),))
        write_documents([document], tmp_path / "x", "hugging-face")
    with raises(OutputError, "id-not-for-format"):
        write_documents([Document("", "Lithium")], tmp_path / "x", "hugging-face")
    assert not any(tmp_path.iterdir())
