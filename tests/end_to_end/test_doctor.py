"""The doctor and a real Label Studio 1.23.2: one thing is broken, and that is what it says."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tagalong.backend.demo.label_studio_server import LabelStudioServer
from tagalong.backend.label_studio.api.client import connect
from tagalong.backend.server.settings import WEBHOOK_SECRET_HEADER, Credentials
from tagalong.ner.errors import LabelStudioError
from tests.backend.doctor.scripted import ScriptedServer, healthy_backend
from tests.backend.doctor.surgery import the_only
from tests.end_to_end.practice import CONFIG, TEXTS, Practice, practice, served

HYPERTEXT = CONFIG.replace("<Text ", "<HyperText ")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with served(tmp_path_factory.mktemp("server")) as url:
        yield url


@pytest.fixture
def patient(label_studio: LabelStudioServer, server: str) -> Iterator[Practice]:
    with practice(label_studio, server) as found:
        yield found


def test_all_is_well(patient: Practice) -> None:
    findings = patient.look()
    assert {finding.status for finding in findings.values()} == {"ok"}
    assert " 2 " in findings["stored"].sentence


def test_a_key_that_is_not_known(patient: Practice) -> None:
    finding = patient.look(key="0" * 40)["key"]
    assert finding.status == "problem"
    assert "(Invalid token.)" in finding.sentence


@pytest.mark.filterwarnings("ignore:The `parse_obj` method is deprecated")  # the SDK's own call
def test_tokens_of_both_kinds(patient: Practice) -> None:
    switches = {"api_tokens_enabled": True, "legacy_api_tokens_enabled": False}
    personal = patient.call("POST", "api/token/")["token"]
    patient.call("POST", "api/jwt/settings", switches)
    try:
        finding = patient.look()["key"]
        assert finding.status == "problem"
        assert finding.code == "legacy-tokens-off"
        findings = patient.look(key=personal)
        assert {finding.status for finding in findings.values()} == {"ok"}
        assert findings["key"].status == "ok"
    finally:
        with connect(patient.running.url, personal) as studio:
            back = switches | {"legacy_api_tokens_enabled": True}
            studio.connection.request_json("POST", "api/jwt/settings", body=back)
            studio.connection.request_json(
                "POST", "api/token/blacklist/", body={"refresh": personal}
            )
    finding = patient.look(key=personal)["key"]
    assert finding.status == "problem"
    assert finding.code == "key-revoked"


def test_a_project_that_is_not_there(patient: Practice) -> None:
    finding = patient.look(number=999)["project"]
    assert finding.status == "problem"
    assert f"{patient.project} ('Abstracts')" in finding.sentence


def test_hypertext(patient: Practice) -> None:
    patient.change_project(label_config=HYPERTEXT)
    skips = "tasks setup predict state labels validation"
    finding = the_only(patient.look(), "config", "problem", skips=f"{skips} version")
    assert finding.code == "hypertext"


def test_no_tasks(label_studio: LabelStudioServer, server: str) -> None:
    with practice(label_studio, server) as patient:
        patient.call("DELETE", f"api/projects/{patient.project}/tasks/")
        the_only(patient.look(), "tasks", "warning", skips="predict")


def test_a_task_without_the_data_key(patient: Practice) -> None:
    patient.change_project(label_config=CONFIG.replace("$text", "$abstract"))
    finding = patient.look()["tasks"]
    assert finding.status == "problem"
    assert finding.code == "tasks-without-text"


def test_no_backend(label_studio: LabelStudioServer, server: str) -> None:
    with practice(label_studio, server, connected=False) as patient:
        findings = patient.look(backend_url=server)
        finding = the_only(findings, "connected", "problem", skips="state version webhook")
        assert server in finding.remedy


def test_two_backends(patient: Practice) -> None:
    patient.studio.ml_backends.add(patient.project, f"{patient.url}/encoder", "second")
    finding = the_only(patient.look(), "connected", "warning")
    assert "'second'" in finding.sentence


def test_an_address_that_label_studio_may_not_call(
    label_studio: LabelStudioServer, server: str
) -> None:
    with practice(label_studio, server, connected=False) as patient:
        finding = patient.look(backend_url="http://10.0.0.1:9090")["network"]
    assert finding.status == "problem"
    assert finding.code == "calls-blocked"
    assert "10.0.0.0/8" in finding.sentence
    assert "SSRF_PROTECTION_ENABLED=false" in finding.remedy


def test_a_host_that_label_studio_does_not_know(
    label_studio: LabelStudioServer, server: str
) -> None:
    with practice(label_studio, server, connected=False) as patient:
        finding = patient.look(backend_url="http://tagalong.invalid:9090")["network"]
    assert finding.status == "problem"
    assert finding.code == "unknown-host"


def test_a_backend_that_is_down(label_studio: LabelStudioServer, tmp_path: Path) -> None:
    with served(tmp_path) as url, practice(label_studio, url) as patient:
        with ScriptedServer(healthy_backend()) as brief:
            row = patient.backend
            patient.call("PATCH", f"api/ml/{row.id}", {"url": brief.url, "project": row.project})
        findings = patient.look()
    assert findings["answers"].status == "problem"
    assert findings["answers"].code == "backend-unreachable"
    assert findings["state"].status == "skipped"


def test_a_backend_that_label_studio_alone_cannot_reach(
    label_studio: LabelStudioServer, server: str
) -> None:
    with practice(label_studio, server) as patient:
        with ScriptedServer(healthy_backend()) as brief:
            row = patient.backend
            patient.call("PATCH", f"api/ml/{row.id}", {"url": brief.url, "project": row.project})
        finding = patient.look(backend_url=server)["state"]
    assert finding.status == "problem"
    assert finding.code == "backend-unreachable-from-label-studio"


def test_a_slow_health_check(label_studio: LabelStudioServer) -> None:
    with ScriptedServer(healthy_backend()) as slow, practice(label_studio, slow.url) as patient:
        slow.script.delays["/health"] = 1.2
        finding = the_only(patient.look(), "times", "problem", skips="state")
    assert finding.code == "too-slow"


@pytest.mark.parametrize(
    ("login", "code"), [(None, "login-missing"), (("ann", "old"), "login-refused")]
)
def test_a_password_that_label_studio_does_not_have(
    label_studio: LabelStudioServer, login: tuple[str, str] | None, code: str
) -> None:
    with ScriptedServer(healthy_backend()) as server, practice(label_studio, server.url) as patient:
        patient.studio.ml_backends.update(patient.backend, login=login)
        for path in ("GET /versions", "POST /setup", "POST /predict"):
            server.script.answers[path] = (401, {"error": "username or password is wrong"})
        finding = the_only(patient.look(), "auth", "problem", skips="setup predict state version")
    assert finding.code == code


def test_our_server_with_its_password(label_studio: LabelStudioServer, tmp_path: Path) -> None:
    login, secret = ("ann", "secret"), "c0ffee"
    with (
        served(tmp_path, credentials=Credentials(*login), webhook_secret=secret) as url,
        practice(label_studio, url, connected=False) as patient,
    ):
        patient.studio.ml_backends.add(patient.project, url, "locked", login=login)
        patient.studio.ml_backends.update(patient.backend, title=patient.backend.model_version)
        headers = {"headers": {WEBHOOK_SECRET_HEADER: secret}}
        patient.call("PATCH", f"api/webhooks/{patient.webhook}/", headers)
        assert {finding.status for finding in patient.look(login=login).values()} == {"ok"}
        the_only(patient.look(), "setup", "skipped", skips="predict")


def test_predictions_are_not_shown(patient: Practice) -> None:
    patient.change_project(show_collab_predictions=False)
    finding = the_only(patient.look(), "shown", "problem", skips="version")
    assert finding.code == "prelabelling-off"


def test_the_title_is_not_the_version(patient: Practice) -> None:
    patient.studio.ml_backends.update(patient.backend, title="Tagalong")
    finding = the_only(patient.look(), "version", "problem")
    assert finding.code == "outdated-title"
    assert patient.version in finding.remedy


def test_the_project_names_no_version(patient: Practice) -> None:
    patient.change_project(model_version="")
    finding = the_only(patient.look(), "version", "problem")
    assert finding.code == "shows-other-version"


def store(patient: Practice, label: str, version: str) -> None:
    """Store a prediction, which Label Studio does not validate here."""
    task = next(patient.studio.tasks.iterate_for_project(patient.project)).id
    value = {"start": 0, "end": 8, "text": TEXTS[0][:8], "labels": [label]}
    region = {"id": "r", "from_name": "label", "to_name": "text", "type": "labels", "value": value}
    body = {"task": task, "result": [region], "score": 0.5, "model_version": version}
    patient.call("POST", "api/predictions/", body)


def test_the_project_shows_stored_predictions(patient: Practice) -> None:
    store(patient, "Chemical", "batch-1")
    patient.change_project(model_version="batch-1")
    finding = the_only(patient.look(), "version", "warning")
    assert finding.code == "shows-stored-predictions"
    assert "'batch-1'" in finding.sentence


def test_labels_without_a_name_in_the_project(
    label_studio: LabelStudioServer, tmp_path: Path
) -> None:
    lexicon = {"naloxone": "Chemical", "cisplatin": "Drug"}
    with served(tmp_path, lexicon=lexicon) as url, practice(label_studio, url) as patient:
        finding = the_only(patient.look(), "labels", "warning")
    assert finding.sentence.endswith(": Drug.")


def test_a_webhook_that_was_removed(patient: Practice) -> None:
    patient.call("DELETE", f"api/webhooks/{patient.webhook}/")
    finding = the_only(patient.look(), "webhook", "problem")
    assert finding.code == "no-webhook"


def test_a_webhook_that_is_switched_off(patient: Practice) -> None:
    patient.call("PATCH", f"api/webhooks/{patient.webhook}/", {"is_active": False})
    finding = the_only(patient.look(), "webhook", "problem")
    assert finding.code == "webhook-off"


def test_a_webhook_without_its_secret(label_studio: LabelStudioServer, tmp_path: Path) -> None:
    with served(tmp_path, webhook_secret="c0ffee") as url, practice(label_studio, url) as patient:
        finding = the_only(patient.look(), "webhook", "problem")
        assert finding.code == "webhook-secret"
        headers = {"headers": {WEBHOOK_SECRET_HEADER: "c0ffee"}}
        patient.call("PATCH", f"api/webhooks/{patient.webhook}/", headers)
        # Events come now; the train button, which carries a password alone, does not.
        finding = the_only(patient.look(), "webhook", "warning")
        assert finding.code == "train-button"


def test_a_stored_prediction_that_would_be_refused(patient: Practice) -> None:
    store(patient, "Gene", patient.version)
    finding = the_only(patient.look(), "validation", "warning")
    assert finding.code == "invalid-predictions-unnoticed"
    assert "'Gene'" in finding.sentence


def test_predictions_of_another_version(label_studio: LabelStudioServer, server: str) -> None:
    with practice(label_studio, server) as patient:
        store(patient, "Chemical", "old-1")
        patient.studio.tasks.add(patient.project, [{"data": {"text": TEXTS[0]}}])
        finding = the_only(patient.look(), "stored", "warning")
    assert "old-1 (1)" in finding.sentence


def test_a_backend_added_by_half(strict_label_studio: LabelStudioServer, server: str) -> None:
    with practice(strict_label_studio, server, connected=False) as patient:
        with pytest.raises(LabelStudioError, match="reserved network address"):
            patient.studio.ml_backends.add(patient.project, server, "half")
        assert [
            row.url for row in patient.studio.ml_backends.list_for_project(patient.project)
        ] == [server]
        findings = patient.look()
    assert findings["network"].status == "problem"
    assert findings["network"].code == "events-blocked"
    assert findings["webhook"].status == "problem"
    assert findings["webhook"].code == "no-webhook"
    assert findings["state"].status == "ok"
    assert " is on;" in findings["validation"].sentence
