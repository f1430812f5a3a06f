"""The event store: no duplicates, safe for threads and processes, and without texts."""

import json
import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tagalong.backend.events.payload import ACTIONS, AnnotationRef, WebhookEvent, parse_event
from tagalong.backend.events.store import (
    MAX_EXTRA_PARAMS_CHARACTERS,
    MAX_PROJECTS,
    SCHEMA,
    EventStore,
)
from tagalong.backend.storage.project_key import MAX_CREATED, MAX_ID, ProjectKey
from tagalong.ner.errors import StateFileError
from tests.errors import raises

AT, LATER = "2026-11-22T20:13:55.123456Z", "2026-11-22T20:14:01.000001Z"
PROJECT = ProjectKey(2, 1795378435)
SUBMITTED = WebhookEvent("ANNOTATION_CREATED", PROJECT, (11,), (AnnotationRef(5, AT),))
CHANGED = WebhookEvent("ANNOTATION_UPDATED", PROJECT, (11,), (AnnotationRef(5, LATER),))
PRESSED = WebhookEvent("START_TRAINING", PROJECT)
ROOT = Path(__file__).parents[3]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[EventStore]:
    store = EventStore(tmp_path / "new" / "journal.sqlite")
    yield store
    store.close()


def read_events(store: EventStore) -> list[WebhookEvent]:
    """All stored events, in the order of arrival."""
    with closing(sqlite3.connect(store.path)) as connection:
        ids = [number for (number,) in connection.execute("SELECT id FROM events ORDER BY id")]
    return [found.event for number in ids if (found := store.read_event(number))]


def test_events_are_read_by_another_process(store: EventStore) -> None:
    first, second = store.write_event(SUBMITTED), store.write_event(CHANGED)
    assert first is not None
    assert second is not None
    assert first < second
    again = EventStore(store.path)
    assert read_events(again) == [SUBMITTED, CHANGED]
    found = again.read_event(second)
    assert found is not None
    assert found.received_at.tzinfo is not None
    assert again.count_by_action() == {"ANNOTATION_CREATED": 1, "ANNOTATION_UPDATED": 1}
    again.close()


def test_same_event_is_recorded_once(store: EventStore) -> None:
    assert store.write_event(SUBMITTED) is not None
    assert store.write_event(SUBMITTED) is None
    assert store.write_event(CHANGED) is not None
    assert store.write_event(CHANGED) is None
    assert store.count_by_action() == {"ANNOTATION_CREATED": 1, "ANNOTATION_UPDATED": 1}


@pytest.mark.parametrize(
    "event",
    [
        PRESSED,
        WebhookEvent("PROJECT_UPDATED", PROJECT),
        WebhookEvent("ANNOTATION_UPDATED", PROJECT, (11,), (AnnotationRef(5),)),
        WebhookEvent("ANNOTATION_CREATED"),
    ],
)
def test_repeatable_events_are_recorded_twice(store: EventStore, event: WebhookEvent) -> None:
    assert store.write_event(event) != store.write_event(event)
    assert store.count_by_action() == {event.action: 2}


def test_order_of_ids_does_not_distinguish_events(store: EventStore) -> None:
    bodies = [{"action": "TASKS_DELETED", "tasks": tasks} for tasks in ([1, 2], [{"id": 2}, 1])]
    first, second = (parse_event(body) for body in bodies)
    assert first is not None
    assert second is not None
    assert store.write_event(first) is not None
    assert store.write_event(second) is None


def test_same_ids_of_another_label_studio(store: EventStore) -> None:
    for created in (AT, LATER):
        body = {
            "action": "TASKS_CREATED",
            "tasks": [1],
            "project": {"id": 1, "created_at": created},
        }
        event = parse_event(body)
        assert event is not None
        assert store.write_event(event) is not None


def test_unknown_action_is_not_recorded(store: EventStore) -> None:
    assert store.write_payload({"action": "PATIENT\ud800", "project": 2, "tasks": [1]}) is None
    assert store.count_by_action() == {}


