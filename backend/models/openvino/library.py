"""Import OpenVINO and NNCF where they are installed, without their telemetry.

Both report every import and every conversion to a statistics service of their makers, unless the
machine has opted out. Tagalong runs in hospitals: here they do not find their telemetry module, and
work without it.
"""

import os
import sys
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from functools import cache
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from types import ModuleType
from typing import Literal

from joblib import cpu_count

from tagalong.ner.errors import OpenVINOError

OpenVINOPrecision = Literal["bf16", "f32"]


@cache
def import_openvino() -> ModuleType:
    """Import OpenVINO; raises `OpenVINOError` where it is missing or does not load."""
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    return _import_library("openvino")


@cache
def import_nncf() -> ModuleType:
    """Import NNCF, which quantizes; raises `OpenVINOError` where it is missing."""
    import_openvino()
    return _import_library("nncf")


def _import_library(name: str) -> ModuleType:
    try:
        return import_module(name)
    except (ImportError, OSError) as error:
        raise OpenVINOError(
            f"OpenVINO cannot be used ({str(error) or name}): pip install -e '.[cpu]' in "
            "Tagalong's folder, or go on with PyTorch",
            code="openvino-not-installed",
        ) from error


def first_error_line(error: BaseException) -> str:
    """The first informative line of an error: OpenVINO begins with positions in its own source."""
    lines = [line.strip() for line in str(error).splitlines()]
    source_positions = ("Exception from ", "Check ")
    informative = [line for line in lines if line and not line.startswith(source_positions)]
    return (informative or [*filter(None, lines), type(error).__name__])[0]


@contextmanager
def translate_runtime_errors(finding: str, code: str) -> Iterator[None]:
    """Raise `OpenVINOError`, the finding and the first line of the cause, where OpenVINO fails."""
    try:
        yield
    except RuntimeError as error:
        raise OpenVINOError(f"{finding} ({first_error_line(error)})", code=code) from error


def openvino_version() -> str:
    """The installed release of OpenVINO; empty where there is none."""
    try:
        return version("openvino")
    except PackageNotFoundError:
        return ""


def choose_precision() -> OpenVINOPrecision:
    """The best arithmetic of this CPU for what is not quantized.

    Raises `OpenVINOError` where OpenVINO is not installed, or does not know this CPU.
    """
    core = import_openvino().Core
    with translate_runtime_errors("OpenVINO cannot use this CPU", "openvino-cpu-unsupported"):
        found: Collection[str] = core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return "bf16" if "BF16" in found else "f32"


def count_usable_cpus() -> int:
    """CPUs that this process may use: by affinity, container quota and OMP_NUM_THREADS."""
    limit = os.environ.get("OMP_NUM_THREADS", "")
    usable = int(cpu_count())
    return min(usable, int(limit)) if limit.isdecimal() and int(limit) else usable
