"""A short run of the fuzzer; ``python -m tests.fuzz`` runs it longer and with other seeds."""

from pathlib import Path

import pytest

from tests.fuzz.bodies import find_body_faults, make_request
from tests.fuzz.origins import find_form_faults
from tests.fuzz.raw_requests import find_shape_faults, shapes
from tests.fuzz.server import start_server
from tests.fuzz.slow_sockets import run_slow_sockets

BODIES = 800
SEED = 22


@pytest.mark.slow
def test_hostile_clients_get_answers_and_nobody_waits(tmp_path: Path) -> None:
    """One test, so that one server starts, and its log is read after all requests."""
    with start_server(tmp_path) as server:
        assert find_body_faults(server, SEED, range(BODIES)) == []
        assert find_shape_faults(server)[1] == []
        assert find_form_faults(server)[1] == []
        assert run_slow_sockets(server, seconds=1)[0] == []
        assert server.find_log_fault() is None
        assert "POST /predict 200" in server.log.read_text(encoding="utf-8")


def test_raw_requests_are_many() -> None:
    assert len(shapes()) >= 200


def test_bodies_follow_from_seed_and_index() -> None:
    first = [make_request(SEED, index) for index in range(50)]
    assert first == [make_request(SEED, index) for index in range(50)]
    assert len({one.body for one in first}) > 40
