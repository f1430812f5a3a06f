"""Writers of single files of the product, called without a command.

Imports are in the functions, where a small process is faster to fork.
"""

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from unittest.mock import patch

from tagalong.backend.events.store import EventStore
from tagalong.backend.retraining.job import JobResult, JobState
from tagalong.backend.retraining.job_store import JobStore
from tagalong.backend.storage.model_store import ModelStore
from tagalong.backend.storage.project_key import ProjectKey
from tagalong.backend.storage.state_dir import event_store_path
from tagalong.ner.errors import TagalongError
from tagalong.ner.manifest import hash_file, manifest_digest, read_manifest
from tests.cli.disk_faults import REPAIRED
from tests.versions import publish_number

MODELS = Path("models")
TASKS = [{"id": number, "data": {"text": "naloxone"}} for number in range(3)]
STATE = {"epoch": 1, "dev_scores": [0.5]}


def publish_two_versions(folder: Path) -> None:
    """Publish and promote two versions, of which the second is current; compile a model."""
    store = ModelStore(folder / MODELS)
    for value, name in ((1, "first"), (2, "second")):
        version = publish_number(store, value, name=name).version
        store.promote("encoder", version)
    for name in ("made", ".batch"):
        (folder / name).mkdir()
    for file in ("engine.xml", "engine.weights"):
        (folder / "made" / file).write_bytes(bytes(range(256)))


def write_training_state() -> None:
    from tagalong.training.loop.training_state import write_state

    write_state(MODELS / "encoder" / "state", STATE)


def write_annotated_tasks() -> None:
    from tagalong.training.jobs.project_data import write_tasks

    write_tasks(MODELS / ".server" / "training-1" / "tasks.json", TASKS)


def write_version() -> None:
    publish_number(ModelStore(MODELS), 3, name="third")


def write_openvino_model() -> None:
    from tagalong.backend.models.openvino import cache
    from tagalong.backend.models.openvino.check import OpenVINOCheck

    store = ModelStore(MODELS)
    folder = store.version_folder("encoder", store.version_names("encoder")[0])
    manifest = read_manifest(folder)
    names = (cache.MODEL_FILE_NAME, cache.WEIGHTS_FILE_NAME)
    record = cache.OpenVINORecord(
        version=manifest.version,
        manifest_digest=manifest_digest(manifest.to_json()),
        openvino_version="1",
        precision="f32",
        int8_instruction_set="vnni",
        weight_format="plain",
        max_positions=512,
        check=OpenVINOCheck(3, 99, 0.99, 9, 0.9, 0.99, 0.8, 0.8),
        notes=(),
        files={name: hash_file(Path("made", name)) for name in names},
    )
    cache.cache_openvino_model(manifest, Path("made"), record)


def write_events() -> None:
    """Store events until one is refused, repair the disk, and send all again as a client does."""
    events = [
        {"action": "ANNOTATION_CREATED", "project": 1, "annotation": {"id": number}}
        for number in range(1, 6)
    ]
    with closing(EventStore(event_store_path(MODELS))) as store:
        acknowledged, refusals = list[int](), list[TagalongError]()
        for event in events:
            try:
                store.write_payload(event)  # None where it is stored already
                acknowledged.append(event["annotation"]["id"])
            except TagalongError as error:
                assert store.write_error is not None
                refusals.append(error)
        Path(REPAIRED).touch()
        if refusals:
            for event in events:
                repeated = store.write_payload(event) is None
                assert repeated or event["annotation"]["id"] not in acknowledged
            assert store.write_error is None
        with store.connection() as connection:
            rows = connection.execute("SELECT annotations FROM events").fetchall()
        ids = [json.loads(annotations)[0][0] for (annotations,) in rows]
        assert sorted(ids) == [1, 2, 3, 4, 5], ids
    _check_integrity(event_store_path(MODELS))


def write_jobs() -> None:
    """Carry a job through its states; after a refusal, repair the disk and carry on."""
    with closing(JobStore(MODELS)) as store:

        def retried(step: Callable[[], int | None]) -> int | None:
            try:
                return step()
            except TagalongError:
                Path(REPAIRED).touch()
                return step()

        job = retried(lambda: store.enqueue(ProjectKey(1), "encoder", reason="the train button"))
        assert job is not None
        retried(lambda: store.mark_running(job))
        retried(lambda: store.set_pid(job, 77))
        retried(lambda: store.write_decision(job, JobResult("better")))
        retried(lambda: store.finish(job, JobState.PROMOTED, JobResult("better")))
        Path(REPAIRED).touch()
        stored = store.read_job(job)
        assert stored is not None
        assert (stored.state, stored.attempts) == (JobState.PROMOTED, 1), stored
    _check_integrity(MODELS / ".server" / "runs.sqlite")


def write_project_journal() -> None:
    """Prelabel a project, and go on after a refusal: every task gets one prediction."""
    from tests.backend.batch.fake_label_studio import FakeLabelStudio
    from tests.backend.batch.test_resumed_project import (
        ResumableBatch,
        assert_one_current_prediction_each,
    )

    label_studio = FakeLabelStudio(120)
    batch = ResumableBatch(label_studio, ".batch")
    batch.load_seconds = 1e6  # the earlier run's requests have ended
    try:
        batch.run()
    except TagalongError:
        Path(REPAIRED).touch()
        batch.run()
    assert_one_current_prediction_each(label_studio)


def write_demo_account() -> None:
    from tagalong.backend.demo.label_studio_server import read_or_create_account

    with patch("secrets.token_hex", str), patch("secrets.token_urlsafe", str):
        read_or_create_account(Path("demo"))


def _check_integrity(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        [(answer,)] = connection.execute("PRAGMA integrity_check")
    assert answer == "ok", answer


WRITERS: dict[str, Callable[[], None]] = {
    "training-state": write_training_state,
    "annotated-tasks": write_annotated_tasks,
    "version-files": write_version,
    "openvino-model": write_openvino_model,
    "events": write_events,
    "jobs": write_jobs,
    "project-journal": write_project_journal,
    "demo-account": write_demo_account,
}
