"""The server with a real Label Studio 1.23.2, with and without validation of predictions."""

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from label_studio_sdk.label_interface import LabelInterface

from tagalong.backend.demo.check import check_predictions
from tagalong.backend.demo.label_studio_server import LabelStudioServer
from tagalong.backend.demo.provision import read_abstracts, read_demo_label_config
from tagalong.backend.events.payload import AnnotationRef
from tagalong.backend.label_studio.results import result_from_spans
from tagalong.backend.models.tagger import DocumentTagger
from tagalong.backend.server.settings import WEBHOOK_SECRET_HEADER
from tagalong.ner.document import Document, Span
from tagalong.ner.errors import LabelStudioError
from tagalong.training.corpus import read_corpus
from tests.end_to_end.backend_project import (
    CONFIG,
    BackendProject,
    create_backend_project,
    expected_items,
    places,
)
from tests.end_to_end.offset_texts import TEXTS
from tests.end_to_end.server_process import ServerProcess, start_server
from tests.swapped_labels import SWAPPED, publish_swapped

INTERFACE = LabelInterface(read_demo_label_config())
ABSTRACTS = [abstract["text"] for abstract in read_abstracts()[:2]]
LOGIN = ("studio", "pass:wörd")
SECRET = "c0ffee"
DRAWN = "Zorbium 😀 helped.\r\nThen zorbium, Zorbium and Zorbium2; naloxone."  # at 0, found at 33


@pytest.fixture(scope="module", params=["validation off", "validation on"])
def client(request: pytest.FixtureRequest) -> LabelStudioServer:
    names = {"validation off": "label_studio", "validation on": "validating_label_studio"}
    running: LabelStudioServer = request.getfixturevalue(names[request.param])
    return running


@pytest.fixture(scope="module")
def project(client: LabelStudioServer, bundled_server: ServerProcess) -> Iterator[BackendProject]:
    """A project with predictions, fetched as by "Retrieve Predictions"."""
    with create_backend_project(
        client, bundled_server.url, [*TEXTS.values(), *ABSTRACTS]
    ) as project:
        project.client.predictions.retrieve(project.id)
        yield project


