"""Distribution and order of the tests on pytest's parallel workers.

The tests of a file share fixtures, and the end-to-end tests a Label Studio, so each group stays in
one worker. Long groups come first, so that the workers end at the same time. `--dist loadgroup`
would be the usual way, but with pytest-xdist 3.8 and pytest 9 it groups nothing.
"""

from pathlib import PurePosixPath
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling
from xdist.workermanage import WorkerController

END_TO_END = "tests/end_to_end/"
VALIDATING = "tests/end_to_end/ with validation"
# These use a second Label Studio, which validates predictions. The two groups take equally long.
USES_VALIDATION = {"test_label_studio.py", "test_prelabel.py", "test_tabs.py"}
# The first group installs Label Studio where there is none, and meanwhile others need none.
LONG_GROUPS = (
    VALIDATING,
    "tests/cli/prelabel/test_command.py",
    "tests/backend/models/openvino/test_compile.py",
    END_TO_END,
    "tests/training/llm/test_train.py",
    "tests/training/encoder/test_train.py",
    "tests/backend/models/llm/test_slot_decoder.py",
    "tests/backend/batch/test_ray_engine.py",
    "tests/cli/test_distributed_training.py",
    "tests/backend/storage/test_killed_publishers.py",
)


class GroupScheduling(LoadScopeScheduling):
    """Keeps each group of tests on one worker, and starts with the long groups."""

    def _split_scope(self, nodeid: str) -> str:
        return group_of(nodeid)

    def _assign_work_unit(self, node: WorkerController) -> None:
        waiting = [group for group in LONG_GROUPS if group in self.workqueue]
        if waiting:
            self.workqueue.move_to_end(waiting[0], last=False)
        super()._assign_work_unit(node)


def group_of(nodeid: str) -> str:
    """The group of a test."""
    path = nodeid.partition("::")[0]
    if not path.startswith(END_TO_END):
        return path
    return VALIDATING if PurePosixPath(path).name in USES_VALIDATION else END_TO_END


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> GroupScheduling | None:
    """Used unless another distribution is requested."""
    return GroupScheduling(config, log) if config.getoption("dist") == "load" else None
