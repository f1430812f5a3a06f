import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tagalong.backend.storage.model_store import ModelStore
from tagalong.ner.errors import RegistryError, VersionInvalid, VersionNotFound
from tagalong.ner.manifest import Manifest
from tagalong.ner.model_registry import ModelRegistry, validate_name
from tests.errors import raises
from tests.versions import publish_number

UNSAFE = [
    "",
    ".",
    "..",
    "../evil",
    "/etc",
    "a/b",
    ".hidden",
    "-x",
    "bundled",
    "Bundled",
    "nul",
    "COM1",
    "aux.x",
    "cardiology.",
    "x" * 101,
    "é",
    "a b",
]

Publish = Callable[..., Manifest]


def test_store_that_was_never_written_is_empty(store: ModelStore) -> None:
    assert store.models() == []
    assert store.version_names("encoder") == []
    assert store.manifests("encoder") == []
    assert store.promoted_version("encoder") is None
    assert not store.root.exists()


def test_versions_are_listed_oldest_first_and_damaged_ones_by_name(
    store: ModelStore, publish: Publish
) -> None:
    first, second = publish(1, name="zeta"), publish(2, name="alpha")
    damaged = publish(3, name="broken")
    (store.resolve(damaged.version) / "manifest.json").write_text("{")
    published = sorted([first, second], key=lambda manifest: (manifest.created, manifest.version))
    assert store.manifests("encoder") == published
    assert store.version_names("encoder") == sorted(
        [first.version, second.version, damaged.version]
    )


def test_folder_without_manifest_is_not_a_version(store: ModelStore, publish: Publish) -> None:
    published = publish()
    (store.model_folder("encoder") / "half-copied").mkdir()
    (store.root / "README.txt").write_text("a file among the tiers")
    assert store.version_names("encoder") == [published.version]
    assert store.models() == ["encoder"]


