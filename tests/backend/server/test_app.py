"""The HTTP protocol with Label Studio: requests, answers and refusals."""

import base64
import errno
import io
import json
import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tagalong.backend.bundled import BUNDLED_MODELS_FOLDER
from tagalong.backend.models.encoder.tagger import EncoderTagger
from tagalong.backend.models.tagger import DocumentTagger
from tagalong.backend.server.prediction.request import Limits
from tagalong.backend.server.run import ACCESS_LOG, add_access_log
from tagalong.backend.server.settings import WEBHOOK_SECRET_HEADER, Credentials
from tagalong.backend.storage.model_store import ModelStore
from tagalong.ner.model_registry import ModelRegistry
from tests.backend.server.app_client import (
    ABSTRACT,
    CONFIG,
    assert_refused,
    assert_valid,
    post_json,
    regions,
    request_for,
    serve_app,
    service_of,
    settings_in,
)
from tests.backend.web_server import Page, serve_pages
from tests.lexicon_tagger import failing_loader
from tests.versions import publish_number

PREFIXES = ["", "/encoder"]
CREDENTIALS = Credentials("studio", "pass:wörd")


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FlaskClient]:
    limits = Limits(max_tasks=50, max_text_characters=10_000, max_body_bytes=2**20)
    with serve_app(settings_in(tmp_path_factory.mktemp("server"), limits=limits)) as client:
        yield client


def basic(username: str, password: str, encoding: str = "utf-8") -> dict[str, str]:
    token = base64.b64encode(f"{username}:{password}".encode(encoding)).decode()
    return {"Authorization": f"Basic {token}"}


@pytest.mark.parametrize("prefix", PREFIXES)
def test_setup_and_predictions_name_the_same_version(client: FlaskClient, prefix: str) -> None:
    body = {"project": "2.17", "schema": CONFIG, "extra_params": None}
    version = post_json(client, f"{prefix}/setup", body).get_json()["model_version"]
    answer = post_json(
        client, f"{prefix}/predict", request_for(ABSTRACT, "", "none here")
    ).get_json()
    assert {result["model_version"] for result in answer["results"]} == {version}
    assert client.get(f"{prefix}/versions").get_json() == {"versions": [version]}
    assert client.post(f"{prefix}/versions").get_json() == {"versions": [version]}
    assert client.get(f"{prefix}/health").get_json()["version"] == version


def test_one_result_per_task_in_order(client: FlaskClient) -> None:
    answer = post_json(
        client, "/predict", request_for("nothing", ABSTRACT, "", "Lithium")
    ).get_json()
    assert regions(answer) == [
        [],
        [("Naloxone", "Chemical"), ("clonidine", "Chemical")],
        [],
        [("Lithium", "Chemical")],
    ]
    assert all(0 < result["score"] <= 1 for result in answer["results"])


def test_predictions_pass_label_studio_validation(client: FlaskClient) -> None:
    answer = post_json(client, "/predict", request_for(ABSTRACT, "")).get_json()
    assert_valid(answer)
    for result in answer["results"]:
        assert all(item["id"] and 0 < item["score"] <= 1 for item in result["result"])


def test_llm_prefix_without_llm_version_is_refused(client: FlaskClient) -> None:
    assert client.get("/llm/health").status_code == 200
    for path, body in (("/llm/setup", {}), ("/llm/predict", request_for(ABSTRACT))):
        answer = post_json(client, path, body)
        assert answer.status_code == 503


def test_running_server_rolls_back_to_the_bundled_version(tmp_path: Path) -> None:
    store = ModelStore(tmp_path / "models", bundled_root=BUNDLED_MODELS_FOLDER)
    own = publish_number(store).version
    store.promote("encoder", own)
    with serve_app(settings_in(tmp_path)) as client:
        assert post_json(client, "/setup", {}).get_json()["model_version"] == own
        bundled = store.rollback("encoder")
        for _ in range(100):
            if client.get("/health").get_json()["version"] == bundled:
                break
            time.sleep(0.1)
        assert post_json(client, "/setup", {}).get_json()["model_version"] == bundled
        [result] = post_json(client, "/predict", request_for(ABSTRACT)).get_json()["results"]
        assert result["model_version"] == bundled
        assert client.get("/versions").get_json() == {"versions": [bundled, own]}
        page = client.get("/", headers={"Accept": "text/html"}).get_data(as_text=True)
        assert f'<dt>Version</dt><dd class="version">{bundled}</dd>' in page
        assert own not in page


