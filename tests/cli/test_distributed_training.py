"""Training under torchrun: one of several processes prints and publishes."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from tagalong.backend.documents.jsonl import document_to_json
from tagalong.backend.storage.model_store import ModelStore
from tagalong.ner.manifest import read_manifest
from tests.forked_process import run_ranks, run_together
from tests.tiny_llms import save_llm
from tests.toy_corpus import toy_documents

ROOT = Path(__file__).parents[2]
TORCHRUN = ("torch.distributed.run", "--standalone", "--nproc-per-node=2")
SETTINGS = (  # enough to find entities, else the version is not promoted
    *("--epochs", "6", "--patience", "6"),
    *("--learning-rate", "0.01", "--batch-tokens", "128", "--json"),
)
ENVIRONMENT = os.environ | {
    "PYTHONPATH": str(ROOT),
    "OMP_NUM_THREADS": "1",
    "CUDA_VISIBLE_DEVICES": "",  # CPU only
}


@contextmanager
def torchrun(folder: Path) -> Iterator[list[Mapping[str, str]]]:
    """Start torchrun, and yield the environments of its two processes, while it waits for them.

    Other processes can take their place, which need not import torch first.
    """
    folder.mkdir()
    program = Path(__file__).with_name("torchrun_rank.py")
    command = [sys.executable, "-m", *TORCHRUN, str(program), str(folder)]
    with subprocess.Popen(command, env=ENVIRONMENT, cwd=ROOT) as process:
        paths = [folder / f"{rank}.json" for rank in range(2)]
        try:
            while not all(path.exists() for path in paths):
                assert process.poll() is None
                time.sleep(0.05)
            yield [json.loads(path.read_text(encoding="utf-8")) for path in paths]
        finally:
            (folder / "ended").touch()
    assert process.returncode == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("launcher", "tier", "environment"),
    [
        ("torchrun", "encoder", {}),
        ("as torchrun does", "encoder", {"ACCELERATE_USE_CPU": "true"}),
        ("as torchrun does", "llm", {}),
    ],
)
def test_two_processes_publish_one_version(
    tiny_base: Callable[[str], Path],
    tmp_path: Path,
    launcher: str,
    tier: str,
    environment: dict[str, str],
) -> None:
    export, store = tmp_path / "export.jsonl", ModelStore(tmp_path / "models")
    documents = toy_documents(24)
    lines = (json.dumps(document_to_json(document)) for document in documents)
    export.write_text("\n".join(lines), encoding="utf-8")
    if tier == "encoder":
        base, more = tiny_base("bert-uncased"), ()
    else:
        base = save_llm(tmp_path / "base", [document.text for document in documents])
        more = ("--rank", "8", "--window", "512")
    command = ("-m", "tagalong", "train", tier, export, "--base", base, *more)
    command += ("--models", store.root, *SETTINGS)
    if launcher == "torchrun":
        with torchrun(tmp_path / "torchrun") as environments:
            done = run_together(environments, *command)
    else:
        done = run_ranks(*command, env=ENVIRONMENT | environment)
    [version] = store.version_names(tier)
    assert store.promoted_version(tier) == version
    manifest = read_manifest(store.resolve(version))
    assert json.loads(done.stdout)["version"] == version  # one object from one process
    assert len(manifest.data["epochs"]) > 1
    assert done.stderr.count("Published") == 1
    left = {path.name for path in store.model_folder(tier).iterdir()}
    assert left == {version, "current", ".current-backup", ".lock"}
