"""A Label Studio and a backend that answer by heart, and the doctor who looks at them."""

from collections.abc import Iterator

import pytest

from tests.backend.doctor.scripted import ScriptedServer, healthy_backend, healthy_label_studio
from tests.backend.doctor.surgery import Surgery


@pytest.fixture
def surgery() -> Iterator[Surgery]:
    with (
        ScriptedServer(healthy_backend()) as backend,
        ScriptedServer(healthy_label_studio(backend.url)) as studio,
    ):
        yield Surgery(studio, backend)