def test_projects_with_different_configs_are_independent(client: FlaskClient) -> None:
    drugs = CONFIG.replace('value="Chemical"', 'value="Drug" predicted_values="Chemical"')
    only = CONFIG.replace('<Label value="Disease"/>', "")
    alias = drugs.replace('value="Drug"', 'value="Drug" alias="CHEM"')
    for xml, expected in (
        (drugs, [[("Naloxone", "Drug"), ("hypertension", "Disease")]]),
        (only, [[("Naloxone", "Chemical")]]),
        (CONFIG, [[("Naloxone", "Chemical"), ("hypertension", "Disease")]]),
        (drugs, [[("Naloxone", "Drug"), ("hypertension", "Disease")]]),
        (alias, [[("Naloxone", "CHEM"), ("hypertension", "Disease")]]),
    ):
        body = request_for("Naloxone, hypertension", xml=xml)
        answer = post_json(client, "/predict", body).get_json()
        assert regions(answer) == expected
        assert_valid(answer, xml)


def test_spans_without_project_label_are_dropped_and_shown(client: FlaskClient) -> None:
    only = CONFIG.replace('<Label value="Disease"/>', "")
    body = request_for("hypertension", xml=only, project="77.1")
    assert regions(post_json(client, "/predict", body).get_json()) == [[]]
    page = client.get("/", headers={"Accept": "text/html"}).get_data(as_text=True)
    assert "77" in page
    assert "Disease" in page
    assert 'reason="label unknown"' in client.get("/metrics").get_data(as_text=True)


def test_extra_params_choose_one_of_several_controls(client: FlaskClient) -> None:
    two = CONFIG.replace(
        "<Text", '<Labels name="other" toName="text"><Label value="Chemical"/></Labels><Text'
    )
    refused = post_json(client, "/predict", request_for(ABSTRACT, xml=two, project="5.1"))
    assert refused.status_code == 422
    for extra in ({"control": "other"}, json.dumps({"control": "other"})):
        body = {"project": "5.1", "schema": two, "extra_params": extra}
        assert post_json(client, "/setup", body).status_code == 200
        answer = post_json(
            client, "/predict", request_for(ABSTRACT, xml=two, project="5.1")
        ).get_json()
        assert {item["from_name"] for item in answer["results"][0]["result"]} == {"other"}
        assert_valid(answer, two)
    assert (
        post_json(client, "/predict", request_for(ABSTRACT, xml=two, project="6.1")).status_code
        == 422
    )


def test_drawn_region_is_completed_but_not_repeated(client: FlaskClient) -> None:
    text = "ACE2 binds ACE2; ACE2s do not. Naloxone."
    drawn = {
        "from_name": "label",
        "to_name": "text",
        "type": "labels",
        "value": {"start": 0, "end": 4, "text": "ACE2", "labels": ["Disease"]},
    }
    context = {"annotation_id": None, "draft_id": 0, "user_id": 1, "result": [drawn]}
    body = request_for(text, params={"context": context})
    found = post_json(client, "/predict", body).get_json()["results"][0]["result"]
    assert [(item["value"]["start"], *item["value"]["labels"]) for item in found] == [
        (11, "Disease"),
        (31, "Chemical"),
    ]


