"""Precision modes and where they run."""

import pytest
import torch

from tagalong.backend.models.base_models.precision import (
    BF16_CAPABILITIES,
    INT8_CAPABILITIES,
    Precision,
    bf16_autocast,
    has_bf16,
    int8_instruction_set,
)

CPU = torch.device("cpu")


def product(wanted: Precision) -> torch.Tensor:
    left = torch.full((2, 2), 1 + 2**-12)  # bf16 has 8 bits of mantissa
    with bf16_autocast(CPU, precision=wanted):
        return left @ left


@pytest.fixture
def capabilities(monkeypatch: pytest.MonkeyPatch) -> dict[str, bool]:
    """Sets the capabilities that this CPU reports."""
    detected: dict[str, bool] = {}
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: detected, raising=False)
    return detected


def test_fp32_and_bf16_on_any_machine() -> None:
    assert product("fp32").dtype == torch.float32
    assert product("fp32")[0, 0] > 2.0
    assert product("bf16").dtype == torch.bfloat16
    assert product("bf16")[0, 0] == 2.0


@pytest.mark.parametrize("name", BF16_CAPABILITIES)
def test_auto_is_bf16_on_native_bf16(capabilities: dict[str, bool], name: str) -> None:
    capabilities[name] = True
    assert has_bf16(CPU)
    assert product("auto").dtype == torch.bfloat16


@pytest.mark.parametrize("detected", [{}, {"avx512_bf16": False}, {"avx512_f": True, "avx2": True}])
def test_auto_is_fp32_without_native_bf16(
    capabilities: dict[str, bool], detected: dict[str, bool]
) -> None:
    capabilities |= detected
    assert not has_bf16(CPU)
    assert product("auto").dtype == torch.float32


def test_auto_is_fp32_if_pytorch_cannot_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    assert not has_bf16(CPU)


def test_int8_instruction_set_is_named(capabilities: dict[str, bool]) -> None:
    capabilities |= {"avx2": True, "avx512_f": True}
    assert int8_instruction_set() == ""
    for name in reversed(INT8_CAPABILITIES):
        capabilities[name] = True
        assert int8_instruction_set() == name
    capabilities["amx_int8"] = False
    assert int8_instruction_set() == "avx512_vnni"


def test_precision_context_restores_settings() -> None:
    with bf16_autocast(CPU, precision="bf16"):
        assert torch.is_autocast_enabled("cpu")
        with bf16_autocast(CPU, precision="fp32"):
            assert not torch.is_autocast_enabled("cpu")
    assert not torch.is_autocast_enabled("cpu")
