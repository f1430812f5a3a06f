"""Webhook events of Label Studio 1.23, in all their shapes, as ids and times.

Actions and payloads: https://labelstud.io/guide/webhook_reference. An object comes whole or as its
id, alone or in a list, and without a payload where the webhook was told to send none.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

START_TRAINING = "START_TRAINING"  # the train button
ACTIONS = frozenset(
    {
        "ANNOTATION_CREATED",
        "ANNOTATION_UPDATED",
        "ANNOTATIONS_CREATED",
        "ANNOTATIONS_DELETED",
        "LABEL_LINK_CREATED",
        "LABEL_LINK_DELETED",
        "LABEL_LINK_UPDATED",
        "PROJECT_CREATED",
        "PROJECT_DELETED",
        "PROJECT_UPDATED",
        START_TRAINING,
        "TASKS_CREATED",
        "TASKS_DELETED",
    }
)
REPEATABLE_ACTIONS = frozenset({"ANNOTATION_UPDATED"})  # what may happen twice to the same object
MAX_ID = 2**63 - 1  # of Label Studio's databases, and of ours
TIMESTAMP_PATTERN = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]{5,20}(Z|[+-][0-9]{2}:?[0-9]{2})?"
)
ID_DIGITS_PATTERN = r"[0-9]{1,19}"  # of `MAX_ID` at most: Python refuses to read thousands of them
ID_PATTERN = re.compile(
    rf"({ID_DIGITS_PATTERN})(?:\.[0-9]*)?"
)  # backends know projects as "7.1795354311"


@dataclass(frozen=True, slots=True)
class AnnotationRef:
    """An annotation that an event is about.

    Attributes:
        id: Its id.
        updated_at: When it was last changed, as Label Studio writes it; None where it is not said.
    """

    id: int
    updated_at: str | None = None


@dataclass(frozen=True, slots=True)
class WebhookEvent:
    """What happened in Label Studio.

    Attributes:
        action: What Label Studio calls it.
        project: Id of the project; None where it is not said.
        tasks: Ids, sorted.
        annotations: Sorted by id.
        project_created_at: When the project was made, as Label Studio writes it: another Label Studio
            may have a project of the same id. Not recorded.
    """

    action: str
    project: int | None = None
    tasks: tuple[int, ...] = ()
    annotations: tuple[AnnotationRef, ...] = ()
    project_created_at: str | None = None

    @property
    def is_known(self) -> bool:
        """Whether Label Studio has such an action."""
        return self.action in ACTIONS

    @property
    def is_deduplicable(self) -> bool:
        """Whether an equal event can only be the same one, sent twice.

        The train button may be pressed twice, and projects change without telling apart how.
        """
        if self.action in REPEATABLE_ACTIONS:
            return bool(self.annotations) and all(ref.updated_at for ref in self.annotations)
        return bool(self.tasks or self.annotations)


def parse_event(body: object) -> WebhookEvent | None:
    """Read what came to the webhook.

    Args:
        body: As the JSON parser gives it.

    Returns:
        The event, as far as it can be read; None where it says no action at all. An action that
        Label Studio does not have gives an event that is not `WebhookEvent.known`.
    """
    if not isinstance(body, dict) or not isinstance(body.get("action"), str):
        return None
    annotations = list(_read_objects(body, "annotation", "annotations"))
    tasks = list(_read_objects(body, "task", "tasks"))
    of_annotations = [item.get("task") for item in annotations]
    refs = {
        number: _parse_timestamp(item.get("updated_at"))
        for item in annotations
        if (number := _parse_id(item.get("id"))) is not None
    }
    numbers = {_parse_id(value) for value in [*of_annotations, *(item.get("id") for item in tasks)]}
    project = body.get("project")
    return WebhookEvent(
        action=body["action"],
        project=_read_project_id(project, *annotations, *tasks),
        tasks=tuple(sorted(number for number in numbers if number is not None)),
        annotations=tuple(AnnotationRef(number, refs[number]) for number in sorted(refs)),
        project_created_at=_parse_timestamp(project.get("created_at"))
        if isinstance(project, dict)
        else None,
    )


def parse_job_id(value: object) -> int | None:
    """Read the number of a job, as an answer of the webhook names it.

    Args:
        value: Whatever was sent.

    Returns:
        The number; None where it cannot be one of a recorded event.
    """
    if isinstance(value, str) and not re.fullmatch(ID_DIGITS_PATTERN, value):
        return None
    return _parse_id(value)


def _read_objects(body: Mapping[str, Any], *keys: str) -> Iterator[Mapping[str, Any]]:
    """What comes under these keys, a bare id as an object that has nothing else."""
    for key in keys:
        value = body.get(key)
        for item in value if isinstance(value, list) else [value]:
            if isinstance(item, dict):
                yield item
            elif item is not None:
                yield {"id": item}


def _read_project_id(stated: object, *objects: Mapping[str, Any]) -> int | None:
    """The project that an event states, or else that its objects belong to."""
    for value in (stated, *(item.get("project") for item in objects)):
        number = _parse_id(value.get("id") if isinstance(value, dict) else value)
        if number is not None:
            return number
    return None


def _parse_id(value: object) -> int | None:
    """An id: a whole number, or the text of one with the time of a project behind it."""
    if isinstance(value, str):
        match = ID_PATTERN.fullmatch(value)
        value = int(match[1]) if match else None
    if type(value) is not int:  # not isinstance: True is an int to it
        return None
    return value if 0 <= value <= MAX_ID else None


def _parse_timestamp(value: object) -> str | None:
    """A time as Label Studio writes it; nothing else is let into the journal."""
    return value if isinstance(value, str) and TIMESTAMP_PATTERN.fullmatch(value) else None
