# SPDX-License-Identifier: Apache-2.0
"""An adapter as a folder: how adapters of either class are saved and loaded."""

import os
from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, TypeVar

from .saving import build_config, load_folder, save_folder

if TYPE_CHECKING:
    from .bottleneck import BottleneckAdapter
    from .wap_transformer import WAPTransformer

Adapter = TypeVar("Adapter", "BottleneckAdapter", "WAPTransformer")


def save_adapter(
    adapter: "BottleneckAdapter | WAPTransformer", folder: str | os.PathLike[str]
) -> None:
    """Write class, config, ``extras`` and tensors of an adapter into a folder, which is made.

    Args:
        adapter: The adapter.
        folder: Where.

    Raises:
        TypeError: Its ``extras`` are not JSON-able; nothing has been written.
    """
    described = {"class": type(adapter).__name__, "config": asdict(adapter.config)}
    save_folder(folder, adapter.state_dict(), {**described, "extras": adapter.extras})


def load_adapter(
    adapter_class: type[Adapter],
    config_class: Callable[..., Any],
    name_or_path: str | os.PathLike[str],
    *,
    revision: str | None,
    token: str | None,
    dropout: float | None,
) -> Adapter:
    """Load what `save_adapter` wrote, strictly; it comes in eval mode.

    Args:
        adapter_class: The class that the folder must be of.
        config_class: The class of its config.
        name_or_path: The folder, or a Hugging Face hub id.
        revision: Branch, tag or commit on the hub.
        token: Access token for a private repository.
        dropout: Dropout to train with from here on; None keeps the saved one.

    Raises:
        AdapterFolderError: The folder is not there, is of another class, is damaged, or its tensors
            are not exactly this model's.
        ValueError: ``dropout`` is not at least 0 and below 1.
    """
    config, tensors = load_folder(
        name_or_path, adapter_class.__name__, revision=revision, token=token
    )
    adapter = adapter_class(build_config(config_class, config.get("config"), tensors.config_file))
    adapter.extras = config.get("extras", {})
    tensors.into(adapter)
    if dropout is not None:
        adapter.set_dropout(dropout)
    return adapter.eval()