@pytest.mark.parametrize("number", [-1, 0, 2, 10**30])
def test_unknown_event_id_returns_none(store: EventStore, number: int) -> None:
    store.write_event(SUBMITTED)
    assert store.read_event(number) is None


@settings(max_examples=40)
@given(
    events=st.lists(
        st.builds(
            WebhookEvent,
            action=st.sampled_from(sorted(ACTIONS)),
            project=st.none()
            | st.builds(
                ProjectKey, st.integers(0, MAX_ID), st.none() | st.integers(1, MAX_CREATED)
            ),
            tasks=st.lists(st.integers(0, 2**63 - 1), max_size=3).map(tuple),
            annotations=st.lists(
                st.builds(AnnotationRef, st.integers(0, 9), st.none() | st.just(AT)), max_size=3
            ).map(tuple),
        ),
        max_size=8,
    )
)
def test_events_round_trip(tmp_path_factory, events) -> None:
    store = EventStore(tmp_path_factory.mktemp("law") / "journal.sqlite")
    written = [event for event in events if store.write_event(event) is not None]
    assert sum(store.count_by_action().values()) == len(written)
    assert set(written) == set(events)
    assert not written or read_events(store) == written
    store.close()


def test_no_document_text_is_stored(store: EventStore) -> None:
    text = "Mrs. Example took cisplatin"
    region = {"value": {"start": 0, "end": 3, "text": text, "labels": [text]}}
    annotation = {"id": 1, "task": 2, "result": [region], "updated_at": text}
    task = {"id": 2, "data": {"text": text}, "meta": {text: text}}
    project = {"id": 3, "title": text, "created_at": text}
    for action in sorted(ACTIONS):
        body = {"action": action, "annotation": annotation, "tasks": [task], "project": project}
        event = parse_event(body)
        assert event is not None
        assert store.write_event(event) is not None
    store.close()
    written = b"".join(path.read_bytes() for path in store.path.parent.iterdir())
    assert b"ANNOTATION_CREATED" in written
    assert b"cisplatin" not in written


WRITER = f"""
import sys, threading
from pathlib import Path
from tagalong.backend.events.payload import AnnotationRef, WebhookEvent
from tagalong.backend.events.store import EventStore
journal = EventStore(Path(sys.argv[1]))
def write(thread):
    for number in range(20):
        ref = AnnotationRef(100 * thread + number, "{AT}")
        journal.write_event(WebhookEvent("ANNOTATION_UPDATED", None, (number,), (ref,)))
threads = [threading.Thread(target=write, args=(thread,)) for thread in range(4)]
for thread in threads: thread.start()
for thread in threads: thread.join()
assert journal.error is None, journal.error
"""


def test_threads_of_two_processes_write_concurrently(store: EventStore) -> None:
    command = [sys.executable, "-c", WRITER, str(store.path)]
    writers = [subprocess.Popen(command, cwd=ROOT) for _ in range(2)]
    assert [writer.wait(60) for writer in writers] == [0, 0]
    assert store.count_by_action() == {"ANNOTATION_UPDATED": 80}


