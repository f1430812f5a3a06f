"""The holder of a tier's model: served version, next version, and failed loads."""

import threading
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from prometheus_client import generate_latest

from tagalong.backend.bundled import BUNDLED_MODELS_FOLDER
from tagalong.backend.models.tagger import DocumentTagger
from tagalong.backend.server.monitoring.telemetry import Telemetry
from tagalong.backend.server.prediction import model_holder as holder_module
from tagalong.backend.server.prediction.model_holder import ModelHolder
from tagalong.backend.server.prediction.scheduler import MAX_BATCH_PARTS
from tagalong.backend.storage.model_store import ModelStore
from tagalong.ner.current_version import BACKUP_FILE_NAME
from tagalong.ner.document import Document
from tagalong.ner.errors import OpenVINOError, TagalongError, VersionInvalid, VersionNotFound
from tagalong.ner.manifest import Manifest
from tagalong.ner.model_registry import ModelRegistry
from tests.errors import raises
from tests.lexicon_tagger import LexiconTagger, failing_loader, load_lexicon

Publish = Callable[..., Manifest]


def make_holder(
    store: ModelStore, load: Callable[[Path], DocumentTagger] = load_lexicon
) -> ModelHolder:
    return ModelHolder("encoder", ModelRegistry(store.root), telemetry=Telemetry(), load=load)


@pytest.fixture
def started() -> Iterator[Callable[[ModelHolder], ModelHolder]]:
    holders: list[ModelHolder] = []

    def start(holder: ModelHolder) -> ModelHolder:
        holders.append(holder)
        holder.start()
        return holder

    yield start
    for holder in holders:
        holder.close()


def promoted(store: ModelStore, publish: Publish, value: int) -> str:
    version = publish(value).version
    store.promote("encoder", version)
    return version


def test_current_version_then_next_version_is_served(store: ModelStore, publish: Publish) -> None:
    first = promoted(store, publish, 1)
    holder = make_holder(store)
    holder.refresh()
    assert holder.wait_for_tagger(timeout_seconds=0).version == holder.serving_version() == first
    second = promoted(store, publish, 2)
    holder.refresh()
    assert holder.wait_for_tagger(timeout_seconds=0).version == holder.serving_version() == second
    store.rollback("encoder")
    holder.refresh()
    assert holder.serving_version() == first


def test_replaced_tagger_is_released(store: ModelStore, publish: Publish) -> None:
    def load(folder: Path) -> DocumentTagger:
        tagger = LexiconTagger(folder.name)
        tagger.itself = tagger  # type: ignore[attr-defined]  # only a collection frees it
        return tagger

    promoted(store, publish, 1)
    holder = make_holder(store, load)
    holder.refresh()
    replaced = weakref.ref(holder.wait_for_tagger(timeout_seconds=0))
    promoted(store, publish, 2)
    holder.refresh()
    assert replaced() is None


def test_promotion_is_detected_by_polling(
    store: ModelStore, publish: Publish, started: Callable[[ModelHolder], ModelHolder]
) -> None:
    promoted(store, publish, 1)
    holder = started(make_holder(store))
    holder.wait_for_tagger(timeout_seconds=30)
    second = promoted(store, publish, 2)
    for _ in range(300):
        if holder.serving_version() == second:
            break
        threading.Event().wait(0.1)
    assert holder.wait_for_tagger(timeout_seconds=0).version == second


@pytest.mark.parametrize("way", ["rollback", "promote bundled"])
def test_rollback_serves_the_bundled_version_again(
    store: ModelStore, publish: Publish, started: Callable[[ModelHolder], ModelHolder], way: str
) -> None:
    first = promoted(store, publish, 1)
    catalogue = ModelRegistry(store.root, bundled_root=BUNDLED_MODELS_FOLDER)
    holder = started(ModelHolder("encoder", catalogue, telemetry=Telemetry(), load=load_lexicon))
    assert holder.wait_for_tagger(timeout_seconds=30).version == first
    both = ModelStore(store.root, bundled_root=BUNDLED_MODELS_FOLDER)
    if way == "rollback":
        both.rollback("encoder")
    else:
        both.promote("encoder", "bundled")
    bundled = catalogue.resolve("bundled").name
    for _ in range(100):
        if holder.serving_version() == bundled:
            break
        threading.Event().wait(0.1)
    assert holder.wait_for_tagger(timeout_seconds=0).version == bundled
    assert not holder.state.load_failures


