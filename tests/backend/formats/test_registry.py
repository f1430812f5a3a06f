"""The format registry: each format works with every reader and round-trips."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tagalong.backend.annotations.import_log import ImportLog
from tagalong.backend.batch.files import open_source
from tagalong.backend.formats import registry
from tagalong.backend.formats.file_format import FileFormat, ReadOptions
from tagalong.backend.formats.registry import (
    FORMATS,
    WRITERS,
    choose_prediction_writer,
    describe_formats,
    read_predictions,
)
from tagalong.backend.formats.sniff import FileHead, sniff_file
from tagalong.backend.formats.text_file import TextFile
from tagalong.backend.label_studio.label_config import DEFAULT_LABEL_CONFIG
from tagalong.ner.document import Document, Prediction, Span
from tagalong.ner.errors import FormatError, InputError
from tagalong.training.corpus import read_corpus, write_documents
from tests.errors import raises

SAMPLES = Path(__file__).parents[2] / "samples"
DOCUMENTS = (
    Document("1#1", "Naloxone reverses clonidine", (Span(0, 8, "Chemical"),)),
    Document("1#2", "lithium", (Span(0, 7, "Chemical"),)),
)
BAR = "a|Chemical\nb|O\n"  # of a format that only this test knows


def is_bar(head: FileHead) -> bool:
    return head.structure == "text" and all("|" in line for line in head.head_lines if line)


def read_bar(head: FileHead, _options: ReadOptions, _log: ImportLog) -> Iterator[Document]:
    for number, line in enumerate(head.file.open_stream().read().decode().splitlines()):
        text, label = line.split("|")
        spans = () if label == "O" else (Span(0, len(text), label),)
        yield Document(str(number), text, spans)


@pytest.fixture
def bar(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file of a format that has no more than a name, `matches` and `read_annotations`."""
    form = FileFormat(name="bars", matches=is_bar, read_annotations=read_bar)
    monkeypatch.setattr(registry, "FORMATS", (form, *FORMATS))
    path = tmp_path / "some.txt"
    path.write_text(BAR)
    return path


def test_new_format_is_known_to_readers_and_help(bar: Path) -> None:
    corpus = read_corpus([bar])
    assert [source.format for source in corpus.sources] == ["bars"]
    with open_source(bar) as source:
        assert source.total_items == 2
        assert [item.document for item in source] == [Document("0", "a"), Document("1", "b")]
    predictions = read_predictions(bar)
    assert predictions[0] == (
        Document("0", "a"),
        Prediction((Span(0, 1, "Chemical"),), 1.0, "unknown"),
    )
    assert describe_formats("annotations").startswith("bars, ")
    assert describe_formats("texts").startswith("bars, ")