def test_threads_read_and_write_concurrently(store: EventStore) -> None:
    failures: list[StateFileError] = []

    def work(thread: int) -> None:
        try:
            for number in range(25):
                store.write_event(WebhookEvent("TASKS_CREATED", ProjectKey(thread), (number,)))
                store.write_extra_params(ProjectKey(thread), "encoder", {"control": number})
                assert store.read_extra_params(ProjectKey(thread), "encoder") == {"control": number}
                store.read_event(number)
        except StateFileError as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(thread,)) for thread in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert store.count_by_action() == {"TASKS_CREATED": 200}


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ({"control": "entities"}, {"control": "entities"}),
        ('{"control": "entities"}', {"control": "entities"}),
        ("", {}),
        ("entities", {}),
        ("[1]", {}),
        ("[" * 100_000, {}),
        (None, {}),
        (3, {}),
        ([{}], {}),
        ({"control": "\ud83d"}, {"control": "\ud83d"}),
        ({"control": "a", "more": {"b": 1}, "list": [1]}, {"control": "a"}),
        ({"control": "a" * MAX_EXTRA_PARAMS_CHARACTERS}, {}),
        ({"n": 1.5, "yes": True, "none": None}, {"n": 1.5, "yes": True, "none": None}),
    ],
    ids=range(13),
)
def test_extra_params_are_stored_as_an_object(
    store: EventStore, sent: object, kept: object
) -> None:
    store.write_extra_params(PROJECT, "encoder", {"control": "earlier"})
    store.write_extra_params(PROJECT, "encoder", sent)
    again = EventStore(store.path)
    assert store.read_extra_params(PROJECT, "encoder") == kept
    assert again.read_extra_params(PROJECT, "encoder") == kept
    again.close()


def test_deeply_nested_extra_params_are_dropped(store: EventStore) -> None:
    nested: object = "deep"
    for _ in range(50_000):
        nested = [nested]
    store.write_extra_params(PROJECT, "encoder", {"control": "a", "nested": nested})
    assert store.read_extra_params(PROJECT, "encoder") == {"control": "a"}


def test_extra_params_belong_to_one_project_and_backend(store: EventStore) -> None:
    store.write_extra_params(PROJECT, "encoder", {"control": "a"})
    store.write_extra_params(PROJECT, "llm", {"control": "b"})
    assert store.read_extra_params(PROJECT, "encoder") == {"control": "a"}
    assert store.read_extra_params(PROJECT, "llm") == {"control": "b"}
    assert store.read_extra_params(ProjectKey(3), "encoder") == {}


SETUPS = [(PROJECT, "encoder"), (PROJECT, "llm"), (ProjectKey(3), "encoder")]


def test_each_setup_is_recorded(store: EventStore) -> None:
    assert store.read_setups() == set()
    for project, backend in SETUPS * 2:
        store.write_extra_params(project, backend, {"control": "a"})
    again = EventStore(store.path)
    assert again.read_setups() == {(str(key), backend) for key, backend in SETUPS}
    again.close()


def test_oldest_extra_params_are_evicted(store: EventStore) -> None:
    for number in range(MAX_PROJECTS + 5):
        store.write_extra_params(ProjectKey(number), "encoder", {"n": number})
    assert store.read_extra_params(ProjectKey(4), "encoder") == {}
    assert store.read_extra_params(ProjectKey(5), "encoder") == {"n": 5}


def test_extra_params_are_cached(store: EventStore) -> None:
    """A prediction must not wait for a file that another process has locked."""
    store.write_extra_params(PROJECT, "encoder", {"control": "a"})
    again = EventStore(store.path)
    assert again.read_extra_params(PROJECT, "encoder") == {"control": "a"}
    for path in store.path.parent.iterdir():
        path.unlink()
    assert again.read_extra_params(PROJECT, "encoder") == {"control": "a"}
    assert not store.path.exists()
    again.write_extra_params(PROJECT, "encoder", {"control": "b"})
    assert again.read_extra_params(PROJECT, "encoder") == {"control": "b"}
    again.close()


def test_file_is_private(store: EventStore) -> None:
    store.write_event(SUBMITTED)
    modes = {stat.S_IMODE(path.stat().st_mode) for path in store.path.parent.iterdir()}
    assert modes == {0o600}


def broken_by_garbage(path: Path) -> None:
    path.parent.mkdir(parents=True)
    path.write_bytes(b"this is no database" * 100)


def broken_by_a_folder(path: Path) -> None:
    path.mkdir(parents=True)


def broken_above(path: Path) -> None:
    path.parent.write_text("a file, where a folder should be")