def test_rollback_of_the_first_llm_unloads_it(store: ModelStore, publish: Publish) -> None:
    version = publish(1, tier="llm").version
    store.promote("llm", version)
    telemetry = Telemetry()
    catalogue = ModelRegistry(store.root, bundled_root=BUNDLED_MODELS_FOLDER)
    holder = ModelHolder("llm", catalogue, telemetry=telemetry, load=load_lexicon)
    holder._first_load_done.set()
    holder.refresh()
    assert holder.serving_version() == version
    assert f'version="{version}"' in generate_latest(telemetry.registry).decode()
    store.rollback("llm")
    holder.refresh()
    for ask in (holder.serving_version, lambda: holder.wait_for_tagger(timeout_seconds=0)):
        with pytest.raises(VersionNotFound):
            ask()
    assert [
        model.manifest for model in telemetry.take_snapshot().models if model.model == "llm"
    ] == [None]
    assert f'version="{version}"' not in generate_latest(telemetry.registry).decode()
    store.promote("llm", version)
    holder.refresh()
    assert holder.serving_version() == version


def test_load_failure_is_cleared_without_current_version(
    store: ModelStore, publish: Publish
) -> None:
    version = publish(1, tier="llm").version
    store.promote("llm", version)
    load = failing_loader(version, error=RuntimeError("mismatch"))
    holder = ModelHolder("llm", ModelRegistry(store.root), telemetry=Telemetry(), load=load)
    holder.refresh()
    assert holder.state.load_failures
    store.rollback("llm")
    holder.refresh()
    assert not holder.state.load_failures


def test_loading_threads_end(
    store: ModelStore, publish: Publish, started: Callable[[ModelHolder], ModelHolder]
) -> None:
    loaders: list[threading.Thread] = []

    def load(folder: Path) -> DocumentTagger:
        loaders.append(threading.current_thread())
        return load_lexicon(folder)

    promoted(store, publish, 1)
    started(make_holder(store, load)).wait_for_tagger(timeout_seconds=10)
    (loader,) = loaders
    loader.join(10)
    assert not loader.is_alive()


def test_version_name_is_known_before_loading(store: ModelStore, publish: Publish) -> None:
    version = promoted(store, publish, 1)
    assert make_holder(store).serving_version() == version


def test_failed_load_keeps_the_old_version(store: ModelStore, publish: Publish) -> None:
    first = promoted(store, publish, 1)
    second = publish(2).version
    holder = make_holder(
        store, failing_loader(second, error=VersionInvalid("a file is missing: roll back"))
    )
    holder.refresh()
    store.promote("encoder", second)
    holder.refresh()
    assert holder.serving_version() == first
    assert holder.state.load_failures
    assert (holder.state.load_failures[0].version, holder.state.load_failures[0].reason) == (
        second,
        "a file is missing: roll back",
    )


@pytest.mark.parametrize(("retry", "loads"), [(float("inf"), 1), (0.0, 4)])
def test_failed_load_is_retried_later(
    store: ModelStore, publish: Publish, monkeypatch: pytest.MonkeyPatch, retry: float, loads: int
) -> None:
    monkeypatch.setattr(holder_module, "LOAD_RETRY_SECONDS", retry)
    promoted(store, publish, 1)
    tries = []

    def load(folder: Path) -> DocumentTagger:
        tries.append(folder)
        raise VersionInvalid("no room for it")

    holder = make_holder(store, load)
    for _ in range(4):
        holder.refresh()
    assert len(tries) == loads
    assert holder.tagger is None


