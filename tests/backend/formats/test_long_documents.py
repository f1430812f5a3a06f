"""Long documents: the work of reading and writing grows with their length, and no faster."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from tagalong.backend.formats.registry import WRITERS
from tagalong.ner.document import Document, Span
from tagalong.ner.errors import InputError
from tagalong.training.corpus import read_corpus, write_documents

N_WORDS = 200
MAX_GROWTH = 2.5  # of the calls, for twice the length


def count_calls(function: Callable[[], Any]) -> int:
    """Count calls of Python's functions, and steps of its generators: unlike seconds, exact."""
    count = 0

    def add_one(_frame: FrameType, event: str, _argument: object) -> None:
        nonlocal count
        count += event == "call"

    before = sys.getprofile()
    sys.setprofile(add_one)
    try:
        function()
    finally:
        sys.setprofile(before)
    return count


def write_passages(path: Path, n_words: int) -> None:
    annotation = {"infons": {"type": "Disease"}, "text": "ill"}
    passages = [
        {
            "offset": 4 * number,
            "text": "ill",
            "annotations": [{**annotation, "locations": [{"offset": 4 * number, "length": 3}]}],
        }
        for number in range(n_words)
    ]
    path.write_text(json.dumps({"id": "1", "passages": passages}))


def write_two_tag_columns(path: Path, n_words: int) -> None:
    rows = "ill\tB-A\tB-X\nhot\tO\tB-Y\n" * (n_words // 2)
    path.write_text(f"-DOCSTART-\tO\tO\n\n{rows}\n" * 2)


@pytest.mark.parametrize("write", [write_passages, write_two_tag_columns])
def test_reading_takes_time_by_length(tmp_path: Path, write: Callable[[Path, int], None]) -> None:
    def count(n_words: int) -> int:
        write(tmp_path / "a", n_words)
        return count_calls(lambda: read_corpus([tmp_path / "a"]))

    count(N_WORDS)  # fills caches
    assert count(2 * N_WORDS) < MAX_GROWTH * count(N_WORDS)


@pytest.mark.parametrize("option", WRITERS)
def test_round_trip_takes_time_by_length(tmp_path: Path, option: str) -> None:
    def count(n_words: int) -> int:
        text = "ill hot " * n_words
        stretches = [(start, start + 3) for start in range(0, len(text), 4)]
        spans = tuple(Span(*stretch, "Disease") for stretch in stretches[::2])
        document = Document("1", text, spans, masked_ranges=tuple(stretches[1::2]))
        path = tmp_path / f"{n_words}"

        def write_and_read() -> None:
            write_documents([document], path, option)
            read_corpus([path])

        return count_calls(write_and_read)

    try:
        count(2)  # fills caches
    except InputError as error:
        pytest.skip(str(error))  # an extra is not installed
    assert count(2 * N_WORDS) < MAX_GROWTH * count(N_WORDS)
