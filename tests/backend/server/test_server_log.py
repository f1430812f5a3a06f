"""The log of the whole server: no text, no secret, no traceback, whatever is sent."""

import base64
import json
import os
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import product
from pathlib import Path
from typing import Any

import httpx
import pytest

from tagalong.backend.demo.supervised_process import find_free_port, is_http_ok
from tagalong.backend.storage.model_store import ModelStore
from tests.backend.server.app_client import CONFIG, request_for
from tests.backend.server.markers import (
    DAMAGED_VERSION,
    FAILING_ROUTE,
    FAILING_TEXT,
    KEY,
    MARKERS,
    PASSWORD,
    SECRET,
    TEXT,
    TOKEN,
    USERNAME,
)
from tests.backend.web_server import Page, serve_pages
from tests.forked_process import ForkedProcess
from tests.versions import publish_number

PATHS = [
    f"{prefix}/{path}"
    for prefix, path in product(
        ("", "/encoder", "/llm"),
        ("", "health", "ready", "setup", "predict", "webhook", "train", "versions", "job_status"),
    )
] + ["/metrics", f"/{TEXT}", f"/{TEXT}%0A%1B[2J", f"/health/{TEXT}", f"//{TEXT}", "/static/x"]
RIGHT = {
    "Authorization": "Basic " + base64.b64encode(f"{USERNAME}:{PASSWORD}".encode()).decode(),
    "X-Tagalong-Secret": SECRET,
}
WRONG = {"Authorization": f"Bearer {TOKEN}", "X-Tagalong-Secret": TOKEN, "Cookie": f"a={TOKEN}"}
ODD = {
    "Script-Name": f"/{TEXT}",
    "X-Forwarded-Proto": TEXT,
    "X-Forwarded-Prefix": f"/{TEXT}",
    "Content-Type": f"text/{TEXT}; charset={TEXT}",
    "Accept": TEXT,
    "Range": f"bytes={TEXT}",
    "Expect": TEXT,
}
ODD_HEADERS = [
    {**RIGHT, "SCRIPT_NAME": f"/{TEXT}"},
    {**RIGHT, "Origin": f"https://{TOKEN}"},
    {**RIGHT, "Host": f"{TOKEN}.example"},
    {**RIGHT, "Content-Encoding": TEXT},
    {**RIGHT, "Upgrade": TEXT, "Connection": "upgrade"},
]
URL_CONFIG = CONFIG.replace("<Text ", '<Text valueType="url" ')
BROKEN_CONFIG = f'<View><Labels name="{TEXT}" toName="{TEXT}"><Label value="{TEXT}"/></View>'
TEXTS = (TEXT, f"Naloxone\n{TEXT}\r\n\x1b[2J\u2028", f"{TEXT} \ud83d", FAILING_TEXT + TEXT, "")
ADDRESSES = (f"/data/upload/{TOKEN}", f"/api/{TOKEN}", f"http://a:{TOKEN}@b/", f"http://x/{TOKEN}")
BODIES: list[Any] = [
    *(request_for(text) for text in TEXTS),
    *(request_for(address, xml=URL_CONFIG) for address in ADDRESSES),
    request_for(TEXT, xml=BROKEN_CONFIG),
    request_for(TEXT, project={"id": TEXT}, params=TEXT),
    request_for(TEXT, params={"context": {"result": [{"value": TEXT}, TEXT]}}),
    {"tasks": [{"id": TEXT, "data": TEXT}], "label_config": CONFIG},
    {"tasks": TEXT, TEXT: TEXT, "label_config": [TEXT], "schema": BROKEN_CONFIG},
    {"project": TEXT, "schema": CONFIG, "extra_params": {TEXT: "\ud83d"}, "job": TEXT},
    {"action": "ANNOTATION_CREATED", "project": {"id": TEXT}, "annotation": {"id": TEXT}},
    {"action": TEXT, "project": 1, "task": {"data": {"text": TEXT}}},
    {"action": "ANNOTATION_CREATED", "project": {"id": 1}, "annotation": TEXT, "task": "\0"},
    TEXT,
    [TEXT],
]
NOT_JSON = (f'{{"{TEXT}": {TEXT}}}'.encode(), b"\xff" + TEXT.encode(), b"[" * 5_000, b"")
RAW = [
    f"{TEXT}\r\n\r\n",
    f"{TEXT.upper()} / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    f"GET {TEXT} HTTP/1.1\r\nHost: localhost\r\n\r\n",
    f"GET /health?{TOKEN} HTTP/{TEXT}\r\n\r\n",
    f"GET http://{USERNAME}:{PASSWORD}@localhost/{TEXT} HTTP/1.1\r\nHost: localhost\r\n\r\n",
    f"POST /predict HTTP/1.1\r\nX-Tagalong-Secret {SECRET}\r\n\r\n",
    f"POST /predict HTTP/1.1\r\nHost: {TEXT}\r{TEXT}\r\n\r\n",
    f"POST /predict HTTP/1.1\r\nHost: localhost\r\nSCRIPT_NAME: /{TEXT}\r\n\r\n",
    f"POST /predict HTTP/1.1\r\nHost: localhost\r\nX\0{TEXT}: 1\r\n\r\n",
    f"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: {TEXT}\r\n\r\n",
    f"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\n\r\n{TEXT}",
    *(
        f"POST /predict HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: {coding}\r\n\r\n{body}"
        for coding, body in (
            (TEXT, TEXT),
            ("gzip, chunked", f"0\r\n{TEXT}\r\n"),
            ("chunked", f"{TEXT}\r\n"),
            ("chunked", f"1;{TEXT}\r\nx\r\n0\r\n{TEXT}: 1\r\n\r\n"),
            ("chunked", f"1\r\n{TEXT}\r\n0\r\n\r\n"),
            ("chunked, identity", "0\r\n\r\n"),
        )
    ),
]


