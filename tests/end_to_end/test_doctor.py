"""The doctor with a real Label Studio 1.23.2: each test breaks one thing."""

import re
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tagalong.backend.demo.label_studio_server import LabelStudioServer
from tagalong.backend.doctor.backend_responses import (
    HEALTH_LIMIT_SECONDS,
    PREDICT_LIMIT_SECONDS,
    SETUP_LIMIT_SECONDS,
)
from tagalong.backend.doctor.connect_checks import CONNECT_CHECKS, find_first_problem
from tagalong.backend.doctor.connect_context import ConnectContext, ConnectOptions
from tagalong.backend.label_studio.api.client import connect
from tagalong.backend.server.settings import WEBHOOK_SECRET_HEADER, Credentials
from tagalong.ner.errors import LabelStudioError
from tests.backend.doctor.doctor_runner import only_finding
from tests.backend.doctor.scripted import ScriptedServer, healthy_backend
from tests.end_to_end.doctor_project import (
    CONFIG,
    TEXTS,
    DoctorProject,
    create_doctor_project,
    serve_lexicon,
)

HYPERTEXT = CONFIG.replace("<Text ", "<HyperText ")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serve_lexicon(tmp_path_factory.mktemp("server")) as url:
        yield url


@pytest.fixture
def project(label_studio: LabelStudioServer, server: str) -> Iterator[DoctorProject]:
    with create_doctor_project(label_studio, server) as found:
        yield found


def test_healthy_setup_has_only_ok_findings(project: DoctorProject) -> None:
    findings = project.run_doctor()
    assert {finding.status for finding in findings.values()} == {"ok"}
    assert " 2 " in findings["stored"].sentence


def test_unknown_key(project: DoctorProject) -> None:
    finding = project.run_doctor(key="0" * 40)["key"]
    assert finding.status == "problem"
    assert "(Invalid token.)" in finding.sentence


@pytest.mark.filterwarnings("ignore:The `parse_obj` method is deprecated")  # the SDK's own call
def test_legacy_and_personal_tokens(project: DoctorProject) -> None:
    switches = {"api_tokens_enabled": True, "legacy_api_tokens_enabled": False}
    personal = project.call("POST", "api/token/")["token"]
    project.call("POST", "api/jwt/settings", switches)
    try:
        finding = project.run_doctor()["key"]
        assert finding.status == "problem"
        assert finding.code == "legacy-tokens-off"
        findings = project.run_doctor(key=personal)
        assert {finding.status for finding in findings.values()} == {"ok"}
        assert findings["key"].status == "ok"
    finally:
        with connect(project.running.url, personal) as client:
            back = switches | {"legacy_api_tokens_enabled": True}
            client.connection.request_json("POST", "api/jwt/settings", body=back)
            client.connection.request_json(
                "POST", "api/token/blacklist/", body={"refresh": personal}
            )
    finding = project.run_doctor(key=personal)["key"]
    assert finding.status == "problem"
    assert finding.code == "key-revoked"


def test_missing_project(project: DoctorProject) -> None:
    finding = project.run_doctor(number=999)["project"]
    assert finding.status == "problem"
    assert f"{project.id} ('Abstracts')" in finding.sentence


def test_hypertext_config(project: DoctorProject) -> None:
    project.change_project(label_config=HYPERTEXT)
    skips = "tasks setup predict state labels validation"
    finding = only_finding(project.run_doctor(), "config", "problem", skips=f"{skips} version")
    assert finding.code == "hypertext"


def test_no_tasks(label_studio: LabelStudioServer, server: str) -> None:
    with create_doctor_project(label_studio, server) as project:
        project.call("DELETE", f"api/projects/{project.id}/tasks/")
        only_finding(project.run_doctor(), "tasks", "warning", skips="predict")


def test_task_without_the_data_key(project: DoctorProject) -> None:
    project.change_project(label_config=CONFIG.replace("$text", "$abstract"))
    finding = project.run_doctor()["tasks"]
    assert finding.status == "problem"
    assert finding.code == "tasks-without-text"


def test_no_backend(label_studio: LabelStudioServer, server: str) -> None:
    with create_doctor_project(label_studio, server, connected=False) as project:
        findings = project.run_doctor(backend_url=server)
        finding = only_finding(findings, "connected", "problem", skips="state version webhook")
        assert server in finding.remedy


def test_two_backends(project: DoctorProject) -> None:
    project.client.ml_backends.add(project.id, f"{project.url}/encoder", "second")
    finding = only_finding(project.run_doctor(), "connected", "warning")
    assert "'second'" in finding.sentence


