"""Projects of a real Label Studio 1.23.2 whose tasks have two texts."""

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tagalong.backend.demo.label_studio_server import LabelStudioServer
from tagalong.backend.formats.file_format import ReadOptions
from tagalong.backend.label_studio.label_config_parser import parse_label_config
from tagalong.cli.main import app
from tagalong.training.corpus import read_corpus
from tests.end_to_end.backend_project import create_backend_project
from tests.end_to_end.offset_texts import TEXTS
from tests.end_to_end.server_process import ServerProcess, start_server

SHOWN = {"title": TEXTS["emoji"], "body": TEXTS["breaks"]}
LABEL = '<Label value="Drug" predicted_values="Chemical"/><Label value="Disease"/></Labels>'
TITLE = '<Text name="title" value="$title"/>'
# The body is in a file of Label Studio.
ONE_CONTROL = f"""<View><Labels name="label" toName="title,body">{LABEL}
{TITLE}<Text name="body" value="$text" valueType="url"/></View>"""
TWO_CONTROLS = f"""<View><Labels name="label" toName="title">{LABEL}{TITLE}
<Labels name="own" toName="body">{LABEL}<Text name="body" value="$text"/></View>"""


@pytest.fixture(scope="module")
def access(label_studio: LabelStudioServer) -> dict[str, str]:
    """Environment variables for commands and servers that read files of Label Studio."""
    return {
        "TAGALONG_ALLOWED_HOSTS": label_studio.url.removeprefix("http://"),
        "LABEL_STUDIO_URL": label_studio.url,
        "LABEL_STUDIO_API_KEY": label_studio.account.token,
    }


@pytest.fixture(scope="module")
def server(access: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Any:
    with start_server(tmp_path_factory.mktemp("texts"), **access) as server:
        yield server


@pytest.mark.parametrize(("xml", "own"), [(ONE_CONTROL, "label"), (TWO_CONTROLS, "own")])
def test_regions_are_in_their_texts(
    label_studio: LabelStudioServer,
    server: ServerProcess,
    access: dict[str, str],
    tmp_path: Path,
    xml: str,
    own: str,
) -> None:
    with create_backend_project(label_studio, server.url, [], config=xml) as project:
        body = project.upload(SHOWN["body"]) if "url" in xml else SHOWN["body"]
        rows = [{"data": {"title": SHOWN["title"], "text": body}}]
        (task,) = project.client.tasks.add(project.id, rows)
        project.client.predictions.retrieve(project.id)
        result = project.stored()[task].result
        assert {(one["from_name"], one["to_name"]) for one in result} == {
            ("label", "title"),
            (own, "body"),
        }
        for region in result:
            start, end = region["value"]["start"], region["value"]["end"]
            assert region["value"]["text"] == SHOWN[region["to_name"]][start:end]
        path = f"api/tasks/{task}/annotations/?project={project.id}"
        project.call("POST", path, {"result": list(result), "lead_time": 1.0})

        converted = tmp_path / "converted.jsonl"
        command = ["data", "convert", "--project", str(project.id), "--out", str(converted)]
        done = CliRunner().invoke(app, command, env=access)
        assert done.exit_code == 0, done.output
        found = read_corpus([converted]).documents
        assert [(one.id, one.text) for one in found] == [
            (f"{task}@{name}", text) for name, text in SHOWN.items()
        ]
        places = {
            (one["to_name"], one["value"]["start"], one["value"]["end"], *one["value"]["labels"])
            for one in result
        }
        assert places == {
            (one.id.partition("@")[2], span.start, span.end, span.label)
            for one in found
            for span in one.spans
        }
        if xml is TWO_CONTROLS:
            options = ReadOptions(label_config=parse_label_config(xml))
            for kind in ("JSON", "JSON_MIN", "CSV"):
                path = tmp_path / kind
                path.write_bytes(project.export(kind))
                assert read_corpus([path], options).documents == found
