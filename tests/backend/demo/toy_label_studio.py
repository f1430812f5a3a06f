"""The part of Label Studio 1.23.2 that the demo uses, with the same command line.

A script of the standard library: it keeps its state in the data folder, asks backends for health,
setup and predictions as Label Studio does, and takes the same account from the environment.
"""

import argparse
import json
import os
import re
import urllib.request
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

Answer = tuple[int, Any]
Query = dict[str, str]


class Toy:
    """Projects, tasks, backends, webhooks and predictions, each a dict by id."""

    def __init__(self, data: Path) -> None:
        self.path = data / "state.json"
        kinds = ("projects", "tasks", "ml", "webhooks", "predictions")
        self.toy_objects: dict[str, dict[str, Any]] = {kind: {} for kind in kinds}
        if self.path.exists():
            self.toy_objects = json.loads(self.path.read_text())

    def save(self) -> None:
        self.path.write_text(json.dumps(self.toy_objects))

    def add(self, kind: str, **fields: Any) -> dict[str, Any]:
        number = max(map(int, self.toy_objects[kind]), default=0) + 1
        self.toy_objects[kind][str(number)] = {"id": number, **fields}
        return self.toy_objects[kind][str(number)]

    def of(self, kind: str, project: str) -> list[dict[str, Any]]:
        return [one for one in self.toy_objects[kind].values() if one["project"] == int(project)]

    def whoami(self, query: Query, body: Any) -> Answer:
        return 200, {"id": 1, "email": os.environ["LABEL_STUDIO_USERNAME"]}

    def version(self, query: Query, body: Any) -> Answer:
        return 200, {"release": "1.23.2"}

    def list_projects(self, query: Query, body: Any) -> Answer:
        found = [
            one
            for one in self.toy_objects["projects"].values()
            if query.get("title", "") in one["title"]
        ]
        return page(found, query, "results", "count")

    def make_project(self, query: Query, body: Any) -> Answer:
        fields = {"model_version": "", "show_collab_predictions": True, "sampling": "Sequential"}
        fields["created_at"] = "2026-11-22T20:13:55.5Z"
        return 201, self.add("projects", **fields, **body)

    def get_project(self, query: Query, body: Any, number: str) -> Answer:
        if number not in self.toy_objects["projects"]:
            return 404, {"detail": "No Project matches the given query."}
        counts = {
            "task_number": len(self.of("tasks", number)),
            "total_predictions_number": len(self.of("predictions", number)),
        }
        return 200, self.toy_objects["projects"][number] | counts

    def change_project(self, query: Query, body: Any, number: str) -> Answer:
        self.toy_objects["projects"][number].update(body)
        return 200, self.toy_objects["projects"][number]

    def import_tasks(self, query: Query, body: Any, number: str) -> Answer:
        made = [self.add("tasks", project=int(number), data=one["data"]) for one in body]
        return 201, {"task_count": len(made), "task_ids": [one["id"] for one in made]}

    def list_tasks(self, query: Query, body: Any) -> Answer:
        tasks = [
            task | {"total_predictions": len(self.predictions_of(task["id"]))}
            for task in self.of("tasks", query["project"])
        ]
        return page(tasks, query, "tasks", "total")

    def predictions_of(self, task: int) -> list[dict[str, Any]]:
        return [one for one in self.toy_objects["predictions"].values() if one["task"] == task]

    def list_backends(self, query: Query, body: Any) -> Answer:
        found = self.of("ml", query["project"])
        for backend in found:
            self.refresh(backend)
        return 200, found

    def refresh(self, backend: dict[str, Any]) -> None:
        try:
            ask(backend["url"] + "/health")
            project = str(backend["project"])
            schema = self.toy_objects["projects"][project]["label_config"]
            body = {"project": f"{project}.1", "schema": schema, "extra_params": None}
            backend["model_version"] = ask(backend["url"] + "/setup", body)["model_version"]
            backend.update(state="CO", error_message=None)
        except OSError as error:
            backend.update(state="DI", error_message=str(error))

    def add_backend(self, query: Query, body: Any) -> Answer:
        try:
            ask(body["url"] + "/health")
        except OSError as error:
            reason = f"Can't connect to ML backend {body['url']}: {error}"
            invalid = {"non_field_errors": [reason]}
            return 400, {"detail": "Validation error", "validation_errors": invalid}
        backend = self.add("ml", state="DI", **body)
        self.refresh(backend)
        hook = {"url": body["url"] + "/webhook", "is_active": True, "send_payload": True}
        self.add("webhooks", project=body["project"], send_for_all_actions=True, **hook)
        project = self.toy_objects["projects"][str(body["project"])]
        project["model_version"] = project["model_version"] or body["title"]
        return 201, backend

    def change_backend(self, query: Query, body: Any, number: str) -> Answer:
        backend = self.toy_objects["ml"][number]
        project = self.toy_objects["projects"][str(backend["project"])]
        if project["model_version"] == backend["title"]:
            project["model_version"] = body["title"]
        if "url" not in body or "project" not in body:  # as in 1.23.2
            return 500, {"detail": "MLBackend.healthcheck_() missing an argument: 'url'"}
        backend.update(body)
        self.refresh(backend)
        return 200, backend

    def drop_backend(self, query: Query, body: Any, number: str) -> Answer:
        del self.toy_objects["ml"][number]
        return 204, None

    def list_webhooks(self, query: Query, body: Any) -> Answer:
        return 200, self.of("webhooks", query["project"])

    def drop_webhook(self, query: Query, body: Any, number: str) -> Answer:
        del self.toy_objects["webhooks"][number]
        return 204, None

    def list_predictions(self, query: Query, body: Any) -> Answer:
        return 200, self.of("predictions", query["project"])

    def predict(self, query: Query, body: Any) -> Answer:
        """Reports success in any case, as 1.23.2 does."""
        number = query["project"]
        backend = self.of("ml", number)[0]
        self.refresh(backend)
        chosen = body["selectedItems"].get("included")
        tasks = [
            task
            for task in self.of("tasks", number)
            if (chosen is None or task["id"] in chosen)
            and backend["model_version"]
            not in [one["model_version"] for one in self.predictions_of(task["id"])]
        ]
        asked = {
            "tasks": tasks,
            "project": f"{number}.1",
            "label_config": self.toy_objects["projects"][number]["label_config"],
            "params": {"login": None, "password": None, "context": None},
        }
        try:
            results = ask(backend["url"] + "/predict", asked)["results"]
        except OSError:
            results = []
        for task, result in zip(tasks, results, strict=False):
            self.add("predictions", task=task["id"], project=int(number), **result)
        return 200, {"processed_items": len(tasks), "detail": f"Retrieved {len(tasks)} predictions"}