def test_address_that_label_studio_blocks(label_studio: LabelStudioServer, server: str) -> None:
    with create_doctor_project(label_studio, server, connected=False) as project:
        finding = project.run_doctor(backend_url="http://10.0.0.1:9090")["network"]
    assert finding.status == "problem"
    assert finding.code == "calls-blocked"
    assert "10.0.0.0/8" in finding.sentence
    assert "SSRF_PROTECTION_ENABLED=false" in finding.remedy


def test_host_that_label_studio_cannot_resolve(
    label_studio: LabelStudioServer, server: str
) -> None:
    with create_doctor_project(label_studio, server, connected=False) as project:
        finding = project.run_doctor(backend_url="http://tagalong.invalid:9090")["network"]
    assert finding.status == "problem"
    assert finding.code == "unknown-host"


def test_backend_is_down(label_studio: LabelStudioServer, tmp_path: Path) -> None:
    with serve_lexicon(tmp_path) as url, create_doctor_project(label_studio, url) as project:
        with ScriptedServer(healthy_backend()) as brief:
            row = project.backend
            project.call("PATCH", f"api/ml/{row.id}", {"url": brief.url, "project": row.project})
        findings = project.run_doctor()
    assert findings["answers"].status == "problem"
    assert findings["answers"].code == "backend-unreachable"
    assert findings["state"].status == "skipped"


def test_backend_unreachable_from_label_studio(
    label_studio: LabelStudioServer, server: str
) -> None:
    with create_doctor_project(label_studio, server) as project:
        with ScriptedServer(healthy_backend()) as brief:
            row = project.backend
            project.call("PATCH", f"api/ml/{row.id}", {"url": brief.url, "project": row.project})
        finding = project.run_doctor(backend_url=server)["state"]
    assert finding.status == "problem"
    assert finding.code == "backend-unreachable-from-label-studio"


def test_time_limits_are_those_of_label_studio(label_studio_program: Path) -> None:
    environment = label_studio_program.resolve().parents[1]
    [source] = environment.glob("lib/python*/site-packages/label_studio/ml/api_connector.py")
    found = re.findall(r"'ML_TIMEOUT_(\w+)', (\d+)\)", source.read_text(encoding="utf-8"))
    limits = {name: float(seconds) for name, seconds in found}
    assert limits["HEALTH"] == HEALTH_LIMIT_SECONDS
    assert limits["SETUP"] == SETUP_LIMIT_SECONDS
    assert limits["PREDICT"] == PREDICT_LIMIT_SECONDS


def test_slow_health_check(label_studio: LabelStudioServer) -> None:
    with (
        ScriptedServer(healthy_backend()) as slow,
        create_doctor_project(label_studio, slow.url) as project,
    ):
        slow.script.delays["/health"] = 1.2
        finding = only_finding(project.run_doctor(), "times", "problem", skips="state")
    assert finding.code == "too-slow"


@pytest.mark.parametrize(
    ("login", "code"), [(None, "login-missing"), (("ann", "old"), "login-refused")]
)
def test_missing_or_wrong_password_in_label_studio(
    label_studio: LabelStudioServer, login: tuple[str, str] | None, code: str
) -> None:
    with (
        ScriptedServer(healthy_backend()) as server,
        create_doctor_project(label_studio, server.url) as project,
    ):
        project.client.ml_backends.update(project.backend, login=login)
        for path in ("GET /versions", "POST /setup", "POST /predict"):
            server.script.answers[path] = (401, {"error": "username or password is wrong"})
        finding = only_finding(
            project.run_doctor(), "auth", "problem", skips="setup predict state version"
        )
    assert finding.code == code


def test_server_with_password_and_secret(label_studio: LabelStudioServer, tmp_path: Path) -> None:
    login, secret = ("ann", "secret"), "c0ffee"
    with (
        serve_lexicon(tmp_path, credentials=Credentials(*login), webhook_secret=secret) as url,
        create_doctor_project(label_studio, url, connected=False) as project,
    ):
        project.client.ml_backends.add(project.id, url, "locked", login=login)
        project.client.ml_backends.update(project.backend, title=project.backend.model_version)
        headers = {"headers": {WEBHOOK_SECRET_HEADER: secret}}
        project.call("PATCH", f"api/webhooks/{project.webhook}/", headers)
        assert {finding.status for finding in project.run_doctor(login=login).values()} == {"ok"}
        only_finding(project.run_doctor(), "setup", "skipped", skips="predict")


def test_predictions_are_not_shown(project: DoctorProject) -> None:
    project.change_project(show_collab_predictions=False)
    finding = only_finding(project.run_doctor(), "shown", "problem", skips="version")
    assert finding.code == "prelabelling-off"


def test_title_is_not_the_version(project: DoctorProject) -> None:
    project.client.ml_backends.update(project.backend, title="Tagalong")
    finding = only_finding(project.run_doctor(), "version", "problem")
    assert finding.code == "outdated-title"
    assert project.version in finding.remedy


