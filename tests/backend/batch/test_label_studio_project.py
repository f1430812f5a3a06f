"""Batches on a project: one prediction for each task, despite lost requests and kills."""

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tagalong.backend.batch.journal import BatchJournal, DocumentState
from tagalong.backend.batch.label_studio_project import ProjectSink, ProjectSource
from tagalong.backend.batch.local_engine import make_local_engine
from tagalong.backend.batch.passes import BatchPasses
from tagalong.backend.label_studio.api.objects import Task
from tagalong.backend.label_studio.api.outage_retry import RateLimitedRetry
from tagalong.backend.label_studio.label_map import map_labels
from tagalong.ner.errors import LabelStudioError
from tests.backend.batch.fake_label_studio import (
    CONFIG,
    PROJECT,
    VERSION,
    FakeLabelStudio,
    Killed,
    connect_project,
    count_predictions,
)
from tests.backend.web_server import Page, serve_pages
from tests.errors import assert_wording
from tests.lexicon_tagger import LexiconTagger

PREDICTIONS_PER_REQUEST = 7  # predictions per request, so that a few tasks need many requests


@pytest.fixture(autouse=True)
def small_requests_without_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "tagalong.backend.batch.label_studio_project.MAX_PREDICTIONS_PER_REQUEST",
        PREDICTIONS_PER_REQUEST,
    )
    monkeypatch.setattr("tagalong.backend.batch.label_studio_project.MAX_IN_FLIGHT_SECONDS", 0.0)
    monkeypatch.setattr("tenacity.nap.time.sleep", lambda _: None)


def run(label_studio: Any, folder: str) -> Counter[DocumentState]:
    tagger = LexiconTagger(VERSION)
    project = connect_project(label_studio)
    maps = {VERSION: map_labels(tagger.labels, CONFIG)}
    target = ProjectSink(project, maps)
    tasks = ProjectSource(project, PROJECT, versions=[VERSION])
    with BatchJournal(Path(folder) / "j") as journal:
        target.recover(journal, is_reset=False)
        BatchPasses(journal, target).predict(tasks, make_local_engine(tagger))
        target.finish(journal)
        return Counter(journal.count_by_state())


FAULTS = st.lists(
    st.sampled_from(["", "", "", "before", "after", "late", "killed", "killed after"]), max_size=40
)


@pytest.mark.slow
@given(tasks=st.integers(0, 250), faults=FAULTS)
def test_each_task_ends_with_one_prediction(tasks: int, faults: list[str]) -> None:
    label_studio = FakeLabelStudio(tasks, faults)
    with TemporaryDirectory() as folder:
        while True:
            with suppress(Killed):
                run(label_studio, folder)
                break
    assert count_predictions(label_studio) == dict.fromkeys(label_studio.texts, 1)
    for one in label_studio.stored:
        [region] = one.result
        assert region["value"] == {"start": 0, "end": 8, "text": "naloxone", "labels": ["Chemical"]}


@given(tasks=st.integers(1, 60), data=st.data())
def test_refused_predictions_do_not_affect_other_tasks(tasks: int, data: st.DataObject) -> None:
    label_studio = FakeLabelStudio(tasks)
    some = st.sets(st.sampled_from(sorted(label_studio.texts)), max_size=3)
    label_studio.forbidden, label_studio.refusing = data.draw(some), data.draw(some)
    label_studio.failing_loader = data.draw(some)
    bad = label_studio.forbidden | label_studio.refusing | label_studio.failing_loader
    with TemporaryDirectory() as folder:
        count = run(label_studio, folder)
        with BatchJournal(Path(folder) / "j") as journal:
            failed = journal.read_entries(DocumentState.FAILED)
            aside = {int(entry.key): entry.payload for entry in failed}
    assert count_predictions(label_studio) == dict.fromkeys(label_studio.texts.keys() - bad, 1)
    assert aside.keys() == bad
    assert count[DocumentState.FAILED] == len(bad)
    for number, reason in aside.items():
        if number not in label_studio.forbidden | label_studio.failing_loader:
            assert "it says why" in reason


def test_tasks_with_a_prediction_of_the_version_are_skipped() -> None:
    label_studio = FakeLabelStudio(250)
    label_studio._store(
        [
            {"task": number, "model_version": VERSION, "score": 1.0, "result": []}
            for number in list(label_studio.texts)[::2]
        ]
    )
    other = [{"task": 3, "model_version": "another-1", "score": 1.0, "result": []}]
    label_studio._store(other)
    with TemporaryDirectory() as folder:
        assert run(label_studio, folder)[DocumentState.DELIVERED] == 125
    assert Counter(
        one.task for one in label_studio.stored if one.model_version == VERSION
    ) == Counter(label_studio.texts.keys())