@contextmanager
def talkative_server(folder: Path) -> Iterator[str]:
    """Serve with all secrets set, and all that makes a log longer; yields the URL."""
    port, models = find_free_port(), ModelStore(folder / "models")
    damaged = publish_number(models, name=DAMAGED_VERSION).version
    models.promote("encoder", damaged)
    pages = {f"/data/upload/{TOKEN}": Page(status=302, headers={"Location": f"http://{TOKEN}/"})}
    with serve_pages(pages) as label_studio:
        variables = {
            **{name: value for name, value in os.environ.items() if "TAGALONG" not in name},
            "TAGALONG_USERNAME": USERNAME,
            "TAGALONG_PASSWORD": PASSWORD,
            "TAGALONG_WEBHOOK_SECRET": SECRET,
            "LABEL_STUDIO_URL": f"http://{label_studio.host}",
            "LABEL_STUDIO_API_KEY": KEY,
            "FLASK_DEBUG": "1",
            "TRANSFORMERS_VERBOSITY": "debug",
            "HF_DEBUG": "1",
        }
        process = ForkedProcess(
            Path(__file__).with_name("serve_talkative.py"),
            *("--port", port, "--models", models.root, "--access-log", "--no-openvino"),
            *("--allowed-hosts", label_studio.host),
            env=variables,
            log=folder / "serve.log",
        )
        try:
            deadline = time.monotonic() + 60
            while not is_http_ok(port, "/ready"):
                assert process.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.05)
            yield f"http://localhost:{port}"
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 0
        finally:
            process.kill()
            process.wait()


def send_everything(client: httpx.Client) -> Iterator[httpx.Response]:
    """Send all combinations that can make a difference."""
    query = {"text": TEXT, "token": TOKEN}
    for path, headers in product(PATHS, (RIGHT, WRONG, RIGHT | ODD)):
        yield client.get(path, headers=headers, params=query)
        yield client.post(path, headers=headers, params=query, json=request_for(TEXT))
        yield client.request("DELETE", path, headers=headers)
    for path, headers in product(("/predict", "/webhook", "/metrics"), ODD_HEADERS):
        yield client.post(path, headers=headers, params=query, json=request_for(TEXT))
    for path, body in product(("setup", "predict", "webhook", "job_status"), BODIES):
        yield client.post(f"/{path}", headers=RIGHT, content=json.dumps(body))
    for path, content in product(("setup", "predict", "webhook"), NOT_JSON):
        yield client.post(f"/{path}", headers=RIGHT, content=content)
    for method in (TEXT.upper(), "TRACE", "HEAD", "OPTIONS"):
        yield client.request(method, "/predict", headers=RIGHT)
    yield client.post("/train", headers=RIGHT, json={"project": 1, TEXT: TEXT})  # starts a trainer


def send_raw(url: str, content: str) -> bytes:
    """Send bytes that no HTTP client would send; returns the start of the answer."""
    address = (httpx.URL(url).host, httpx.URL(url).port)
    with socket.create_connection(address, timeout=30) as connection:  # type: ignore[arg-type]
        connection.sendall(content.encode())
        return connection.recv(65_536)


@pytest.mark.slow
def test_no_log_has_a_text_a_secret_or_a_traceback(tmp_path: Path) -> None:
    with talkative_server(tmp_path) as url:
        with httpx.Client(base_url=url, timeout=30, follow_redirects=False) as client:
            answers = [*send_everything(client)]
        raw = b"".join(send_raw(url, content) for content in RAW).decode()
    assert raw.count("HTTP/1.") == len(RAW)
    failed = [answer for answer in answers if answer.status_code == 500]
    assert {answer.url.path for answer in failed} == {"/predict", FAILING_ROUTE}
    assert {answer.json()["code"] for answer in failed} == {"internal-error"}
    assert len({answer.text for answer in failed}) == 1
    shown = raw + "".join(answer.text for answer in answers)
    logs = [tmp_path / "serve.log", *(tmp_path / "models" / ".server").glob("*.log")]
    logged = "".join(path.read_text() for path in logs)
    assert not [marker for marker in MARKERS if marker in failed[0].text + raw]
    assert not [marker for marker in (USERNAME, PASSWORD, SECRET, KEY) if marker in shown]
    assert not [marker for marker in MARKERS if marker.lower() in logged.lower()]
    assert "Traceback" not in logged
    assert logged.replace("\n", "").isprintable()
    lines = logged.splitlines()
    assert any(line.startswith("POST /predict 500 ") for line in lines)
    for route in ("/predict", FAILING_ROUTE):
        assert any(line.startswith(f"POST {route}: KeyError at ") for line in lines)
    assert any(line.startswith(f"encoder: {DAMAGED_VERSION}") for line in lines)