def broken_by_a_later_release(path: Path) -> None:
    path.parent.mkdir(parents=True)
    connection = sqlite3.connect(path)
    connection.execute(f"PRAGMA user_version = {SCHEMA.version + 1}")
    connection.close()


def broken_by_other_tables(path: Path) -> None:
    path.parent.mkdir(parents=True)
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE events (something)")
    connection.commit()
    connection.close()


@pytest.mark.parametrize(
    ("broken", "code"),
    [
        (broken_by_garbage, "state-file-unusable"),
        (broken_by_a_folder, "state-file-unusable"),
        (broken_above, "state-file-unusable"),
        (broken_by_a_later_release, "state-file-of-another-format"),
        (broken_by_other_tables, "state-file-of-another-format"),
    ],
)
def test_unusable_file_is_reported_and_events_are_dropped(
    tmp_path: Path, broken, code: str
) -> None:
    path = tmp_path / "state" / "journal.sqlite"
    broken(path)
    store = EventStore(path)
    assert store.error is None
    for use in (
        lambda: store.write_event(SUBMITTED),
        store.count_by_action,
        lambda: store.read_event(1),
        store.read_setups,
    ):
        with raises(StateFileError, code):
            use()
    assert store.error is not None
    store.write_extra_params(PROJECT, "encoder", {"control": "a"})
    assert store.read_extra_params(PROJECT, "encoder") == {"control": "a"}
    assert store.read_extra_params(ProjectKey(3), "encoder") == {}
    store.close()


def test_repaired_file_is_used_again(tmp_path: Path) -> None:
    path = tmp_path / "state" / "journal.sqlite"
    broken_by_garbage(path)
    store = EventStore(path)
    with pytest.raises(StateFileError):
        store.write_event(SUBMITTED)
    path.unlink()
    assert store.write_event(SUBMITTED) == 1
    assert store.error is None
    store.close()


def test_deleted_file_is_created_again(store: EventStore) -> None:
    store.write_event(SUBMITTED)
    for path in store.path.parent.iterdir():
        path.unlink()
    store.write_event(CHANGED)
    again = EventStore(store.path)
    assert read_events(again) == [CHANGED]
    again.close()


def test_damaged_row_is_reported(store: EventStore) -> None:
    store.write_event(SUBMITTED)
    connection = sqlite3.connect(store.path)
    connection.execute("UPDATE events SET tasks = ?", (json.dumps([1])[:-1],))
    connection.commit()
    connection.close()
    with pytest.raises(StateFileError):
        store.read_event(1)


