"""What all tests share: no network, few threads, tiny base models and small model versions."""

import os

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

pytest_plugins = ("tests.tiny_bases", "tests.versions", "tests.workers")
