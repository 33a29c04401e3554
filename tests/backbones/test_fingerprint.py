# SPDX-License-Identifier: Apache-2.0
import torch
from torch import nn

from voxadapt.backbones.fingerprint import fingerprint_of


def linear() -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(3, 2)


def test_the_same_for_the_same():
    first = fingerprint_of({"a": 1, "b": [2]}, linear())
    assert first == fingerprint_of({"b": [2], "a": 1}, linear())
    assert len(first) == 64
    assert int(first, 16)


def test_another_for_each_change():
    moved, renamed, reshaped = linear(), nn.Module(), linear()
    with torch.no_grad():
        moved.weight[1, 2] = torch.nextafter(moved.weight[1, 2], torch.tensor(9.0))
    renamed.weights, renamed.bias = linear().weight, linear().bias
    reshaped.weight = nn.Parameter(linear().weight.reshape(3, 2))
    fingerprints = [
        fingerprint_of({"a": 1}, module)
        for module in (linear(), moved, renamed, reshaped, linear().bfloat16(), nn.Identity())
    ]
    fingerprints.append(fingerprint_of({"a": 2}, linear()))
    assert len(set(fingerprints)) == len(fingerprints)


def test_scalars_and_integers_are_hashed():
    counted, further = nn.BatchNorm1d(2), nn.BatchNorm1d(2)
    further.num_batches_tracked += 1
    assert fingerprint_of({}, counted) != fingerprint_of({}, further)


def test_the_same_bytes_of_another_type_are_other_numbers():
    fingerprints = set()
    for dtype in (torch.float32, torch.int32):
        module = nn.Module()
        module.register_buffer("numbers", torch.arange(4, dtype=torch.int32).view(dtype))
        fingerprints.add(fingerprint_of({}, module))
    assert len(fingerprints) == 2
