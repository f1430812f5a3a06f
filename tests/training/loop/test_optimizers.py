"""A GPU gets paged 8-bit states, a CPU plain AdamW; without bitsandbytes both do."""

import sys

import pytest
import torch
from bitsandbytes.optim import PagedAdamW8bit

from tagalong.training.loop.optimizers import build_fused_adamw, choose_optimizer


def test_the_optimizer_of_a_device(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu, cpu = torch.device("cuda"), torch.device("cpu")
    assert choose_optimizer(gpu) is PagedAdamW8bit
    assert choose_optimizer(cpu) is build_fused_adamw
    monkeypatch.setitem(sys.modules, "bitsandbytes.optim", None)  # its import fails
    assert choose_optimizer(gpu) is build_fused_adamw