ROUTES: tuple[tuple[str, str, Callable[..., Answer]], ...] = (
    ("GET", r"/api/current-user/whoami", Toy.whoami),
    ("GET", r"/api/version/", Toy.version),
    ("GET", r"/api/projects/", Toy.list_projects),
    ("POST", r"/api/projects/", Toy.make_project),
    ("GET", r"/api/projects/(\d+)/", Toy.get_project),
    ("PATCH", r"/api/projects/(\d+)/", Toy.change_project),
    ("POST", r"/api/projects/(\d+)/import", Toy.import_tasks),
    ("GET", r"/api/tasks/", Toy.list_tasks),
    ("GET", r"/api/ml/", Toy.list_backends),
    ("POST", r"/api/ml/", Toy.add_backend),
    ("PATCH", r"/api/ml/(\d+)", Toy.change_backend),
    ("DELETE", r"/api/ml/(\d+)", Toy.drop_backend),
    ("GET", r"/api/webhooks/", Toy.list_webhooks),
    ("DELETE", r"/api/webhooks/(\d+)/", Toy.drop_webhook),
    ("GET", r"/api/predictions/", Toy.list_predictions),
    ("POST", r"/api/dm/actions/", Toy.predict),
)


def page(found: list[Any], query: Query, items: str, total: str) -> Answer:
    """A page of at most 5, so that a dozen need several."""
    size = min(5, int(query["page_size"]))
    first = (int(query["page"]) - 1) * size
    if first and first >= len(found):
        return 404, {"detail": "Invalid page."}
    return 200, {items: found[first : first + size], total: len(found)}


def ask(url: str, body: Any = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(url, data, timeout=30) as answer:
        return json.load(answer)


def handler_of(toy: Toy, token: str) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length) or "null")
            status, payload = self.decide(body)
            toy.save()
            content = b"" if payload is None else json.dumps(payload).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def decide(self, body: Any) -> Answer:
            if self.headers["Authorization"] != f"Token {token}":
                return 401, {"detail": "Invalid token."}
            parts = urlsplit(self.path)
            for verb, pattern, act in ROUTES:
                matched = re.fullmatch(pattern, parts.path)
                if verb == self.command and matched:
                    return act(toy, dict(parse_qsl(parts.query)), body, *matched.groups())
            return 404, None

        do_GET = do_POST = do_PATCH = do_DELETE = answer  # noqa: N815

    return Handler


def main() -> None:
    options = argparse.ArgumentParser()
    options.add_argument("command", choices=["start"])
    options.add_argument("--data-dir", type=Path, required=True)
    options.add_argument("--internal-host", default="0.0.0.0")
    options.add_argument("--port", type=int, required=True)
    for flag in ("--debug", "--no-browser", "--enable-legacy-api-token"):
        options.add_argument(flag, action="store_true", required=True)
    given = options.parse_args()
    (given.data_dir / "environment.json").write_text(json.dumps(dict(os.environ)))
    handler = handler_of(Toy(given.data_dir), os.environ["LABEL_STUDIO_USER_TOKEN"])
    ThreadingHTTPServer((given.internal_host, given.port), handler).serve_forever()


if __name__ == "__main__":
    main()
