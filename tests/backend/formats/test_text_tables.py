"""Tables of texts: which column is the text, and which files are tables."""

import csv
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tagalong.backend.batch.files import open_source
from tagalong.backend.label_studio.label_config import DEFAULT_LABEL_CONFIG, LabelConfig
from tagalong.cli.predict import read_source
from tagalong.ner.errors import FormatError
from tagalong.training.corpus import read_corpus
from tests.errors import raises

TASKS = 'text,id\n"Aspirin caused fever.",1\n"Lithium, then\r\ntremor.",2\n'
TEXTS = ["Aspirin caused fever.", "Lithium, then\r\ntremor."]
BODY = LabelConfig("label", "text", "body", (), {})


def texts(path: Path, config: LabelConfig | None = None) -> dict[str, str]:
    with open_source(path, config) as source:
        items = list(source)
        assert source.total_items == len(items)
    return {item.key: item.document.text for item in items if item.document is not None}


def write(path: Path, content: str) -> Path:
    path.write_bytes(content.encode())
    return path


@pytest.mark.parametrize("name", ["tasks.csv", "TASKS.CSV", "tasks.txt"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_tasks_are_read_by_columns(tmp_path: Path, name: str, mark: str) -> None:
    path = write(tmp_path / name, mark + TASKS)
    assert texts(path) == dict(zip("12", TEXTS, strict=True))
    assert texts(path, DEFAULT_LABEL_CONFIG) == texts(path)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("text\nFever.\nTremor.\n", {"1": "Fever.", "2": "Tremor."}),
        ("pmid;note\r\n7;Aspirin caused fever.\r\n", {"1": "Aspirin caused fever."}),
        ("id\tnote\n7\tAspirin caused fever.\n", {"7": "Aspirin caused fever."}),
        ("id,note\r7,Aspirin caused fever.\r", {"7": "Aspirin caused fever."}),
        ("ID,Text,note\n7,Fever.,Aspirin was given again\n", {"7": "Fever."}),
        (
            "day,note\n2025-01-01 10:00,Fever after aspirin\u2028x\n",
            {"1": "Fever after aspirin\u2028x"},
        ),
    ],
)
def test_text_column_is_found(tmp_path: Path, content: str, expected: dict[str, str]) -> None:
    assert texts(write(tmp_path / "tasks.csv", content)) == expected


def test_config_names_the_column(tmp_path: Path) -> None:
    path = write(tmp_path / "tasks.csv", "title,body\nOn a case.,It was a fever.\n")
    assert texts(path, BODY) == {"1": "It was a fever."}
    with raises(FormatError, "table-text-not-unique") as raised:
        texts(path)
    assert "'title', 'body'" in str(raised.value)


@pytest.mark.parametrize(
    ("content", "config", "code"),
    [
        (TASKS, BODY, "table-without-text-column"),
        ("id,code\n1,A10\n", None, "table-text-not-unique"),
        ("Aspirin caused fever.,1\nLithium caused tremor.,2\n", None, "table-without-header"),
        ("Aspirin caused fever.,a\nLithium caused tremor.,b\n", None, "table-without-header"),
        ("text,text\na,b\n", None, "table-without-header"),
        ('text,id\n"Fever', None, "table-broken"),
        ("text,id\nFever, then tremor.,1\n", None, "table-row-uneven"),
    ],
)
def test_unclear_tables_are_refused(
    tmp_path: Path, content: str, config: LabelConfig | None, code: str
) -> None:
    with raises(FormatError, code) as raised:
        texts(write(tmp_path / "tasks.csv", content), config)
    assert "tasks.csv" in str(raised.value)


@pytest.mark.parametrize("content", ["Patient, aspirin\nFever, headache\n", "Fever; text, and so"])
def test_prose_with_commas_is_no_table(tmp_path: Path, content: str) -> None:
    assert texts(write(tmp_path / "note.txt", content)) == {"note.txt": content}


def test_annotations_are_not_in_it(tmp_path: Path) -> None:
    with raises(FormatError, "format-unknown") as raised:
        read_corpus([write(tmp_path / "tasks.csv", TASKS)])
    assert "a table of texts without annotations" in str(raised.value)


def test_single_predictions_read_columns_too(tmp_path: Path) -> None:
    path = write(tmp_path / "tasks.csv", TASKS)
    assert [one.text for one in read_source(str(path))] == TEXTS


@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0")), min_size=1))
def test_texts_come_back(tmp_path_factory: pytest.TempPathFactory, contents: list[str]) -> None:
    path = tmp_path_factory.mktemp("tables") / "tasks.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, quoting=csv.QUOTE_ALL)
        writer.writerows([("id", "text"), *enumerate(contents)])
    assert texts(path) == {str(number): one for number, one in enumerate(contents)}