def test_project_names_no_version(project: DoctorProject) -> None:
    project.change_project(model_version="")
    finding = only_finding(project.run_doctor(), "version", "problem")
    assert finding.code == "shows-other-version"


def store(project: DoctorProject, label: str, version: str) -> None:
    """Store a prediction, which Label Studio does not validate here."""
    task = next(project.client.tasks.iterate_for_project(project.id)).id
    value = {"start": 0, "end": 8, "text": TEXTS[0][:8], "labels": [label]}
    region = {"id": "r", "from_name": "label", "to_name": "text", "type": "labels", "value": value}
    body = {"task": task, "result": [region], "score": 0.5, "model_version": version}
    project.call("POST", "api/predictions/", body)


def test_project_shows_stored_predictions(project: DoctorProject) -> None:
    store(project, "Chemical", "batch-1")
    project.change_project(model_version="batch-1")
    finding = only_finding(project.run_doctor(), "version", "warning")
    assert finding.code == "shows-stored-predictions"
    assert "'batch-1'" in finding.sentence


def test_labels_that_are_not_in_the_project(
    label_studio: LabelStudioServer, tmp_path: Path
) -> None:
    lexicon = {"naloxone": "Chemical", "cisplatin": "Drug"}
    with (
        serve_lexicon(tmp_path, lexicon=lexicon) as url,
        create_doctor_project(label_studio, url) as project,
    ):
        finding = only_finding(project.run_doctor(), "labels", "warning")
    assert finding.sentence.endswith(": Drug. The model does not predict Disease yet.")


def test_removed_webhook(project: DoctorProject) -> None:
    project.call("DELETE", f"api/webhooks/{project.webhook}/")
    finding = only_finding(project.run_doctor(), "webhook", "problem")
    assert finding.code == "no-webhook"


def test_inactive_webhook(project: DoctorProject) -> None:
    project.call("PATCH", f"api/webhooks/{project.webhook}/", {"is_active": False})
    finding = only_finding(project.run_doctor(), "webhook", "problem")
    assert finding.code == "webhook-off"


def test_webhook_without_the_secret(label_studio: LabelStudioServer, tmp_path: Path) -> None:
    with (
        serve_lexicon(tmp_path, webhook_secret="c0ffee") as url,
        create_doctor_project(label_studio, url) as project,
    ):
        finding = only_finding(project.run_doctor(), "webhook", "problem")
        assert finding.code == "webhook-secret"
        headers = {"headers": {WEBHOOK_SECRET_HEADER: "c0ffee"}}
        project.call("PATCH", f"api/webhooks/{project.webhook}/", headers)
        # Events are accepted now, but the train button sends only the password.
        finding = only_finding(project.run_doctor(), "webhook", "warning")
        assert finding.code == "train-button"


def test_stored_prediction_that_validation_would_refuse(project: DoctorProject) -> None:
    store(project, "Gene", project.version)
    finding = only_finding(project.run_doctor(), "validation", "warning")
    assert finding.code == "invalid-predictions-unnoticed"
    assert "'Gene'" in finding.sentence


def test_predictions_of_another_version(label_studio: LabelStudioServer, server: str) -> None:
    with create_doctor_project(label_studio, server) as project:
        store(project, "Chemical", "old-1")
        project.client.tasks.add(project.id, [{"data": {"text": TEXTS[0]}}])
        finding = only_finding(project.run_doctor(), "stored", "warning")
    assert "old-1 (1)" in finding.sentence


def test_backend_added_without_its_webhook(
    strict_label_studio: LabelStudioServer, server: str
) -> None:
    with create_doctor_project(strict_label_studio, server, connected=False) as project:
        with pytest.raises(LabelStudioError, match="reserved network address"):
            project.client.ml_backends.add(project.id, server, "half")
        assert [row.url for row in project.client.ml_backends.list_for_project(project.id)] == [
            server
        ]
        findings = project.run_doctor()
    assert findings["network"].status == "problem"
    assert findings["network"].code == "events-blocked"
    assert findings["webhook"].status == "problem"
    assert findings["webhook"].code == "no-webhook"
    assert findings["state"].status == "ok"
    assert " is on;" in findings["validation"].sentence


def test_blocked_project_is_not_connected(
    strict_label_studio: LabelStudioServer, server: str
) -> None:
    with create_doctor_project(strict_label_studio, server, connected=False) as project:
        running = project.running
        options = ConnectOptions(
            *(running.url, running.account.token, project.id),
            server_url=server,
            local_server_url=server,
        )
        with closing(ConnectContext(options)) as context:
            finding = find_first_problem(context, CONNECT_CHECKS)
        assert finding is not None
        assert finding.code == "events-blocked"
        assert "SSRF_PROTECTION_ENABLED=false" in finding.remedy
        assert project.client.ml_backends.list_for_project(project.id) == []