def test_locked_file_times_out_soon(store: EventStore) -> None:
    store.write_event(SUBMITTED)
    holder = sqlite3.connect(store.path, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    with raises(StateFileError, "state-file-unusable"):
        store.write_event(CHANGED)
    holder.execute("ROLLBACK")
    holder.close()
    assert store.write_event(CHANGED) is not None


def annotation(number: int, project: object = 7) -> dict[str, object]:
    return {"action": "ANNOTATION_CREATED", "project": project, "annotation": {"id": number}}


FIRST, SECOND = {"id": 7, "created_at": AT}, {"id": 7, "created_at": LATER}
FIRST_KEY, SECOND_KEY = ProjectKey(7, 1795378435), ProjectKey(7, 1795378441)


def test_event_without_payload_counts_for_the_only_project_of_its_id(store: EventStore) -> None:
    """As events of earlier releases do, which have no time of creation."""
    store.write_payload(annotation(1))
    assert store.read_annotated_projects() == [ProjectKey(7)]
    assert store.count_annotations(ProjectKey(7)) == (1, 1)
    assert store.find_project(ProjectKey(7)) == ProjectKey(7)
    store.write_payload(annotation(2, FIRST))
    assert store.read_annotated_projects() == [FIRST_KEY]
    assert store.count_annotations(FIRST_KEY) == (2, 2)
    assert store.count_annotations(FIRST_KEY, after_event_id=1) == (1, 2)
    assert store.find_project(ProjectKey(7)) == FIRST_KEY
    assert store.count_annotations(ProjectKey(8)) == (0, 0)


def test_event_without_payload_counts_for_none_of_several_projects(store: EventStore) -> None:
    for number, project in enumerate((7, FIRST, FIRST, SECOND), start=1):
        store.write_payload(annotation(number, project))
    assert store.read_annotated_projects() == [FIRST_KEY, SECOND_KEY]
    assert store.count_annotations(FIRST_KEY) == (2, 3)
    assert store.count_annotations(SECOND_KEY) == (1, 4)
    assert store.find_project(ProjectKey(7)) == ProjectKey(7)
    assert store.find_project(SECOND_KEY) == SECOND_KEY


def test_extra_params_stored_by_id_hold_until_the_next_setup(store: EventStore) -> None:
    store.write_extra_params(ProjectKey(7), "encoder", {"control": "old"})
    assert store.read_extra_params(FIRST_KEY, "encoder") == {"control": "old"}
    assert store.read_extra_params(FIRST_KEY, "llm") == {}
    store.write_extra_params(FIRST_KEY, "encoder", {})
    again = EventStore(store.path)
    assert again.read_extra_params(FIRST_KEY, "encoder") == {}
    assert again.read_extra_params(ProjectKey(7), "encoder") == {"control": "old"}
    again.close()
    store.write_extra_params(None, "encoder", {"control": "unknown"})
    assert store.read_extra_params(None, "encoder") == {"control": "unknown"}
    assert store.read_extra_params(ProjectKey(9), "encoder") == {}


# Written by the previous release: its tables, two events, and extra params of a project.
OLD_SCHEMA = """
CREATE TABLE events (
    id INTEGER PRIMARY KEY AUTOINCREMENT, digest BLOB UNIQUE, received TEXT NOT NULL,
    action TEXT NOT NULL, project INTEGER, tasks TEXT NOT NULL, annotations TEXT NOT NULL
);
CREATE INDEX events_of_project ON events (project, action);
CREATE TABLE extra (
    id INTEGER PRIMARY KEY AUTOINCREMENT, project TEXT NOT NULL, backend TEXT NOT NULL,
    params TEXT NOT NULL, UNIQUE (project, backend)
);
INSERT INTO events VALUES (4, x'01', '2026-11-22T20:13:00+00:00', 'ANNOTATION_CREATED', 7,
    '[3]', '[[11, "2026-11-22T20:12:59Z"]]');
INSERT INTO events VALUES (9, NULL, '2026-11-22T20:14:00+00:00', 'START_TRAINING', 7, '[]', '[]');
INSERT INTO extra VALUES (2, '7', 'encoder', '{"control": "label"}');
PRAGMA user_version = 1;
"""


def test_events_of_the_previous_release_are_read_and_extended(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    with closing(sqlite3.connect(path, isolation_level=None)) as old:
        old.executescript(OLD_SCHEMA)
    store = EventStore(path)
    first, second = store.read_event(4), store.read_event(9)
    assert first is not None
    assert second is not None
    assert (first.id, first.received_at.minute) == (4, 13)
    assert first.event == WebhookEvent(
        "ANNOTATION_CREATED", ProjectKey(7), (3,), (AnnotationRef(11, "2026-11-22T20:12:59Z"),)
    )
    assert second.event == WebhookEvent("START_TRAINING", ProjectKey(7))
    assert store.count_annotations(ProjectKey(7)) == (1, 4)
    assert store.read_extra_params(FIRST_KEY, "encoder") == {"control": "label"}
    assert store.write_event(SUBMITTED) == 10
    assert store.write_payload(annotation(12, FIRST)) == 11
    assert store.count_annotations(FIRST_KEY) == (2, 11)  # the events of before are its own
    assert store.read_setups() == {("7", "encoder")}
    store.close()
