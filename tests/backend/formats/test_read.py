"""Reading of corpora: detected formats, refused input and unique ids."""

import json
import os
import random
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import ijson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tagalong.backend.annotations.import_log import ImportLog
from tagalong.backend.formats.registry import read_predictions
from tagalong.backend.formats.text_file import CHUNK_BYTES
from tagalong.ner.document import Document, Span
from tagalong.ner.errors import FormatError, InputError
from tagalong.training.corpus import (
    Corpus,
    compute_fingerprint,
    read_corpus,
    write_documents,
)
from tests.errors import raises
from tests.odd_documents import annotation, odd_documents, region, task

ROOT = Path(__file__).parents[3]
SAMPLES = ROOT / "tests" / "samples"
LINE = {"id": "1", "text": "Naloxone.", "entities": [{"start": 0, "end": 8, "label": "Chemical"}]}
PREDICTED = {**LINE, "score": 0.9, "model_version": "enc-1"}
EXPORTED = [task("Naloxone.", annotation(region("Naloxone.", 0, 8, "Chemical")))]


@pytest.fixture
def read(tmp_path: Path):
    def read(*contents: str | bytes) -> Corpus:
        paths = [tmp_path / f"{i}.txt" for i, _ in enumerate(contents)]
        for path, content in zip(paths, contents, strict=True):
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return read_corpus(paths)

    return read


def lines(*documents: dict[str, Any]) -> str:
    return "".join(json.dumps(document) + "\n" for document in documents)


def document(name: str, text: str, label: str = "A") -> dict[str, Any]:
    return {"id": name, "text": text, "entities": [{"start": 0, "end": 1, "label": label}]}


def judged(corpus: Corpus) -> dict[str, int]:
    return {warning.kind: warning.count for warning in corpus.warnings}


def test_exports_are_streamed_by_c_parser() -> None:
    assert ijson.backend == "yajl2_c"


