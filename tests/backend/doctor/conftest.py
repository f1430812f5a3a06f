"""A scripted Label Studio and a scripted backend for the doctor."""

from collections.abc import Iterator

import pytest

from tests.backend.doctor.doctor_runner import ScriptedServers, open_scripted_servers


@pytest.fixture
def servers() -> Iterator[ScriptedServers]:
    with open_scripted_servers() as servers:
        yield servers
