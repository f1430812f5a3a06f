"""What all tests share: no network, few threads, tiny base models and small model versions."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["TAGALONG_OPENVINO"] = "false"  # making one takes a CPU for half a minute
os.environ.pop("COLUMNS", None)  # set for parallel workers; Rich would read it once, on import
os.environ.setdefault("OMP_NUM_THREADS", "1")  # tests run in several processes at once

# The same examples everywhere, so that a failure is one for everybody; HYPOTHESIS_PROFILE=deep
# looks for new ones.
settings.register_profile("steady", deadline=None, derandomize=True, database=None, max_examples=50)
settings.register_profile("deep", deadline=None, max_examples=2000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "steady"))

pytest_plugins = ("tests.versions", "tests.workers")


@pytest.fixture(scope="session")
def tiny_base(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A function from a family's name to the folder of its base, each made once."""
    from tests.tiny_bases import make_base  # torch: the process that runs no tests goes without it

    made: dict[str, Path] = {}

    def base(family: str) -> Path:
        if family not in made:
            made[family] = make_base(family, tmp_path_factory.mktemp("bases") / family)
        return made[family]

    return base
