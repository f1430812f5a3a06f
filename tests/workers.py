"""Which of pytest's parallel workers runs which tests: those that share something, the same one.

The end-to-end tests share a Label Studio that takes a minute to start, and the tests of a file
their fixtures. `--dist loadgroup` would be the usual way, but of pytest-xdist 3.8 under pytest 9 it
groups nothing.
"""

from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

END_TO_END = "tests/end_to_end/"


class TogetherScheduling(LoadScopeScheduling):
    """Keeps the end-to-end tests together, and the tests of each other file."""

    def _split_scope(self, nodeid: str) -> str:
        return shared(nodeid)


def shared(nodeid: str) -> str:
    """What a test shares with others."""
    return END_TO_END if nodeid.startswith(END_TO_END) else nodeid.partition("::")[0]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> TogetherScheduling | None:
    """Only where nobody asks for another way."""
    return TogetherScheduling(config, log) if config.getoption("dist") == "load" else None
