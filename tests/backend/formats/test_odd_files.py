"""Files as other tools write them, and damaged ones: read whole, counted, or refused by reason."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tagalong.backend.annotations.import_log import ImportLog
from tagalong.backend.batch.files import open_source
from tagalong.backend.formats.registry import read_predictions
from tagalong.ner.errors import InputError
from tagalong.training.corpus import Corpus, read_corpus
from tests.errors import raises
from tests.odd_documents import annotation, region, task

TEXT = "Lithium caused tremor."
GOOD = task(TEXT, annotation(region(TEXT, 0, 7, "Drug")))
BIOC = (
    "<collection{}><source/><date/><key/><document><id>1</id><passage><offset>0</offset>"
    '<text>Lithium x</text><annotation id="1"><infon key="type">Drug</infon>'
    '<location offset="0" length="7"/><text>Lithium</text></annotation></passage></document>'
    "</collection>"
)
WEBANNO = (
    "#FORMAT=WebAnno TSV 3.2\n#T_SP=webanno.custom.Ent|value\n\n\n#Text=Lithium caused tremor .\n"
    "1-1\t0-7\tLithium\tDrug\t\n1-2\t8-14\tcaused\t_\t\n1-3\t15-21\ttremor\tSign\t\n"
    "1-4\t22-23\t.\t_\t\n"
)
BIOC_WITH_NAMESPACE = BIOC.format(' xmlns="http://bioc.example"')


def write(folder: Path, files: Mapping[str, str | bytes]) -> Path:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder


def covered(corpus: Corpus) -> list[list[str]]:
    return [[one.span_text(span) for span in one.spans] for one in corpus.documents]


def judged(corpus: Corpus) -> dict[str, int]:
    return {warning.kind: warning.count for warning in corpus.warnings}


def numbered(*tasks: Any) -> str:
    return json.dumps([{**one, "id": n} if one else one for n, one in enumerate(tasks, start=1)])


LITHIUM = [["Lithium"]]
READABLE: dict[str, tuple[str, str | bytes, list[list[str]]]] = {
    "BioC XML with a namespace": ("a.xml", BIOC_WITH_NAMESPACE, LITHIUM),
    "tasks a line": (
        "a.jsonl",
        f"{json.dumps(GOOD)}\n{json.dumps({**GOOD, 'id': 9})}",
        LITHIUM * 2,
    ),
    "a null task first": ("a.json", numbered(None, GOOD), LITHIUM),
    "a task without data first": ("a.json", numbered({"annotations": []}, GOOD), LITHIUM),
    "an empty spaCy record first": (
        "a.jsonl",
        '{"text": "x", "entities": []}\n{"text": "Lithium", "entities": [[0, 7, "Drug"]]}\n',
        [[], ["Lithium"]],
    ),
    "a row without tokens": (
        "a.jsonl",
        '{"tokens": [], "ner_tags": []}\n{"tokens": ["Lithium"], "ner_tags": ["B-Drug"]}\n',
        [[], ["Lithium"]],
    ),
    "tabs and blanks in turn": ("a.conll", "Lithium B-Drug\nhelped\tO\nme O\nall\tO\n", LITHIUM),
    "a table of mentions without a header": (
        "a.tsv",
        "1\t\t\tLithium helped\t\n1\t0\t7\tLithium\tDrug\n",
        LITHIUM,
    ),
    "an address with entities in it": (
        "a.jsonl",
        '{"id": 1, "text": "s3://a/b", "label": [[0, 2, "D"]]}\n'
        '{"id": 2, "text": "Lithium", "label": [[0, 7, "Drug"]]}\n',
        LITHIUM,
    ),
    "annotations of an old doccano": (
        "a.jsonl",
        '{"text": "Lithium", "annotations": [{"start_offset": 0, "end_offset": 7, "label": "D"}]}',
        LITHIUM,
    ),
    "a null in doccano's array": (
        "a.json",
        '[null, {"text": "Lithium", "label": [[0, 7, "D"]]}, 5]',
        LITHIUM,
    ),
    "regions as text in JSON_MIN": (
        "a.json",
        json.dumps(
            [
                {
                    "id": 1,
                    "text": TEXT,
                    "annotator": 1,
                    "annotation_id": 1,
                    "lead_time": 1,
                    "label": json.dumps([{"start": 0, "end": 7, "labels": ["Drug"]}]),
                }
            ]
        ),
        LITHIUM,
    ),
    "WebAnno without a last blank line": ("a.tsv", WEBANNO, [["Lithium", "tremor"]]),
}


@pytest.mark.parametrize("kind", READABLE)
def test_files_of_other_tools_are_read_whole(kind: str, tmp_path: Path) -> None:
    name, content, expected = READABLE[kind]
    assert covered(read_corpus([write(tmp_path, {name: content}) / name])) == expected


REFUSED: dict[str, tuple[str, str | bytes, str, str]] = {
    "WebAnno cut at a line end": (
        "a.tsv",
        WEBANNO[: WEBANNO.index("1-3")],
        "webanno-broken",
        "line 7 is the last, without tokens for 'tremor .'",
    ),
    "WebAnno cut behind the text": (
        "a.tsv",
        WEBANNO[: WEBANNO.index("1-1")],
        "webanno-broken",
        "without tokens for 'Lithium caused tremor .'",
    ),
    "regions that a spreadsheet broke": (
        "a.csv",
        "id,annotator,annotation_id,lead_time,text,label\n"
        f"1,1,1,2.0,{TEXT},\"[{{'start': 0, 'end': 7, 'labels': ['Drug']}}]\"\n",
        "regions-not-json",
        "task 1 has regions under 'label'",
    ),
    "answers that are all rejected": (
        "a.jsonl",
        '{"text": "Lithium", "spans": [{"start": 0, "end": 7, "label": "D"}], "answer": "reject"}',
        "file-without-annotations",
        "(not accepted: 1)",
    ),
    "a proxied address": (
        "a.json",
        numbered(task("/tasks/1/resolve/?fileuri=czM6", annotation(region(TEXT, 0, 7, "Drug")))),
        "task-with-address",
        "task 1 ",
    ),
    "addresses alone": (
        "a.jsonl",
        '{"id": "1", "text": "s3://a/b", "entities": [{"start": 0, "end": 2, "label": "D"}]}',
        "file-without-annotations",
        "(task set aside: 1)",
    ),
    "BigBio": (
        "a.jsonl",
        '{"document_id": "1", "passages": [], "entities": []}',
        "format-unknown",
        "like BigBio's",
    ),
    "mentions with commas": (
        "a.csv",
        "id,start,end,text,label\n1,0,7,Li,D\n",
        "format-unknown",
        "by tabs",
    ),
    "PDF": ("a.txt", b"%PDF-1.4\n1 0 obj\n", "file-not-text", "a PDF file"),
    "RTF": ("a.txt", rb"{\rtf1 Lithium}", "file-not-text", "an RTF file"),
    "DOCX": ("a.txt", b"PK\x03\x04\x14\0", "file-not-text", "DOCX"),
    "gzip": ("a.jsonl", b"\x1f\x8b\x08\0", "file-not-text", "gzip"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_damaged_files_are_refused_by_reason(kind: str, tmp_path: Path) -> None:
    name, content, code, part = REFUSED[kind]
    with raises(InputError, code) as raised:
        read_corpus([write(tmp_path, {name: content}) / name])
    assert part in str(raised.value)


def test_lines_of_one_annotation_are_one_span(tmp_path: Path) -> None:
    # brat ends a stretch at each line end.
    text, lines = "renal\nfailure, renal failure", "T1\tSign 0 5;6 13\trenal failure\n"
    broken = "T2\tSign 15 20;21 28\trenal failure\n"
    corpus = read_corpus([write(tmp_path, {"a.txt": text, "a.ann": lines + broken})])
    assert covered(corpus) == [["renal\nfailure"]]
    assert [lost.reason for lost in corpus.dropped] == ["discontinuous"]


def test_a_null_is_no_id(tmp_path: Path) -> None:
    content = json.dumps([{**GOOD, "id": None}])
    assert [one.id for one in read_corpus([write(tmp_path, {"a": content}) / "a"]).documents] == [
        "1"
    ]


def test_links_are_no_labels(tmp_path: Path) -> None:
    text = WEBANNO.replace("Ent|value", "Ent|ROLE_Ent:link_Link|Ent|kind").replace(
        "_\t\n", "_\t_\t_\t\n"
    )
    text = text.replace("\tDrug\t", "\trole\t1-3\tDrug\t").replace("\tSign\t", "\t_\t_\tSign\t")
    corpus = read_corpus([write(tmp_path, {"a.tsv": text}) / "a.tsv"])
    assert corpus.labels == ("Drug", "Sign")


def test_one_odd_file_of_a_webanno_folder_is_set_aside(tmp_path: Path) -> None:
    corpus = read_corpus([write(tmp_path, {"a.tsv": WEBANNO, "b.tsv": "word\ttag\n"})])
    assert (covered(corpus), judged(corpus)) == ([["Lithium", "tremor"]], {"task set aside": 1})


def test_linked_folders_are_read_once(tmp_path: Path) -> None:
    pair = {"a.txt": TEXT, "a.ann": "T1\tDrug 0 7\tLithium\n"}
    folder, other = write(tmp_path / "own", pair), write(tmp_path / "other", pair)
    (folder / "link").symlink_to(other)
    (folder / "loop").symlink_to(folder)
    assert [one.id for one in read_corpus([folder]).documents] == ["a", "link/a"]


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [(0.0, 7.0, (["Lithium"], {})), (0.5, 7.0, ([], {"task set aside": 1}))],
)
def test_whole_numbers_may_be_written_as_decimals(
    start: float, end: float, expected: object, tmp_path: Path
) -> None:
    odd = region(TEXT, 0, 7, "Drug")
    odd["value"] |= {"start": start, "end": end}
    content = numbered(task(TEXT, annotation(odd)), GOOD)
    corpus = read_corpus([write(tmp_path, {"a.json": content}) / "a.json"])
    spans = [one for found in covered(corpus)[:-1] for one in found]
    assert (spans, judged(corpus)) == expected


ODD_NUMBERS = ["1" + "0" * 30, "9" * 5000, "1e400", "NaN", "-Infinity", "true", "0.5"]


@pytest.mark.parametrize("place", ["start", "updated_at", "id", "pmid"])
@pytest.mark.parametrize("number", ODD_NUMBERS)
def test_odd_number_in_an_export_is_one_odd_task(tmp_path: Path, number: str, place: str) -> None:
    odd = region(TEXT, 0, 7, "Drug")
    item = {**task(TEXT, annotation(odd)), "id": "@" if place == "id" else 2}
    if place == "start":
        odd["value"]["start"] = "@"
    elif place == "updated_at":
        item["annotations"][0]["updated_at"] = "@"
    elif place == "pmid":
        item["data"]["pmid"] = "@"
    long = {
        **GOOD,
        "id": 12345678901234567,
        "data": {"text": TEXT, "share": 0.12345678901234567890},
    }
    content = json.dumps([GOOD, item, long]).replace('"@"', number)
    corpus = read_corpus([write(tmp_path, {"a.json": content}) / "a.json"])
    assert judged(corpus) == ({"task set aside": 1} if place == "start" else {})
    assert covered(corpus) == LITHIUM * len(corpus.documents)
    assert corpus.documents[-1].id == "12345678901234567"


def test_odd_number_in_a_line_is_one_odd_task(tmp_path: Path) -> None:
    late = {**GOOD, "annotations": [{**GOOD["annotations"][0], "updated_at": 10**400}]}
    content = "\n".join([json.dumps(late), '{"a": [' * 3000, '{"a": ' + "9" * 5000 + "}", ""])
    corpus = read_corpus([write(tmp_path, {"a.jsonl": content}) / "a.jsonl"])
    assert covered(corpus) == LITHIUM
    (warning,) = corpus.warnings
    assert "not JSON (its objects and lists are nested too deeply)" in warning.examples[0]
    assert "not JSON (a number is too long)" in warning.examples[1]


@pytest.mark.parametrize("where", ["id", "data", "meta"])
def test_half_a_character_in_a_line_is_one_odd_task(tmp_path: Path, where: str) -> None:
    odd = {**GOOD, where: "\ud83d" if where != "data" else {"text": TEXT, "pmid": "\ud83d"}}
    content = f"{json.dumps(GOOD)}\n{json.dumps(odd)}\n"
    corpus = read_corpus([write(tmp_path, {"a.jsonl": content}) / "a.jsonl"])
    assert (covered(corpus), judged(corpus)) == (LITHIUM, {"task set aside": 1})


@pytest.mark.parametrize("value", ["NaN", "1" + "0" * 30])
def test_odd_number_in_one_object_is_read(tmp_path: Path, value: str) -> None:
    bioc = json.dumps({"source": value, "documents": [LINES["BioC"]]}, indent=1)
    content = bioc.replace(f'"{value}"', value)
    assert covered(read_corpus([write(tmp_path, {"a.json": content}) / "a.json"])) == LITHIUM


def test_brackets_in_texts_are_not_depth(tmp_path: Path) -> None:
    text = f"{TEXT} " + "[" * 500
    content = numbered(task(text, annotation(region(text, 0, 7, "Drug"))), GOOD)
    assert covered(read_corpus([write(tmp_path, {"a.json": content}) / "a.json"])) == LITHIUM * 2


def test_every_counting_of_a_mixed_export_is_tried(tmp_path: Path) -> None:
    text = "a\r\nb &lt; Lithium"
    at = text.index("Lithium")

    def shifted(by: int, number: int) -> dict[str, Any]:
        odd = region(text, at, at + 7, "Drug")
        odd["value"] |= {"start": at - by, "end": at - by + 7}
        return task(f"{text} {number}", annotation(odd))

    content = numbered(shifted(0, 1), shifted(1, 2), shifted(3, 3))
    corpus = read_corpus([write(tmp_path, {"a.json": content}) / "a.json"])
    assert (covered(corpus), corpus.dropped) == (LITHIUM * 3, ())
    assert judged(corpus) == {"CRLF counted as one": 1, "HTML entities counted as one": 1}


def test_reversed_offsets_have_a_reason_of_their_own(tmp_path: Path) -> None:
    content = '{"id": 1, "text": "Lithium", "label": [[7, 0, "Drug"], [0, 7, "Drug"]]}'
    corpus = read_corpus([write(tmp_path, {"a.jsonl": content}) / "a.jsonl"])
    assert [lost.reason for lost in corpus.dropped] == ["end before start"]


LINES = {  # a good line of each format
    "JSON lines": {"text": TEXT, "entities": [{"start": 0, "end": 7, "label": "Drug"}]},
    "predictions": {
        "text": TEXT,
        "entities": [{"start": 0, "end": 7, "label": "Drug"}],
        "model_version": "1",
    },
    "Label Studio": GOOD,
    "doccano": {"text": TEXT, "label": [[0, 7, "Drug"]]},
    "Prodigy": {"text": TEXT, "spans": [{"start": 0, "end": 7, "label": "Drug"}]},
    "spaCy": {"text": TEXT, "entities": [[0, 7, "Drug"]]},
    "spaCy pair": [TEXT, {"entities": [[0, 7, "Drug"]]}],
    "BioC": {
        "passages": [
            {
                "offset": 0,
                "text": TEXT,
                "annotations": [
                    {
                        "infons": {"type": "Drug"},
                        "locations": [{"offset": 0, "length": 7}],
                        "text": "Lithium",
                    }
                ],
            }
        ]
    },
    "Hugging Face": {"tokens": ["Lithium"], "ner_tags": ["B-Drug"]},
}


@pytest.mark.parametrize("odd", ["} else {", "[1]", "7", f'{{"a": {"9" * 5000}}}'])
@pytest.mark.parametrize("kind", LINES)
def test_odd_line_is_set_aside(tmp_path: Path, kind: str, odd: str) -> None:
    good = json.dumps(LINES[kind])
    name = f"{kind}.jsonl"
    corpus = read_corpus([write(tmp_path, {name: f"{good}\n{odd}\n{good[:-1]}\n{good}"}) / name])
    assert covered(corpus)[0] == ["Lithium"]
    (warning,) = [one for one in corpus.warnings if one.kind == "task set aside"]
    assert warning.count == 2
    # Tasks and documents are named by number where they have one.
    assert re.search(r"line 2 |(task|document) 2\b", warning.examples[0])
    assert "line 3 is not JSON" in warning.examples[1]
    if kind != "Label Studio":  # any number of its tasks may be unusable
        with raises(InputError, "line-not-json"):
            read_corpus([write(tmp_path, {name: good + "\n{" * 19}) / name])


@pytest.mark.parametrize("kind", sorted(LINES.keys() - {"spaCy pair"}))
def test_first_line_may_be_the_odd_one(tmp_path: Path, kind: str) -> None:
    good = json.dumps(LINES[kind])
    path = write(tmp_path, {"a.jsonl": f"{good[:-1]}\n{good}\n{good}\n"}) / "a.jsonl"
    corpus = read_corpus([path])
    assert covered(corpus)[0] == ["Lithium"]
    (warning,) = [one for one in corpus.warnings if one.kind == "task set aside"]
    assert "line 1 is not JSON" in warning.examples[0]


@pytest.mark.parametrize(
    "odd",
    [
        {"text": 5},
        {"entities": 5},
        {"entities": [{"start": True, "end": 7, "label": "Drug"}]},
        {"entities": [{"start": 0.5, "end": 7, "label": "Drug"}]},
        {"entities": [{"start": float("nan"), "end": 7, "label": "Drug"}]},
        {"id": float("inf")},
    ],
)
@pytest.mark.parametrize("kind", ["JSON lines", "predictions"])
def test_odd_document_of_json_lines_is_set_aside(
    tmp_path: Path, kind: str, odd: dict[str, Any]
) -> None:
    good = {**LINES[kind], "id": 1}  # type: ignore[dict-item]
    content = "".join(f"{json.dumps(one)}\n" for one in (good, {**good, "id": 2, **odd}, good))
    path = write(tmp_path, {"a.jsonl": content}) / "a.jsonl"
    assert judged(read_corpus([path]))["task set aside"] == 1
    log = ImportLog()
    assert [document.id for document, _ in read_predictions(path, import_log=log)] == ["1", "1"]
    assert "a.jsonl, line 2" in log.warnings()[0].examples[0]


def test_last_line_that_is_cut_off_is_told(tmp_path: Path) -> None:
    good = json.dumps({"text": TEXT, "entities": []})
    path = write(tmp_path, {"a.jsonl": f"{good}\n{good[:-3]}"}) / "a.jsonl"
    (warning,) = read_corpus([path]).warnings
    assert warning.examples[0].endswith("it has no end, so the file may be cut off")
    with open_source(path) as source:
        assert [one.key for one in source if one.read_error] == ["2"]


TEXTS: dict[str, tuple[str, str, list[tuple[str, str]]]] = {
    "names in capitals": ("a.csv", "ID,Text\n7,Lithium\n", [("7", "Lithium")]),
    "an unnamed column": ("a.csv", ",text\n5,Lithium\n", [("1", "Lithium")]),
    "an address in a row": ("a.csv", "id,text\n1,s3://a/b\n2,x\n", [("1", "address"), ("2", "x")]),
    "an address in a line": ("a.jsonl", '{"id": 3, "text": "gs://a/b.txt"}\n', [("3", "address")]),
    "an address as the text": ("a.txt", "https://example.org/a.txt\n", [("a.txt", "address")]),
    "an address as a token": (
        "a.conll",
        "Lithium B-D\n\nhttp://t.co O\n",
        [("a#1", "Lithium"), ("a#2", "http://t.co")],
    ),
}


@pytest.mark.parametrize("kind", TEXTS)
def test_texts_to_predict(kind: str, tmp_path: Path) -> None:
    name, content, expected = TEXTS[kind]
    with open_source(write(tmp_path, {name: content}) / name) as source:
        found = list(source)
    texts = [one.document.text if one.document else one.read_error for one in found]
    assert [one.key for one in found] == [key for key, _ in expected]
    assert all(text in found for found, (_, text) in zip(texts, expected, strict=True))


@pytest.mark.parametrize(
    ("name", "content", "code"),
    [
        ("a.jsonl", 'x\n{"text": "Lithium"}\n', "format-unknown"),
        ("a.txt", "<html><body>Lithium</body></html>", "format-unknown"),
        ("a.csv", "id,text\n", "table-empty"),
    ],
)
def test_no_text_to_predict(name: str, content: str, code: str, tmp_path: Path) -> None:
    path = write(tmp_path, {name: content}) / name
    with raises(InputError, code), open_source(path) as source:
        list(source)


def test_hidden_files_are_no_texts(tmp_path: Path) -> None:
    write(tmp_path, {"a.txt": TEXT, "._a.txt": b"\0\x05", ".cache/b.txt": TEXT})
    with open_source(tmp_path) as source:
        assert [one.key for one in source] == ["a.txt"]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.conll", "Lithium\tB-Drug\ncaused\tO\n\nTremor\tB-Sign\n"),
        ("a.txt", "1|t|Lithium\n1|a|\n1\t0\t7\tLithium\tDrug\n"),
        ("a.tsv", "id\tstart\tend\ttext\tlabel\n1\t\t\tLithium\t\n1\t0\t7\tLithium\tDrug\n"),
    ],
)
def test_cut_off_last_line_is_told(tmp_path: Path, name: str, content: str) -> None:
    for length, is_told in ((len(content), False), (len(content) - 2, True)):
        corpus = read_corpus([write(tmp_path, {name: content[:length]}) / name])
        assert ("last line without an end" in judged(corpus)) is is_told