def test_browsers_get_html_and_others_json(client: FlaskClient) -> None:
    page = client.get("/", headers={"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"})
    assert page.content_type.startswith("text/html")
    assert "script-src" not in page.headers["Content-Security-Policy"]
    assert client.get("/").get_json()["status"] == "UP"
    assert client.get("/", headers={"Accept": "*/*"}).get_json()["status"] == "UP"


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ("{", 400, "body-not-json"),
        ('"' + "[" * 100_000, 400, "body-not-json"),
        ("[" * 100_000, 400, "body-not-json"),
        ("[]", 422, "body-not-object"),
        ("{}", 422, "tasks-not-array"),
        ('{"tasks": {}}', 422, "tasks-not-array"),
        ('{"tasks": [1], "label_config": ""}', 422, "tasks-not-array"),
        ('{"tasks": []}', 422, "label-config-not-text"),
        ('{"tasks": [], "label_config": 3}', 422, "label-config-not-text"),
        ('{"tasks": [], "label_config": "<View"}', 422, "label-config-not-xml"),
        ('{"tasks": [], "label_config": "<View/>"}', 422, "label-config-without-span-control"),
        (json.dumps(request_for(*["x"] * 51)), 413, "too-many-tasks"),
        (json.dumps(request_for("x" * 10_001)), 422, "no-readable-task"),
        (json.dumps(request_for("x" * 2**20)), 413, "body-too-large"),
        (
            json.dumps({**request_for("x"), "tasks": [{"id": 1, "data": {}}]}),
            422,
            "no-readable-task",
        ),
        (json.dumps({**request_for("x"), "tasks": [{}]}), 422, "no-readable-task"),
    ],
)
def test_bad_requests_are_refused(client: FlaskClient, body: str, status: int, code: str) -> None:
    answer = client.post("/predict", data=body, content_type="application/json")
    assert_refused(answer, status, code)


def test_request_size_limits(tmp_path: Path) -> None:
    with serve_app(settings_in(tmp_path)) as client:
        many = post_json(client, "/predict", request_for(*["Naloxone"] * 10_000))
        assert_refused(many, 413, "too-many-tasks")
        long = "Naloxone " * 555_556  # 5,000,004 characters
        alone = post_json(client, "/predict", request_for(long))
        assert_refused(alone, 422, "no-readable-task")
        assert "5,000,004" in alone.json["error"]
        beside = post_json(client, "/predict", request_for(long, ABSTRACT)).get_json()
        [[], expected] = regions(beside)
        assert (
            expected == regions(post_json(client, "/predict", request_for(ABSTRACT)).get_json())[0]
        )
        assert len(expected) == 2


@pytest.mark.parametrize(
    ("xml", "code"),
    [
        (CONFIG.replace("<Text", "<HyperText"), "hypertext"),
        (CONFIG.replace("<Text", "<Paragraphs"), "paragraphs"),
        (f'<View><Repeater on="$u">{CONFIG}</Repeater></View>', "label-config-with-repeater"),
        (CONFIG.replace("<View>", "<View>" + "<Header/>" * 70_000), "label-config-too-long"),
    ],
    ids=["HyperText", "Paragraphs", "Repeater", "long"],
)
def test_config_is_refused_at_setup(client: FlaskClient, xml: str, code: str) -> None:
    for path, body in (("/setup", {"schema": xml}), ("/predict", request_for("x", xml=xml))):
        assert_refused(post_json(client, path, body), 422, code)


TWO_TEXTS = """<View><Labels name="label" toName="title,abstract">
<Label value="Chemical"/><Label value="Disease"/></Labels>
<Text name="title" value="$title"/><Text name="abstract" value="$note.body"/></View>"""


# A <Labels> for each text.
OWN_LABELS = TWO_TEXTS.replace("title,abstract", "title").replace(
    "</View>",
    '<Labels name="own" toName="abstract"><Label value="Chemical"/><Label value="Disease"/>'
    "</Labels></View>",
)


@pytest.mark.parametrize(("xml", "own"), [(TWO_TEXTS, "label"), (OWN_LABELS, "own")])
def test_each_text_of_a_task_gets_its_regions(client: FlaskClient, xml: str, own: str) -> None:
    assert post_json(client, "/setup", {"schema": xml}).status_code == 200
    data = [
        {"title": "😀 Lithium", "note": {"body": ABSTRACT}},
        {"title": "Lithium"},
        {"note": {"body": "Lithium"}},
        {"other": "Lithium"},
    ]
    body = request_for(*map(str, data), xml=xml)
    for task, values in zip(body["tasks"], data, strict=True):
        task["data"] = values
    answer = post_json(client, "/predict", body)
    assert_valid(answer.json, xml)
    names = {"title": "label", "abstract": own}
    items = [item for one in answer.json["results"] for item in one["result"]]
    assert all(item["from_name"] == names[item["to_name"]] for item in items)
    found = [
        [(item["to_name"], item["value"]["start"], item["value"]["text"]) for item in one["result"]]
        for one in answer.json["results"]
    ]
    assert found == [
        [("title", 2, "Lithium"), ("abstract", 0, "Naloxone"), ("abstract", 49, "clonidine")],
        [("title", 0, "Lithium")],
        [("abstract", 0, "Lithium")],
        [],
    ]


