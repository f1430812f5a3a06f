"""Interactive requests as recorded from the editor of Label Studio 1.23.2."""

from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from tagalong.backend.label_studio.interactive import MAX_MENTIONS
from tests.backend.server.app_client import post_json, request_for, serve_app, settings_in

TEXT = "ACE2 binds ACE2, and naloxone ACE2; lithium."
FIRST, SECOND, THIRD = 0, 11, 30
NALOXONE, LITHIUM = 21, 36


@pytest.fixture
def client(tmp_path: Path) -> Any:
    with serve_app(settings_in(tmp_path)) as client:
        yield client


def region(start: int, length: int, label: str, **more: Any) -> dict[str, Any]:
    value = {"start": start, "end": start + length, "labels": [label]}
    names = {"from_name": "label", "to_name": "text", "type": "labels"}
    return {"id": f"r{start}", **names, "value": value, "origin": "manual", **more}


def ask(
    client: FlaskClient,
    *sent: Any,
    number: int = 1,
    project: str = "2.1795354311",
    **read_job: Any,
) -> list[dict[str, Any]]:
    body = request_for(TEXT, params={"context": {"result": list(sent)}}, project=project)
    body["tasks"][0] |= {"id": number, "drafts": [], **read_job}
    answer = post_json(client, "/predict", body).get_json()["results"][0]
    assert answer["model_version"]
    assert 0 < answer["score"] <= 1
    result: list[dict[str, Any]] = answer["result"]
    return result


def starts(result: list[dict[str, Any]]) -> list[int]:
    return [item["value"]["start"] for item in result]


def predicted(client: FlaskClient) -> list[dict[str, Any]]:
    return list(post_json(client, "/predict", request_for(TEXT)).get_json()["results"][0]["result"])


def test_deleted_copy_is_not_added_again(client: FlaskClient) -> None:
    drawn = region(FIRST, 4, "Disease")
    copies = ask(client, drawn)
    assert starts(copies) == [SECOND, NALOXONE, THIRD, LITHIUM]
    kept = {**copies[2], "origin": "manual"}
    assert ask(client, drawn, kept) == []
    another = region(LITHIUM, 7, "Disease")
    assert ask(client, drawn, kept, another) == []


def test_each_drawn_region_is_completed(client: FlaskClient) -> None:
    ask(client, region(LITHIUM, 7, "Disease"))
    assert starts(ask(client, region(SECOND, 4, "Chemical"))) == [FIRST, THIRD]


def test_model_regions_are_added_once(client: FlaskClient) -> None:
    binds = region(5, 5, "Disease")
    assert starts(ask(client, binds)) == [NALOXONE, LITHIUM]
    assert ask(client, region(17, 3, "Chemical")) == []
    assert starts(ask(client, binds, number=2)) == [NALOXONE, LITHIUM]


def test_answers_have_a_bounded_number_of_mentions(client: FlaskClient) -> None:
    drawn = {"result": [region(0, 1, "Disease")]}
    request = request_for("a " * 20_000, params={"context": drawn})
    (result,) = post_json(client, "/predict", request).json["results"]
    assert len(result["result"]) == MAX_MENTIONS
    several = request_for("a a a", "a a a", params={"context": drawn})
    results = post_json(client, "/predict", several).json["results"]
    assert [item["result"] for item in results] == [[], []]


def test_stored_predictions_are_not_added_again(client: FlaskClient) -> None:
    """With repeated ids, the editor fails and sends no more requests."""
    shown = predicted(client)
    stored = [{"id": 3, "result": shown}]
    assert starts(shown) == [NALOXONE, LITHIUM]
    copies = ask(client, region(FIRST, 4, "Disease"), predictions=stored)
    assert starts(copies) == [SECOND, THIRD]
    assert not {item["id"] for item in copies} & {item["id"] for item in shown}


def test_deleted_prediction_is_not_added_again(client: FlaskClient) -> None:
    shown = predicted(client)
    draft = {"id": 1, "result": [{**shown[0], "origin": "prediction"}]}
    sent = [draft["result"][0], region(FIRST, 4, "Chemical")]
    copies = ask(client, *sent, drafts=[draft], predictions=[{"id": 3, "result": shown}])
    assert starts(copies) == [SECOND, THIRD]


def test_copies_do_not_overlap_regions_of_other_labels(client: FlaskClient) -> None:
    draft = {"id": 1, "result": [region(SECOND, 4, "Chemical")]}
    copies = ask(client, region(FIRST, 4, "Disease"), drafts=[draft])
    assert starts(copies) == [NALOXONE, THIRD, LITHIUM]


def test_deleting_the_last_region_of_a_label_adds_nothing(client: FlaskClient) -> None:
    assert ask(client) == []


@pytest.mark.parametrize("context", [None, {}, {"result": None}])
def test_request_without_regions_is_not_interactive(client: FlaskClient, context: Any) -> None:
    body = request_for(TEXT, params={"context": context})
    for _ in range(2):
        result = post_json(client, "/predict", body).get_json()["results"][0]["result"]
        assert result == predicted(client)