def test_version_references(
    store: ModelStore, publish: Publish, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = publish(1), publish(2)
    store.promote("encoder", one.version)
    place = store.root / "encoder"
    assert store.resolve("encoder") == place / one.version
    assert store.resolve(two.version) == place / two.version
    assert store.resolve(f"encoder/{two.version}") == place / two.version
    assert store.resolve(str(place / two.version)) == place / two.version
    monkeypatch.chdir(store.root)
    assert store.resolve(f"./encoder/{two.version}") == Path("encoder") / two.version
    assert store.resolve() == place / one.version


def test_store_name_takes_precedence_over_folder(
    store: ModelStore, publish: Publish, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.promote("encoder", publish().version)
    (store.root.parent / "encoder").mkdir()
    monkeypatch.chdir(store.root.parent)
    assert store.resolve("encoder").parent == store.root / "encoder"


def test_name_in_two_tiers_needs_tier_prefix(store: ModelStore, publish: Publish) -> None:
    encoder, llm = publish(tier="encoder"), publish(tier="llm")
    assert encoder.version == llm.version
    with raises(VersionNotFound, "version-ambiguous"):
        store.resolve(llm.version)
    assert store.resolve(f"llm/{llm.version}") == store.root / "llm" / llm.version


def test_bundled_resolves_to_current_encoder_of_bundled_store(
    store: ModelStore, publish: Publish, tmp_path: Path
) -> None:
    shipped = publish(1)
    store.promote("encoder", shipped.version)
    own = ModelStore(tmp_path / "own", bundled_root=store.root)
    assert own.resolve("bundled") == store.root / "encoder" / shipped.version
    assert own.resolve(shipped.version) == own.resolve("bundled")
    assert own.resolve() == own.resolve("bundled")
    assert own.models() == []


def test_tier_resolves_to_bundled_version_without_current(
    store: ModelStore, publish: Publish, tmp_path: Path
) -> None:
    store.promote("encoder", publish(1).version)
    own = ModelStore(tmp_path / "own", bundled_root=store.root)
    assert own.resolve("encoder") == own.resolve("bundled")
    publish_number(own)
    assert own.resolve("encoder") == own.resolve("bundled")


def test_missing_llm_error_has_next_step(
    store: ModelStore, publish: Publish, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.promote("encoder", publish(1).version)
    own = ModelStore(tmp_path / "own", bundled_root=store.root)
    with raises(VersionNotFound, "tier-not-trained"):
        own.resolve("llm")
    with monkeypatch.context() as only_served:
        for module in ("ner.model_registry", "backend.storage.model_store"):
            only_served.setattr(f"tagalong.{module}.TRAINABLE_TIERS", ())
        with raises(VersionNotFound, "tier-not-trained") as caught:
            own.resolve("llm")
        assert "tagalong train" not in str(caught.value)
        with raises(RegistryError, "no-promotion-to-undo") as refused:
            own.rollback("llm")
        assert "tagalong train" not in str(refused.value)
    version = publish_number(own, tier="llm").version
    with raises(VersionNotFound, "no-current-version") as caught:
        own.resolve("llm")
    assert version in str(caught.value)
    assert "'bundled'" not in str(caught.value)  # the bundled version is an encoder
    own.promote("llm", version)
    assert own.resolve("llm").name == version


def test_reading_writes_nothing(store: ModelStore, publish: Publish, tmp_path: Path) -> None:
    store.promote("encoder", publish().version)
    before = sorted(tmp_path.rglob("*"))
    catalogue = ModelRegistry(store.root)
    catalogue.resolve("encoder")
    catalogue.manifests("encoder")
    catalogue.version_names("llm")
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("reference", ["nothing", "encoder/nothing", "a/b/c", "\0", "bundled"])
def test_missing_version_error_lists_others(
    store: ModelStore, publish: Publish, reference: str
) -> None:
    published = publish()
    with raises(VersionNotFound, "version-not-found") as caught:
        store.resolve(reference)
    assert f"encoder/{published.version}" in str(caught.value)


def test_long_list_of_versions_is_shortened(store: ModelStore, publish: Publish) -> None:
    for value in range(11):
        publish(value, name=f"v{value:02}")
    with raises(VersionNotFound, "version-not-found") as caught:
        store.resolve("nothing")
    assert re.findall(r"encoder/v\d\d|3 others", str(caught.value)) == [
        "3 others",
        *(f"encoder/v{value:02}" for value in range(3, 11)),
    ]


def test_empty_store_error_offers_bundled_version(tmp_path: Path) -> None:
    store = ModelStore(tmp_path / "models", bundled_root=tmp_path / "bundled")
    with raises(VersionNotFound, "version-not-found") as caught:
        store.resolve("nothing")
    assert "'bundled'" in str(caught.value)


def test_path_to_folder_without_version_is_refused(store: ModelStore, tmp_path: Path) -> None:
    with raises(VersionInvalid, "manifest-missing"):
        store.resolve(str(tmp_path))


def test_deleted_current_version_is_an_error(store: ModelStore, publish: Publish) -> None:
    removed, remaining = publish(1), publish(2)
    store.promote("encoder", removed.version)
    store.resolve(removed.version).rename(store.root / "elsewhere")
    with raises(VersionNotFound, "version-not-in-model") as caught:
        store.resolve("encoder")
    assert remaining.version in str(caught.value)


@pytest.mark.parametrize("name", UNSAFE)
def test_names_outside_the_store_are_refused(store: ModelStore, name: str) -> None:
    with raises(RegistryError, "name-not-safe"):
        store.version_names(name)
    if name != "bundled":  # it can be promoted, but is no folder name
        with raises(RegistryError, "name-not-safe"):
            store.promote("encoder", name)


def test_names_that_differ_only_in_case_are_refused() -> None:
    assert validate_name("Cardiology", ["cardiology", "Cardiology"]) == "Cardiology"
    assert validate_name("cardiology-2", ["cardiology"]) == "cardiology-2"
    with raises(RegistryError, "name-of-other-case") as raised:
        validate_name("Cardiology", ["oncology", "cardiology"])
    assert "'cardiology'" in str(raised.value)
