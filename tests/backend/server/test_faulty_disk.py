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


@pytest.mark.slow
@needs_faulty_disk
@pytest.mark.parametrize("errno_name", ["ENOSPC", "EIO", "EROFS", "EDQUOT"])
def test_write_error_stays_until_a_write_succeeds(errno_name: str, tmp_path: Path) -> None:
    error = getattr(errno, errno_name)
    is_faulty = False

    def decide(call: DiskCall) -> int:
        return error if is_faulty and ".server" in call.path else 0

    with serve_on_disk(tmp_path, decide) as server:
        server.wait_for(server.is_ready)
        for number in (1, 2):
            assert server.send("POST", "/webhook", event(number))[0] == 201
        is_faulty = True
        for number in (3, 4, 5):
            status, answer = server.send("POST", "/webhook", event(number))
            assert (status, answer["code"]) == (503, "state-file-unusable"), answer
            status, answer = server.send("GET", "/ready")
            assert (status, answer["code"]) == (503, "events-not-stored")
            status, health = server.send("GET", "/health")
            assert (status, health["status"], health["degraded"]) == (200, "UP", True)
        assert server.send("POST", "/predict", request_for(ABSTRACT))[0] == 200
        assert refused_events(server) == 3
        is_faulty = False
        server.wait_for(server.is_ready)
        assert server.send("GET", "/health")[1]["degraded"] is False
        for number in (3, 4, 5):
            assert server.send("POST", "/webhook", event(number))[0] == 201
        assert refused_events(server) == 3
        warnings = [line for line in server.log.read_text().splitlines() if "cannot be" in line]
        assert len([line for line in warnings if line.startswith("journal.sqlite")]) == 1, warnings
        assert len(warnings) == len(set(warnings)), warnings
    assert stored_annotations(tmp_path / "models") == [1, 2, 3, 4, 5]
