"""Shared settings and fixtures: no network, few threads, tiny base models."""

import gc
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["TAGALONG_OPENVINO"] = "false"  # compiling takes a CPU half a minute
os.environ.pop("COLUMNS", None)  # set for parallel workers, and Rich reads it on import
os.environ.setdefault("OMP_NUM_THREADS", "1")  # tests run in several processes at once

# The same examples on all machines, so that failures are reproducible. HYPOTHESIS_PROFILE=deep
# looks for new ones.
settings.register_profile("steady", deadline=None, derandomize=True, database=None, max_examples=50)
settings.register_profile("deep", deadline=None, max_examples=2000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "steady"))

pytest_plugins = ("tests.versions", "tests.workers")


def pytest_collection_finish() -> None:
    """Exempt the imported modules from collections: each would visit millions of objects."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def tiny_base(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Create the base model of a family, once per session; returns its folder."""
    from tests.tiny_bases import (
        make_base,
    )  # imports torch, which the controller of xdist does not need

    made: dict[str, Path] = {}

    def base(family: str) -> Path:
        if family not in made:
            made[family] = make_base(family, tmp_path_factory.mktemp("bases") / family)
        return made[family]

    return base