@pytest.mark.parametrize(("xml", "own"), [(TWO_TEXTS, "label"), (OWN_LABELS, "own")])
def test_mention_is_found_in_the_other_text(client: FlaskClient, xml: str, own: str) -> None:
    drawn = {
        "id": "a",
        "from_name": own,
        "to_name": "abstract",
        "type": "labels",
        "origin": "manual",
        "value": {"start": 4, "end": 10, "text": "zorbex", "labels": ["Disease"]},
    }
    body = request_for("", xml=xml)
    body["tasks"][0] |= {
        "id": 71 + len(own),
        "data": {"title": "No zorbex", "note": {"body": "Yes zorbex"}},
    }
    body["params"]["context"] = {"result": [drawn]}
    ((item,),) = [one["result"] for one in post_json(client, "/predict", body).json["results"]]
    assert (item["to_name"], item["value"]["start"], item["value"]["end"]) == ("title", 3, 9)


def test_label_names_of_any_script(client: FlaskClient) -> None:
    names = ["化学物质", "رَسْم", "สาร", "Wirkstoff (Ä)", "薬 💊", "a&lt;b"]
    for name in names:
        label = f'<Label value="{name}" predicted_values="Chemical"/>'
        xml = (
            '<View><Labels name="實體" toName="文本">' + label + "</Labels>"
            '<Text name="文本" value="$text"/></View>'
        )
        assert post_json(client, "/setup", {"schema": xml}).status_code == 200
        answer = post_json(client, "/predict", request_for("Lithium", xml=xml))
        (found,) = answer.json["results"][0]["result"]
        assert found["value"]["labels"] == [name.replace("&lt;", "<")]
        assert (found["from_name"], found["to_name"]) == ("實體", "文本")


