"""The real server on a disk that refuses writes, with each errno."""

import errno
from pathlib import Path

import pytest

from tests.backend.server.app_client import ABSTRACT, request_for
from tests.backend.server.lexicon_server import LexiconServer, serve_on_disk, stored_annotations
from tests.faulty_disk import DiskCall, needs_faulty_disk

REFUSED = "tagalong_webhook_events_refused_total "


def event(number: int) -> dict[str, object]:
    return {"action": "ANNOTATION_CREATED", "project": 1, "annotation": {"id": number}}


def refused_events(server: LexiconServer) -> float:
    _, metrics = server.send("GET", "/metrics")
    [line] = [line for line in metrics.splitlines() if line.startswith(REFUSED)]
    return float(line.removeprefix(REFUSED))


def is_degraded(server: LexiconServer) -> bool:
    return bool(server.send("GET", "/health")[1]["degraded"])


@pytest.mark.slow
@needs_faulty_disk
def test_write_error_stays_until_a_write_succeeds(tmp_path: Path) -> None:
    error = 0

    def decide(call: DiskCall) -> int:
        return error if ".server" in call.path else 0

    with serve_on_disk(tmp_path, decide) as server:
        server.wait_for(server.is_ready)
        assert server.send("POST", "/webhook", event(1))[0] == 201
        for n_faults, fault in enumerate((errno.ENOSPC, errno.EIO, errno.EROFS, errno.EDQUOT)):
            error = fault
            numbers = range(2 + 2 * n_faults, 4 + 2 * n_faults)
            for number in numbers:
                status, answer = server.send("POST", "/webhook", event(number))
                assert (status, answer["code"]) == (503, "state-file-unusable"), answer
                status, answer = server.send("GET", "/ready")
                assert (status, answer["code"]) == (503, "events-not-stored")
                status, health = server.send("GET", "/health")
                assert (status, health["status"], health["degraded"]) == (200, "UP", True)
            assert server.send("POST", "/predict", request_for(ABSTRACT))[0] == 200
            assert refused_events(server) == 2 * n_faults + 2
            logged = server.log.read_text().count("journal.sqlite cannot be used")
            assert logged == n_faults + 1, server.log.read_text()
            error = 0
            server.wait_for(lambda: server.is_ready() and not is_degraded(server))
            for number in numbers:
                assert server.send("POST", "/webhook", event(number))[0] == 201
    assert stored_annotations(tmp_path / "models") == list(range(1, 10))