@pytest.mark.parametrize(
    ("content", "form"),
    [
        (json.dumps(EXPORTED), "Label Studio JSON"),
        (json.dumps(EXPORTED, indent=2), "Label Studio JSON"),
        (lines(LINE), "JSON lines"),
        (lines(LINE).strip(), "JSON lines"),
        (lines({**LINE, "entities": []}), "JSON lines"),
        (lines(PREDICTED), "predictions in JSON lines"),
        ("Naloxone\tB-Chemical\n.\tO\n", "CoNLL"),
    ],
)
@pytest.mark.parametrize("mark", ["", "\ufeff", "\n \n"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_format_is_detected_by_content(read, content: str, form: str, mark: str, end: str) -> None:
    corpus = read(mark + content.replace("\n", end))
    assert [source.format for source in corpus.sources] == [form]
    assert [len(document.text) > 8 for document in corpus.documents] == [True]


def test_files_of_several_formats_make_one_corpus(read) -> None:
    other = {**LINE, "id": "x", "text": "Aspirin."}
    corpus = read(lines(LINE), json.dumps(EXPORTED), "Lithium\tB-Drug\n", lines(other))
    assert [source.document_count for source in corpus.sources] == [1, 1, 1, 1]
    assert [document.id for document in corpus.documents] == ["1", "2#1", "x"]
    assert corpus.labels == ("Chemical", "Drug")
    assert judged(corpus) == {"duplicate document": 1}


@pytest.mark.parametrize(
    ("content", "code"),
    [
        ("", "file-empty"),
        (" \r\n\t\n", "file-empty"),
        ("\ufeff", "file-empty"),
        ("[]", "file-empty-list"),
        ("Famotidine-associated delirium.", "format-unknown"),
        ("[1, 2]", "format-unknown"),
        ("{", "json-broken-at-start"),
        ('[{"id": 1, "data": {"te', "json-broken-at-start"),
        (lines(LINE).strip()[:-1], "json-broken-at-start"),
        (json.dumps(EXPORTED)[:-1], "json-broken"),
        (json.dumps(EXPORTED)[:-1] + ", NaN", "json-broken"),
        (json.dumps(EXPORTED)[:-1] + ", NULL]", "json-broken"),
        (json.dumps(EXPORTED)[:-1] + ", " + "[1," * 20_000 + "1" + "]" * 20_001, "json-too-deep"),
        (lines(LINE).encode("utf-16"), "file-utf16"),
        (lines(LINE).encode("utf-16-le"), "file-utf16"),
        (lines(LINE).encode("utf-16-be"), "file-utf16"),
        (lines(LINE).encode("utf-32"), "file-utf32"),
        (lines(LINE).encode("utf-32-le"), "file-utf32"),
        (lines(LINE).encode("utf-32-be"), "file-utf32"),
        ('{"text": "Größe", "entities": []}'.encode("latin-1"), "file-not-utf8"),
        (lines(LINE).encode() + b"\xe9", "file-not-utf8"),
        (b"x" * (CHUNK_BYTES - 1) + b"\xc3x", "file-not-utf8"),
        (b"PK\x01\x02\x00\x00", "file-binary"),
        (lines(LINE) + "\0", "file-binary"),
        ("word\tO\nw\0rd\tO\n", "file-binary"),
        ('["\\ud83d"]', "half-a-character-in-file"),
        ('["\\\\\\uDC00"]', "half-a-character-in-file"),
        ('["\\ud83d\\ud83d\\ude00"]', "half-a-character-in-file"),
        ('{"a":\n"\\udc00"}', "half-a-character-in-file"),
        (json.dumps([task("\ud83d", annotation())]), "half-a-character-in-file"),
        (json.dumps([task("a", annotation(), number="\udc00")]), "half-a-character-in-file"),
        (
            json.dumps([task("a", annotation(region("a", 0, 1, "\udc00")))]),
            "half-a-character-in-file",
        ),
        (lines(document("\ud83d", "a")), "half-a-character"),
        (lines(document("1", "a", "\ud83d")), "half-a-character"),
    ],
)
def test_bad_input_is_refused(read, content: str | bytes, code: str) -> None:
    with raises(FormatError, code) as raised:
        read(content)
    assert "0.txt" in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("content", "position"),
    [
        (lines(LINE).encode() + b"\xe9", "92"),
        (b"x" * (CHUNK_BYTES - 1) + b"\xc3x", "1,048,575"),
        (b"PK\x01\x02\x00\x00", "4"),
        (lines(LINE) + "\0", "92"),
        ("word\tO\nw\0rd\tO\n", "8"),
        ('["\\ud83d"]', "2"),
        ('["\\\\\\uDC00"]', "4"),
        ('["\\ud83d\\ud83d\\ude00"]', "2"),
        ('{"a":\n"\\udc00"}', "7"),
    ],
)
def test_invalid_byte_is_reported_with_position(read, content: str | bytes, position: str) -> None:
    with pytest.raises(FormatError) as raised:
        read(content)
    assert position in re.findall(r"(?:byte|position) ([\d,]*\d)", str(raised.value))


@pytest.mark.parametrize(
    ("content", "tool"),
    [
        ({"images": [], "annotations": [], "categories": []}, "COCO"),
        ({"text": "a", "label": ["positive"]}, "labels of whole texts"),
        ({"text": "a", "annotations": [{"label": 4}]}, "doccano with numbers"),
        ({"text": "a", "spans": "0-1"}, "Prodigy"),
        ({"tool": "x", "content": "a"}, "'tool', 'content'"),
        ({"text": "a", "tags": [{"from": 0, "to": 1}]}, "'text', 'tags'"),
        ([{"id": 0, "paragraphs": {}}], "spaCy"),
        ([{"tokenized_text": ["a"], "ner": [[0, 0, "A"]]}], "GLiNER"),
        ({"task": {}, "result": []}, "a single Label Studio annotation"),
        ([LINE], "one document a line"),
        ({"id": "1", "text": "a"}, "texts without annotations"),
    ],
)
@pytest.mark.parametrize("indent", [None, 2])
def test_foreign_file_formats_are_named(read, content: Any, tool: str, indent: int | None) -> None:
    with raises(FormatError, "format-unknown") as raised:
        read(json.dumps(content, indent=indent))
    assert tool in str(raised.value)


@pytest.mark.parametrize(
    ("content", "tool"),
    [
        ("<?xml version='1.0'?><article/>", "XML"),
        ("<View><Labels/></View>", "--label-config"),
        ("text,id,label\n", "a table of texts"),
        ("Fever, headache\n", "begins with 'Fever, headache'"),
    ],
)
def test_foreign_text_formats_are_named(read, content: str, tool: str) -> None:
    with raises(FormatError, "format-unknown") as raised:
        read(content)
    assert tool in str(raised.value)


def test_missing_file_is_named(tmp_path: Path) -> None:
    with raises(InputError, "file-unreadable"):
        read_corpus([tmp_path / "no.json"])
    with raises(InputError, "folder-format-unknown"):
        read_corpus([tmp_path])
    with raises(InputError, "no-files-given"):
        read_corpus([])


def test_pipe_is_refused_with_advice() -> None:
    reading, writing = os.pipe()
    os.write(writing, lines(LINE).encode())
    os.close(writing)
    with raises(InputError, "file-is-a-pipe"):
        read_corpus([Path(f"/dev/fd/{reading}")])
    os.close(reading)


def test_named_pipe_is_not_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(tmp_path / "a.ann")
    monkeypatch.delattr(Path, "open")  # would wait for a program that writes
    for path in (tmp_path / "a.ann", tmp_path):
        with raises(InputError, "file-is-a-pipe" if path.is_fifo() else "annotations-without-text"):
            read_corpus([path])


def test_reading_imports_no_heavy_library() -> None:
    heavy = ("torch", "transformers", "label_studio_sdk", "numpy", "pydantic")
    found = f"[one for one in {heavy} if one in sys.modules]"
    script = f"import sys, tagalong.training.corpus; print({found})"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, check=True, capture_output=True, text=True
    )
    assert done.stdout.strip() == "[]"


