"""A test client of the app with a lexicon tagger, and requests as Label Studio sends them."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from flask.testing import FlaskClient
from label_studio_sdk.label_interface import LabelInterface

from tagalong.backend.server.app import create_app
from tagalong.backend.server.service import Service
from tagalong.backend.server.settings import Settings
from tests.errors import assert_wording
from tests.lexicon_tagger import load_lexicon

CONFIG = """<View>
  <Labels name="label" toName="text">
    <Label value="Chemical"/><Label value="Disease"/>
  </Labels>
  <Text name="text" value="$text"/>
</View>"""
ABSTRACT = "Naloxone reverses the antihypertensive effect of clonidine 🧪."


@contextmanager
def serve_app(settings: Settings, **changes: Any) -> Iterator[FlaskClient]:
    """Yield a test client of the app with a loaded encoder."""
    app = create_app(settings, **{"load": load_lexicon} | changes)
    service: Service = app.extensions["tagalong"]
    try:
        service.model_pool.find("encoder")._first_load_done.wait(30)
        yield app.test_client()
    finally:
        service.close()


def service_of(client: FlaskClient) -> Service:
    service: Service = client.application.extensions["tagalong"]
    return service


def settings_in(folder: Path, **changes: Any) -> Settings:
    return Settings(models=folder / "models", **changes)


def request_for(*texts: str, xml: str = CONFIG, **changes: Any) -> dict[str, Any]:
    """Body of a `/predict` request of Label Studio 1.23."""
    tasks = [
        {"id": number, "data": {"text": text}, "annotations": [], "predictions": []}
        for number, text in enumerate(texts, start=1)
    ]
    params = {"login": None, "password": None, "context": None}
    body = {"tasks": tasks, "project": "2.1795354311", "label_config": xml, "params": params}
    return body | changes


def regions(answer: Mapping[str, Any]) -> list[list[tuple[str, str]]]:
    """Text and label of each region, by task."""
    return [
        [(item["value"]["text"], *item["value"]["labels"]) for item in result["result"]]
        for result in answer["results"]
    ]


def assert_valid(answer: Mapping[str, Any], xml: str = CONFIG) -> None:
    """Check that Label Studio's validator accepts every prediction."""
    interface = LabelInterface(xml)
    for result in answer["results"]:
        assert interface.validate_prediction(result, return_errors=True) == []


def post_json(client: FlaskClient, path: str, body: object, **changes: Any) -> Any:
    """Post JSON."""
    return client.post(path, data=json.dumps(body), content_type="application/json", **changes)


def assert_refused(answer: Any, status: int, code: str) -> None:
    """Check for an error with this code and its pinned message."""
    assert (answer.status_code, answer.json.get("code")) == (status, code), answer.json
    assert_wording(answer.json["error"], code)
