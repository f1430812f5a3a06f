"""Optimizers: paged 8-bit AdamW on a GPU, plain AdamW on a CPU or without bitsandbytes."""

import sys

import pytest
import torch
from bitsandbytes.optim import PagedAdamW8bit

from tagalong.training.loop.optimizers import build_fused_adamw, choose_optimizer


def test_optimizer_by_device(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu, cpu = torch.device("cuda"), torch.device("cpu")
    assert choose_optimizer(gpu) is PagedAdamW8bit
    assert choose_optimizer(cpu) is build_fused_adamw
    monkeypatch.setitem(sys.modules, "bitsandbytes.optim", None)  # makes its import fail
    assert choose_optimizer(gpu) is build_fused_adamw
