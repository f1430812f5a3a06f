"""OpenVINO and NNCF, where they are installed, and kept from telling anybody.

Both report every import and every conversion to a statistics service of their makers unless
somebody opted out on the machine. Tagalong runs in hospitals: here they find that module missing,
and go on without it.
"""

import os
import sys
from collections.abc import Collection
from functools import cache
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from types import ModuleType
from typing import Literal

from joblib import cpu_count

from tagalong.ner.errors import OpenVINOError

INSTALL_ADVICE = "pip install -e '.[cpu]' in Tagalong's folder"
OpenVINOPrecision = Literal["bf16", "f32"]


@cache
def import_openvino() -> ModuleType:
    """The library that runs engines.

    Returns:
        Its module.

    Raises:
        OpenVINOError: If it is not installed, or cannot be loaded on this machine.
    """
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    return _import_library("openvino")


@cache
def import_nncf() -> ModuleType:
    """The library that quantises.

    Returns:
        Its module.

    Raises:
        OpenVINOError: If it is not installed, or cannot be loaded on this machine.
    """
    import_openvino()
    return _import_library("nncf")


def _import_library(name: str) -> ModuleType:
    """A library, or why there is none."""
    try:
        return import_module(name)
    except (ImportError, OSError) as error:
        raise OpenVINOError(
            f"no CPU engine can be used ({str(error) or name}): {INSTALL_ADVICE}, or go on with PyTorch"
        ) from error


def first_error_line(error: BaseException) -> str:
    """What an error says, in one line.

    Args:
        error: Of either library.

    Returns:
        Its first line that says something: OpenVINO begins with the places in its own source.
    """
    lines = [line.strip() for line in str(error).splitlines()]
    places = ("Exception from ", "Check ")
    said = [line for line in lines if line and not line.startswith(places)]
    return (said or [*filter(None, lines), type(error).__name__])[0]


def openvino_version() -> str:
    """What an engine is made for: OpenVINO's release; empty where it is not installed."""
    try:
        return version("openvino")
    except PackageNotFoundError:
        return ""


def cpu_capabilities() -> frozenset[str]:
    """What OpenVINO computes in on this CPU.

    Returns:
        Its names, such as ``BF16``. It says ``INT8`` of every CPU, whether it is fast there or not.

    Raises:
        OpenVINOError: If OpenVINO is not there, or does not know this CPU.
    """
    core = import_openvino().Core
    try:
        found: Collection[str] = core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    except RuntimeError as error:
        raise OpenVINOError(f"OpenVINO cannot use this CPU ({first_error_line(error)})") from error
    return frozenset(found)


def choose_precision(capabilities: Collection[str]) -> OpenVINOPrecision:
    """What to compute in where nothing is quantised.

    Args:
        capabilities: As `cpu_capabilities` gives them.

    Returns:
        bf16 where the CPU has it.
    """
    return "bf16" if "BF16" in capabilities else "f32"


def count_usable_cpus() -> int:
    """How many CPUs this process may use.

    Returns:
        No more than its affinity and the quota of its container allow, nor than OMP_NUM_THREADS
        says.
    """
    wanted = os.environ.get("OMP_NUM_THREADS", "")
    usable = int(cpu_count())
    return min(usable, int(wanted)) if wanted.isdecimal() and int(wanted) else usable
