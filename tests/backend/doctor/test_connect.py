"""Connecting a project: what is changed, from what to what, and what stops it."""

from contextlib import closing
from typing import Any

import pytest

from tagalong.backend.doctor.connect import plan_disconnection
from tagalong.backend.doctor.connect_context import (
    ConnectContext,
    check_model_name,
    check_webhook_secret,
    parse_server_url,
)
from tagalong.backend.server.settings import WEBHOOK_SECRET_HEADER
from tagalong.ner.errors import InputError, LabelStudioError
from tests.backend.doctor.doctor_runner import ScriptedServers
from tests.backend.doctor.editable_project import EditableProject, make_changes
from tests.backend.doctor.scripted import (
    PROJECT,
    VERSION,
    ReceivedRequest,
    ScriptedServer,
    backend_row,
    failed,
    healthy_backend,
    refused,
    webhook,
)
from tests.errors import raises

LOGIN, SECRET = ("ann", "pa55word"), "c0ffee"
LOOPBACK = "http://localhost:"


@pytest.fixture
def studio(servers: ScriptedServers) -> EditableProject:
    return EditableProject(servers)


def restrict(studio: EditableProject) -> None:
    """Make the backend require a user, a password and a secret."""
    script = studio.servers.backend.script

    def check_login(asked: ReceivedRequest) -> tuple[int, Any]:
        answer = healthy_backend().answers[f"{asked.method} {asked.path}"]
        assert not callable(answer)
        known = asked.headers.get("Authorization") == "Basic YW5uOnBhNTV3b3Jk"
        return answer if known else (401, {"error": "the password is wrong"})

    def check_secret(asked: ReceivedRequest) -> tuple[int, Any]:
        known = asked.headers.get(WEBHOOK_SECRET_HEADER) == SECRET
        return (200, {"status": "ignored"}) if known else (401, {"error": "no secret"})

    for path in ("GET /versions", "POST /setup", "POST /predict"):
        script.answers[path] = check_login
    script.answers["POST /webhook"] = check_secret


def test_new_project_gets_everything_and_a_second_run_changes_nothing(
    studio: EditableProject,
) -> None:
    restrict(studio)
    lines = studio.connect(login=LOGIN, webhook_secret=SECRET)
    assert [line.partition(":")[0] for line in lines] == [
        "ML backend",
        "Predictions shown to annotators",
        "Version that the project shows and sorts by",
        "Order of tasks",
        "Webhook",
    ]
    assert not any(word in line for line in lines for word in (LOGIN[1], SECRET))
    (row,) = studio.rows
    assert (row["url"], row["title"], row["is_interactive"]) == (studio.url, VERSION, True)
    assert (row["auth_method"], row["basic_auth_user"]) == ("BASIC_AUTH", "ann")
    (hook,) = studio.webhooks
    assert hook["headers"] == {WEBHOOK_SECRET_HEADER: SECRET}
    assert studio.project["model_version"] == VERSION
    assert studio.project["sampling"] == "Uncertainty sampling"
    assert studio.project["show_collab_predictions"] is True
    assert studio.connect(login=LOGIN, webhook_secret=SECRET) == []


def test_each_setting_is_mended_from_its_old_value(studio: EditableProject) -> None:
    old = studio.url.replace("http://127.0.0.1:", LOOPBACK)
    studio.rows.append(backend_row(old, id=1, title="Tagalong", is_interactive=False))
    headers = {"X-Mine": "1", "x-tagalong-secret": "old"}
    hook = webhook(old, id=1, is_active=False, send_payload=False, headers=headers)
    studio.webhooks.append(
        hook | {"send_for_all_actions": False, "actions": ["ANNOTATION_CREATED"]}
    )
    studio.project |= {"model_version": "Tagalong", "sampling": "Uniform sampling"}
    lines = studio.connect(login=LOGIN, webhook_secret=SECRET)
    assert lines == [
        "Order of tasks: stays 'Uniform sampling', as somebody chose it.",
        f"Address of the ML backend: from {old} to {studio.url}.",
        f"Title of the ML backend: from 'Tagalong' to '{VERSION}'.",
        "Interactive pre-annotations: from off to on.",
        "User and password of the ML backend: from none to user 'ann'.",
        "Predictions shown to annotators: from off to on.",
        f"Version that the project shows and sorts by: from 'Tagalong' to '{VERSION}'.",
        f"Address of the webhook: from {old}/webhook to {studio.url}/webhook.",
        "Webhook: from off to on.",
        "Payload of the webhook: from off to on.",
        "Events of the webhook: ANNOTATIONS_CREATED, ANNOTATION_UPDATED, ANNOTATIONS_DELETED "
        "added.",
        f"Header {WEBHOOK_SECRET_HEADER} of the webhook: from another secret to that of the "
        "environment.",
    ]
    assert studio.webhooks[0]["headers"] == {"X-Mine": "1", WEBHOOK_SECRET_HEADER: SECRET}
    assert studio.connect(login=LOGIN, webhook_secret=SECRET) == lines[:1]


