"""Every command and writer on a disk that refuses a call, in its turn.

The laws: one sentence says what could not be written. No half file has a final name, and nothing
acknowledged is lost. The same command, run again, ends as if undisturbed. Here are some faults of
each; ``tests/chaos/refuse_writes.py`` tries all.
"""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.disk_faults import COMMANDS, find_violations, make_templates
from tests.faulty_disk import needs_faulty_disk

STORE = ("promote", "rollback", "remove", "assign", "version-files", "events", "jobs")
GROUPS = {  # number of faults of each, and names
    "light": (4, ("split", "evaluate", *STORE)),
    "batch": (4, ("prelabel", "project-journal")),
    "files": (2, ("annotated-tasks", "training-state", "openvino-model", "demo-account")),
    "training": (2, ("train",)),
    "review": (1, ("review",)),
}
SAME_WRITERS = {"convert", "select"}  # as those of "split"


@pytest.mark.slow
@needs_faulty_disk
@pytest.mark.parametrize("group", GROUPS)
def test_refused_call_is_reported_and_loses_nothing(
    group: str, tiny_base: Callable[[str], Path], tmp_path: Path
) -> None:
    make_templates(tmp_path, tiny_base)
    limit, names = GROUPS[group]
    assert not list(find_violations(tmp_path, limit, *names))


def test_every_command_is_in_a_group() -> None:
    assert {name for _, names in GROUPS.values() for name in names} | SAME_WRITERS == set(COMMANDS)
