"""Writing of corpora: atomic, without overwriting, and readable by other tools."""

import json
from collections.abc import Iterator
from pathlib import Path

from tagalong.backend.label_studio.label_config import LabelConfig
from tagalong.backend.storage.atomic_files import write_atomically
from tagalong.ner.document import Document, Span
from tagalong.ner.errors import OutputError
from tagalong.training.corpus import read_corpus, write_documents
from tests.errors import raises

TEXT = "Acute renal failure after Ca2+."
DOCUMENT = Document(
    "d1",
    TEXT,
    (Span(0, 19, "Disease"), Span(6, 19, "Disease"), Span(26, 28, "Chemical")),
    {"pmid": "227508"},
)
CONFIG = LabelConfig("ner", "body", "abstract", ("CHEM", "Disease"), {"Chemical": "CHEM"})


def test_tasks_are_importable_by_label_studio(tmp_path: Path) -> None:
    path = tmp_path / "tasks.json"
    written = write_documents([DOCUMENT], path, "label-studio", config=CONFIG)
    assert (written.document_count, written.dropped) == (1, ())
    (task,) = json.loads(path.read_text())
    assert task["data"] == {"id": "d1", "pmid": "227508", "abstract": TEXT}
    (annotation,) = task["annotations"]
    assert annotation["ground_truth"] is False
    assert [item["value"] for item in annotation["result"]] == [
        {"start": 0, "end": 19, "text": "Acute renal failure", "labels": ["Disease"]},
        {"start": 6, "end": 19, "text": "renal failure", "labels": ["Disease"]},
        {"start": 26, "end": 28, "text": "Ca", "labels": ["CHEM"]},
    ]
    for item in annotation["result"]:
        assert (item["from_name"], item["to_name"], item["type"]) == ("ner", "body", "labels")


def test_predictions_are_written_as_predictions(tmp_path: Path) -> None:
    path = tmp_path / "predictions.jsonl"
    entity = {"start": 0, "end": 5, "label": "Disease", "score": 0.5}
    line = {"id": "1", "text": TEXT, "entities": [entity], "score": 0.25, "model_version": "enc-1"}
    path.write_text(json.dumps(line))
    out = tmp_path / "tasks.json"
    write_documents(read_corpus([path]).documents, out, "label-studio")
    (task,) = json.loads(out.read_text())
    assert task["data"] == {"id": "1", "text": TEXT}
    (prediction,) = task["predictions"]
    assert (prediction["model_version"], prediction["score"]) == ("enc-1", 0.25)
    assert [item["score"] for item in prediction["result"]] == [0.5]
    assert "annotations" not in task


def test_conll_reports_dropped_content(tmp_path: Path) -> None:
    path = tmp_path / "x.conll"
    blank = Document("d2", " \n ")
    written = write_documents([DOCUMENT, blank, Document("d3", "None.")], path, "conll")
    assert written.document_count == 2
    assert [(lost.text, lost.reason) for lost in written.dropped] == [
        ("renal failure", "overlap"),
        ("Ca", "edge inside a word"),
    ]
    assert path.read_text() == (
        "Acute\tB-Disease\nrenal\tI-Disease\nfailure\tI-Disease\nafter\tO\nCa2\tO\n+\tO\n.\tO\n\n"
        "None\tO\n.\tO\n\n"
    )


def test_existing_file_is_kept_unless_forced(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    path.write_text("precious")
    with raises(OutputError, "output-exists"):
        write_documents([DOCUMENT], path, "jsonl")
    assert path.read_text() == "precious"
    write_documents([DOCUMENT], path, "jsonl", overwrite=True)
    assert read_corpus([path]).documents == (DOCUMENT,)


def test_only_files_are_replaced(tmp_path: Path) -> None:
    with raises(OutputError, "output-exists"):
        write_documents([DOCUMENT], tmp_path, "jsonl", overwrite=True)


def failing_loader() -> Iterator[str]:
    yield "half"
    raise OSError(28, "No space left on device")


def test_failed_write_leaves_no_partial_file(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    second.write_text("old")
    with raises(OutputError, "output-unwritable"):
        write_atomically({first: ["new"], second: failing_loader()}, overwrite=True)
    assert [path.name for path in tmp_path.iterdir()] == ["second"]
    assert second.read_text() == "old"


def test_parent_folders_are_created_and_file_in_the_way_is_refused(tmp_path: Path) -> None:
    write_documents([DOCUMENT], tmp_path / "a" / "b" / "c.jsonl", "jsonl")
    assert read_corpus([tmp_path / "a" / "b" / "c.jsonl"]).documents == (DOCUMENT,)
    with raises(OutputError, "output-unwritable"):
        write_documents([DOCUMENT], tmp_path / "a" / "b" / "c.jsonl" / "d.jsonl", "jsonl")


def test_line_ends_of_texts_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    write_documents([Document("1", "a\r\nb\u2028c")], path, "jsonl")
    assert path.read_bytes().count(b"\n") == 1
    assert read_corpus([path]).documents[0].text == "a\r\nb\u2028c"
