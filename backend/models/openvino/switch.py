"""The switch that turns OpenVINO off; light to import, for the options of commands."""

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
