"""A scripted Label Studio and a scripted backend for the doctor."""

from collections.abc import Iterator

import pytest

from tests.backend.doctor.surgery import Surgery, opened


@pytest.fixture
def surgery() -> Iterator[Surgery]:
    with opened() as surgery:
        yield surgery
