"""Processes that publish concurrently, and processes that are killed while they publish."""

import random
import time
from pathlib import Path

import pytest

from tagalong.backend.storage.model_store import ModelStore
from tagalong.ner.current_version import read_current_version
from tagalong.ner.manifest import read_manifest
from tests.forked_process import ForkedProcess
from tests.versions import publish_number

N_KILLS = 20
N_PROCESSES, N_EACH = 4, 5


def start(*arguments: object) -> ForkedProcess:
    return ForkedProcess("-m", "tests.backend.storage.publish_worker", *arguments)


def temporary_files(store: ModelStore) -> list[Path]:
    return list(store.model_folder("encoder").glob(".staging-*"))


@pytest.mark.slow
def test_publisher_killed_at_a_random_moment_leaves_a_valid_store(store: ModelStore) -> None:
    chance = random.Random(20260131)
    promoted: list[str] = []
    for kill in range(N_KILLS):
        with start("loop", store.root, 1000 * kill) as publisher:
            promoted.append(publisher.stdout.readline().strip())
            time.sleep(chance.uniform(0, 0.03))
            publisher.kill()
            promoted += publisher.stdout.read().split()

        for version in store.version_names("encoder"):
            read_manifest(store.model_folder("encoder") / version)
        read_manifest(store.resolve("encoder"))
        assert set(promoted) <= set(store.version_names("encoder"))
    assert len(set(promoted)) >= N_KILLS
    publish_number(store, 1)
    assert temporary_files(store) == []


@pytest.mark.slow
def test_publisher_killed_at_every_step_leaves_a_valid_store(store: ModelStore) -> None:
    publisher = start("every-step", store.root)
    output, _ = publisher.communicate(timeout=120)
    assert publisher.returncode == 0
    assert int(output) > 50


def test_staging_folder_is_kept_while_its_publisher_runs(store: ModelStore) -> None:
    with store.staging_folder("encoder") as folder:
        dead = folder.parent.with_name(".staging-dead")
        dead.mkdir()
        (dead / "lock").touch()
        dying = folder.parent.with_name(".staging-before-its-lock")
        dying.mkdir()
        publish_number(store, 1)
        assert temporary_files(store) == [folder.parent]
        assert folder.is_dir()


def test_concurrent_publishers_lose_nothing(store: ModelStore) -> None:
    publishers = [start("share", store.root, 100 * (n + 1), N_EACH) for n in range(N_PROCESSES)]
    published: list[str] = []
    for publisher in publishers:
        output, _ = publisher.communicate(timeout=120)
        assert publisher.returncode == 0
        published += output.split()
    common = {version for version in published if published.count(version) > 1}
    own = [version for version in published if version not in common]
    assert len(common) == 1
    assert len(own) == N_PROCESSES * N_EACH
    assert store.version_names("encoder") == sorted([*own, *common])
    current = read_current_version(store.model_folder("encoder"))
    assert current is not None
    assert sorted([*current.previous, current.version]) == sorted(own)
    for version in store.version_names("encoder"):
        read_manifest(store.model_folder("encoder") / version)
    assert temporary_files(store) == []