@pytest.mark.parametrize("error", [OpenVINOError("no such operation"), OSError("no process")])
def test_failed_upgrade_keeps_the_served_tagger(
    store: ModelStore, publish: Publish, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    first = promoted(store, publish, 1)

    def better(*_: object) -> None:
        raise error

    holder = ModelHolder(
        "encoder",
        ModelRegistry(store.root),
        telemetry=Telemetry(),
        load=load_lexicon,
        find_upgrade=better,
    )
    holder.refresh()
    serving = holder.wait_for_tagger(timeout_seconds=0)
    holder.refresh()
    assert holder.wait_for_tagger(timeout_seconds=0) is serving
    assert first in caplog.text
    assert str(error) in caplog.text
    assert not holder.state.load_failures


def test_load_failure_is_cleared_when_another_version_is_current(
    store: ModelStore, publish: Publish
) -> None:
    promoted(store, publish, 1)
    second = publish(2).version
    holder = make_holder(store, failing_loader(second, error=RuntimeError("mismatch")))
    holder.refresh()
    store.promote("encoder", second)
    holder.refresh()
    assert holder.state.load_failures
    assert "mismatch" in holder.state.load_failures[0].reason
    store.rollback("encoder")
    holder.refresh()
    assert not holder.state.load_failures


def test_restart_with_damaged_version_serves_the_previous_one(
    store: ModelStore, publish: Publish
) -> None:
    first = promoted(store, publish, 1)
    second = promoted(store, publish, 2)
    holder = make_holder(
        store, failing_loader(second, error=VersionInvalid("tampered with: retrain"))
    )
    holder.refresh()
    assert holder.serving_version() == first
    assert holder.state.load_failures


def test_restart_with_damaged_first_promotion_serves_the_bundled_version(
    store: ModelStore, publish: Publish
) -> None:
    first = promoted(store, publish, 1)
    load = failing_loader(first, error=VersionInvalid("tampered with: retrain"))
    catalogue = ModelRegistry(store.root, bundled_root=BUNDLED_MODELS_FOLDER)
    holder = ModelHolder("encoder", catalogue, telemetry=Telemetry(), load=load)
    holder.refresh()
    assert holder.serving_version() == catalogue.resolve("bundled").name
    assert holder.state.load_failures
    assert holder.state.load_failures[0].version == first


DAMAGED_CURRENT_FILES: list[bytes | None] = [
    b"",
    b'{"version": "mini',
    b"[]",
    b'{"version": 3, "previous": []}',
    b'{"version": "minilm", "previous": [{}]}',
    b'{"version": "../../elsewhere", "previous": []}',
    b'{"version": "/etc", "previous": []}',
    b"\xff\xfe\0",
    b"[" * 100_000,
    None,  # a folder
]


def damage_current(home: Path, content: bytes | None) -> None:
    (home / "current").unlink()
    if content is None:
        (home / "current").mkdir()
    else:
        (home / "current").write_bytes(content)


@pytest.mark.parametrize("content", DAMAGED_CURRENT_FILES)
def test_start_with_damaged_current_file_serves_the_version_that_was_current(
    store: ModelStore, publish: Publish, caplog: pytest.LogCaptureFixture, content: bytes | None
) -> None:
    promoted(store, publish, 1)
    second = promoted(store, publish, 2)
    third = publish(3).version  # never promoted
    damage_current(store.model_folder("encoder"), content)
    holder = make_holder(store)
    for _ in range(3):
        assert holder.serving_version() == second
        holder.refresh()
    [failure] = holder.state.load_failures
    assert failure.version == "current"
    assert caplog.text.count("models promote") == 1
    store.promote("encoder", third)
    holder.refresh()
    assert holder.serving_version() == third
    assert not holder.state.load_failures
    assert store.rollback("encoder") == second  # the versions before it are still known


@pytest.mark.parametrize("content", [b"", None])
def test_damaged_current_file_does_not_change_the_served_version(
    store: ModelStore, publish: Publish, content: bytes | None
) -> None:
    first = promoted(store, publish, 1)
    holder = make_holder(store)
    holder.refresh()
    served = holder.wait_for_tagger(timeout_seconds=0)
    damage_current(store.model_folder("encoder"), content)
    publish(2)
    (store.model_folder("encoder") / BACKUP_FILE_NAME).unlink()
    holder.refresh()
    assert holder.wait_for_tagger(timeout_seconds=0) is served
    assert [one.version for one in holder.state.load_failures] == ["current"]
    store.promote("encoder", first)
    holder.refresh()
    assert holder.wait_for_tagger(timeout_seconds=0) is served
    assert not holder.state.load_failures


@pytest.mark.parametrize("copy", [None, b"", b"[]"])
def test_without_a_copy_of_current_the_newest_loadable_version_is_served(
    store: ModelStore, publish: Publish, copy: bytes | None
) -> None:
    first = promoted(store, publish, 1)
    home = store.model_folder("encoder")
    incomplete = home / publish(2).version
    (incomplete / "manifest.json").unlink()
    damage_current(home, b"{")
    if copy is None:
        (home / BACKUP_FILE_NAME).unlink()
    else:
        (home / BACKUP_FILE_NAME).write_bytes(copy)
    holder = make_holder(store)
    holder.refresh()
    assert holder.serving_version() == first


def test_damaged_current_file_without_any_version_serves_the_bundled_one(tmp_path: Path) -> None:
    (tmp_path / "encoder").mkdir()
    (tmp_path / "encoder" / "current").write_text("{")
    registry = ModelRegistry(tmp_path, bundled_root=BUNDLED_MODELS_FOLDER)
    holder = ModelHolder("encoder", registry, telemetry=Telemetry(), load=load_lexicon)
    holder.refresh()
    assert holder.serving_version() == registry.resolve("bundled").name
    assert [one.version for one in holder.state.load_failures] == ["current"]


def test_current_file_that_names_no_version_serves_the_version_that_was_current(
    store: ModelStore, publish: Publish
) -> None:
    first = promoted(store, publish, 1)
    current = store.model_folder("encoder") / "current"
    current.write_text('{"version": "minilm-20990101-00000000", "previous": []}')
    registry = ModelRegistry(store.root, bundled_root=BUNDLED_MODELS_FOLDER)
    holder = ModelHolder("encoder", registry, telemetry=Telemetry(), load=load_lexicon)
    holder.refresh()
    assert holder.serving_version() == first
    assert [one.version for one in holder.state.load_failures] == ["minilm-20990101-00000000"]


def test_replacement_of_a_damaged_version_is_upgraded_and_checked(
    store: ModelStore, publish: Publish
) -> None:
    first = promoted(store, publish, 1)
    second = promoted(store, publish, 2)
    better = LexiconTagger(first)
    holder = ModelHolder(
        "encoder",
        ModelRegistry(store.root),
        telemetry=Telemetry(),
        load=failing_loader(second, error=VersionInvalid("tampered with: retrain")),
        find_upgrade=lambda folder, tagger: (
            better if folder.name == first and tagger != better else None
        ),
    )
    for _ in range(2):
        holder.refresh()
    assert holder.wait_for_tagger(timeout_seconds=0) is better
    assert holder.state.load_failures
    assert holder.state.load_failures[0].version == second
    (store.version_folder("encoder", first) / "model.safetensors").write_bytes(b"another size")
    holder.refresh()
    assert holder.state.load_failures[0].version == first


def test_version_with_removed_folder_stays_served(store: ModelStore, publish: Publish) -> None:
    import shutil

    version = promoted(store, publish, 1)
    holder = make_holder(store)
    holder.refresh()
    shutil.rmtree(store.root)
    holder.refresh()
    assert holder.serving_version() == version
    assert (
        holder.scheduler.predict(
            holder.wait_for_tagger(timeout_seconds=0), [Document("1", "Naloxone")]
        )[0].version
        == version
    )


def test_missing_version_error_has_advice(store: ModelStore) -> None:
    holder = make_holder(store)
    with raises(TagalongError, "model-loading"):
        holder.wait_for_tagger(timeout_seconds=0)
    llm = ModelHolder(
        "llm", ModelRegistry(store.root, bundled_root=BUNDLED_MODELS_FOLDER), telemetry=Telemetry()
    )
    with pytest.raises(VersionNotFound):
        llm.serving_version()


def test_empty_folder_serves_the_bundled_version(tmp_path: Path) -> None:
    catalogue = ModelRegistry(tmp_path / "missing", bundled_root=BUNDLED_MODELS_FOLDER)
    holder = ModelHolder("encoder", catalogue, telemetry=Telemetry(), load=load_lexicon)
    assert holder.serving_version() == catalogue.resolve("bundled").name


def test_version_changes_drop_and_mix_no_requests(store: ModelStore, publish: Publish) -> None:
    versions = [publish(value).version for value in range(4)]
    store.promote("encoder", versions[0])
    holder = make_holder(store)
    holder.refresh()
    over = threading.Event()
    seen: list[set[str]] = []

    def ask() -> None:
        while not over.is_set():
            documents = [Document(str(n), "Naloxone") for n in range(2 * MAX_BATCH_PARTS)]
            found = holder.scheduler.predict(holder.wait_for_tagger(timeout_seconds=0), documents)
            seen.append({prediction.version for prediction in found})

    askers = [threading.Thread(target=ask) for _ in range(4)]
    for asker in askers:
        asker.start()
    for version in versions[1:]:
        store.promote("encoder", version)
        holder.refresh()
        threading.Event().wait(0.05)
    over.set()
    for asker in askers:
        asker.join(30)
    assert all(len(found) == 1 for found in seen)
    assert holder.serving_version() == versions[-1]
