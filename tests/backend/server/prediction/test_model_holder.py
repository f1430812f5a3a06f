"""The slot of a tier: what serves, what is loaded next, and what failing to load must not break."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from prometheus_client import generate_latest

from tagalong.backend.bundled import BUNDLED_MODELS_FOLDER
from tagalong.backend.models.tier import Tier
from tagalong.backend.server.monitoring.telemetry import Telemetry
from tagalong.backend.server.prediction import model_holder as slot_module
from tagalong.backend.server.prediction.model_holder import ModelHolder
from tagalong.backend.server.prediction.scheduler import MAX_BATCH_DOCUMENTS
from tagalong.backend.storage.model_store import ModelStore
from tagalong.ner.document import Document
from tagalong.ner.errors import OpenVINOError, TagalongError, VersionInvalid, VersionNotFound
from tagalong.ner.manifest import Manifest
from tagalong.ner.model_registry import ModelRegistry
from tests.errors import raises
from tests.lexicon_tier import LexiconTier, failing, load_lexicon

Publish = Callable[..., Manifest]


def slot_over(store: ModelStore, load: Callable[[Path], Tier] = load_lexicon) -> ModelHolder:
    return ModelHolder("encoder", ModelRegistry(store.root), telemetry=Telemetry(), load=load)


@pytest.fixture
def started() -> Iterator[Callable[[ModelHolder], ModelHolder]]:
    slots: list[ModelHolder] = []

    def start(slot: ModelHolder) -> ModelHolder:
        slots.append(slot)
        slot.start()
        return slot

    yield start
    for slot in slots:
        slot.close()


def promoted(store: ModelStore, publish: Publish, value: int) -> str:
    version = publish(value).version
    store.promote("encoder", version)
    return version


def test_serves_the_current_version_and_then_the_next(store: ModelStore, publish: Publish) -> None:
    first = promoted(store, publish, 1)
    slot = slot_over(store)
    slot.refresh()
    assert slot.wait_for_tier(timeout_seconds=0).version == slot.serving_version() == first
    second = promoted(store, publish, 2)
    slot.refresh()
    assert slot.wait_for_tier(timeout_seconds=0).version == slot.serving_version() == second
    store.rollback("encoder")
    slot.refresh()
    assert slot.serving_version() == first


def test_a_promotion_is_noticed_without_being_told(
    store: ModelStore, publish: Publish, started: Callable[[ModelHolder], ModelHolder]
) -> None:
    promoted(store, publish, 1)
    slot = started(slot_over(store))
    slot.wait_for_tier(timeout_seconds=30)
    second = promoted(store, publish, 2)
    for _ in range(300):
        if slot.serving_version() == second:
            break
        threading.Event().wait(0.1)
    assert slot.wait_for_tier(timeout_seconds=0).version == second


@pytest.mark.parametrize("way", ["rollback", "promote bundled"])
def test_a_running_slot_goes_back_to_the_bundled_version(
    store: ModelStore, publish: Publish, started: Callable[[ModelHolder], ModelHolder], way: str
) -> None:
    first = promoted(store, publish, 1)
    catalogue = ModelRegistry(store.root, bundled_root=BUNDLED_MODELS_FOLDER)
    slot = started(ModelHolder("encoder", catalogue, telemetry=Telemetry(), load=load_lexicon))
    assert slot.wait_for_tier(timeout_seconds=30).version == first
    both = ModelStore(store.root, bundled_root=BUNDLED_MODELS_FOLDER)
    if way == "rollback":
        both.rollback("encoder")
    else:
        both.promote("encoder", "bundled")
    bundled = catalogue.resolve("bundled").name
    for _ in range(100):
        if slot.serving_version() == bundled:
            break
        threading.Event().wait(0.1)
    assert slot.wait_for_tier(timeout_seconds=0).version == bundled
    assert not slot.state.load_failures


def test_a_rollback_of_the_first_llm_unloads_it(store: ModelStore, publish: Publish) -> None:
    version = publish(1, tier="llm").version
    store.promote("llm", version)
    telemetry = Telemetry()
    catalogue = ModelRegistry(store.root, bundled_root=BUNDLED_MODELS_FOLDER)
    slot = ModelHolder("llm", catalogue, telemetry=telemetry, load=load_lexicon)
    slot._first_load_done.set()
    slot.refresh()
    assert slot.serving_version() == version
    assert f'version="{version}"' in generate_latest(telemetry.registry).decode()
    store.rollback("llm")
    slot.refresh()
    for ask in (slot.serving_version, lambda: slot.wait_for_tier(timeout_seconds=0)):
        with pytest.raises(VersionNotFound):
            ask()
    assert [tier.manifest for tier in telemetry.take_snapshot().tiers if tier.tier == "llm"] == [
        None
    ]
    assert f'version="{version}"' not in generate_latest(telemetry.registry).decode()
    store.promote("llm", version)
    slot.refresh()
    assert slot.serving_version() == version


def test_a_failure_to_load_is_forgiven_when_no_version_is_current(
    store: ModelStore, publish: Publish
) -> None:
    version = publish(1, tier="llm").version
    store.promote("llm", version)
    load = failing(version, error=RuntimeError("mismatch"))
    slot = ModelHolder("llm", ModelRegistry(store.root), telemetry=Telemetry(), load=load)
    slot.refresh()
    assert slot.state.load_failures
    store.rollback("llm")
    slot.refresh()
    assert not slot.state.load_failures


def test_no_thread_that_loaded_a_version_lives_on(
    store: ModelStore, publish: Publish, started: Callable[[ModelHolder], ModelHolder]
) -> None:
    loaders: list[threading.Thread] = []

    def load(folder: Path) -> Tier:
        loaders.append(threading.current_thread())
        return load_lexicon(folder)

    promoted(store, publish, 1)
    started(slot_over(store, load)).wait_for_tier(timeout_seconds=10)
    (loader,) = loaders
    loader.join(10)
    assert not loader.is_alive()


def test_the_version_is_known_before_it_is_loaded(store: ModelStore, publish: Publish) -> None:
    version = promoted(store, publish, 1)
    assert slot_over(store).serving_version() == version


def test_a_version_that_does_not_load_leaves_the_old_one(
    store: ModelStore, publish: Publish
) -> None:
    first = promoted(store, publish, 1)
    second = publish(2).version
    slot = slot_over(store, failing(second, error=VersionInvalid("a file is missing: roll back")))
    slot.refresh()
    store.promote("encoder", second)
    slot.refresh()
    assert slot.serving_version() == first
    assert slot.state.load_failures
    assert (slot.state.load_failures[0].version, slot.state.load_failures[0].reason) == (
        second,
        "a file is missing: roll back",
    )


@pytest.mark.parametrize(("retry", "loads"), [(float("inf"), 1), (0.0, 4)])
def test_a_version_that_does_not_load_is_tried_again_after_a_while(
    store: ModelStore, publish: Publish, monkeypatch: pytest.MonkeyPatch, retry: float, loads: int
) -> None:
    monkeypatch.setattr(slot_module, "LOAD_RETRY_SECONDS", retry)
    promoted(store, publish, 1)
    tries = []

    def load(folder: Path) -> Tier:
        tries.append(folder)
        raise VersionInvalid("no room for it")

    slot = slot_over(store, load)
    for _ in range(4):
        slot.refresh()
    assert len(tries) == loads
    assert slot.tier is None


@pytest.mark.parametrize("error", [OpenVINOError("no such operation"), OSError("no process")])
def test_what_cannot_be_improved_serves_as_it_did(
    store: ModelStore, publish: Publish, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    first = promoted(store, publish, 1)

    def better(*_: object) -> None:
        raise error

    slot = ModelHolder(
        "encoder",
        ModelRegistry(store.root),
        telemetry=Telemetry(),
        load=load_lexicon,
        find_upgrade=better,
    )
    slot.refresh()
    serving = slot.wait_for_tier(timeout_seconds=0)
    slot.refresh()
    assert slot.wait_for_tier(timeout_seconds=0) is serving
    assert first in caplog.text
    assert str(error) in caplog.text
    assert not slot.state.load_failures


def test_a_failure_is_forgiven_once_the_version_is_not_wanted(
    store: ModelStore, publish: Publish
) -> None:
    promoted(store, publish, 1)
    second = publish(2).version
    slot = slot_over(store, failing(second, error=RuntimeError("mismatch")))
    slot.refresh()
    store.promote("encoder", second)
    slot.refresh()
    assert slot.state.load_failures
    assert "mismatch" in slot.state.load_failures[0].reason
    store.rollback("encoder")
    slot.refresh()
    assert not slot.state.load_failures


def test_a_restart_with_a_damaged_version_serves_the_one_before(
    store: ModelStore, publish: Publish
) -> None:
    first = promoted(store, publish, 1)
    second = promoted(store, publish, 2)
    slot = slot_over(store, failing(second, error=VersionInvalid("tampered with: retrain")))
    slot.refresh()
    assert slot.serving_version() == first
    assert slot.state.load_failures


def test_a_restart_with_a_damaged_first_promotion_serves_the_bundled_version(
    store: ModelStore, publish: Publish
) -> None:
    first = promoted(store, publish, 1)
    load = failing(first, error=VersionInvalid("tampered with: retrain"))
    catalogue = ModelRegistry(store.root, bundled_root=BUNDLED_MODELS_FOLDER)
    slot = ModelHolder("encoder", catalogue, telemetry=Telemetry(), load=load)
    slot.refresh()
    assert slot.serving_version() == catalogue.resolve("bundled").name
    assert slot.state.load_failures
    assert slot.state.load_failures[0].version == first


def test_what_serves_in_the_place_of_a_damaged_version_is_improved_and_looked_after(
    store: ModelStore, publish: Publish
) -> None:
    first = promoted(store, publish, 1)
    second = promoted(store, publish, 2)
    better = LexiconTier(first)
    slot = ModelHolder(
        "encoder",
        ModelRegistry(store.root),
        telemetry=Telemetry(),
        load=failing(second, error=VersionInvalid("tampered with: retrain")),
        find_upgrade=lambda folder, tier: (
            better if folder.name == first and tier != better else None
        ),
    )
    for _ in range(2):
        slot.refresh()
    assert slot.wait_for_tier(timeout_seconds=0) is better
    assert slot.state.load_failures
    assert slot.state.load_failures[0].version == second
    (store.version_folder("encoder", first) / "model.safetensors").write_bytes(b"another size")
    slot.refresh()
    assert slot.state.load_failures[0].version == first


def test_a_version_whose_folder_is_gone_goes_on_serving(
    store: ModelStore, publish: Publish
) -> None:
    import shutil

    version = promoted(store, publish, 1)
    slot = slot_over(store)
    slot.refresh()
    shutil.rmtree(store.root)
    slot.refresh()
    assert slot.serving_version() == version
    assert (
        slot.scheduler.predict(slot.wait_for_tier(timeout_seconds=0), [Document("1", "Naloxone")])[
            0
        ].version
        == version
    )


def test_nothing_to_serve_says_what_to_do(store: ModelStore) -> None:
    slot = slot_over(store)
    with raises(TagalongError, "tier-loading"):
        slot.wait_for_tier(timeout_seconds=0)
    llm = ModelHolder(
        "llm", ModelRegistry(store.root, bundled_root=BUNDLED_MODELS_FOLDER), telemetry=Telemetry()
    )
    with pytest.raises(VersionNotFound):
        llm.serving_version()


def test_the_bundled_version_serves_an_empty_folder(tmp_path: Path) -> None:
    catalogue = ModelRegistry(tmp_path / "missing", bundled_root=BUNDLED_MODELS_FOLDER)
    slot = ModelHolder("encoder", catalogue, telemetry=Telemetry(), load=load_lexicon)
    assert slot.serving_version() == catalogue.resolve("bundled").name


def test_no_request_is_dropped_and_none_is_mixed_while_versions_change(
    store: ModelStore, publish: Publish
) -> None:
    versions = [publish(value).version for value in range(4)]
    store.promote("encoder", versions[0])
    slot = slot_over(store)
    slot.refresh()
    over = threading.Event()
    seen: list[set[str]] = []

    def ask() -> None:
        while not over.is_set():
            documents = [Document(str(n), "Naloxone") for n in range(2 * MAX_BATCH_DOCUMENTS)]
            found = slot.scheduler.predict(slot.wait_for_tier(timeout_seconds=0), documents)
            seen.append({prediction.version for prediction in found})

    askers = [threading.Thread(target=ask) for _ in range(4)]
    for asker in askers:
        asker.start()
    for version in versions[1:]:
        store.promote("encoder", version)
        slot.refresh()
        threading.Event().wait(0.05)
    over.set()
    for asker in askers:
        asker.join(30)
    assert all(len(found) == 1 for found in seen)
    assert slot.serving_version() == versions[-1]
