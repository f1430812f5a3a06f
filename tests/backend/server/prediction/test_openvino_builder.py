"""A server compiles a version while PyTorch serves it, and then switches to OpenVINO."""

import os
import re
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tagalong.backend.models.encoder.tagger import EncoderTagger
from tagalong.backend.models.load import load_tagger
from tagalong.backend.models.openvino.cache import find_openvino_model
from tagalong.backend.models.openvino.compile import compile_version
from tagalong.backend.models.openvino.runner import OpenVINORunner
from tagalong.backend.models.tagger import DocumentTagger
from tagalong.backend.server.prediction.openvino_builder import OpenVINOBuilder
from tagalong.backend.storage.model_store import ModelStore
from tagalong.ner.document import Document
from tagalong.ner.manifest import read_manifest
from tests.backend.models.openvino.test_compile import publish
from tests.backend.server.app_client import (
    ABSTRACT,
    post_json,
    regions,
    request_for,
    serve_app,
    settings_in,
)

MAKE = (sys.executable, "-m", "tagalong", "models", "compile")


def until(true: Callable[[], object], seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.1)


def found_by(folder: Path) -> list[tuple[str, str]]:
    """Entities of the compiled version. Scores of random weights are close, so it may differ."""
    tagger = load_tagger(folder, use_openvino=True)
    assert isinstance(tagger, EncoderTagger)
    assert isinstance(tagger.runner, OpenVINORunner)
    (prediction,) = tagger.predict([Document("1", ABSTRACT)])
    return [(ABSTRACT[one.start : one.end], one.label) for one in prediction.spans]


def runtime(client) -> str:
    """The runtime on the status page."""
    page = client.get("/", headers={"Accept": "text/html"}).text
    return re.search(r"<dt>Runs on</dt><dd>(.*?)</dd>", page)[1]


@pytest.mark.slow
@pytest.mark.usefixtures("own_cache")
def test_pytorch_serves_until_the_version_is_compiled(tiny_base, tmp_path: Path) -> None:
    store = ModelStore(tmp_path / "models")
    folder = publish(tiny_base("biomedbert"), store)
    store.promote("encoder", folder.name)
    settings = settings_in(tmp_path, openvino_build_command=MAKE)
    with serve_app(settings, load=None) as client:
        service = client.application.extensions["tagalong"]
        first = post_json(client, "/predict", request_for(ABSTRACT))
        assert runtime(client).startswith("PyTorch")
        until(lambda: runtime(client).startswith("OpenVINO"))
        second = post_json(client, "/predict", request_for(ABSTRACT))
        assert service.model_pool.find("encoder").tagger.version == folder.name
        answers = [answer.json["results"][0]["model_version"] for answer in (first, second)]
        assert answers == [folder.name, folder.name]
        assert regions(second.json) == [found_by(folder)]
    assert find_openvino_model(read_manifest(folder)) is not None
    with serve_app(settings, load=None) as client:  # the next server uses it at once
        assert runtime(client).startswith("OpenVINO")


@pytest.mark.usefixtures("own_cache")
def test_failed_build_is_not_repeated(tiny_base, tmp_path: Path) -> None:
    folder = publish(tiny_base("bert-cased"), ModelStore(tmp_path / "models"))
    tries = tmp_path / "tries"
    failing_loader = (
        sys.executable,
        "-c",
        f"open({str(tries)!r}, 'a').write('x'); raise SystemExit(1)",
    )
    builder = OpenVINOBuilder(failing_loader, tmp_path / "openvino.log")
    tagger = builder.load(folder)
    for _ in range(30):
        assert builder.find_upgrade(folder, tagger) is None
        time.sleep(0.02)
    until(tries.exists)
    time.sleep(0.5)
    assert builder.find_upgrade(folder, tagger) is builder.find_upgrade(folder, tagger) is None
    assert tries.read_text() == "x"
    builder.close()


@pytest.mark.usefixtures("own_cache")
def test_closing_ends_a_running_build(tiny_base, tmp_path: Path) -> None:
    folder = publish(tiny_base("bert-cased"), ModelStore(tmp_path / "models"))
    builder = OpenVINOBuilder(
        (sys.executable, "-c", "import time; time.sleep(600)"), tmp_path / "openvino.log"
    )
    builder.find_upgrade(folder, builder.load(folder))
    _, process = builder._running_build
    assert len(os.sched_getaffinity(process.pid)) == 1
    builder.close()
    assert process.poll() is not None


@pytest.mark.usefixtures("own_cache")
def test_no_build_starts_after_closing(tiny_base, tmp_path: Path) -> None:
    folder = publish(tiny_base("bert-cased"), ModelStore(tmp_path / "models"))
    started_jobs = tmp_path / "begun"
    builder = OpenVINOBuilder(
        (sys.executable, "-c", f"open({str(started_jobs)!r}, 'a')"), tmp_path / "openvino.log"
    )
    tagger = builder.load(folder)
    builder.close()
    assert builder.find_upgrade(folder, tagger) is None
    assert builder._running_build is None
    assert not started_jobs.exists()


@pytest.mark.usefixtures("own_cache")
def test_build_works_without_log_file(tiny_base, tmp_path: Path) -> None:
    folder = publish(tiny_base("bert-cased"), ModelStore(tmp_path / "models"))
    started_jobs = tmp_path / "begun"
    making = (sys.executable, "-c", f"open({str(started_jobs)!r}, 'a'); print('x')")
    (tmp_path / "file").write_text("")
    builder = OpenVINOBuilder(making, tmp_path / "file" / "openvino.log")
    builder.find_upgrade(folder, builder.load(folder))
    until(started_jobs.exists)
    builder.close()


@pytest.mark.slow
@pytest.mark.usefixtures("own_cache")
def test_deleted_model_is_built_again(tiny_base, tmp_path: Path) -> None:
    folder = publish(tiny_base("biomedbert"), ModelStore(tmp_path / "models"))
    kept = compile_version(folder).folder
    shutil.move(kept, tmp_path / "compiled")
    # The builder runs any command; copying the compiled model takes no time.
    program = "import shutil, sys; shutil.copytree(*sys.argv[1:3])"
    command = (sys.executable, "-c", program, str(tmp_path / "compiled"), str(kept))
    builder = OpenVINOBuilder(command, tmp_path / "openvino.log")

    def improved() -> DocumentTagger:
        serving = builder.load(folder)
        found: list[DocumentTagger] = []
        until(lambda: found.extend(filter(None, [builder.find_upgrade(folder, serving)])) or found)
        return found[0]

    for _ in range(2):
        assert isinstance(improved().runner, OpenVINORunner)  # type: ignore[attr-defined]
        shutil.rmtree(kept)  # such as before a rollback to the version
        assert not isinstance(builder.load(folder).runner, OpenVINORunner)  # type: ignore[attr-defined]
    builder.close()


@pytest.mark.usefixtures("own_cache")
def test_unusable_model_is_logged_once(tiny_base, tmp_path: Path, caplog) -> None:
    folder = publish(tiny_base("bert-cased"), ModelStore(tmp_path / "models"))
    tries = tmp_path / "tries"
    idle = (sys.executable, "-c", f"open({str(tries)!r}, 'a').write('x')")
    builder = OpenVINOBuilder(idle, tmp_path / "openvino.log")
    tagger = builder.load(folder)
    until(lambda: builder.find_upgrade(folder, tagger) or "cannot be used" in caplog.text)
    for _ in range(20):
        assert builder.find_upgrade(folder, tagger) is None
        time.sleep(0.02)
    assert caplog.text.count("cannot be used") == 1
    assert tries.read_text() == "x"
    builder.close()
