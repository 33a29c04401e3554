# SPDX-License-Identifier: Apache-2.0
"""The encoder's checkpoint inside a model's folder, so that nothing else has to be fetched."""

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .adapters.saving import CONFIG_FILE, AdapterFolderError
from .backbones import (
    FAMILIES,
    Backbone,
    BackboneError,
    EncoderBackbone,
    Precision,
    backbone_from_config,
)
from .backbones.checkpoint_loading import read_model_type, read_preprocessor

BUNDLE = "backbone"
"""Folder of the checkpoint inside the model's folder."""


def bundle_backbone(
    config: Mapping[str, Any], fingerprint: str, folder: Path, source: Path | None = None
) -> dict[str, Any]:
    """Write the encoder's checkpoint into a model's folder.

    What is written is the encoder alone, in the number format of its checkpoint: no heads, and of
    Whisper no decoder.

    Args:
        config: What the backbone's ``config`` gave.
        fingerprint: Its fingerprint; the copy must have the same.
        folder: The model's folder.
        source: Where the checkpoint is, if it is not where the config says.

    Returns:
        The config with ``"bundled": True``; unchanged for the filterbank, which has no checkpoint.

    Raises:
        BackboneError: There is nothing to copy, or the copy would give other features.
    """
    if config["type"] != "encoder":
        return dict(config)
    name = config["name_or_path"]
    if name is None and source is None:
        raise BackboneError(
            "The backbone has no name_or_path, so its checkpoint cannot be bundled: save the "
            "encoder by its own save_pretrained, and load the backbone from that folder."
        )
    target = folder / BUNDLE
    if source is None or not (target.exists() and source.samefile(target)):
        _copy_checkpoint(str(source or name), None if source else config["revision"], target)
        copied = {**config, "name_or_path": str(target), "revision": None}
        try:
            backbone_from_config({**copied, "fingerprint": fingerprint})
        except BackboneError:
            shutil.rmtree(target)
            raise
    # Where a folder lay on this machine helps nobody, and a bare name would look like a hub id.
    local = os.path.isdir(name or "") or name is None
    return {
        **config,
        "name_or_path": f"./{Path(name or 'encoder').name}" if local else name,
        "bundled": True,
    }


def bundle_of(config: Mapping[str, Any], folder: Path) -> Path | None:
    """The checkpoint in a model's folder; None where its config says that there is none.

    Raises:
        AdapterFolderError: It says there is one, but there is not.
    """
    if not config.get("bundled"):
        return None
    bundle = folder / BUNDLE
    if not (bundle / "config.json").is_file():
        raise AdapterFolderError(
            f"{bundle / 'config.json'}: not there, but {CONFIG_FILE} says that the encoder is "
            "bundled; the folder is incomplete. Fetch it again."
        )
    return bundle


def load_saved_backbone(
    config: Mapping[str, Any], bundle: Path | None, precision: Precision
) -> Backbone:
    """Load the backbone of a saved model, from its bundle if it has one.

    It goes by the name and revision that the config tells, so that it can be referred to again.
    """
    plain = {key: value for key, value in config.items() if key != "bundled"}
    if bundle is None:
        return backbone_from_config(plain, precision=precision)
    backbone = backbone_from_config(
        {**plain, "name_or_path": str(bundle), "revision": None}, precision=precision
    )
    if isinstance(backbone, EncoderBackbone):
        backbone.name, backbone.revision = config["name_or_path"], config.get("revision")
    return backbone


def _copy_checkpoint(name: str, revision: str | None, target: Path) -> None:
    import torch

    family = FAMILIES[read_model_type(name, revision)]
    model = family.load(name, revision)
    for kind in (torch.float16, torch.bfloat16):
        # Checkpoints in half precision are computed in float32, but need not be kept so.
        if all(torch.equal(weight, weight.to(kind).to(weight)) for weight in model.parameters()):
            model = model.to(kind)
            break
    # transformers would undo the renaming of keys that was asked for, and cannot for Whisper's.
    model.save_pretrained(target, save_original_format=not family.key_mapping)
    preprocessor = read_preprocessor(name, revision)
    if preprocessor:
        text = json.dumps(preprocessor, indent=2)
        (target / "preprocessor_config.json").write_text(text, encoding="utf-8")
