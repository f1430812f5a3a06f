"""OpenVINO and NNCF: no telemetry, limits on CPUs, and the error where they are missing."""

import os
import subprocess
import sys
from types import SimpleNamespace

import pytest
from joblib import cpu_count

from tagalong.backend.models.openvino import library
from tagalong.backend.models.openvino.library import choose_precision, count_usable_cpus

SILENT = """
import sys

def watch(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.sendto"):
        print("NETWORK", event, arguments[:2], file=sys.stderr)

sys.addaudithook(watch)
from tagalong.backend.models.openvino.library import import_nncf, import_openvino
library, quantiser = import_openvino(), import_nncf()
import torch
library.convert_model(torch.nn.Linear(3, 3), example_input=torch.zeros(1, 3))
print(sys.modules["openvino_telemetry"])
"""
ABSENT = """
import sys
sys.modules["openvino"] = None
from tagalong.backend.models.openvino.library import import_openvino
from tagalong.ner.errors import OpenVINOError
try:
    import_openvino()
except OpenVINOError as error:
    print(error.code)
"""
CPUS = """
import os
os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])
from tagalong.backend.models.openvino.library import count_usable_cpus
print(count_usable_cpus())
"""

QUOTA = """
import builtins, io, os
there, read = os.path.exists, builtins.open
LIMIT = "/sys/fs/cgroup/cpu.max"
os.path.exists = lambda path: path == LIMIT or there(path)
builtins.open = lambda path, *more: io.StringIO("{}") if path == LIMIT else read(path, *more)
from tagalong.backend.models.openvino.library import count_usable_cpus
print(count_usable_cpus())
"""


def run(program: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        env={name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
        | environment,
    )


@pytest.mark.slow
def test_nothing_is_sent_over_the_network() -> None:
    ended = run(SILENT)
    assert ended.stdout.strip().splitlines()[-1] == "None"
    assert "NETWORK" not in ended.stderr


def test_missing_library_has_an_error_code() -> None:
    assert run(ABSENT).stdout.strip() == "openvino-not-installed"


def test_cpu_limit_is_respected(monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(CPUS).stdout.strip() == "1"
    usable = int(
        run(
            "from tagalong.backend.models.openvino.library import *\nprint(count_usable_cpus())"
        ).stdout
    )
    assert usable == cpu_count() <= len(os.sched_getaffinity(0))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert count_usable_cpus() == 1
    monkeypatch.setenv("OMP_NUM_THREADS", "64")
    assert count_usable_cpus() <= len(os.sched_getaffinity(0))


@pytest.mark.parametrize(("quota", "most"), [("100000 100000", 1), ("150000 100000", 2)])
def test_container_quota_is_respected(quota: str, most: int) -> None:
    here = len(os.sched_getaffinity(0))
    assert int(run(QUOTA.format(quota)).stdout) == min(most, here)
    assert int(run(QUOTA.format("max 100000")).stdout) == here


def test_bf16_only_on_cpus_with_bf16(monkeypatch: pytest.MonkeyPatch) -> None:
    for found, precision in (["FP32", "BF16", "INT8"], "bf16"), (["FP32", "INT8"], "f32"):
        core = SimpleNamespace(get_property=lambda *_, found=found: found)
        openvino = SimpleNamespace(Core=lambda core=core: core)
        monkeypatch.setattr(library, "import_openvino", lambda openvino=openvino: openvino)
        assert choose_precision() == precision
