"""The labelling config of a project, with the extra params of its ML backends."""

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest

from tagalong.backend.label_studio.api.objects import MLBackend
from tagalong.backend.label_studio.connected_project import read_project_config
from tagalong.ner.errors import FormatError
from tests.errors import raises


def labels(name: str, label: str, text: str) -> str:
    return f'<Labels name="{name}" toName="{text}"><Label value="{label}"/></Labels>'


TITLE, TEXT = ('<Text name="title" value="$title"/>', '<Text name="text" value="$text"/>')
ONE = f"<View>{labels('a', 'Drug', 'text')}{TEXT}</View>"
SAME = f"<View>{labels('a', 'Drug', 'title')}{labels('b', 'Drug', 'text')}{TITLE}{TEXT}</View>"
OTHER = f"<View>{labels('a', 'Drug', 'text')}{labels('b', 'Sign', 'text')}{TEXT}</View>"


@dataclass
class Backends:
    extra_params: list[Any]
    calls: list[int] = field(default_factory=list)

    def list_for_project(self, project: int) -> list[MLBackend]:
        self.calls.append(project)
        row = {"id": 1, "project": project, "url": "http://a", "state": "CO", "is_interactive": 1}
        return [MLBackend.from_json({**row, "extra_params": one}) for one in self.extra_params]


def read(xml: str, *extra_params: Any) -> tuple[list[str], list[int]]:
    backends = Backends([*extra_params])
    client: Any = SimpleNamespace(ml_backends=backends)
    project: Any = SimpleNamespace(id=7, label_config=xml)
    return [text.control for text in read_project_config(client, project).texts], backends.calls


@pytest.mark.parametrize(
    ("xml", "extra_params", "controls"),
    [
        (SAME, [], ["a", "b"]),
        (SAME, [None, {"control": "b"}], ["b"]),
        (OTHER, [{"other": 1}, {"control": "b"}, {"control": "a"}], ["b"]),
    ],
)
def test_a_backend_names_one_of_several_labels(
    xml: str, extra_params: list[Any], controls: list[str]
) -> None:
    assert read(xml, *extra_params) == (controls, [7])


def test_backends_are_not_asked_for_one_labels() -> None:
    assert read(ONE, {"control": "x"}) == (["a"], [])


@pytest.mark.parametrize("extra_params", [[], [{"control": "x"}], ["control"]])
def test_unclear_labels_are_refused(extra_params: list[Any]) -> None:
    with raises(FormatError, "label-config-control-not-unique"):
        read(OTHER, *extra_params)
