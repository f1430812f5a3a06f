"""The demo's project: created, completed and checked."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tagalong.backend.demo.check import check_predictions, check_region, check_task
from tagalong.backend.demo.label_studio_server import start_label_studio
from tagalong.backend.demo.provision import provision, read_abstracts, read_demo_label_config
from tagalong.backend.demo.supervised_process import SupervisedProcess, find_free_port, is_http_ok
from tagalong.backend.label_studio.api.client import LabelStudioClient
from tagalong.backend.label_studio.api.objects import StoredPrediction, Task
from tagalong.backend.label_studio.label_config_parser import parse_label_config
from tagalong.ner.errors import LabelStudioError
from tests.backend.demo import toy_backend
from tests.errors import raises

Serve = Callable[[str], str]
CONFIG = parse_label_config(read_demo_label_config())
TEXT = "Naloxone 😀 reverses clonidine."
REGION = {
    "id": "a",
    "from_name": "label",
    "to_name": "text",
    "type": "labels",
    "score": 0.5,
    "value": {"start": 20, "end": 29, "text": "clonidine", "labels": ["Chemical"]},
}


@pytest.fixture
def toy_client(toy_program: Path, tmp_path: Path) -> Iterator[LabelStudioClient]:
    with (
        start_label_studio(toy_program, tmp_path / "studio") as running,
        running.connect() as toy_client,
    ):
        yield toy_client


@pytest.fixture
def serve(toy_serve: Sequence[str], tmp_path: Path) -> Iterator[Serve]:
    """Starts a toy backend with a fault on a new port; returns its address."""
    started: list[SupervisedProcess] = []

    def run(fault: str = "") -> str:
        port = find_free_port()
        where = ["--host", "127.0.0.1", "--port", str(port), "--models", str(tmp_path)]
        for earlier in started:
            earlier.stop()
        log = tmp_path / f"{port}.log"
        started.append(
            SupervisedProcess(
                "toy", [*toy_serve, *where], environment={"TOY_FAULT": fault}, log_path=log
            )
        )
        started[-1].wait_until_ready(lambda: is_http_ok(port, "/health"), timeout_seconds=60)
        return f"http://127.0.0.1:{port}"

    yield run
    for server in started:
        server.stop()


def toy_objects(toy_client: LabelStudioClient, tmp_path: Path) -> dict[str, Any]:
    """The objects stored in the toy Label Studio."""
    return json.loads((tmp_path / "studio" / "data" / "state.json").read_text())


def test_project_is_created_and_found_again(
    toy_client: LabelStudioClient, serve: Serve, tmp_path: Path
) -> None:
    url = serve("")
    first = provision(toy_client, url)
    assert not first.is_resumed
    assert len(first.tasks) == len(read_abstracts()) == 12
    assert first.project.label_config == read_demo_label_config()
    assert first.project.shows_predictions
    assert first.project.sampling == "Uncertainty sampling"
    assert first.backend.is_interactive
    assert first.backend.title == first.project.model_version == toy_backend.VERSION
    checked = check_predictions(toy_client, first.project.id, toy_backend.VERSION)
    assert checked.findings == ()
    assert (checked.tasks, checked.predictions, checked.regions) == (12, 12, 12)

    before = toy_objects(toy_client, tmp_path)
    again = provision(toy_client, url)
    assert again.is_resumed
    assert replace(again, is_resumed=False) == first
    assert toy_objects(toy_client, tmp_path) == before


def test_interrupted_run_is_completed(toy_client: LabelStudioClient, serve: Serve) -> None:
    from tagalong.backend.demo.provision import PROJECT_TITLE

    project = toy_client.create_project(PROJECT_TITLE, read_demo_label_config())
    toy_client.create_project(f"not the {PROJECT_TITLE}", read_demo_label_config())
    toy_client.tasks.add(project.id, [{"data": data} for data in read_abstracts()[3:5]])
    done = provision(toy_client, serve(""))
    assert done.project.id == project.id
    assert sorted(task.data["pmid"] for task in done.tasks) == sorted(
        data["pmid"] for data in read_abstracts()
    )
    assert done.project.prediction_count == 12


def test_backend_on_another_port_replaces_the_old_one(
    toy_client: LabelStudioClient, serve: Serve, tmp_path: Path
) -> None:
    first = provision(toy_client, serve(""))
    url = serve("")  # the first backend has ended
    toy_client.tasks.add(first.project.id, [{"data": {"text": "More of it.", "pmid": "0"}}])
    done = provision(toy_client, url)
    assert [
        backend.url for backend in toy_client.ml_backends.list_for_project(done.project.id)
    ] == [url]
    assert [hook.url for hook in toy_client.webhooks.list_for_project(done.project.id)] == [
        f"{url}/webhook"
    ]
    assert done.project.prediction_count == 13


def test_missing_predictions_are_an_error(toy_client: LabelStudioClient, serve: Serve) -> None:
    with raises(LabelStudioError, "predictions-not-stored"):
        provision(toy_client, serve("broken"))


def test_missing_backend_is_reported(toy_client: LabelStudioClient) -> None:
    with raises(LabelStudioError, "label-studio-refused") as raised:
        provision(toy_client, f"http://127.0.0.1:{find_free_port()}")
    assert raised.value.kind == "refused"


def test_offsets_wrong_by_one_are_found(toy_client: LabelStudioClient, serve: Serve) -> None:
    done = provision(toy_client, serve("shifted"))
    checked = check_predictions(toy_client, done.project.id, toy_backend.VERSION)
    assert len(checked.findings) == 12
    assert {finding.partition(": ")[2] for finding in checked.findings} == {
        f"region 1: its text is not the text from 1 to {end}"
        for end in {len(data["text"].split()[0]) for data in read_abstracts()}
    }
    assert not any(data["text"].split()[0] in str(checked.findings) for data in read_abstracts())


def test_empty_project_and_version_without_entities_are_found(
    toy_client: LabelStudioClient,
) -> None:
    project = toy_client.create_project("empty", read_demo_label_config())
    (finding,) = check_predictions(toy_client, project.id, "v").findings
    assert finding == "there are no tasks"
    toy_client.tasks.add(project.id, [{"data": {"text": TEXT}}])
    found = check_predictions(toy_client, project.id, "v").findings
    assert list(found) == [
        "task 1: has 0 predictions of v, not one",
        "not one entity was found by v",
    ]


def test_valid_region_has_no_findings() -> None:
    assert list(check_region(REGION, TEXT, CONFIG)) == []


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"from_name": "other"}, "names"),
        ({"to_name": None}, "names"),
        ({"type": "choices"}, "type"),
        ({"score": 0}, "score"),
        ({"score": 1.01}, "score"),
        ({"score": float("nan")}, "score"),
        ({"score": None}, "score"),
        ({"score": True}, "score"),
    ],
)
def test_invalid_regions_are_found(change: dict[str, Any], expected: str) -> None:
    (problem,) = check_region(REGION | change, TEXT, CONFIG)
    assert expected in problem


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"start": 21}, "text"),  # as in UTF-16 units
        ({"text": "Clonidine"}, "text"),
        ({"end": 31}, "do not fit"),
        ({"start": -1}, "do not fit"),
        ({"start": 29}, "do not fit"),
        ({"start": "20"}, "do not fit"),
        ({"labels": []}, "labels"),
        ({"labels": ["Gene"]}, "labels"),
        ({"labels": None}, "labels"),
        ({"labels": [{}]}, "labels"),
    ],
)
def test_invalid_region_values_are_found(change: dict[str, Any], expected: str) -> None:
    region = REGION | {"value": REGION["value"] | change}  # type: ignore[operator]
    (problem,) = check_region(region, TEXT, CONFIG)
    assert expected in problem
    assert "clonidine" not in problem


def test_invalid_tasks_are_found() -> None:
    task = Task(7, {"text": TEXT})
    right = StoredPrediction(1, 7, "v", 0.5, (REGION,))
    assert list(check_task(task, [right], CONFIG, "v")) == []

    def found(task: Task, *predictions: StoredPrediction) -> list[str]:
        return list(check_task(task, predictions, CONFIG, "v"))

    assert found(task, right, right) == ["has 2 predictions of v, not one"]
    assert found(task, replace(right, score=None)) == ["the score None is not in (0, 1]"]
    assert found(task, replace(right, score=-0.05)) == []  # a queue score
    same_ids = replace(right, result=(REGION, REGION))
    assert found(task, same_ids) == ["regions without an id of their own"]
    assert found(Task(7, {"txt": TEXT}), right) == ["has no text under 'text'"]


def test_abstracts_are_real_and_distinct() -> None:
    assert len({data["pmid"] for data in read_abstracts()}) == len(read_abstracts())
    assert all(data["pmid"].isdigit() and len(data["text"]) > 200 for data in read_abstracts())


def test_config_in_the_repository_root_is_the_same() -> None:
    root = Path(__file__).parents[3] / "label_config.xml"
    assert root.read_text(encoding="utf-8") == read_demo_label_config()
