"""Requests of Label Studio 1.23, for six projects that label the same texts differently."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

DATE = "2026-11-22T18:08:35.192592Z"


@dataclass(frozen=True, slots=True)
class Project:
    """A project.

    Attributes:
        id: Id in Label Studio.
        key: Key of the texts in the tasks' data.
        xml: Labelling config.

    """

    id: int
    key: str
    xml: str

    @property
    def reference(self) -> str:
        """Its name in calls of a backend."""
        return f"{self.id}.179535431{self.id}"


def _project(number: int, labels: str, *, key: str = "text", more: str = "") -> Project:
    """A project with these labels."""
    xml = (
        f'<View>{more}<Labels name="label" toName="text">{labels}</Labels>'
        f'<Text name="text" value="${key}"/></View>'
    )
    return Project(number, key, xml)


CONFIGS = (
    _project(1, '<Label value="Chemical"/><Label value="Disease"/>'),
    _project(2, '<Label value="Substance" predicted_values="Chemical"/><Label value="disease"/>'),
    _project(3, '<Label value="Chemical" alias="CHEM"/><Label value="Gene"/>', key="abstract"),
    _project(4, '<Label value="Disease"/>', more='<Header value="Only diseases"/>'),
    _project(5, "".join(f'<Label value="Type {n}"/>' for n in range(40)) + '<Label value="Drug"/>'),
    _project(
        6,
        '<Label value="Chemical"/><Label value="Disease"/>',
        more='<Choices name="kind" toName="text"><Choice value="Case report"/></Choices>',
    ),
)


def task(text: str, project: Project, number: int) -> dict[str, object]:
    """A task with all its fields."""
    return {
        "id": number,
        "data": {project.key: text},
        "meta": {},
        "created_at": DATE,
        "updated_at": DATE,
        "is_labeled": False,
        "overlap": 1,
        "inner_id": number,
        "total_annotations": 0,
        "cancelled_annotations": 0,
        "total_predictions": 0,
        "comment_count": 0,
        "unresolved_comment_count": 0,
        "last_comment_updated_at": None,
        "project": project.id,
        "updated_by": None,
        "file_upload": None,
        "comment_authors": [],
        "annotations": [],
        "predictions": [],
    }


def predict_body(texts: Sequence[str], project: Project, *, first: int = 1) -> bytes:
    """The body of a request for predictions."""
    return _json(
        {
            "tasks": [task(text, project, number) for number, text in enumerate(texts, first)],
            "project": project.reference,
            "label_config": project.xml,
            "params": {"login": None, "password": None, "context": None},
        }
    )


def setup_body(project: Project) -> bytes:
    """The body of a call of /setup."""
    return _json(
        {
            "project": project.reference,
            "schema": project.xml,
            "hostname": "",
            "access_token": "",
            "extra_params": "",
        }
    )


def event_body(text: str, project: Project, number: int) -> bytes:
    """The body of a webhook event for a submitted annotation."""
    annotation = {"id": number, "task": number, "result": [], "updated_at": DATE}
    return _json(
        {
            "action": "ANNOTATION_CREATED",
            "annotation": annotation,
            "project": {"id": project.id, "created_at": DATE, "label_config": project.xml},
            "task": task(text, project, number),
        }
    )


def _json(body: object) -> bytes:
    return json.dumps(body).encode()
