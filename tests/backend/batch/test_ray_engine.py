"""Batches on Ray equal local ones, also after a worker crashes."""

import multiprocessing
import os
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tagalong.backend.batch.journal import BatchJournal
from tagalong.backend.batch.local_engine import PredictionFailure, make_local_engine
from tagalong.backend.batch.passes import BatchPasses
from tagalong.backend.batch.ray_engine import open_ray_engine, plan_workers
from tagalong.ner.errors import BatchError
from tests.errors import raises
from tests.journal_sink import JournalSink, make_items
from tests.ray_scenarios import (
    DOCUMENTS,
    CrashingTagger,
    RayResults,
    TwoNodeTagger,
    chunks,
    lexicon,
    predict_on_ray,
    use_one_engine,
)

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def two_nodes() -> Iterator[str]:
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.ray_scenarios"],
        cwd=ROOT,
        env=os.environ | {"RAY_worker_niceness": "0"},  # else other processes starve them
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    yield process.stdout.readline().strip()
    process.communicate(timeout=60)


def run_in_process(scenario: Callable[..., Any], *arguments: Any) -> Any:
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawn) as pool:
        return pool.submit(scenario, *arguments).result(timeout=180)


@pytest.fixture(scope="module")
def results(two_nodes: str, tmp_path_factory: pytest.TempPathFactory) -> RayResults:
    found: RayResults = run_in_process(
        use_one_engine, two_nodes, tmp_path_factory.mktemp("ray") / "journal"
    )
    return found


@pytest.mark.slow
def test_two_nodes_predict_the_same_in_the_same_order(results: RayResults) -> None:
    assert results.answers == list(make_local_engine(lexicon())(chunks()))


@pytest.mark.slow
def test_two_nodes_share_the_work(two_nodes: str, tmp_path: Path) -> None:
    result = run_in_process(predict_on_ray, two_nodes, partial(TwoNodeTagger, tmp_path))
    versions = {one.version for chunk in result for one in chunk}
    assert versions == {f"lexicon on {path.name}" for path in tmp_path.iterdir()}
    assert len(versions) == 2


@pytest.mark.slow
def test_crashed_worker_is_replaced(two_nodes: str, tmp_path: Path) -> None:
    marker = tmp_path / "died"
    result = run_in_process(predict_on_ray, two_nodes, partial(CrashingTagger, marker))
    assert marker.exists()
    assert result == list(make_local_engine(CrashingTagger(marker))(chunks()))
    [failure] = [
        entry for chunk in result for entry in chunk if isinstance(entry, PredictionFailure)
    ]
    assert "ValueError at batch/local_engine.py:" in failure.reason


@pytest.mark.slow
def test_errors_of_the_source_are_raised(results: RayResults) -> None:
    assert results.failed == (3, "the source is gone")


@pytest.mark.slow
def test_batch_equals_local_batch(results: RayResults, tmp_path: Path) -> None:
    with BatchJournal(tmp_path / "local") as journal:
        BatchPasses(journal, JournalSink()).predict(
            make_items(DOCUMENTS), make_local_engine(lexicon())
        )
        entries = [(entry.key, entry.payload) for entry in journal.iterate_entries()]
    assert results.entries == entries
    assert len(entries) == len(DOCUMENTS)


def test_own_cluster_keeps_texts_from_others(monkeypatch: pytest.MonkeyPatch) -> None:
    given = dict[str, Any]()
    monkeypatch.setattr("ray.init", lambda **options: given.update(options))
    monkeypatch.setattr("ray.nodes", lambda: nodes({"CPU": 1}))
    monkeypatch.setattr("ray.shutdown", lambda: None)
    with open_ray_engine(lexicon):
        folder = Path(given["_temp_dir"]).parent  # Ray opens its own folder to everybody
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert not folder.exists()


@pytest.mark.parametrize("address", ["127.0.0.1:1", "somewhere", "ray://:x", "127.0.0.1:99999"])
def test_missing_cluster_is_reported(address: str) -> None:
    with (
        raises(BatchError, "ray-cluster-unreachable"),
        open_ray_engine(lexicon, address=address),
    ):
        pass


def nodes(*resources: dict[str, float]) -> list[dict[str, Any]]:
    return [{"Alive": True, "Resources": one} for one in resources]


def test_worker_resources() -> None:
    assert plan_workers(nodes({"CPU": 8, "GPU": 2}, {"CPU": 4, "GPU": 1})) == (
        3,
        {"num_gpus": 1, "num_cpus": 1},
    )
    assert plan_workers(nodes({"CPU": 8}, {"CPU": 4}, {})) == (3, {"num_cpus": 4})
    assert plan_workers(nodes({"CPU": 7}, {"CPU": 2})) == (4, {"num_cpus": 2})
    with raises(BatchError, "ray-cluster-without-cores"):
        plan_workers(nodes({"CPU": 0.5}, {}))
