"""Projects, tasks, ML backends, predictions, webhooks and tabs, as the API returns them.

Each `from_json` raises KeyError, TypeError or ValueError for JSON of another shape.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, Self

AuthMethod = Literal["NONE", "BASIC_AUTH"]
Sampling = Literal["Sequential sampling", "Uniform sampling", "Uncertainty sampling"]


@dataclass(frozen=True, slots=True)
class User:
    """The owner of a key."""

    id: int
    email: str

    @classmethod
    def from_json(cls, json: Mapping[str, Any]) -> Self:
        """Parse the JSON of the API."""
        return cls(int(json["id"]), str(json["email"]))


@dataclass(frozen=True, slots=True)
class Project:
    """A project, without its tasks."""

    id: int
    title: str
    created: int  # seconds since 1970
    label_config: str
    model_version: str  # shown and sorted by: a version, or a backend's title; empty without any
    shows_predictions: bool  # to annotators, when they open a task
    sampling: str  # the order in which tasks are handed out
    task_count: int
    prediction_count: int
    annotation_count: int  # without skipped ones

    @property
    def key(self) -> str:
        """The project as Label Studio names it to its backends: ``7.1795354311``."""
        return f"{self.id}.{self.created}"

    @classmethod
    def from_json(cls, json: Mapping[str, Any]) -> Self:
        """Parse the JSON of the API."""
        return cls(
            id=int(json["id"]),
            title=str(json["title"]),
            created=int(datetime.fromisoformat(json["created_at"]).timestamp()),
            label_config=str(json["label_config"]),
            model_version=str(json.get("model_version") or ""),
            shows_predictions=bool(json["show_collab_predictions"]),
            sampling=str(json.get("sampling") or ""),
            task_count=int(json.get("task_number") or 0),
            prediction_count=int(json.get("total_predictions_number") or 0),
            annotation_count=int(json.get("total_annotations_number") or 0),
        )


@dataclass(frozen=True, slots=True)
class StoredPrediction:
    """A prediction for one task."""

    id: int
    task: int
    model_version: str
    score: float | None
    result: tuple[Mapping[str, Any], ...] = field(repr=False)  # regions hold a patient's text

    @classmethod
    def from_json(cls, json: Mapping[str, Any]) -> Self:
        """Parse the JSON of the API."""
        score = json.get("score")
        return cls(
            id=int(json["id"]),
            task=int(json["task"]),
            model_version=str(json.get("model_version") or ""),
            score=None if score is None else float(score),
            result=tuple(dict(region) for region in json["result"]),
        )


@dataclass(frozen=True, slots=True)
class Task:
    """A task."""

    id: int
    data: Mapping[str, Any] = field(repr=False)  # may be a patient's record
    predictions: tuple[StoredPrediction, ...] = field(default=(), repr=False)  # if requested
    done: bool = False  # has all its annotations, so that it is not handed out any more

    @classmethod
    def from_json(cls, json: Mapping[str, Any]) -> Self:
        """Parse the JSON of the API."""
        return cls(
            id=int(json["id"]),
            data=dict(json["data"]),
            predictions=tuple(map(StoredPrediction.from_json, json.get("predictions") or ())),
            done=bool(json.get("is_labeled")),
        )


@dataclass(frozen=True, slots=True)
class MLBackend:
    """An ML backend of a project, in its last state known to Label Studio."""

    id: int
    project: int
    url: str
    title: str
    is_connected: bool  # whether /health and /setup both answered the last call
    error: str  # why /setup failed; empty if it succeeded, or /health failed already
    model_version: str  # in the last answer of /setup
    is_interactive: bool  # asked for predictions while an annotator draws
    auth_method: AuthMethod
    username: str
    extra_params: Any = field(repr=False)

    @property
    def control_name(self) -> str | None:
        """The ``<Labels>`` that its extra params name, if any."""
        extra = self.extra_params if isinstance(self.extra_params, dict) else {}
        control = extra.get("control")
        return control if isinstance(control, str) else None

    @classmethod
    def from_json(cls, json: Mapping[str, Any]) -> Self:
        """Parse the JSON of the API."""
        return cls(
            id=int(json["id"]),
            project=int(json["project"]),
            url=str(json["url"]),
            title=str(json.get("title") or ""),
            is_connected=json["state"] in ("CO", "TR", "PR"),  # connected, training, predicting
            # If a backend does not answer, the error of an earlier setup stays stored.
            error=str(json.get("error_message") or "") if json["state"] == "ER" else "",
            model_version=str(json.get("model_version") or ""),
            is_interactive=bool(json["is_interactive"]),
            auth_method="BASIC_AUTH" if json.get("auth_method") == "BASIC_AUTH" else "NONE",
            username=str(json.get("basic_auth_user") or ""),
            extra_params=json.get("extra_params"),
        )


@dataclass(frozen=True, slots=True)
class Webhook:
    """A webhook."""

    id: int
    project: int | None  # None for all projects of the organisation
    url: str
    is_active: bool
    sends_payload: bool
    sends_all_actions: bool
    actions: tuple[str, ...]  # the events it receives, unless it receives all
    headers: Mapping[str, str] = field(repr=False)  # may hold a secret

    @classmethod
    def from_json(cls, json: Mapping[str, Any]) -> Self:
        """Parse the JSON of the API."""
        project = json.get("project")
        return cls(
            id=int(json["id"]),
            project=None if project is None else int(project),
            url=str(json["url"]),
            is_active=bool(json["is_active"]),
            sends_payload=bool(json["send_payload"]),
            sends_all_actions=bool(json["send_for_all_actions"]),
            actions=tuple(map(str, json.get("actions") or ())),
            headers=dict(json.get("headers") or {}),
        )


@dataclass(frozen=True, slots=True)
class View:
    """A tab of the Data Manager."""

    id: int  # the number behind tab= in its address
    title: str
    data: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @property
    def filters(self) -> Mapping[str, Any]:
        """Its filters; empty if it has none."""
        filters = self.data.get("filters")
        return filters if isinstance(filters, dict) else {}

    @classmethod
    def from_json(cls, json: Mapping[str, Any]) -> Self:
        """Parse the JSON of the API."""
        data = dict(json.get("data") or {})
        return cls(int(json["id"]), str(data.get("title") or ""), data)
