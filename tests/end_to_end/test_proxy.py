"""A real Label Studio 1.23.2 asks the server, directly and through nginx: nothing is refused."""

import re
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import pytest

from tagalong.backend.demo.label_studio_server import LabelStudioServer
from tagalong.backend.demo.provision import read_demo_label_config
from tagalong.backend.server.settings import WEBHOOK_SECRET_HEADER
from tests.end_to_end.backend_project import BackendProject, create_backend_project, places
from tests.end_to_end.doctor_project import TEXTS
from tests.end_to_end.server_process import ServerProcess, start_server
from tests.nginx import start_nginx

LOGIN = ("studio", "pass:wörd")
SECRET = "c0ffee"
URL_CONFIG = read_demo_label_config().replace('value="$text"', 'value="$text" valueType="url"')
NOTE, TASKS = "x" * 40_000, 30  # together above 1 MiB, the default limit of nginx
REQUEST = re.compile(r"^([A-Z]+ \S+) (\d{3}) ", re.MULTILINE)  # in the log of the server
PROXIED = re.compile(r'"([A-Z]+ \S+) HTTP/1\.1" (\d{3}) ')  # in that of nginx


@pytest.fixture(scope="module")
def server(
    label_studio: LabelStudioServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ServerProcess]:
    """A server with all secrets, which logs its requests."""
    environment = {
        "TAGALONG_USERNAME": LOGIN[0],
        "TAGALONG_PASSWORD": LOGIN[1],
        "TAGALONG_WEBHOOK_SECRET": SECRET,
        "TAGALONG_ALLOWED_HOSTS": label_studio.url.removeprefix("http://"),
        "LABEL_STUDIO_URL": label_studio.url,
        "LABEL_STUDIO_API_KEY": label_studio.account.token,
    }
    folder = tmp_path_factory.mktemp("asked")
    with start_server(folder, "--access-log", **environment) as server:
        yield server


def set_secret(project: BackendProject) -> None:
    """Give the project's webhook the secret, as docs/deployment.md tells users to do."""
    (webhook,) = project.client.webhooks.list_for_project(project.id)
    headers = {"headers": {WEBHOOK_SECRET_HEADER: SECRET}}
    project.call("PATCH", f"api/webhooks/{webhook.id}/", headers)


def use_texts(label_studio: LabelStudioServer, url: str) -> int:
    """Do with a backend what users do; returns the project."""
    with create_backend_project(label_studio, url, [TEXTS[0]], login=LOGIN) as project:
        set_secret(project)
        (first,) = project.texts
        rows = [{"data": {"text": TEXTS[1], "note": NOTE}} for _ in range(TASKS)]
        many = project.client.tasks.add(project.id, rows)
        project.client.predictions.retrieve(project.id)  # all that are selected
        stored = project.stored()
        assert stored.keys() == {first, *many}
        assert places(stored[first].result)

        value = {"start": 0, "end": 8, "text": TEXTS[0][:8], "labels": ["Disease"]}
        names = {"from_name": "label", "to_name": "text", "type": "labels", "origin": "manual"}
        drawn = {"task": first, "context": {"result": [{"id": "d", "value": value, **names}]}}
        path = f"api/ml/{project.backend.id}/interactive-annotating"
        assert "errors" not in project.call("POST", path, drawn)
        project.call("GET", f"api/ml/{project.backend.id}/versions")

        path = f"api/tasks/{first}/annotations/?project={project.id}"
        made = project.call("POST", path, {"result": list(stored[first].result)})
        path = f"api/annotations/{made['id']}/"
        project.call("PATCH", path, {"result": made["result"][:1]})
        project.call("DELETE", path)
        project.call("POST", f"api/ml/{project.backend.id}/train", {})
        return project.id


def use_files(label_studio: LabelStudioServer, url: str) -> None:
    """Predict a text in a file of Label Studio."""
    with create_backend_project(
        label_studio, url, ["-"], login=LOGIN, config=URL_CONFIG
    ) as project:
        set_secret(project)
        rows = [{"data": {"text": project.upload(TEXTS[0])}}]
        (task,) = project.client.tasks.add(project.id, rows)
        project.client.predictions.retrieve(project.id, [task])
        assert places(project.stored()[task].result)


@pytest.mark.slow
@pytest.mark.parametrize("way", ["directly", "through nginx"])
def test_nothing_is_refused(
    label_studio: LabelStudioServer, server: ServerProcess, tmp_path: Path, way: str
) -> None:
    before = len(server.log.read_text())
    port = int(server.url.rpartition(":")[2])
    with start_nginx(tmp_path, port) if way == "through nginx" else nullcontext(server.url) as url:
        project = use_texts(label_studio, url)
        use_files(label_studio, url)
    requests = REQUEST.findall(server.log.read_text()[before:])
    assert {request for request, _ in requests} == {
        *("GET /health", "POST /setup", "POST /predict", "GET /versions", "POST /webhook"),
    }
    assert [request for request in requests if request[1] not in ("200", "201")] == []
    assert [event.action for event in server.events(project)] == [
        *("TASKS_CREATED", "ANNOTATION_CREATED", "ANNOTATION_UPDATED", "ANNOTATIONS_DELETED"),
        "START_TRAINING",
    ]
    if way == "through nginx":  # which answers nothing itself
        assert PROXIED.findall((tmp_path / "access.log").read_text()) == requests