def test_wrong_password_in_label_studio_is_replaced(studio: EditableProject) -> None:
    studio.connect(login=LOGIN)
    studio.rows[0] |= {"state": "ER", "error_message": "401 Client Error"}
    (line,) = studio.connect(login=LOGIN)
    assert line == "Password of the ML backend: from a wrong one to that of the environment."


def test_our_backend_on_another_port_is_mended(studio: EditableProject) -> None:
    with ScriptedServer(healthy_backend()) as other:
        old = other.url
        studio.rows.append(backend_row(old, id=1))
        studio.webhooks.append(webhook(old, id=1))
        studio.webhooks.append(webhook(studio.url, id=2))
        lines = studio.connect()
    assert f"Address of the ML backend: from {old} to {studio.url}." in lines
    assert f"Webhook: removed, the one to the old address {old}/webhook." in lines
    assert [row["url"] for row in studio.rows] == [studio.url]
    assert [hook["id"] for hook in studio.webhooks] == [2]


def test_a_stopped_server_of_ours_is_mended_and_other_backends_are_not(
    studio: EditableProject,
) -> None:
    studio.rows.append(backend_row("http://127.0.0.1:1", id=1, title="SAM", state="DI"))
    studio.rows.append(backend_row("http://localhost:2", id=2, state="DI"))
    lines = studio.connect()
    assert [row["url"] for row in studio.rows] == ["http://127.0.0.1:1", studio.url]
    assert "'SAM' at http://127.0.0.1:1" in lines[0]
    assert studio.project["model_version"] == ""  # SAM's, which Label Studio asks


def test_other_backend_stays_the_first(studio: EditableProject) -> None:
    with ScriptedServer(healthy_backend()) as other:
        health = {"status": "UP", "model_class": "BertForNer"}
        other.script.answers["GET /health"] = (200, health)
        studio.rows.append(backend_row(other.url, id=1, title="BERT"))
        lines = studio.connect()
    assert [row["title"] for row in studio.rows] == ["BERT", VERSION]
    assert "'BERT'" in lines[0]
    assert studio.project["model_version"] == ""


def test_webhook_of_the_organisation_stays(studio: EditableProject) -> None:
    studio.webhooks.append(webhook(studio.url, id=1, project=None))
    answers = studio.servers.label_studio.script.answers
    answers["GET /api/webhooks/"] = lambda _: (200, studio.webhooks)
    assert " organisation " in studio.connect()[0]


def test_stored_predictions_of_a_batch_stay_shown(studio: EditableProject) -> None:
    studio.project["model_version"] = "batch-1"
    studio.servers.set_label_studio_answer(f"GET {PROJECT}model-versions/", 200, {"batch-1": 3})
    assert not any(line.startswith("Version") for line in studio.connect(keep_sampling=True))
    assert studio.project["model_version"] == "batch-1"
    assert studio.project["sampling"] == "Sequential sampling"


def test_model_is_in_the_url(studio: EditableProject) -> None:
    script = studio.servers.backend.script
    for path, answer in healthy_backend().answers.items():
        script.answers[path.replace(" /", " /models/cardiology/")] = answer
    studio.connect()
    url = f"{studio.url}/models/cardiology"
    assert studio.connect(model="cardiology") == [
        f"Address of the ML backend: from {studio.url} to {url}.",
        f"Address of the webhook: from {studio.url}/webhook to {url}/webhook.",
    ]
    assert studio.connect(model="cardiology") == []
    assert disconnect(studio)[1:] == [
        f"ML backend: '{VERSION}' at {url} removed.",
        f"Version that the project shows and sorts by: from '{VERSION}' to none.",
        f"Webhook: the one to {url}/webhook removed.",
    ]


def disconnect(studio: EditableProject, **more: Any) -> list[str]:
    with closing(ConnectContext(studio.options(**more))) as context:
        return make_changes(plan_disconnection(context))


def test_disconnecting_leaves_what_others_made(studio: EditableProject) -> None:
    studio.connect()
    llm = f"{studio.url}/llm"
    studio.rows.append(backend_row(llm, id=2, title="llm-1"))
    studio.webhooks.append(webhook(llm, id=2))
    lines = disconnect(studio)
    assert f"1 backend at another address: 'llm-1' at {llm}" in lines[0]
    assert lines[1] == "The project keeps 1 prediction and 0 annotations."
    assert [row["url"] for row in studio.rows] == [llm]
    assert [hook["url"] for hook in studio.webhooks] == [f"{llm}/webhook"]
    assert disconnect(studio) == lines[:2]
    disconnect(studio, server_url=llm)
    assert (studio.rows, studio.webhooks) == ([], [])


