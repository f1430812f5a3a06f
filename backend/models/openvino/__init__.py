"""Encoders compiled for OpenVINO, which runs them faster than PyTorch on a CPU.

`library` imports OpenVINO and NNCF, which may be missing. `compile` compiles a version, and `check`
refuses a model that predicts something else. `cache` keeps it, and `runner` runs it.
"""

import os

OPENVINO_SWITCH = "TAGALONG_OPENVINO"
FALSE_VALUES = frozenset({"0", "false", "f", "no", "n", "off"})  # as Typer reads them
OPENVINO_MISSING_MESSAGE = (
    "OpenVINO is not installed, so encoders run with PyTorch. Without a GPU, pip install -e "
    "'.[cpu]' in Tagalong's folder makes them faster."
)


def is_openvino_enabled() -> bool:
    """Whether the environment leaves OpenVINO on."""
    return os.environ.get(OPENVINO_SWITCH, "").lower() not in FALSE_VALUES