@pytest.mark.slow
def test_document_of_two_million_characters(read) -> None:
    text = "naloxone 😀 " * 200_000
    spans = [{"start": len(text) - 11, "end": len(text) - 3, "label": "Chemical"}]
    long = {"id": "long", "text": text, "entities": spans}
    exported = task(text, annotation(region(text, len(text) - 11, len(text) - 3, "Chemical")))
    corpus = read(lines(long), json.dumps([exported]), "naloxone\tB-Chemical\n" * 200_000)
    assert [len(one.text) for one in corpus.documents] == [2_200_000, 2_200_000, 1_799_999]
    assert [one.span_text(one.spans[-1]) for one in corpus.documents] == ["naloxone"] * 3
    assert corpus.dropped == ()


@pytest.mark.parametrize("text", ["", "   ", "\r\n", "😀", "😀 👩\u200d⚕️", "\0"])
def test_texts_of_spaces_emoji_or_nul_are_documents(read, text: str) -> None:
    corpus = read(lines({"text": text, "entities": []}), json.dumps([task(text, annotation())]))
    assert [one.text for one in corpus.documents] == [text, text]


@pytest.mark.parametrize("shift", range(12))
def test_surrogate_pair_across_chunks_is_decoded(read, shift: int) -> None:
    start = json.dumps([task("@", annotation())]).index("@")
    padding = "x" * (CHUNK_BYTES - start - 30 + shift)  # an escaped pair takes 12 bytes
    text = f"{padding}{'😀' * 4}"
    (one,) = read(json.dumps([task(text, annotation())])).documents
    assert one.text == text
    with raises(FormatError, "half-a-character-in-file"):
        read(json.dumps([task(f"{padding}😀😀\ud83d😀", annotation())]))


def test_escaped_backslash_before_u_is_no_escape(read) -> None:
    (one,) = read(json.dumps([task("\\ud83d", annotation())])).documents
    assert one.text == "\\ud83d"


@pytest.mark.parametrize("content", ["word\tO\n", lines({"text": "a", "entities": []})])
def test_id_from_file_name_can_be_written(tmp_path: Path, content: str) -> None:
    path = tmp_path / os.fsdecode(b"\xff.txt")
    try:
        path.write_text(content)
    except OSError:
        pytest.skip("this file system takes no such name")
    corpus = read_corpus([path])
    assert r"\udcff" in corpus.documents[0].id
    write_documents(corpus.documents, tmp_path / "out", "jsonl")


def test_predictions_are_read_with_a_warning(read, tmp_path: Path) -> None:
    corpus = read(lines(PREDICTED))
    assert corpus.documents[0].meta == {"model_version": "enc-1", "score": 0.9}
    assert judged(corpus) == {"made by a model": 1}
    ((predicted_document, predicted),) = read_predictions(tmp_path / "0.txt")
    assert (predicted_document, predicted.spans) == (
        Document("1", "Naloxone."),
        (Span(0, 8, "Chemical"),),
    )