@pytest.mark.parametrize(
    ("more", "code"),
    [
        ({}, "login-not-given"),
        ({"login": ("ann", "wrong")}, "given-login-refused"),
        ({"login": LOGIN, "webhook_secret": "wrong"}, "given-secret-refused"),
        ({"model": "cardiology"}, "no-such-model"),
    ],
)
def test_what_the_server_refuses_stops_a_connection(
    studio: EditableProject, more: dict[str, Any], code: str
) -> None:
    restrict(studio)
    finding = studio.find_first_problem(**more)
    assert finding.code == code
    assert "wrong" not in finding.sentence


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        ((200, "<html>"), "not-an-ml-backend"),
        ((404, {}), "not-an-ml-backend"),
        ((200, {"status": "UP", "model_class": "BertForNer"}), "not-tagalong"),
    ],
)
def test_another_program_stops_a_connection(
    studio: EditableProject, answer: tuple[int, Any], code: str
) -> None:
    studio.servers.set_backend_answer("GET /health", *answer)
    assert studio.find_first_problem().code == code


def test_stopped_server_stops_a_connection(studio: EditableProject) -> None:
    finding = studio.find_first_problem(
        server_url="http://127.0.0.1:1", local_server_url="http://127.0.0.1:1"
    )
    assert finding.code == "backend-unreachable"
    assert "tagalong serve" in finding.remedy


@pytest.mark.parametrize("path", ["POST /api/ml/", "POST /api/webhooks/"])
def test_blocked_address_stops_a_connection(studio: EditableProject, path: str) -> None:
    banned = "URL resolves to a reserved network address (block: 127.0.0.0/8)"
    studio.servers.set_label_studio_answer(path, *failed(403, banned))
    finding = studio.find_first_problem()
    assert finding.code == ("calls-blocked" if path == "POST /api/ml/" else "events-blocked")
    assert "USE_DEFAULT_BANNED_SUBNETS=false" in finding.remedy


def test_key_without_rights_stops_a_connection(studio: EditableProject) -> None:
    answer = failed(403, "You do not have permission to perform this action.")
    studio.servers.set_label_studio_answer("POST /api/ml/", *answer)
    with raises(LabelStudioError, "label-studio-forbidden"):
        studio.find_first_problem()


def test_missing_project_stops_a_connection(studio: EditableProject) -> None:
    answer = failed(404, "No Project matches the given query.")
    studio.servers.set_label_studio_answer(f"GET {PROJECT}", *answer)
    assert studio.find_first_problem().code == "no-such-project"


def test_label_studio_does_not_reach_the_address(studio: EditableProject) -> None:
    answers = studio.servers.label_studio.script.answers
    probe = answers["POST /api/ml/"]
    reason = "Can't connect to ML backend http://x, health check failed. Make sure it is up."

    def add(asked: ReceivedRequest) -> Any:
        if asked.body["project"] == "none":
            assert callable(probe)
            return probe(asked)
        return refused(non_field_errors=[reason])

    answers["POST /api/ml/"] = add
    with raises(LabelStudioError, "backend-unreachable-from-label-studio"):
        studio.connect()


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (" http://127.0.0.1:9090/ ", "http://127.0.0.1:9090"),
        ("https://x.org/tagalong", "https://x.org/tagalong"),
    ],
)
def test_server_address_is_tidied(given: str, expected: str) -> None:
    assert parse_server_url(given, model="cardiology") == expected


@pytest.mark.parametrize(
    "url", ["127.0.0.1:9090", "ftp://x", "http://u:p@x", "http://x:99999", "http://x?a=1", ""]
)
def test_wrong_server_address_is_refused(url: str) -> None:
    with raises(InputError, "invalid-backend-url"):
        parse_server_url(url)


@pytest.mark.parametrize("path", ["/models/heart", "/llm", "/encoder/"])
def test_two_models_are_refused(path: str) -> None:
    assert parse_server_url(f"http://x{path}")
    with raises(InputError, "two-models"):
        parse_server_url(f"http://x{path}", model="cardiology")


@pytest.mark.parametrize("name", ["", "../x", "a/b", "-a", "a" * 101])
def test_wrong_model_name_is_refused(name: str) -> None:
    with raises(InputError, "invalid-model-name"):
        check_model_name(name)


@pytest.mark.parametrize("secret", ["s3cret\nline", "s3crét", " s3cret"])
def test_secret_that_no_header_holds_is_refused(secret: str) -> None:
    with raises(InputError, "invalid-webhook-secret") as raised:
        check_webhook_secret(secret)
    assert secret not in str(raised.value)