def test_format_that_is_only_written_is_not_read(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    writer = WRITERS["conll"]
    form = FileFormat(name="written", matches=lambda _: True, writer=writer)
    monkeypatch.setattr(registry, "FORMATS", (form, *FORMATS))
    assert "written" not in describe_formats("texts") + describe_formats("annotations")
    path = tmp_path / "some.txt"
    path.write_text("Naloxone")
    with open_source(path) as source:
        assert [item.document for item in source] == [Document("some.txt", "Naloxone")]


@pytest.mark.parametrize(
    "name", ["label_studio.json", "label_studio_min.json", "bc5cdr.jsonl", "label_studio.conll"]
)
def test_annotated_files_can_be_predicted(name: str) -> None:
    annotated = {one.id: one.text for one in read_corpus([SAMPLES / name]).documents}
    with open_source(SAMPLES / name) as source:
        items = list(source)
        assert source.total_items == len(items)
    texts = {item.key: item.document.text for item in items if item.document is not None}
    assert annotated.items() <= texts.items()
    assert all(item.document is None or not item.document.spans for item in items)


@pytest.mark.parametrize("option", list(WRITERS))
def test_written_files_are_read_by_every_reader(tmp_path: Path, option: str) -> None:
    if library := {"spacy": "spacy", "parquet": "pyarrow"}.get(option):
        pytest.importorskip(library, reason=f"{library} is an extra")
    path = tmp_path / "1.x"
    write_documents(DOCUMENTS, path, option)
    assert read_corpus([path]).documents == DOCUMENTS
    with open_source(path) as source:
        assert [item.document and item.document.text for item in source] == [
            one.text for one in DOCUMENTS
        ]
    if option == "label-studio":  # tasks say whether they have annotations or predictions
        with raises(FormatError, "task-without-prediction"):
            read_predictions(path)
        return
    assert [predicted.spans for _, predicted in read_predictions(path)] == [
        one.spans for one in DOCUMENTS
    ]


@pytest.mark.parametrize(("name", "option"), [("p.json", "label-studio"), ("p.jsonl", "jsonl")])
def test_predictions_round_trip(tmp_path: Path, name: str, option: str) -> None:
    writer = choose_prediction_writer(tmp_path / name)
    assert writer is WRITERS[option]
    assert writer.serialize_prediction is not None
    prediction = Prediction((Span(0, 8, "Chemical", 0.5),), 0.25, "enc-1")
    document = Document("7", DOCUMENTS[0].text)
    record = writer.serialize_prediction(document, prediction, DEFAULT_LABEL_CONFIG)
    (tmp_path / name).write_text("".join(writer.join([record])))
    assert read_predictions(tmp_path / name) == [(document, prediction)]


def test_other_suffixes_mean_json_lines(tmp_path: Path) -> None:
    assert choose_prediction_writer(tmp_path / "p.conll") is WRITERS["jsonl"]


def test_truncated_json_is_refused_as_texts_too(tmp_path: Path) -> None:
    path = tmp_path / "t.json"
    path.write_text(json.dumps([{"text": "a"}])[:-1] + ", {")
    with raises(FormatError, "json-broken"):
        open_source(path)


def read_bar_folder(head: FileHead, _options: ReadOptions, _log: ImportLog) -> Iterator[Document]:
    for path in head.file.list_files(".bar"):
        text, label = path.read_text().split("|")
        yield Document(path.name, text, (Span(0, len(text), label),))


@pytest.fixture
def bar_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of a format that only this test knows, nested, with other and hidden files."""
    form = FileFormat(
        name="folders of bars",
        matches=lambda head: head.structure == "folder" and bool(head.file.list_files(".bar")),
        read_annotations=read_bar_folder,
    )
    monkeypatch.setattr(registry, "FORMATS", (*FORMATS, form))
    (tmp_path / "b").mkdir()
    (tmp_path / ".hidden").mkdir()
    (tmp_path / "b" / "1.BAR").write_text("a|Chemical")
    (tmp_path / "2.bar").write_text("b|Chemical")
    (tmp_path / "2.txt").write_text("c")
    (tmp_path / ".3.bar").write_text("d|Chemical")
    (tmp_path / ".hidden" / "4.bar").write_text("e|Chemical")
    return tmp_path


def test_folder_is_read_by_every_reader(bar_folder: Path) -> None:
    corpus = read_corpus([bar_folder])
    expected = [Document("2.bar", "b"), Document("1.BAR", "a")]
    spans = (Span(0, 1, "Chemical"),)
    assert [replace(one, spans=()) for one in corpus.documents] == expected
    assert {one.spans for one in corpus.documents} == {spans}
    with open_source(bar_folder) as source:
        assert source.total_items == 2
        assert [item.document for item in source] == expected
    assert read_predictions(bar_folder) == [
        (one, Prediction(spans, 1.0, "unknown")) for one in expected
    ]


def test_folder_without_a_format_is_refused_or_has_plain_texts(tmp_path: Path) -> None:
    (tmp_path / "1.txt").write_text("Naloxone")
    with raises(FormatError, "folder-format-unknown"):
        read_corpus([tmp_path])
    with open_source(tmp_path) as source:
        assert [item.document for item in source] == [Document("1.txt", "Naloxone")]


def test_folder_that_cannot_be_read_is_refused(bar_folder: Path) -> None:
    with TextFile(bar_folder) as file:
        head = sniff_file(file)
        shutil.rmtree(bar_folder)
        with raises(InputError, "file-unreadable"):
            head.file.list_files(".bar")
