"""What all tests share: no network, few threads, and the tiny base models."""

import os

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ.setdefault("OMP_NUM_THREADS", "1")  # tests run in several processes at once

pytest_plugins = ("tests.tiny_bases",)
