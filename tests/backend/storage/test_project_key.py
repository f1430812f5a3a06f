"""Project keys: as Label Studio names projects, and nothing else."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tagalong.backend.label_studio.api.objects import Project
from tagalong.backend.storage.project_key import MAX_CREATED, MAX_ID, ProjectKey

AT = "2026-11-22T20:13:55.999999Z"
SECONDS = 1795378435
NESTED: list[object] = []
NESTED.append(NESTED)


@pytest.mark.parametrize(
    ("value", "key"),
    [
        ("7.1795378435", ProjectKey(7, SECONDS)),
        ("7", ProjectKey(7)),
        ("7.", ProjectKey(7)),
        ("7.0", ProjectKey(7)),
        (7, ProjectKey(7)),
        (str(MAX_ID), ProjectKey(MAX_ID)),
        (f"7.{MAX_CREATED}", ProjectKey(7, MAX_CREATED)),
        ({"id": 7, "created_at": AT}, ProjectKey(7, SECONDS)),
        ({"id": "7", "created_at": "2026-11-22T15:13:55-05:00"}, ProjectKey(7, SECONDS)),
        ({"id": 7, "created_at": "2026-11-23T01:58:55+0545"}, ProjectKey(7, SECONDS)),
        ({"id": 7, "created_at": "2026-11-22T20:13:55"}, ProjectKey(7, SECONDS)),  # taken as UTC
        ({"id": "7.1795378435"}, ProjectKey(7, SECONDS)),
        ({"id": 7}, ProjectKey(7)),
    ],
    ids=str,
)
def test_names_of_label_studio_are_read(value: object, key: ProjectKey) -> None:
    assert ProjectKey.parse(value) == key
    assert ProjectKey.parse(str(key)) == key


@pytest.mark.parametrize(
    "time",
    [
        *("2026-13-45T20:13:55Z", "2026-11-22T99:13:55Z", "2026-11-22", "1969-12-31T23:59:59Z"),
        *("0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59.9-14:00", "A patient", "", "9" * 9999),
        *(SECONDS, 1.5, True, None, [], {}),
    ],
    ids=lambda time: str(time)[:40],
)
def test_invalid_times_count_as_unknown(time: object) -> None:
    assert ProjectKey.parse({"id": 7, "created_at": time}) == ProjectKey(7)


@pytest.mark.parametrize(
    "value",
    [
        *("", "x", "7.abc", "7.1.1", "-7", "7.-1", "+7", " 7", "7\n", "1e3", "٣", "7.٣", "../7"),
        *("9" * 5_000, "7." + "9" * 5_000, str(MAX_ID + 1), f"7.{MAX_CREATED + 1}", "7\x00"),
        *(-1, MAX_ID + 1, 7.5, float("nan"), True, None, b"7", NESTED),
        *({}, {"id": None}, {"id": {"id": 7}}, {"id": [7]}, {"id": True}, {"created_at": AT}),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_anything_else_is_no_project(value: object) -> None:
    assert ProjectKey.parse(value) is None


@given(
    st.integers(0, MAX_ID),
    st.datetimes(
        datetime(1970, 1, 2),
        datetime(9999, 12, 30),
        timezones=st.builds(timezone, st.integers(-1439, 1439).map(lambda m: timedelta(minutes=m))),
    ),
)
def test_payload_prediction_and_api_name_the_same_project(number: int, created: datetime) -> None:
    """As Label Studio 1.23.2 makes each name from the time in its database."""
    expected = f"{number}.{int(created.timestamp())}"
    seen = created.astimezone(UTC).isoformat().replace("+00:00", "Z")
    json = {"id": number, "created_at": seen, "title": "", "label_config": ""}
    api = Project.from_json({**json, "show_collab_predictions": True})
    keys = {ProjectKey.parse(json), ProjectKey.parse(expected), ProjectKey.parse(api.key)}
    assert keys == {ProjectKey(number, int(created.timestamp()))}
    assert str(keys.pop()) == expected


@given(st.text() | st.integers() | st.floats() | st.dictionaries(st.text(), st.text()))
def test_any_value_is_a_key_or_none(value: object) -> None:
    key = ProjectKey.parse(value)
    assert key is None or ProjectKey.parse(str(key)) == key