def test_xml_external_entities_are_never_read(client: FlaskClient, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("Chemical")
    bomb = f'<!DOCTYPE v [<!ENTITY e SYSTEM "file://{secret}">]>' + CONFIG.replace(
        'value="Chemical"', 'value="&e;"'
    )
    assert post_json(client, "/predict", request_for("Naloxone", xml=bomb)).status_code == 422


def test_unreadable_tasks_do_not_fail_other_tasks(client: FlaskClient) -> None:
    body = request_for("Naloxone", "x" * 10_001, "Lithium")
    body["tasks"].insert(0, {"id": 9, "data": {"text": None}})
    body["tasks"].append({"id": 10})
    answer = post_json(client, "/predict", body)
    assert answer.status_code == 200
    assert [len(found) for found in regions(answer.get_json())] == [0, 1, 0, 1, 0]


@pytest.mark.parametrize("text", ["\ud83d", "a\x00b Naloxone", "\r\n \r", "😀" * 50, " "])
def test_odd_texts_are_predicted(client: FlaskClient, text: str) -> None:
    answer = post_json(client, "/predict", request_for(text, "Naloxone")).get_json()
    assert len(answer["results"]) == 2
    for item in answer["results"][0]["result"]:
        assert item["value"]["text"] == text[item["value"]["start"] : item["value"]["end"]]


def test_label_studio_files_are_fetched_with_the_key(tmp_path: Path) -> None:
    xml = CONFIG.replace("<Text", '<Text valueType="url"')
    with serve_pages({"/data/upload/1/a.txt": Page(b"Naloxone")}) as web:
        server_settings = settings_in(
            tmp_path,
            allowed_hosts=frozenset({web.host}),
            label_studio_url=f"http://{web.host}",
            label_studio_key="legacy-token",
        )
        with serve_app(server_settings) as client:
            body = request_for("/data/upload/1/a.txt", xml=xml)
            answer = post_json(client, "/predict", body).get_json()
        assert regions(answer) == [[("Naloxone", "Chemical")]]
        assert web.requests[0][1]["Authorization"] == "Token legacy-token"


@pytest.mark.parametrize("path", ["/api/invite", "/data/upload/%2e%2e/%2e%2e/api/invite"])
def test_label_studio_api_is_not_read_as_a_text(tmp_path: Path, path: str) -> None:
    xml = CONFIG.replace("<Text", '<Text valueType="url"')
    with serve_pages({path: Page(b"Naloxone"), "/api/invite": Page(b"Naloxone")}) as web:
        told = settings_in(
            tmp_path,
            allowed_hosts=frozenset({web.host}),
            label_studio_url=f"http://{web.host}",
            label_studio_key="legacy-token",
        )
        with serve_app(told) as client:
            bodies = [request_for(text, xml=xml) for text in (path, f"http://{web.host}{path}")]
            answers = [post_json(client, "/predict", body) for body in bodies]
        assert web.requests == []
    for answer in answers:
        assert_refused(answer, 422, "no-readable-task")


def test_slow_texts_do_not_fail_the_whole_request(tmp_path: Path) -> None:
    xml = CONFIG.replace("<Text", '<Text valueType="url"')
    with serve_pages({"/a": Page(b"Naloxone")}) as web:
        hosts, limits = frozenset({web.host}), Limits(read_timeout_seconds=0.0)
        with serve_app(settings_in(tmp_path, allowed_hosts=hosts, limits=limits)) as client:
            urls = [f"http://{web.host}/a"] * 2
            answer = post_json(client, "/predict", request_for(*urls, xml=xml))
    assert_refused(answer, 422, "no-readable-task")


def test_webhook_events_are_recorded_once(client: FlaskClient) -> None:
    event = {
        "action": "ANNOTATION_CREATED",
        "annotation": {"id": 7, "task": 3, "updated_at": "2026-11-22T10:00:00Z"},
        "project": {"id": 2, "label_config": CONFIG},
        "task": {"id": 3, "data": {"text": "a patient's record"}},
    }
    first, second = post_json(client, "/webhook", event), post_json(client, "/webhook", event)
    assert (first.status_code, first.get_json()["status"]) == (201, "recorded")
    assert (second.status_code, second.get_json()["status"]) == (200, "known")
    job = first.get_json()["job"]
    for read_job in (job, int(job)):
        found = post_json(client, "/job_status", {"job": read_job}).get_json()
        assert found["job_status"] == "recorded"
    assert (
        post_json(client, "/webhook", {"action": "SOMETHING_NEW"}).get_json()["status"] == "ignored"
    )
    assert post_json(client, "/train", {"project": "2.17"}).status_code == 201


@pytest.mark.parametrize(("task_id", "named"), [(7, "task 7"), ("x" * 500, "task without an id")])
def test_text_that_is_too_long_is_named_by_a_short_id(
    client: FlaskClient, task_id: object, named: str
) -> None:
    body = request_for("a " * 5_001)
    body["tasks"][0]["id"] = task_id
    answer = post_json(client, "/predict", body)
    assert_refused(answer, 422, "no-readable-task")
    assert answer.json["error"].startswith(f"{named} has a text of 10,002 characters")


def test_encoder_refuses_what_takes_too_long(tmp_path: Path) -> None:
    limits = Limits(predict_budget_seconds=2.0)
    with serve_app(settings_in(tmp_path, limits=limits), load=None) as client:
        tagger = service_of(client).model_pool.find("encoder").wait_for_tagger(timeout_seconds=60)
        assert isinstance(tagger, EncoderTagger)
        tagger.throughput.update(len(ABSTRACT), 0.9, reset=True)
        assert post_json(client, "/predict", request_for(ABSTRACT, ABSTRACT)).status_code == 200
        refused = post_json(client, "/predict", request_for(*[ABSTRACT] * 3))
        assert_refused(refused, 413, "model-too-slow")


def test_work_for_a_client_that_has_gone_stops(client: FlaskClient) -> None:
    gone = {"waitress.client_disconnected": lambda: True}
    answer = client.post("/predict", json=request_for(ABSTRACT), environ_overrides=gone)
    assert_refused(answer, 503, "client-gone")


def test_errors_of_flask_are_one_sentence(client: FlaskClient) -> None:
    assert_refused(client.get("/unknown"), 404, "not-found")
    assert_refused(client.get("/setup"), 405, "method-not-allowed")
    upgrade = {"Connection": "Upgrade", "Upgrade": "websocket"}
    assert_refused(client.get("/health", headers=upgrade), 400, "bad-request")


@pytest.mark.parametrize(
    "job", ["999999", "9" * 5_000, "9" * 20, 2**63, "\u0663", "\u00b2", "-1", "1.0", True, None, []]
)
def test_unknown_job_is_404(client: FlaskClient, job: object) -> None:
    answer = post_json(client, "/job_status", {"job": job})
    assert_refused(answer, 404, "unknown-job")


def test_no_document_text_is_written_anywhere(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    with serve_app(settings_in(tmp_path)) as client:
        private = "Naloxone for Erika Mustermann"
        post_json(client, "/predict", request_for(private))
        post_json(client, "/webhook", {"action": "ANNOTATION_CREATED", "task": {"data": private}})
        post_json(client, "/predict", {**request_for(private), "label_config": "<View"})
        post_json(
            client, "/predict", {**request_for(private), "tasks": [{"data": {"other": private}}]}
        )
        shown = (
            client.get("/metrics").get_data()
            + client.get("/", headers={"Accept": "text/html"}).get_data()
        )
    written = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    out, err = capfd.readouterr()
    assert b"Mustermann" not in shown + written
    assert "Mustermann" not in caplog.text + out + err


def test_unexpected_error_leaks_nothing_to_client_or_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(DocumentTagger):
        version, labels = "v", ("Chemical",)

        def predict(self, documents: Any) -> Any:
            raise RuntimeError(f"cannot digest {documents[0].text}")

    with serve_app(settings_in(tmp_path), load=lambda _: Broken()) as client:
        answer = post_json(client, "/predict", request_for("Mustermann"))
    assert_refused(answer, 500, "internal-error")
    assert "Mustermann" not in answer.get_data(as_text=True) + caplog.text
    assert "RuntimeError" in caplog.text


def test_full_disk_of_the_access_log_fails_no_request(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class FullDisk(io.StringIO):
        def flush(self) -> None:
            raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(ACCESS_LOG, "handlers", [])
    with serve_app(settings_in(tmp_path)) as client:
        add_access_log(client.application, FullDisk())
        assert client.get("/health").status_code == 200


def test_load_failure_is_answered_with_its_reason(tmp_path: Path) -> None:
    version = ModelRegistry(tmp_path, bundled_root=BUNDLED_MODELS_FOLDER).resolve("bundled").name
    load = failing_loader(version, error=OSError("weights are gone"))
    with serve_app(settings_in(tmp_path), load=load) as client:
        for path, body in (("/setup", {}), ("/predict", request_for("x"))):
            answer = post_json(client, path, body)
            assert_refused(answer, 503, "no-loadable-version")
            assert answer.headers["Retry-After"]
        assert client.get("/health").status_code == 200
        assert "OSError" in client.get("/", headers={"Accept": "text/html"}).text


GUARDED = [
    ("POST", "/setup"),
    ("POST", "/predict"),
    ("GET", "/versions"),
    ("POST", "/job_status"),
    ("GET", "/metrics"),
    ("POST", "/llm/predict"),
]


@pytest.mark.parametrize(("method", "path"), GUARDED)
def test_requests_without_credentials_are_refused(tmp_path: Path, method: str, path: str) -> None:
    with serve_app(settings_in(tmp_path, credentials=CREDENTIALS)) as client:
        for headers in (
            {},
            basic("studio", "wrong"),
            basic("other", "pass:wörd"),
            basic("", ""),
            basic("studio", "pass:wörd", encoding="utf-16"),
            {"Authorization": "Basic !!"},
            {"Authorization": "Bearer pass:wörd".encode().decode("latin-1")},
            {"Authorization": basic("studio", "pass:wörd")["Authorization"].replace("Basic", "X")},
        ):
            answer = client.open(path, method=method, headers=headers, data="{}")
            assert_refused(answer, 401, "wrong-credentials")
            assert answer.headers["WWW-Authenticate"].startswith("Basic")
        for encoding in ("utf-8", "latin-1"):  # browsers use UTF-8, Label Studio uses Latin-1
            headers = basic("studio", "pass:wörd", encoding)
            assert client.open(path, method=method, headers=headers, data="{}").status_code != 401
        assert client.get("/health").status_code == 200
        assert client.get("/", headers={"Accept": "text/html"}).status_code == 401


@pytest.mark.parametrize("path", ["/webhook", "/train"])
def test_training_needs_credentials_without_webhook_secret(tmp_path: Path, path: str) -> None:
    button = {"action": "START_TRAINING", "project": {"id": 1}}
    with serve_app(settings_in(tmp_path, credentials=CREDENTIALS)) as client:
        for headers in (
            {},
            basic("studio", "wrong"),
            {WEBHOOK_SECRET_HEADER: ""},
            {WEBHOOK_SECRET_HEADER: "None"},
        ):
            answer = post_json(client, path, button, headers=headers)
            assert_refused(answer, 401, "webhook-secret-not-set")
        read_job = basic("studio", "pass:wörd")
        assert post_json(client, path, button, headers=read_job).status_code == 201


def test_webhook_events_need_the_webhook_secret(tmp_path: Path) -> None:
    event = {"action": "TASKS_CREATED", "project": {"id": 1}, "tasks": [{"id": 5}]}
    guarded = settings_in(tmp_path, credentials=CREDENTIALS, webhook_secret="s3cret")
    with serve_app(guarded) as client:
        assert_refused(post_json(client, "/webhook", event), 401, "wrong-webhook-secret")
        assert (
            post_json(
                client, "/webhook", event, headers={WEBHOOK_SECRET_HEADER: "guess"}
            ).status_code
            == 401
        )
        assert (
            post_json(
                client, "/webhook", event, headers={WEBHOOK_SECRET_HEADER: "s3cret"}
            ).status_code
            == 201
        )
        button = {"action": "START_TRAINING", "project": {"id": 1}}
        headers = basic("studio", "pass:wörd")
        assert post_json(client, "/webhook", button, headers=headers).status_code == 201


def test_requests_above_the_concurrency_limit_get_503(tmp_path: Path) -> None:
    with serve_app(settings_in(tmp_path, limits=Limits(max_concurrent_requests=1))) as client:
        builder = client.application.extensions["tagalong"].predict_semaphore
        assert builder.acquire(blocking=False)
        answer = post_json(client, "/predict", request_for(ABSTRACT))
        assert_refused(answer, 503, "too-many-requests")
        assert answer.headers["Retry-After"]
        builder.release()
        assert post_json(client, "/predict", request_for(ABSTRACT)).status_code == 200


# Too long for an int of Python, and digits of other scripts.
digits = st.builds(
    str.__mul__, st.sampled_from("09\u0663"), st.integers(1, 25) | st.integers(4_290, 5_000)
)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | digits,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
field_names = st.sampled_from(
    ["tasks", "label_config", "project", "params", "schema", "extra_params", "action", "job"]
)
bodies = st.dictionaries(field_names, json_values, max_size=5) | json_values
VERBS = ["", "health", "setup", "predict", "webhook", "train", "versions", "job_status"]
paths = st.builds(
    "{}/{}".format,
    st.sampled_from(["", "/encoder", "/llm"]),
    st.sampled_from([*VERBS, "metrics", "unknown"]),
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=300)
@given(path=paths, method=st.sampled_from(["GET", "POST", "PUT"]), body=bodies)
@example(path="/job_status", method="POST", body={"job": "9" * 5_000})
def test_any_json_gets_a_valid_answer(
    client: FlaskClient, path: str, method: str, body: object
) -> None:
    answer = client.open(path, method=method, data=json.dumps(body))
    assert answer.status_code < 500 or answer.status_code == 503
    assert "Traceback" not in answer.get_data(as_text=True)
    if answer.status_code >= 400:
        assert answer.get_json()["error"]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200)
@given(
    tasks=st.lists(
        st.fixed_dictionaries(
            {"data": st.fixed_dictionaries({"text": json_values | st.text()}) | json_values},
            optional={"id": json_values, "annotations": json_values, "drafts": json_values},
        ),
        max_size=6,
    ),
    context=json_values | st.fixed_dictionaries({"result": json_values, "draft_id": json_values}),
)
def test_always_one_result_per_task(
    client: FlaskClient, tasks: list[dict[str, Any]], context: object
) -> None:
    body = {**request_for(), "tasks": tasks, "params": {"context": context}}
    answer = post_json(client, "/predict", body)
    assert answer.status_code in (200, 422)
    if answer.status_code == 200:
        results = answer.get_json()["results"]
        assert len(results) == len(tasks)
        assert_valid(answer.get_json())
        assert all(math.isfinite(item["score"]) and 0 < item["score"] <= 1 for item in results)
