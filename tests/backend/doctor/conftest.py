"""A Label Studio and a backend that answer by heart, and the doctor who looks at them."""

from collections.abc import Iterator

import pytest

from tests.backend.doctor.surgery import Surgery, opened


@pytest.fixture
def surgery() -> Iterator[Surgery]:
    with opened() as surgery:
        yield surgery