def test_task_deleted_during_prediction_fails(tmp_path: Path) -> None:
    label_studio = FakeLabelStudio(3)
    tasks = dict(label_studio.texts)

    def list_and_delete(
        project: int, after: int = 0, *, unlabeled_only: bool = False
    ) -> list[Task]:
        found = FakeLabelStudio._list_after(label_studio, project, after)
        label_studio.texts.pop(6, None)
        return found

    label_studio.tasks.list_after = list_and_delete
    count = run(label_studio, str(tmp_path))
    assert count == {DocumentState.DELIVERED: 2, DocumentState.FAILED: 1}
    assert count_predictions(label_studio) == dict.fromkeys(tasks.keys() - {6}, 1)


def test_task_without_text_fails_alone(tmp_path: Path) -> None:
    label_studio = FakeLabelStudio(5)
    label_studio.texts[6] = True  # type: ignore[assignment]
    label_studio.texts[9] = None  # type: ignore[assignment]
    assert run(label_studio, str(tmp_path)) == {DocumentState.DELIVERED: 3, DocumentState.FAILED: 2}
    with BatchJournal(tmp_path / "j") as journal:
        reasons = [entry.payload for entry in journal.read_entries(DocumentState.FAILED)]
    for number, reason in zip((6, 9), reasons, strict=True):
        assert_wording(reason, "task-without-text")
        assert f"task {number}" in reason


@pytest.mark.parametrize("problem", ["key", "forbidden", "missing"])
def test_permanent_errors_end_the_batch_at_once(tmp_path: Path, problem: Any) -> None:
    label_studio = FakeLabelStudio(50)
    asked = 0

    def refusing(*_: object) -> int:
        nonlocal asked
        asked += 1
        raise LabelStudioError("no", problem)

    sound = label_studio.predictions.add
    label_studio.predictions.add = refusing
    with pytest.raises(LabelStudioError):
        run(label_studio, str(tmp_path))
    assert asked == 1
    label_studio.predictions.add = sound
    run(label_studio, str(tmp_path))
    assert count_predictions(label_studio) == dict.fromkeys(label_studio.texts, 1)


def test_outages_are_retried_up_to_a_limit() -> None:
    notices: list[str] = []
    polite = RateLimitedRetry(
        requests_per_second=1e6, max_outage_seconds=0.05, notify=notices.append
    )
    answers: Iterator[Any] = iter([LabelStudioError("away", "unreachable"), 7])

    def ask() -> Any:
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    assert polite.call(ask) == 7
    assert notices == ["away; asking again for up to 0 s."]

    def never() -> int:
        raise LabelStudioError("away", "slow")

    with pytest.raises(LabelStudioError) as raised:
        polite.call(never)
    assert raised.value.kind == "slow"


def test_key_reads_files_of_tasks_only() -> None:
    label_studio = FakeLabelStudio(2)
    config = replace(CONFIG, text_encoding="url")
    with serve_pages({"/data/upload/1/a.txt": Page(b"naloxone"), "/api/invite": Page()}) as web:
        label_studio.url = f"http://{web.host}"
        label_studio.connection.authorization_header = lambda: "Token secret"
        label_studio.texts = {3: "/api/invite", 6: "/data/upload/1/a.txt"}
        project = replace(connect_project(label_studio), config=config)
        options = replace(PROJECT, allowed_hosts=frozenset({web.host}))
        refused, read = ProjectSource(project, options)
        assert [path for path, _ in web.requests] == ["/data/upload/1/a.txt"]
        assert web.requests[0][1]["Authorization"] == "Token secret"
    assert read.document is not None
    assert read.document.text == "naloxone"
    assert_wording(refused.read_error, "text-not-in-file")


def test_sent_items_have_the_import_format() -> None:
    tagger = LexiconTagger(VERSION)
    maps = {VERSION: map_labels(tagger.labels, CONFIG)}
    project = connect_project(FakeLabelStudio(1))
    target = ProjectSink(project, maps)
    [item] = ProjectSource(project, PROJECT)
    assert item.document is not None
    [prediction] = tagger.predict([item.document])
    sent = json.loads(target.serialize(item.document, prediction))
    assert sent["task"] == 3
    assert sent["model_version"] == VERSION
    assert 0 < sent["score"] <= 1
    assert sent["result"][0]["from_name"] == "l"