def test_predictions_need_entities_but_no_version(tmp_path: Path) -> None:
    path = tmp_path / "p.jsonl"
    path.write_text(lines(LINE))
    assert [predicted.version for _, predicted in read_predictions(path)] == ["unknown"]
    path.write_text(json.dumps(EXPORTED))
    with raises(FormatError, "task-without-prediction"):
        read_predictions(path)


@pytest.mark.parametrize(
    ("entity", "reason"),
    [
        ({"start": -1, "end": 3}, "offset outside the text"),
        ({"start": 5, "end": 5}, "empty"),
        ({"start": 8, "end": 2}, "end before start"),
        ({"start": 0, "end": 10**30}, "offset outside the text"),
        ({"start": 0, "end": 8, "text": "aspirin"}, "text differs"),
    ],
)
def test_predicted_entity_that_does_not_fit_is_dropped(
    tmp_path: Path, entity: dict[str, Any], reason: str
) -> None:
    path = tmp_path / "p.jsonl"
    entities = [*LINE["entities"], {"label": "Chemical", **entity}]  # type: ignore[misc]
    path.write_text(lines({**LINE, "entities": entities}))
    ((_, predicted),) = read_predictions(path)
    assert predicted.spans == (Span(0, 8, "Chemical"),)
    assert [(one.reason, one.document) for one in predicted.dropped] == [(reason, "1")]


@pytest.mark.parametrize("as_tasks", [False, True])
def test_predictions_show_their_counting_of_offsets(tmp_path: Path, *, as_tasks: bool) -> None:
    text = "\U0001f600 Lithium, then Naloxone."
    spans = [(3, 10, "Lithium"), (17, 25, "Naloxone")]  # in UTF-16 units
    entities = [{"start": i, "end": j, "label": "D", "text": one} for i, j, one in spans]
    items = [{"value": {"start": i, "end": j, "labels": ["D"], "text": t}} for i, j, t in spans]
    found = {"result": [{**item, "score": 0.5} for item in items], "model_version": "v"}
    record = {"data": {"text": text}, "predictions": [found]}
    path = tmp_path / "p"
    path.write_text(
        json.dumps([record])
        if as_tasks
        else lines({"text": text, "entities": entities, "model_version": "v"})
    )
    log = ImportLog()
    ((document, predicted),) = read_predictions(path, import_log=log)
    assert [text[one.start : one.end] for one in predicted.spans] == ["Lithium", "Naloxone"]
    assert (document.text, predicted.version, predicted.dropped) == (text, "v", ())
    assert [one.kind for one in log.warnings()] == ["UTF-16 offsets"]


def test_queue_score_is_not_a_confidence(tmp_path: Path) -> None:
    result = [{**region("Naloxone.", 0, 8, "Chemical"), "score": 0.9}]
    prediction = {"model_version": "enc-1", "score": -0.05, "result": result}
    path = tmp_path / "p.json"
    path.write_text(json.dumps([{"data": {"text": "Naloxone."}, "predictions": [prediction]}]))
    ((_, predicted),) = read_predictions(path)
    assert (predicted.version, predicted.score) == ("enc-1", 1.0)


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("inside", ["\u2028", "\x85", "\x0b\x0c\x1c", "\u2029"])
def test_lines_end_at_line_ends_only(read, end: str, inside: str) -> None:
    texts = [f"a{inside}b", f"{inside}c", "\r\n"]
    records = [document(str(number), text) for number, text in enumerate(texts)]
    content = "".join(
        json.dumps(one, ensure_ascii="\x0b" in inside) + end * number
        for number, one in enumerate(records, start=1)
    )
    corpus = read(content)
    assert [one.text for one in corpus.documents] == texts
    assert [source.format for source in corpus.sources] == ["JSON lines"]


def test_joined_files_with_byte_order_marks_are_read(read) -> None:
    one, other = (lines(document(number, "a" + number)) for number in "12")
    assert [each.id for each in read(f"\ufeff{one}\ufeff{other}").documents] == ["1", "2"]


