"""Scripted web servers: a healthy Label Studio and a healthy backend, which tests break.

The answers are those of Label Studio 1.23.2, recorded and shortened.
"""

import json
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

VERSION = "minilm-20261122-35fd034f"
CONFIG = (Path(__file__).parents[3] / "label_config.xml").read_text(encoding="utf-8")
CREATED = "2026-11-22T20:13:55.123456Z"
TEXT = "Naloxone reverses the antihypertensive effect of clonidine."  # BC5CDR (public domain)
PROJECT = "/api/projects/7/"
COLUMNS = [  # of the Data Manager
    {"id": "text", "parent": "data", "visibility_defaults": {"explore": True, "labeling": True}},
    {"id": "pmid", "parent": "data", "visibility_defaults": {"explore": True, "labeling": False}},
    {"id": "id", "visibility_defaults": {"explore": True, "labeling": False}},
    {"id": "predictions_score", "visibility_defaults": {"explore": False, "labeling": False}},
    {"id": "created_at", "visibility_defaults": {"explore": False, "labeling": False}},
    {"id": "data"},
]
UNKNOWN_TASK = (
    "{'task': 0, 'result': []} contains invalid \"task\" field: corresponding task ID couldn't be "
    "retrieved from project T (id=7) tasks"
)


@dataclass(frozen=True)
class ReceivedRequest:
    """A received request."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: Any


Answer = tuple[int, Any]  # status and JSON; a str is sent as it is


@dataclass
class Script:
    """Answers by method and path. Tests may change them while the server runs."""

    answers: dict[str, Answer | Callable[[ReceivedRequest], Answer]]
    delays: dict[str, float] = field(default_factory=dict)
    requests: list[ReceivedRequest] = field(default_factory=list)

    def paths(self) -> list[str]:
        return [f"{request.method} {request.path}" for request in self.requests]


class ScriptedServer(AbstractContextManager["ScriptedServer"]):
    """A server on loopback that answers from a script."""

    def __init__(self, script: Script) -> None:
        self.script = script
        handler = type("Handler", (_Handler,), {"script": script})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Handler(BaseHTTPRequestHandler):
    script: Script

    def _follow(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        content = self.rfile.read(length)
        path = urlsplit(self.path).path
        request = ReceivedRequest(
            self.command, path, self.headers, json.loads(content) if content else None
        )
        self.script.requests.append(request)
        time.sleep(self.script.delays.get(path, 0.0))
        answer = self.script.answers.get(f"{self.command} {path}", (404, {"detail": "Not found."}))
        status, body = answer(request) if callable(answer) else answer
        sent = (body if isinstance(body, str) else json.dumps(body)).encode()
        try:
            self.send_response(status)
            self.send_header("Content-Length", str(len(sent)))
            self.end_headers()
            self.wfile.write(sent)
        except BrokenPipeError:  # the client has timed out
            self.close_connection = True

    do_GET = do_POST = do_PATCH = do_DELETE = _follow  # noqa: N815

    def log_message(self, *_: object) -> None:
        """Print nothing."""


def region(label: str = "Chemical") -> dict[str, Any]:
    value = {"start": 0, "end": 8, "text": TEXT[:8], "labels": [label]}
    return {"id": "r1", "from_name": "label", "to_name": "text", "type": "labels", "value": value}


def task(number: int = 11, *, predictions: list[Any] | None = None, **data: str) -> dict[str, Any]:
    stored = {"id": 5, "task": number, "model_version": VERSION, "score": 0.9, "result": [region()]}
    return {
        "id": number,
        "data": data or {"text": TEXT},
        "predictions": [stored] if predictions is None else predictions,
    }


def project(**changes: Any) -> dict[str, Any]:
    return {
        "id": 7,
        "title": "Abstracts",
        "label_config": CONFIG,
        "model_version": VERSION,
        "show_collab_predictions": True,
        "sampling": "Sequential sampling",
        "created_at": CREATED,
        "task_number": 1,
        "total_predictions_number": 1,
        **changes,
    }


def backend_row(url: str, **changes: Any) -> dict[str, Any]:
    return {
        "id": 3,
        "project": 7,
        "url": url,
        "title": VERSION,
        "state": "CO",
        "error_message": None,
        "model_version": VERSION,
        "is_interactive": True,
        "auth_method": "NONE",
        "basic_auth_user": "",
        "extra_params": None,
        **changes,
    }


def webhook(url: str, **changes: Any) -> dict[str, Any]:
    return {
        "id": 4,
        "project": 7,
        "url": f"{url}/webhook",
        "is_active": True,
        "send_payload": True,
        "send_for_all_actions": True,
        "actions": [],
        "headers": {},
        **changes,
    }


def refused(**fields: list[str]) -> Answer:
    """A validation error of Label Studio."""
    return 400, {"status_code": 400, "detail": "Validation error", "validation_errors": fields}


def failed(status: int, detail: str) -> Answer:
    return status, {"status_code": status, "detail": detail}


def healthy_label_studio(backend: str) -> Script:
    """A Label Studio with one project, connected to a backend."""
    no_project = refused(project=["Incorrect type. Expected pk value, received str."])
    return Script(
        {
            "GET /api/version/": (200, {"release": "1.23.2"}),
            "GET /api/current-user/whoami": (200, {"id": 1, "email": "ann@example.org"}),
            "GET /api/projects/": (200, {"count": 1, "results": [project()]}),
            f"GET {PROJECT}": (200, project()),
            f"GET {PROJECT}tasks/": (200, [task()]),
            f"GET {PROJECT}model-versions/": (200, {VERSION: 1}),
            f"POST {PROJECT}import/predictions": refused(non_field_errors=[UNKNOWN_TASK]),
            "GET /api/ml/": (200, [backend_row(backend)]),
            "POST /api/ml/": no_project,
            "GET /api/ml/3/versions": (200, {"versions": [VERSION]}),
            "GET /api/dm/views/": (200, []),
            "GET /api/dm/columns/": (200, {"columns": COLUMNS}),
            "GET /api/webhooks/": (200, [webhook(backend)]),
            "POST /api/webhooks/": no_project,
            "GET /feature-flags/": (403, ""),
        }
    )


def setup_answer(**changes: Any) -> dict[str, Any]:
    """The answer of ``tagalong serve`` to ``/setup``, for a project without an assignment."""
    answer = {"model_version": VERSION, "model": "encoder"}
    return answer | {"assignment_fault": "", "assignments_error": None} | changes


def healthy_backend() -> Script:
    """A backend that answers as ``tagalong serve`` does."""
    labels = ["Chemical", "Disease"]
    health = {"status": "UP", "model_class": "Tagalong", "version": VERSION, "labels": labels}
    result = {"model_version": VERSION, "score": 0.9, "result": [region()]}
    return Script(
        {
            "GET /health": (200, health),
            "GET /versions": (200, {"versions": [VERSION]}),
            "POST /setup": (200, setup_answer()),
            "POST /predict": (200, {"results": [result]}),
            "POST /webhook": (200, {"status": "ignored"}),
        }
    )
