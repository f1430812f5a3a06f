"""A file as the source of a batch: opened once per pass, and read again in each pass."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tagalong.backend.batch.files import FileSource, PredictionsFileSink, open_files
from tagalong.backend.batch.journal import BatchJournal
from tagalong.backend.batch.models import BatchModels, ModelReference
from tagalong.backend.batch.prelabel import run_batch
from tagalong.backend.batch.source_and_sink import SourceAndSink, compute_config_digest
from tagalong.backend.label_studio.label_config_parser import parse_label_config
from tagalong.ner.errors import FormatError
from tests.errors import raises
from tests.lexicon_tagger import LexiconTagger

TEXTS = ["naloxone", "clonidine and asthma", "hypertension"]
CONTENTS = {
    "tasks.json": json.dumps([{"id": n, "data": {"text": text}} for n, text in enumerate(TEXTS)]),
    "texts.jsonl": "".join(json.dumps({"text": text}) + "\n" for text in TEXTS),
    "text.txt": " ".join(TEXTS),
    "tokens.conll": "".join(f"{text.split()[0]}\tO\n\n" for text in TEXTS),
}
opened: list[str] = []
counting = False


def count_opens(event: str, arguments: tuple[object, ...]) -> None:
    if counting and event == "open":
        opened.append(str(arguments[0]))


sys.addaudithook(count_opens)  # sees all ways to open a file; it cannot be removed


@contextmanager
def opens_of(path: Path, count: int) -> Iterator[None]:
    global counting
    opened.clear()
    counting = True
    try:
        yield
    finally:
        counting = False
    assert opened.count(str(path)) == count


def reference(version: str) -> ModelReference:
    tagger = LexiconTagger(version)
    return ModelReference(version, tuple(tagger.labels), lambda: tagger)


MODELS = BatchModels(reference("lexicon-1"))
CASCADE = BatchModels(reference("lexicon-1"), reference("better-1"), 0.5)


def run(source_and_sink: SourceAndSink, models: BatchModels, folder: Path) -> None:
    with BatchJournal(folder / "j") as journal:
        run_batch(journal, source_and_sink, models)


@pytest.mark.parametrize("name", list(CONTENTS))
@pytest.mark.parametrize(("models", "passes"), [(MODELS, 1), (CASCADE, 2)])
def test_source_is_opened_once_per_pass(
    tmp_path: Path, name: str, models: BatchModels, passes: int
) -> None:
    path, out = tmp_path / name, tmp_path / "out.jsonl"
    path.write_text(CONTENTS[name])
    with opens_of(path, passes), open_files(path, out, models) as source_and_sink:
        assert source_and_sink.total_items == (1 if name == "text.txt" else 3)
        run(source_and_sink, models, tmp_path)
    assert len(out.read_text().splitlines()) == source_and_sink.total_items


def test_later_pass_sees_edits(tmp_path: Path) -> None:
    path = tmp_path / "texts.jsonl"
    path.write_text(CONTENTS["texts.jsonl"])
    with FileSource(path) as source:
        assert [item.document and item.document.text for item in source] == TEXTS
        replacement = tmp_path / "new.jsonl"
        replacement.write_text('{"text": "lithium"}\n')
        replacement.replace(path)
        assert [item.document and item.document.text for item in source] == ["lithium"]


def test_refused_source_leaves_no_file_open(tmp_path: Path) -> None:
    path = tmp_path / "texts.jsonl"
    path.write_bytes(b"\xff")
    with raises(FormatError, "file-not-utf8"):
        FileSource(path)
    links = [link for link in Path("/proc/self/fd").iterdir() if link.exists()]
    assert path not in [link.resolve() for link in links]


def test_sink_format_follows_file_suffix(tmp_path: Path) -> None:
    assert PredictionsFileSink(tmp_path / "p.json").output_kind == "Label Studio's tasks"
    assert PredictionsFileSink(tmp_path / "p.jsonl").output_kind == "JSON lines"


def test_config_digest_is_that_of_earlier_releases() -> None:
    config = parse_label_config(
        '<View><Labels name="l" toName="t"><Label value="Chemical" alias="CHEM" '
        'predicted_values="Drug"/><Label value="Disease"/></Labels>'
        '<Text name="t" value="$text"/></View>'
    )
    assert compute_config_digest(config) == "019353743ecc41c97e8ea185fd38b963"
    assert compute_config_digest(None) == ""
