"""A new tab equals one of Label Studio's page; an update keeps other fields."""

from collections.abc import Iterator
from typing import Any

import pytest

from tagalong.backend.label_studio.api.client import LabelStudioClient, connect
from tagalong.backend.label_studio.api.filters import filter_by_ids
from tagalong.backend.label_studio.api.objects import View
from tests.backend.doctor.scripted import ReceivedRequest, ScriptedServer, healthy_label_studio

VIEWS = "/api/dm/views/"


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with ScriptedServer(healthy_label_studio("http://127.0.0.1:1")) as server:

        def keep(asked: ReceivedRequest) -> tuple[int, Any]:
            return 201, {"id": 5, "data": asked.body["data"]}

        server.script.answers[f"POST {VIEWS}"] = keep
        server.script.answers[f"PATCH {VIEWS}3/"] = keep
        yield server


@pytest.fixture
def studio(server: ScriptedServer) -> Iterator[LabelStudioClient]:
    with connect(server.url, "9f2c" * 10, retries=0) as studio:
        yield studio


def sent(server: ScriptedServer) -> list[Any]:
    return [asked.body["data"] for asked in server.script.requests if asked.method != "GET"]


def test_new_tab_shows_the_text(server: ScriptedServer, studio: LabelStudioClient) -> None:
    assert studio.views.create_or_update(7, "Review", filter_by_ids([4, 2])).title == "Review"
    first, second = sent(server)
    assert (first["title"], first["filters"]["items"]) == ("Default", [])
    assert second["filters"] == filter_by_ids([4, 2])
    assert second["ordering"] == ["tasks:predictions_score"]
    hidden = {
        "explore": ["tasks:predictions_score", "tasks:created_at"],
        "labeling": [
            *("tasks:data.pmid", "tasks:id", "tasks:predictions_score", "tasks:created_at"),
        ],
    }
    assert first["hiddenColumns"] == second["hiddenColumns"] == hidden


def test_column_is_added_to_list_but_not_to_open_task(
    server: ScriptedServer, studio: LabelStudioClient
) -> None:
    studio.views.create_or_update(7, "Next", filter_by_ids([4]), columns=["predictions_score"])
    hidden = sent(server)[-1]["hiddenColumns"]
    assert hidden["explore"] == ["tasks:created_at"]
    assert "tasks:predictions_score" in hidden["labeling"]


def test_existing_tab_is_updated(server: ScriptedServer, studio: LabelStudioClient) -> None:
    there = [{"id": 3, "data": {"title": "Review"}}]
    server.script.answers[f"GET {VIEWS}"] = (200, there)
    studio.views.create_or_update(7, "Review", filter_by_ids([4]))
    (changed,) = sent(server)
    assert changed["filters"] == filter_by_ids([4])
    assert f"PATCH {VIEWS}3/" in server.script.paths()


def test_changing_filters_keeps_other_settings(
    server: ScriptedServer, studio: LabelStudioClient
) -> None:
    kept = {"title": "Mine", "ordering": ["-tasks:id"], "hiddenColumns": {}, "gridWidth": 4}
    view = View(3, "Mine", kept | {"selectedItems": {"all": True}})
    studio.views.refilter(7, view, filter_by_ids([1]))
    assert sent(server) == [kept | {"filters": filter_by_ids([1])}]
    studio.views.refilter(7, View(3, "Mine", {"title": "Mine"}), filter_by_ids([1]))
    assert "tasks:created_at" in sent(server)[-1]["hiddenColumns"]["explore"]