@pytest.fixture(scope="module")
def protected_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server with a password, a webhook secret and its own models folder."""
    secrets = {
        "TAGALONG_USERNAME": LOGIN[0],
        "TAGALONG_PASSWORD": LOGIN[1],
        "TAGALONG_WEBHOOK_SECRET": SECRET,
    }
    with start_server(tmp_path_factory.mktemp("guarded"), **secrets) as server:
        yield server


def wait_for(ready: Callable[[], bool], *, seconds: float = 60) -> None:
    """Wait for a condition, because events arrive with a delay."""
    deadline = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def annotate(project: BackendProject, task: int, result: Any) -> dict[str, Any]:
    """Submit an annotation, as the editor does."""
    path = f"api/tasks/{task}/annotations/?project={project.id}"
    answer: dict[str, Any] = project.call("POST", path, {"result": result, "lead_time": 1.0})
    return answer


def test_validation_matches_the_fixture(
    project: BackendProject, request: pytest.FixtureRequest
) -> None:
    region = result_from_spans(Document("1", "naloxone"), [Span(0, 8, "Gene")], CONFIG)
    body = {"task": next(iter(project.texts)), "result": region, "model_version": "other"}
    if "validation on" in request.node.name:
        with pytest.raises(LabelStudioError, match="Gene"):
            project.call("POST", "api/predictions/", body)
    else:
        stored = project.call("POST", "api/predictions/", body)
        project.call("DELETE", f"api/predictions/{stored['id']}/")


def test_label_studio_is_connected_and_shows_the_served_version(
    project: BackendProject, bundled_server: ServerProcess
) -> None:
    (backend,) = project.client.ml_backends.list_for_project(project.id)
    assert backend.is_connected
    assert backend.model_version == bundled_server.version
    assert project.client.get_project(project.id).model_version == bundled_server.version
    assert project.call("GET", f"api/ml/{backend.id}/versions") == {
        "versions": [bundled_server.version]
    }
    (webhook,) = project.client.webhooks.list_for_project(project.id)
    assert webhook.url == f"{bundled_server.url}/webhook"


def test_stored_predictions_equal_those_of_the_tagger(
    project: BackendProject, bundled_tagger: DocumentTagger
) -> None:
    stored = project.stored()
    assert stored.keys() == project.texts.keys()
    assert check_predictions(project.client, project.id, bundled_tagger.version).findings == ()
    for task, expected in expected_items(bundled_tagger, project.texts).items():
        assert places(stored[task].result) == places(expected["result"])
        assert len(stored[task].result) > 0
        assert [region["id"] for region in stored[task].result] == [
            region["id"] for region in expected["result"]
        ]
        assert stored[task].score == pytest.approx(expected["score"], abs=1e-6)
        item = {"result": list(stored[task].result), "score": stored[task].score}
        assert INTERFACE.validate_prediction(item, return_errors=True) == []


def test_scores_are_shown_and_the_most_uncertain_task_comes_first(
    project: BackendProject,
) -> None:
    path = f"api/tasks/?project={project.id}&fields=all&page_size=100"
    tasks = project.call("GET", path)["tasks"]
    scores = {task["id"]: task["predictions_score"] for task in tasks}
    assert scores == {
        task: pytest.approx(prediction.score) for task, prediction in project.stored().items()
    }
    project.client.update_project(project.id, sampling="Uncertainty sampling")
    following = project.call("GET", f"api/projects/{project.id}/next")
    assert following["id"] == min(scores, key=lambda task: scores[task])
    assert [one["model_version"] for one in following["predictions"]] == [
        project.backend.model_version
    ]


def test_opening_a_task_predicts_it(
    project: BackendProject, bundled_tagger: DocumentTagger
) -> None:
    (task,) = project.add(TEXTS["emoji"])
    opened = project.call("GET", f"api/tasks/{task}/?project={project.id}")
    (prediction,) = opened["predictions"]
    expected = expected_items(bundled_tagger, {task: TEXTS["emoji"]})
    assert opened["data"] == {"text": TEXTS["emoji"]}
    assert prediction["model_version"] == bundled_tagger.version
    assert places(prediction["result"]) == places(expected[task]["result"])


def test_drawn_region_is_completed(project: BackendProject) -> None:
    (task,) = project.add(DRAWN)
    value = {"start": 0, "end": 7, "text": "Zorbium", "labels": ["Disease"]}
    names = {"from_name": "label", "to_name": "text", "type": "labels", "origin": "manual"}
    body = {"task": task, "context": {"result": [{"id": "drawn", "value": value, **names}]}}
    path = f"api/ml/{project.backend.id}/interactive-annotating"
    answer = project.call("POST", path, body)
    assert "errors" not in answer
    assert INTERFACE.validate_prediction(answer["data"], return_errors=True) == []
    found = places(answer["data"]["result"])
    assert (33, 40, "Disease", "Zorbium") in found
    assert all(DRAWN[start:end] == text and start >= 7 for start, end, _, text in found)
    assert project.call("POST", path, body)["data"]["result"] == []


def test_annotations_are_recorded_and_exported_unchanged(
    project: BackendProject, bundled_server: ServerProcess, tmp_path: Path
) -> None:
    results = {task: prediction.result for task, prediction in project.stored().items()}
    submitted = {task: annotate(project, task, results[task]) for task in project.texts}
    changed, *_, deleted = submitted.values()
    project.call("PATCH", f"api/annotations/{changed['id']}/", {"result": changed["result"]})

    export = tmp_path / "export.json"
    path = f"api/projects/{project.id}/export?exportType=JSON"
    exported = project.call("GET", path)
    assert {task["id"]: task["data"]["text"] for task in exported} == project.texts
    export.write_text(json.dumps(exported), encoding="utf-8")
    corpus = read_corpus([export])
    assert {int(document.id): document.text for document in corpus.documents} == project.texts
    for document in corpus.documents:
        spans = [(span.start, span.end, span.label) for span in document.spans]
        assert spans == [place[:3] for place in places(results[int(document.id)])]

    project.call("DELETE", f"api/annotations/{deleted['id']}/")

    def refs_of(action: str) -> list[tuple[tuple[int, ...], tuple[AnnotationRef, ...]]]:
        events = bundled_server.events(project.id)
        return [(one.tasks, one.annotations) for one in events if one.action == action]

    wait_for(lambda: bool(refs_of("ANNOTATIONS_DELETED")))
    created = {(tasks, refs[0].id) for tasks, refs in refs_of("ANNOTATION_CREATED")}
    assert created == {((task,), one["id"]) for task, one in submitted.items()}
    assert [refs[0].id for _, refs in refs_of("ANNOTATION_UPDATED")] == [changed["id"]]
    assert [refs[0].id for _, refs in refs_of("ANNOTATIONS_DELETED")] == [deleted["id"]]


def test_train_button_is_recorded(project: BackendProject, bundled_server: ServerProcess) -> None:
    project.call("POST", f"api/ml/{project.backend.id}/train", {})
    wait_for(
        lambda: "START_TRAINING" in [event.action for event in bundled_server.events(project.id)]
    )


def test_no_document_text_is_stored_or_logged(
    project: BackendProject, bundled_server: ServerProcess
) -> None:
    journal = b"".join(
        path.read_bytes() for path in bundled_server.models.rglob("*") if path.is_file()
    )
    assert b"ANNOTATION_CREATED" in journal
    for written in (journal, bundled_server.log.read_bytes()):
        assert not any(word in written.lower() for word in (b"lithium", b"naloxone", b"famotidine"))


def test_wrong_password_is_refused(
    client: LabelStudioServer, protected_server: ServerProcess
) -> None:
    for login in (None, (LOGIN[0], "wrong"), ("other", LOGIN[1])):
        with (
            pytest.raises(LabelStudioError, match="401"),
            create_backend_project(client, protected_server.url, ["naloxone"], login=login),
        ):
            pass


def test_password_gives_access_and_events_need_the_secret(
    client: LabelStudioServer, protected_server: ServerProcess
) -> None:
    with create_backend_project(
        client, protected_server.url, [TEXTS["greek"]], login=LOGIN
    ) as project:
        (task,) = project.texts
        project.client.predictions.retrieve(project.id)
        result = project.stored()[task].result
        assert result

        first = annotate(project, task, result)["id"]
        (webhook,) = project.client.webhooks.list_for_project(project.id)
        headers = {"headers": {WEBHOOK_SECRET_HEADER: SECRET}}
        project.call("PATCH", f"api/webhooks/{webhook.id}/", headers)
        second = annotate(project, task, result)["id"]
        wait_for(lambda: bool(protected_server.events(project.id)))
        refs = [event.annotations for event in protected_server.events(project.id)]
        assert [[ref.id for ref in of_event] for of_event in refs] == [[second]]
        assert first != second

        project.call("POST", f"api/ml/{project.backend.id}/train", {})
        wait_for(lambda: protected_server.events(project.id)[-1].action == "START_TRAINING")


def test_promoted_version_predicts(
    client: LabelStudioServer,
    protected_server: ServerProcess,
    bundled_tagger: DocumentTagger,
    request: pytest.FixtureRequest,
) -> None:
    with create_backend_project(
        client, protected_server.url, list(TEXTS.values()), login=LOGIN
    ) as project:
        project.client.predictions.retrieve(project.id)
        before = protected_server.version
        assert before
        promoted = publish_swapped(
            protected_server.models, request.node.callspec.id.replace(" ", "-")
        )
        wait_for(lambda: protected_server.version == promoted)
        backend = project.client.ml_backends.list_for_project(project.id)[0]
        assert backend.model_version == promoted
        project.client.ml_backends.update(backend, title=promoted)
        project.client.predictions.retrieve(project.id)

        assert project.stored(before).keys() == project.texts.keys()
        stored = project.stored(promoted)
        for task, expected in expected_items(bundled_tagger, project.texts).items():
            assert places(stored[task].result) == [
                (start, end, SWAPPED[label], text)
                for start, end, label, text in places(expected["result"])
            ]
        versions = project.call("GET", f"api/ml/{backend.id}/versions")["versions"]
        assert versions[0] == promoted
        assert project.client.get_project(project.id).model_version == promoted
