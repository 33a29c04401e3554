# SPDX-License-Identifier: Apache-2.0
"""bf16 where the machine has it, and a word where it does not."""

import platform

import pytest
import torch

from voxadapt.recipes.running import encoder_precision
from voxadapt.recipes.running.encoder_precision import has_bf16, usable_precision


def set_processor(
    monkeypatch: pytest.MonkeyPatch, machine: str, *, avx512: bool = False, amx: bool = False
) -> None:
    monkeypatch.setattr(platform, "machine", lambda: machine)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: avx512)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx)


def test_x86_needs_the_instructions(monkeypatch: pytest.MonkeyPatch) -> None:
    for machine in ("x86_64", "AMD64"):
        set_processor(monkeypatch, machine)
        assert has_bf16("cpu") is False
        set_processor(monkeypatch, machine, avx512=True)
        assert has_bf16("cpu") is True
        set_processor(monkeypatch, machine, amx=True)
        assert has_bf16("cpu") is True


def test_without_onednn_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    set_processor(monkeypatch, "x86_64", avx512=True)
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    assert has_bf16("cpu") is False


@pytest.mark.parametrize("answer", [True, False])
def test_a_gpu_that_emulates_it_does_not_have_it(
    answer: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = {}

    def supported(**options: bool) -> bool:
        asked.update(options)
        return answer

    monkeypatch.setattr(torch.cuda, "is_bf16_supported", supported)
    assert has_bf16("cuda") is answer
    assert asked == {"including_emulation": False}


def test_the_device_asked_is_the_one_that_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def has(kind: str) -> bool:
        asked.append(kind)
        return True

    monkeypatch.setattr(encoder_precision, "has_bf16", has)
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: False)
    assert usable_precision("bf16") == "bf16"
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: True)
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda: torch.device("cuda"))
    assert usable_precision("bf16") == "bf16"
    assert asked == ["cpu", "cuda"]


def test_where_it_is_lacking_fp32_is_used_and_said(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(encoder_precision, "has_bf16", lambda kind: False)
    assert usable_precision("fp32") == "fp32"
    assert caplog.text == ""
    assert usable_precision("bf16") == "fp32"
    (said,) = caplog.messages
    assert said.startswith("--precision bf16: the ")
    assert "so fp32 is used" in said
