"""A scripted Label Studio whose project, backends and webhooks change as in Label Studio 1.23.2."""

from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

from tagalong.backend.doctor.connect import ConnectPlan, plan_connection
from tagalong.backend.doctor.connect_checks import CONNECT_CHECKS, find_first_problem
from tagalong.backend.doctor.connect_context import ConnectContext, ConnectOptions
from tests.backend.doctor.doctor_runner import KEY, ScriptedServers
from tests.backend.doctor.scripted import (
    PROJECT,
    VERSION,
    Answer,
    ReceivedRequest,
    backend_row,
    project,
    webhook,
)


class EditableProject:
    """The project of the scripted servers; it has no backend and no webhook at first."""

    def __init__(self, servers: ScriptedServers) -> None:
        self.servers = servers
        self.url = servers.backend.url
        self.project = project(model_version="", show_collab_predictions=False)
        self.rows: list[dict[str, Any]] = []
        self.webhooks: list[dict[str, Any]] = []
        answers = servers.label_studio.script.answers
        self._old_probe = answers["POST /api/ml/"]
        answers[f"GET {PROJECT}"] = lambda _: (200, self.project)
        answers[f"GET {PROJECT}model-versions/"] = (200, {})
        answers[f"PATCH {PROJECT}"] = self._patch_project
        answers["GET /api/ml/"] = lambda _: (200, self.rows)
        answers["POST /api/ml/"] = self._add_row
        # The query is not part of the path: webhooks of the organisation are left out here.
        answers["GET /api/webhooks/"] = lambda _: (200, self.webhooks)
        answers["POST /api/webhooks/"] = self._add_webhook
        for number in range(1, 10):
            answers[f"PATCH /api/ml/{number}"] = self._patch_row
            answers[f"DELETE /api/ml/{number}"] = self._delete(self.rows)
            answers[f"PATCH /api/webhooks/{number}/"] = self._patch_webhook
            answers[f"DELETE /api/webhooks/{number}/"] = self._delete(self.webhooks)

    def connect(self, **more: Any) -> list[str]:
        """Connect the project; returns the lines of the changes, after notes."""
        with closing(ConnectContext(self.options(**more))) as context:
            assert find_first_problem(context, CONNECT_CHECKS) is None
            return make_changes(plan_connection(context))

    def find_first_problem(self, **more: Any) -> Any:
        """The problem that stops a connection, which changes nothing."""
        requests = self.servers.label_studio.script.requests
        with closing(ConnectContext(self.options(**more))) as context:
            finding = find_first_problem(context, CONNECT_CHECKS)
        assert [asked for asked in requests if asked.method in ("PATCH", "DELETE")] == []
        assert (self.rows, self.webhooks) == ([], [])
        return finding

    def options(self, **more: Any) -> ConnectOptions:
        given = {"server_url": self.url, "local_server_url": self.url, **more}
        return ConnectOptions(self.servers.label_studio.url, KEY, 7, **given)

    def _patch_project(self, asked: ReceivedRequest) -> Answer:
        self.project.update(asked.body)
        return 200, self.project

    def _add_row(self, asked: ReceivedRequest) -> Answer:
        if asked.body["project"] == "none":  # of a check
            return self._old_probe  # type: ignore[return-value]
        row = backend_row("", id=len(self.rows) + 1) | _without_password(asked.body)
        self.rows.append(row)
        url = f"{row['url']}/webhook"
        if not any(one["url"] == url for one in self.webhooks):
            self.webhooks.append(webhook(row["url"], id=len(self.webhooks) + 1))
        return 201, row

    def _patch_row(self, asked: ReceivedRequest) -> Answer:
        row = self._find(self.rows, asked)
        if self.project["model_version"] == row["title"]:
            self.project["model_version"] = asked.body["title"]
        row.update(_without_password(asked.body), state="CO", model_version=VERSION)
        return 200, row

    def _add_webhook(self, asked: ReceivedRequest) -> Answer:
        if asked.body["project"] == "none":
            return self._old_probe  # type: ignore[return-value]
        self.webhooks.append(webhook("", id=len(self.webhooks) + 1) | asked.body)
        return 201, self.webhooks[-1]

    def _patch_webhook(self, asked: ReceivedRequest) -> Answer:
        found = self._find(self.webhooks, asked)
        found.update({"actions": []} | asked.body)
        return 200, found

    def _delete(self, rows: list[dict[str, Any]]) -> Callable[[ReceivedRequest], Answer]:
        def delete(asked: ReceivedRequest) -> Answer:
            rows.remove(self._find(rows, asked))
            return 200, ""

        return delete

    def _find(self, rows: list[dict[str, Any]], asked: ReceivedRequest) -> dict[str, Any]:
        number = int(asked.path.strip("/").rpartition("/")[2])
        return next(row for row in rows if row["id"] == number)


def make_changes(plan: ConnectPlan) -> list[str]:
    """Make the changes of a plan; returns its notes and lines."""
    return list(_make_changes(plan))


def _make_changes(plan: ConnectPlan) -> Iterator[str]:
    yield from plan.notes
    for change in plan.changes:
        change.make()
        yield from change.lines


def _without_password(body: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in body.items() if name != "basic_auth_pass"}
