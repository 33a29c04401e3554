# SPDX-License-Identifier: Apache-2.0
"""Adapters of both classes are saved and loaded in one way."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from voxadapt.adapters import (
    AdapterFolderError,
    BottleneckAdapter,
    BottleneckAdapterConfig,
    WAPTransformer,
    WAPTransformerConfig,
)
from voxadapt.adapters.adapter_folder import load_adapter, save_adapter

ADAPTERS: list[tuple[Any, Any, dict[str, Any]]] = [
    (BottleneckAdapter, BottleneckAdapterConfig, {"input_size": 6, "bottleneck": 4}),
    (
        WAPTransformer,
        WAPTransformerConfig,
        {"input_size": 6, "width": 8, "layers": 1, "heads": 2, "position_groups": 2},
    ),
]
OPTIONS: dict[str, Any] = {"revision": None, "token": None, "dropout": None}


@pytest.mark.parametrize(("kind", "config_kind", "fields"), ADAPTERS)
def test_what_is_saved_comes_back(
    kind: Any, config_kind: Any, fields: dict[str, Any], tmp_path: Path
) -> None:
    adapter = kind(config_kind(**fields, dropout=0.25)).train()
    adapter.extras = {"hours": 3.5}
    save_adapter(adapter, tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["class"] == kind.__name__
    assert config["config"] == {**config["config"], **fields, "dropout": 0.25}
    loaded = load_adapter(kind, config_kind, tmp_path, **OPTIONS)
    assert type(loaded) is kind
    assert loaded.config == adapter.config
    assert loaded.extras == {"hours": 3.5}
    assert not loaded.training
    state = adapter.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in loaded.state_dict().items())
    again = load_adapter(kind, config_kind, tmp_path, **{**OPTIONS, "dropout": 0.5})
    assert again.config.dropout == 0.5


def test_another_class_is_refused(tmp_path: Path) -> None:
    save_adapter(BottleneckAdapter(BottleneckAdapterConfig(6, 4)), tmp_path)
    with pytest.raises(AdapterFolderError, match="'BottleneckAdapter', expected 'WAPTransformer'"):
        load_adapter(WAPTransformer, WAPTransformerConfig, tmp_path, **OPTIONS)
