# SPDX-License-Identifier: Apache-2.0
import math
import subprocess
import sys

import pytest
import torch
from torch import nn

from voxadapt.backbones.base import freeze, pad_waveforms, prepare_waveforms


def test_pad_waveforms():
    waveforms, padding_mask = pad_waveforms([torch.ones(3), torch.ones(1), torch.ones(2)])
    assert waveforms.tolist() == [[1, 1, 1], [1, 0, 0], [1, 1, 0]]
    assert padding_mask.tolist() == [
        [False, False, False],
        [False, True, True],
        [False, False, True],
    ]


@pytest.mark.parametrize("clips", [[], [torch.ones(0)], [torch.ones(1, 5)]])
def test_pad_waveforms_refuses(clips):
    with pytest.raises(ValueError, match="waveforms"):
        pad_waveforms(clips)


def test_prepare_waveforms_clears_the_padding_and_extends():
    waveforms = torch.tensor([[1.0, 2.0, math.nan], [1.0, math.inf, -math.inf]])
    padding_mask = torch.tensor([[False, False, True], [False, True, True]])
    prepared, lengths = prepare_waveforms(waveforms.double(), padding_mask, 5)
    assert prepared.tolist() == [[1, 2, 0, 0, 0], [1, 0, 0, 0, 0]]
    assert prepared.dtype == torch.float32
    assert lengths.tolist() == [2, 1]


@pytest.mark.parametrize(
    ("waveforms", "padding_mask", "message"),
    [
        (torch.ones(4), torch.zeros(4, dtype=torch.bool), r"\[B, S\]"),
        (torch.ones(1, 4, dtype=torch.int16), torch.zeros(1, 4, dtype=torch.bool), "float"),
        (torch.ones(0, 4), torch.zeros(0, 4, dtype=torch.bool), "no clip"),
        (torch.ones(1, 4), torch.zeros(1, 5, dtype=torch.bool), "padding_mask has shape"),
        (torch.ones(1, 4), torch.zeros(1, 4), "bool"),
        (torch.ones(2, 4), torch.tensor([[False] * 4, [True] * 4]), r"Clips \[1\]"),
        (torch.ones(1, 3), torch.tensor([[True, False, False]]), "on the right"),
    ],
)
def test_prepare_waveforms_refuses(waveforms, padding_mask, message):
    with pytest.raises(ValueError, match=message):
        prepare_waveforms(waveforms, padding_mask, 1)


def test_freeze():
    module = nn.Sequential(nn.Linear(2, 2), nn.Dropout())
    freeze(module)
    assert not any(part.training for part in module.modules())
    assert not any(parameter.requires_grad for parameter in module.parameters())


def test_importing_the_package_imports_neither_transformers_nor_torchaudio():
    code = (
        "import sys, voxadapt.backbones\n"
        "heavy = {'transformers', 'torchaudio', 'peft', 'huggingface_hub', 'soundfile'}\n"
        "sys.exit(', '.join(sorted(heavy & set(sys.modules))) or 0)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