def test_labels_that_look_the_same_are_named(read) -> None:
    labels = ["Drug", "Drug\u200b", "Dru"]
    corpus = read(lines(*(document(label, label, label) for label in labels)))
    assert corpus.labels == ("Dru", "Drug", "Drug\u200b")
    (warning,) = corpus.warnings
    assert (warning.kind, warning.examples) == ("labels alike", (r"'Drug', 'Drug\u200b'",))


def test_rows_of_old_macintosh_files_are_read(read) -> None:
    (one,) = read("Naloxone\tB-Chemical\r.\tO\r").documents
    assert (one.text, one.spans) == ("Naloxone .", (Span(0, 8, "Chemical"),))


def test_duplicate_document_is_read_once(read) -> None:
    corpus = read(lines(document("1", "a"), document("2", "a"), document("1", "a")))
    assert [one.id for one in corpus.documents] == ["1", "2"]
    assert judged(corpus) == {"duplicate document": 1}


@pytest.mark.parametrize("missing", [{}, {"id": None}, {"id": ""}])
def test_tasks_without_an_id_are_numbered(read, missing: dict[str, Any]) -> None:
    texts = ["lead ill", "lead", "lead too"]
    ids = [{"id": 9}, missing, missing]
    regions = [{"start": 0, "end": 4, "text": "lead", "labels": ["Chemical"]}]
    tasks, items = [], []
    for text, own in zip(texts, ids, strict=True):
        made = task(text, annotation(region(text, 0, 4, "Chemical")))
        tasks.append({**{key: value for key, value in made.items() if key != "id"}, **own})
        items.append({"text": text, "annotator": 1, "lead_time": 1, "label": regions, **own})
    for records in (tasks, items):
        documents = read(json.dumps(records)).documents
        assert [(one.id, one.text) for one in documents] == list(
            zip(["9", "2", "3"], texts, strict=True)
        )


def test_reused_id_is_made_unique(read) -> None:
    corpus = read(
        lines(document("1", "a"), document("1#2", "b"), document("1", "c")),
        lines(document("1", "d"), document("1", "a"), document("1", "c"), document("1#3", "e")),
    )
    names = {one.id: one.text for one in corpus.documents}
    assert names == {"1": "a", "1#2": "b", "1#3": "c", "1#4": "d", "1#3#2": "e"}
    assert judged(corpus) == {"duplicate document": 2, "id used again": 3}


def test_second_annotation_of_a_text_is_kept(read) -> None:
    corpus = read(lines(document("1", "a"), document("1", "a", "B")))
    assert [(one.id, one.spans[0].label) for one in corpus.documents] == [("1", "A"), ("1#2", "B")]
    assert judged(corpus) == {"annotated again": 1}


@given(st.lists(odd_documents(), min_size=1, max_size=5), st.randoms())
def test_fingerprint_depends_on_content_only(
    documents: list[Document], chance: random.Random
) -> None:
    shuffled = chance.sample(documents, len(documents))
    renamed = [
        Document(str(i), one.text, one.spans[::-1], {"x": 1}) for i, one in enumerate(shuffled)
    ]
    assert compute_fingerprint(renamed) == compute_fingerprint(documents)
    assert compute_fingerprint([*documents, documents[0]]) != compute_fingerprint(documents)
    more = Document("x", documents[0].text + "x", documents[0].spans)
    assert compute_fingerprint([more, *documents[1:]]) != compute_fingerprint(documents)


def test_fingerprint_is_pinned() -> None:
    corpus = read_corpus([SAMPLES / "bc5cdr.jsonl"])
    expected = "38fd2833431822841877385a42d22d35ae36ff645d0bd62e941abd4847e8e9ea"
    assert corpus.fingerprint == expected
    assert compute_fingerprint([]) != corpus.fingerprint


@given(st.lists(odd_documents(), max_size=4, unique_by=lambda one: one.id))
def test_json_lines_and_tasks_round_trip(
    tmp_path_factory: pytest.TempPathFactory, documents: list[Document]
) -> None:
    folder = tmp_path_factory.mktemp("odd")
    for target in ("jsonl", "label-studio"):
        path = folder / target
        assert write_documents(documents, path, target).dropped == ()
        if documents:
            corpus = read_corpus([path])
            assert corpus.documents == tuple(documents)
            assert corpus.dropped == ()
            assert judged(corpus).keys() <= {"offsets ambiguous"}  # harmless here
