"""Projects, tasks, backends, predictions, webhooks and tabs as Label Studio holds them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Self

AuthMethod = Literal["NONE", "BASIC_AUTH"]
Sampling = Literal["Sequential sampling", "Uniform sampling", "Uncertainty sampling"]


@dataclass(frozen=True, slots=True)
class User:
    """Whose key it is."""

    id: int
    email: str

    @classmethod
    def from_json(cls, json: Mapping[str, Any]) -> Self:
        """Read what the API answers."""
        return cls(int(json["id"]), str(json["email"]))


@dataclass(frozen=True, slots=True)
class Project:
    """A project, without its tasks.

    Attributes:
        model_version: Whose predictions are shown and sorted by: the title of a backend, or a
            version; empty while nothing is chosen.
        shows_predictions: Whether annotators see predictions when they open a task.
        sampling: In which order tasks are handed out.
    """

    id: int
    title: str
    label_config: str
    model_version: str
    shows_predictions: bool
    sampling: str
    task_count: int
    prediction_count: int

    @classmethod
    def from_json(cls, json: Mapping[str, Any]) -> Self:
        """Read what the API answers."""
        return cls(
            id=int(json["id"]),
            title=str(json["title"]),
            label_config=str(json["label_config"]),
            model_version=str(json.get("model_version") or ""),
            shows_predictions=bool(json["show_collab_predictions"]),
            sampling=str(json.get("sampling") or ""),
            task_count=int(json.get("task_number") or 0),
            prediction_count=int(json.get("total_predictions_number") or 0),
        )


@dataclass(frozen=True, slots=True)
class StoredPrediction:
    """A prediction of one task; its regions hold text, and so are kept out of ``repr``."""

    id: int
    task: int
    model_version: str
    score: float | None
    result: tuple[Mapping[str, Any], ...] = field(repr=False)

    @classmethod
    def from_json(cls, json: Mapping[str, Any]) -> Self:
        """Read what the API answers."""
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
    """A task with its data, which may be a patient's record: kept out of ``repr``.

    Attributes:
        predictions: Its predictions; empty where they were not asked for, however many there are.
        done: Whether it has all the annotations it needs, and so is not handed out any more.
    """

    id: int
    data: Mapping[str, Any] = field(repr=False)
    prediction_count: int
    predictions: tuple[StoredPrediction, ...] = field(default=(), repr=False)
    done: bool = False

    @classmethod
    def from_json(cls, json: Mapping[str, Any]) -> Self:
        """Read what the API answers."""
        return cls(
            id=int(json["id"]),
            data=dict(json["data"]),
            prediction_count=int(json["total_predictions"]),
            predictions=tuple(map(StoredPrediction.from_json, json.get("predictions") or ())),
            done=bool(json.get("is_labeled")),
        )


@dataclass(frozen=True, slots=True)
class MLBackend:
    """A machine learning backend of a project, as Label Studio last found it.

    Attributes:
        is_connected: Whether both its ``/health`` and its ``/setup`` answered just now.
        error: What Label Studio found wrong with its ``/setup``; empty if nothing, and if it did
            not get that far.
        model_version: What its ``/setup`` answered last.
        is_interactive: Whether it is asked while an annotator draws.
        auth_method: Whether Label Studio gives it a user and a password.
    """

    id: int
    project: int
    url: str
    title: str
    is_connected: bool
    error: str
    model_version: str
    is_interactive: bool
    auth_method: AuthMethod
    username: str
    extra_params: Any = field(repr=False)

    @property
    def control_name(self) -> str | None:
        """Name of the ``<Labels>`` that its extra params choose; None where they do not."""
        extra = self.extra_params if isinstance(self.extra_params, dict) else {}
        control = extra.get("control")
        return control if isinstance(control, str) else None

    @classmethod
    def from_json(cls, json: Mapping[str, Any]) -> Self:
        """Read what the API answers."""
        return cls(
            id=int(json["id"]),
            project=int(json["project"]),
            url=str(json["url"]),
            title=str(json.get("title") or ""),
            is_connected=json["state"] in ("CO", "TR", "PR"),  # connected, training, predicting
            # Of a backend that does not answer at all, what an earlier setup said stays stored.
            error=str(json.get("error_message") or "") if json["state"] == "ER" else "",
            model_version=str(json.get("model_version") or ""),
            is_interactive=bool(json["is_interactive"]),
            auth_method="BASIC_AUTH" if json.get("auth_method") == "BASIC_AUTH" else "NONE",
            username=str(json.get("basic_auth_user") or ""),
            extra_params=json.get("extra_params"),
        )


@dataclass(frozen=True, slots=True)
class Webhook:
    """Where events go; its headers may hold a secret, and so are kept out of ``repr``.

    Attributes:
        project: Whose events; None for those of all projects.
        actions: The events it gets; empty where ``all_actions`` says that it gets each.
    """

    id: int
    project: int | None
    url: str
    is_active: bool
    sends_payload: bool
    sends_all_actions: bool
    actions: tuple[str, ...]
    headers: Mapping[str, str] = field(repr=False)

    @classmethod
    def from_json(cls, json: Mapping[str, Any]) -> Self:
        """Read what the API answers."""
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
    """A tab of the Data Manager.

    Attributes:
        id: The number behind ``tab=`` in its address.
        title: What is written on it.
        data: All that Label Studio keeps of it: title, filters, order and columns.
    """

    id: int
    title: str
    data: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @property
    def filters(self) -> Mapping[str, Any]:
        """Its filters; empty where it has none."""
        filters = self.data.get("filters")
        return filters if isinstance(filters, dict) else {}

    @classmethod
    def from_json(cls, json: Mapping[str, Any]) -> Self:
        """Read what the API answers."""
        data = dict(json.get("data") or {})
        return cls(int(json["id"]), str(data.get("title") or ""), data)
