"""Processes that publish and promote versions; tests kill them or run several at once.

``loop ROOT SEED`` never ends. ``share ROOT SEED N`` publishes N versions, and one whose content
all processes share. ``every-step ROOT`` is killed at each step in turn.
"""

import os
import signal
import sys
from itertools import count
from pathlib import Path

from tagalong.backend.storage.locks import remove_abandoned_scratch_folders
from tagalong.backend.storage.model_store import ModelStore
from tagalong.ner.manifest import Manifest, VersionMetadata, read_manifest
from tests.versions import DRAFT, safetensors

# Calls that change the disk or end a change. __exit__ closes a file.
OPENING = {"mkdir", "open", "flock"}
STEPS = OPENING | {"write", "fsync", "close", "__exit__", "rename", "replace", "unlink", "rmdir"}
PADDING = bytes(200_000)  # makes writing and hashing long enough for a kill


def publish(store: ModelStore, value: int) -> Manifest:
    with store.staging_folder("encoder") as folder:
        (folder / "model.safetensors").write_bytes(safetensors(value) + PADDING)
        (folder / "tokenizer.json").write_text("{}")
        return store.publish(folder, VersionMetadata(**DRAFT))


def check(store: ModelStore) -> None:
    """Check that all visible versions are complete and that one is current."""
    for version in store.version_names("encoder"):
        read_manifest(store.model_folder("encoder") / version)
    read_manifest(store.resolve("encoder"))
    seen = [path for path in store.model_folder("encoder").iterdir() if path.name[0] != "."]
    assert sorted(path.name for path in seen) == sorted(
        [*store.version_names("encoder"), "current"]
    )


def killed_at(step: int, store: ModelStore, value: int) -> bool:
    """Whether a child process was killed before it had published, promoted and removed."""
    if child := os.fork():
        _, status = os.waitpid(child, 0)
        assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0
        return os.WIFSIGNALED(status)
    left = step

    def kill_when_due(_: object, event: str, function: object) -> None:
        nonlocal left
        left -= event == "c_call" and getattr(function, "__name__", "") in STEPS
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)

    before = store.promoted_version("encoder")
    sys.setprofile(kill_when_due)  # called before each call of C code
    store.promote("encoder", publish(store, value).version)
    store.remove("encoder", str(before))
    os._exit(0)


def kill_at_every_step(store: ModelStore) -> None:
    store.promote("encoder", publish(store, 0).version)
    for step in count():
        killed = killed_at(step, store, step + 1)
        check(store)
        if not killed:
            break
        for version in set(store.version_names("encoder")) - {store.promoted_version("encoder")}:
            store.remove("encoder", version)
        remove_abandoned_scratch_folders(
            store.model_folder("encoder")
        )  # else the next process would take other steps
    print(step)


def main() -> None:
    match sys.argv[1:]:
        case ["loop", root, seed]:
            for value in count(int(seed)):
                version = publish(ModelStore(Path(root)), value).version
                ModelStore(Path(root)).promote("encoder", version)
                print(version, flush=True)
        case ["share", root, seed, n]:
            common = publish(ModelStore(Path(root)), 0).version
            for value in range(int(seed), int(seed) + int(n)):
                version = publish(ModelStore(Path(root)), value).version
                ModelStore(Path(root)).promote("encoder", version)
                print(version)
            print(common)
        case ["every-step", root]:
            kill_at_every_step(ModelStore(Path(root)))


main()
