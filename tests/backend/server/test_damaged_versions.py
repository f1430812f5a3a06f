"""A served version is damaged or removed: it stays served, and the damage is reported."""

import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from tagalong.backend.bundled import BUNDLED_MODELS_FOLDER
from tagalong.backend.storage.model_store import ModelStore
from tagalong.ner.current_version import read_current_version, write_current_version
from tagalong.ner.model_registry import ModelRegistry
from tests.backend.server.app_client import (
    ABSTRACT,
    post_json,
    regions,
    request_for,
    serve_app,
    service_of,
    settings_in,
)
from tests.versions import edit_manifest

WEIGHTS = "adapter_model.safetensors"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The bundled version, copied into a store and promoted there."""
    bundled = ModelRegistry(tmp_path, bundled_root=BUNDLED_MODELS_FOLDER).resolve("bundled")
    folder = tmp_path / "models" / "encoder" / bundled.name
    shutil.copytree(bundled, folder)
    ModelStore(tmp_path / "models").promote("encoder", folder.name)
    return folder


@pytest.fixture
def client(folder: Path) -> Iterator[FlaskClient]:
    """Test client of a server with the bundled model from that store."""
    with serve_app(settings_in(folder.parents[2]), load=None) as client:
        holder = service_of(client).model_pool.find("encoder")
        assert holder.wait_for_tagger(timeout_seconds=60).version == folder.name
        holder._stopping.set()  # from now on, only the test refreshes it
        holder._poll_thread.join()
        yield client


def ask(client: FlaskClient) -> tuple[list[list[tuple[str, str]]], str]:
    answer = post_json(client, "/predict", request_for(ABSTRACT))
    assert answer.status_code == 200
    [result] = answer.get_json()["results"]
    return regions(answer.get_json()), result["model_version"]


def read_status(client: FlaskClient) -> tuple[str, bool]:
    """The status page, and whether `/metrics` reports a failed load."""
    service_of(client).model_pool.find("encoder").refresh()
    page = client.get("/", headers={"Accept": "text/html"}).get_data(as_text=True)
    metrics = client.get("/metrics").get_data(as_text=True)
    return page, 'tagalong_model_load_failing{model="encoder",tier="encoder"} 1.0' in metrics


def cut(folder: Path) -> None:
    """Truncate in place, as an interrupted copy does. The weights may be mapped into memory."""
    with (folder / WEIGHTS).open("r+b") as file:
        file.truncate(5_000_000)


def lose(folder: Path) -> None:
    (folder / WEIGHTS).unlink()


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (cut, f"{WEIGHTS} in .* has 5,000,000 bytes instead of 5,326,364"),
        (lose, f"{WEIGHTS} is missing from"),
        (shutil.rmtree, "there is no folder"),
    ],
)
def test_version_damaged_while_served_stays_served_and_is_reported(
    client: FlaskClient, folder: Path, damage: Callable[[Path], None], reason: str
) -> None:
    before = ask(client)
    assert before[0][0]
    page, fails = read_status(client)
    assert not fails
    assert 'class="notice"' not in page
    kept = shutil.copytree(folder, folder.parents[2] / "kept")
    damage(folder)
    page, fails = read_status(client)
    assert fails
    assert 'class="notice"' in page
    assert re.search(reason, page)
    assert ask(client) == before
    assert client.get("/health").get_json()["version"] == folder.name
    shutil.copytree(kept, folder, dirs_exist_ok=True)
    page, fails = read_status(client)
    assert not fails
    assert 'class="notice"' not in page


def test_damaged_promoted_version_keeps_the_previous_one(client: FlaskClient, folder: Path) -> None:
    before = ask(client)
    worse = folder.with_name(folder.name.replace("minilm", "worse"))
    shutil.copytree(folder, worse)
    edit_manifest(worse, folder.name, worse.name, reseal=True)
    cut(worse)
    current = read_current_version(folder.parent)
    assert current is not None
    write_current_version(
        folder.parent, current.after_promotion(worse.name)
    )  # because `promote` would refuse it
    page, fails = read_status(client)
    assert fails
    assert worse.name in page
    assert "5,000,000" in page
    assert ask(client) == before


def test_start_with_damaged_current_file_is_reported(folder: Path) -> None:
    (folder.parent / "current").write_bytes(b"\0")
    settings = settings_in(folder.parents[2])
    with serve_app(settings) as client:
        assert client.get("/health").json["degraded"] is True
        assert client.get("/health").json["version"] == folder.name
        assert client.get("/ready").status_code == 200
        page, fails = read_status(client)
        assert fails
        assert "models promote" in page
        ModelStore(settings.models).promote("encoder", folder.name)
        page, fails = read_status(client)
        assert not fails
        assert client.get("/health").json["degraded"] is False
