"""The command `tagalong predict`: texts, files, refused arguments, and the display."""

import io
import json
import os
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from tagalong.cli.main import main
from tagalong.cli.predict import read_source, render_prediction
from tagalong.ner.document import Document, Prediction, Span
from tagalong.ner.errors import FormatError, InputError
from tests.errors import raises

TEXT = "Naloxone reverses the antihypertensive effect of clonidine."  # BC5CDR (public domain)


def drawn(document: Document, *spans: Span) -> str:
    out = io.StringIO()
    prediction = Prediction(spans, 1.0, "v")
    console = Console(file=out, force_terminal=True, color_system=None)
    console.print(render_prediction(document, prediction, ("Chemical",)), soft_wrap=True)
    return out.getvalue()


@pytest.mark.parametrize(
    "path",
    ["notes.txt", "corpus.jsonl", "EXPORT.JSON", "data/notes", "./x", "/no/such", "https://a.b/c"],
)
def test_mistyped_path_is_refused(path, tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    with raises(InputError, "source-file-missing"):
        read_source(path)
    with pytest.raises(SystemExit) as ended:
        main(["predict", path, "--models", str(tmp_path / "absent")])
    assert ended.value.code == 1
    assert path in capsys.readouterr().err


@pytest.mark.parametrize("text", [TEXT, "aspirin", "", "see notes.txt", "and/or so", "x" * 9999])
def test_any_other_argument_is_a_text(text) -> None:
    assert list(read_source(text)) == [Document("text", text)]


def test_folder_is_refused(tmp_path, monkeypatch) -> None:
    (tmp_path / "corpus").mkdir()
    monkeypatch.chdir(tmp_path)
    for folder in (str(tmp_path), "corpus", "corpus/"):
        with raises(InputError, "source-is-folder"):
            read_source(folder)


def test_named_pipe_is_read() -> None:
    reading, writing = os.pipe()
    os.write(writing, TEXT.encode())
    os.close(writing)
    try:
        (document,) = read_source(f"/dev/fd/{reading}")
    finally:
        os.close(reading)
    assert document.text == TEXT


def test_non_utf8_argument_is_refused() -> None:
    with raises(InputError, "argument-not-utf8"):
        read_source("caf" + os.fsdecode(b"\xe9"))


@pytest.mark.parametrize(
    "content",
    [
        json.dumps([{"id": 1, "data": {"text": TEXT}}]),
        "\ufeff" + json.dumps([{"id": 1, "data": {"text": TEXT}}], indent=2),
        '[{"id": 1, "data": {"te',
        "[]\n",
        json.dumps([TEXT]),
    ],
)
def test_json_array_is_refused_with_advice(content, tmp_path, monkeypatch) -> None:
    path = tmp_path / "export.json"
    path.write_text(content, encoding="utf-8")
    with raises(FormatError, "source-is-json-array"):
        list(read_source(str(path)))
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(content.encode())))
    with raises(FormatError, "source-is-json-array"):
        list(read_source("-"))


@pytest.mark.parametrize("content", ["[Article in French]", "[1,2-dichloroethane] was given", "[{"])
def test_text_may_begin_with_a_bracket(content, tmp_path) -> None:
    path = tmp_path / "note.txt"
    path.write_text(content, encoding="utf-8")
    assert [document.text for document in read_source(str(path))] == [content]


def test_utf16_is_refused(tmp_path) -> None:
    path = tmp_path / "note.txt"
    path.write_bytes("Lithium.".encode("utf-16-le"))
    with raises(FormatError, "file-utf16"):
        list(read_source(str(path)))


def test_lines_may_end_in_carriage_returns(tmp_path) -> None:
    path = tmp_path / "texts.jsonl"
    path.write_bytes(b'{"text": "a"}\r{"text": "b"}\r')
    assert [document.text for document in read_source(str(path))] == ["a", "b"]


@given(st.text(st.characters(codec="utf-8", max_codepoint=0x2FF)))
def test_control_characters_are_escaped(text) -> None:
    shown = drawn(Document("text", text))
    assert all(one in "\n\t" or not (one < " " or "\x7f" <= one <= "\x9f") for one in shown)


def test_escaped_control_characters_keep_the_layout() -> None:
    text = "a\x1b[31m\tred\x9b1m\rx\r\n5\u2009mg 😀"
    whole = render_prediction(Document("text", text), Prediction((), 1.0, "v"), ())
    assert whole.plain == "a\\x1b[31m\tred\\x9b1m\\rx\n5\u2009mg 😀"
    inside = Document("text", "Ca\x1b2")
    assert drawn(inside, Span(0, 4, "Chemical", 0.5)) == "Ca\\x1b2[Chemical 0.50]\n"
