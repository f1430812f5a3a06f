"""Webhook events: payloads of Label Studio and malformed ones."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tagalong.backend.events.payload import (
    ACTIONS,
    AnnotationRef,
    WebhookEvent,
    parse_event,
)
from tagalong.backend.storage.project_key import MAX_ID, TIMESTAMP_PATTERN, ProjectKey

CREATED, CHANGED = "2026-11-22T20:13:55.123456Z", "2026-11-22T20:14:01.000001Z"
PROJECT = {"id": 2, "title": "t", "label_config": "<View/>", "created_at": CREATED}
TASK = {"id": 11, "data": {"text": "A patient took cisplatin."}, "project": 2}
ANNOTATION = {
    "id": 5,
    "task": 11,
    "project": 2,
    "updated_at": CHANGED,
    "result": [{"value": {"start": 15, "end": 24, "text": "cisplatin", "labels": ["Chemical"]}}],
}
REF = AnnotationRef(5, CHANGED)
KEY, NUMBER = ProjectKey(2, 1795378435), ProjectKey(2)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)
KEYS = st.sampled_from(
    "action annotation annotations created_at id project task tasks updated_at".split()  # noqa: SIM905
)
NEAR_EVENTS = st.recursive(
    JSON, lambda inner: st.lists(inner) | st.dictionaries(KEYS, inner), max_leaves=30
)


@pytest.mark.parametrize(
    ("body", "project", "tasks", "annotations"),
    [
        (
            {
                "action": "ANNOTATION_CREATED",
                "annotation": ANNOTATION,
                "project": PROJECT,
                "task": TASK,
            },
            KEY,
            (11,),
            (REF,),
        ),
        (
            {"action": "ANNOTATION_UPDATED", "annotation": [ANNOTATION], "project": PROJECT},
            KEY,
            (11,),
            (REF,),
        ),
        (
            {
                "action": "ANNOTATIONS_CREATED",
                "annotation": [{"id": 7}, ANNOTATION],
                "task": [TASK, {"id": 3}],
                "project": PROJECT,
            },
            KEY,
            (3, 11),
            (REF, AnnotationRef(7)),
        ),
        (
            {
                "action": "ANNOTATIONS_DELETED",
                "annotations": [{"id": 9}, {"id": 8}],
                "project": PROJECT,
            },
            KEY,
            (),
            (AnnotationRef(8), AnnotationRef(9)),
        ),
        ({"action": "ANNOTATIONS_DELETED", "annotations": [9]}, None, (), (AnnotationRef(9),)),
        ({"action": "TASKS_CREATED", "tasks": [TASK, TASK], "project": PROJECT}, KEY, (11,), ()),
        ({"action": "TASKS_DELETED", "tasks": [{"id": 4}, {"id": 3}]}, None, (3, 4), ()),
        ({"action": "PROJECT_CREATED", "project": PROJECT}, KEY, (), ()),
        ({"action": "PROJECT_UPDATED", "project": PROJECT}, KEY, (), ()),
        ({"action": "PROJECT_DELETED", "project": {"id": 2}}, NUMBER, (), ()),
        (
            {"action": "LABEL_LINK_CREATED", "label_link": [{"id": 1}], "project": PROJECT},
            KEY,
            (),
            (),
        ),
        ({"action": "LABEL_LINK_UPDATED", "label_link": {"id": 1}, "label": {}}, None, (), ()),
        ({"action": "LABEL_LINK_DELETED", "label_link": {"id": 1}}, None, (), ()),
        ({"action": "START_TRAINING", "project": PROJECT}, KEY, (), ()),
        ({"action": "START_TRAINING", "project": 2}, NUMBER, (), ()),
        ({"action": "START_TRAINING", "project": "2.1795378435"}, KEY, (), ()),
        ({"action": "START_TRAINING", "project": "2"}, NUMBER, (), ()),
        ({"action": "START_TRAINING"}, None, (), ()),
        ({"action": "ANNOTATION_CREATED", "annotation": ANNOTATION}, NUMBER, (11,), (REF,)),
    ],
    ids=lambda value: value["action"] if isinstance(value, dict) else "",
)
def test_all_payloads_of_label_studio(body, project, tasks, annotations) -> None:
    event = parse_event(json.loads(json.dumps(body)))
    assert event is not None
    assert (event.project, event.tasks, event.annotations) == (project, tasks, annotations)


UNKNOWN = {"action": "ANNOTATION_DELETED", "annotation": {"id": 1}}


@pytest.mark.parametrize(
    "body", [None, [], "x", 3, {}, {"action": None}, {"action": ["A"]}, UNKNOWN]
)
def test_unknown_actions_are_no_events(body: object) -> None:
    assert parse_event(body) is None


@pytest.mark.parametrize(
    "number", [True, 1.0, -1, MAX_ID + 1, "x", "", "1.x", "-1", "1e3", "٣", "9" * 5_000, None, []]
)
def test_invalid_ids_are_dropped(number: object) -> None:
    event = parse_event({"action": "TASKS_CREATED", "tasks": [number, 3], "project": number})
    assert event == WebhookEvent("TASKS_CREATED", tasks=(3,))


def test_invalid_times_are_dropped() -> None:
    for text in ("A patient took cisplatin.", "2026-11-22T20:13:55Z cisplatin", "2026-11-22"):
        annotation = {"id": 1, "updated_at": text}
        body = {"action": "ANNOTATION_UPDATED", "annotation": annotation}
        event = parse_event({**body, "project": {"created_at": text}})
        assert event == WebhookEvent("ANNOTATION_UPDATED", annotations=(AnnotationRef(1),))


@given(body=NEAR_EVENTS, action=st.sampled_from(sorted(ACTIONS)))
def test_any_payload_keeps_only_ids_and_times(body, action) -> None:
    parse_event(body)
    event = parse_event({**(body if isinstance(body, dict) else {"task": body}), "action": action})
    assert event is not None
    assert event.action == action
    numbers = [*event.tasks, *(ref.id for ref in event.annotations)]
    assert all(type(number) is int and 0 <= number <= MAX_ID for number in numbers)
    times = [ref.updated_at for ref in event.annotations]
    assert all(time is None or TIMESTAMP_PATTERN.fullmatch(time) for time in times)
    assert event.project is None or ProjectKey.parse(str(event.project)) == event.project
