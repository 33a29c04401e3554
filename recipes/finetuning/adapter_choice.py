# SPDX-License-Identifier: Apache-2.0
"""Which adapter to fine-tune: a pretrained one, a random one, a bottleneck, or none."""

import dataclasses
import logging
from difflib import get_close_matches
from pathlib import Path

import torch

from voxadapt.adapters import (
    AdapterFolderError,
    BottleneckAdapter,
    BottleneckAdapterConfig,
    FeatureStandardizer,
    WAPTransformer,
    WAPTransformerConfig,
)
from voxadapt.backbones import Backbone
from voxadapt.frame_classifier import Adapter
from voxadapt.recipes.finetuning.options import FinetuneOptions
from voxadapt.recipes.pretraining.options import AdapterSize
from voxadapt.recipes.running.command_line import UsageError, written_out
from voxadapt.recipes.running.options import PRETRAIN_OUT
from voxadapt.recipes.running.run_folder import read_record

logger = logging.getLogger(__name__)

WORDS = ("random", "bottleneck", "none")


def choose_adapter(options: FinetuneOptions, backbone: Backbone) -> str:
    """Settle ``--adapter``: a word such as ``random``, or a pretrained adapter's folder or hub id.

    Without ``--adapter``, the one that ``pretrain_adapter`` left in its default folder is taken if
    it belongs to this backbone, else a random one; either way it is said.

    Raises:
        AdapterFolderError: The adapter named is not there or damaged.
        UsageError: It was pretrained on another backbone, or a word is misspelt.
    """
    if options.adapter in WORDS:
        return options.adapter
    if options.adapter is not None:
        named = find_adapter(options.adapter)
        check_pretrained(named, options, backbone)
        return named
    default = Path(PRETRAIN_OUT) / "adapter"
    if not default.is_dir():
        logger.info(
            "no --adapter given and none in %s: using a random one (pretrain one with "
            "`accelerate launch recipes/pretrain_adapter.py`)",
            default,
        )
        return "random"
    try:
        check_pretrained(str(default), options, backbone)
    except UsageError as error:
        logger.info("no --adapter given, and the one in %s does not fit: %s", default, error)
        logger.info("using a random adapter")
        return "random"
    logger.info("no --adapter given: using the pretrained one in %s", default)
    return str(default)


def find_adapter(named: str) -> str:
    """Return the adapter's folder where ``named`` is a run's folder, else ``named`` itself."""
    inside = Path(named) / "adapter"
    if inside.is_dir():
        return str(inside)
    meant = get_close_matches(named, WORDS, n=1)
    if meant and not Path(named).exists():
        raise UsageError(
            f"--adapter {named}: there is no such folder; for `{meant[0]}`, write that. A hub id "
            "reads NAMESPACE/NAME"
        )
    record = read_record(Path(named))
    if record is not None and record["command"] != "pretrain_adapter":
        raise AdapterFolderError(
            f"--adapter {named}: is a run of {record['command']}, which leaves no adapter; give "
            "the folder of a run of pretrain_adapter, or `random`"
        )
    if record is not None:
        raise AdapterFolderError(
            f"--adapter {named}: this run has no adapter yet; finish it first: "
            f"`pretrain_adapter.py --out {named} --resume` with its own options"
        )
    return named


def check_pretrained(named: str, options: FinetuneOptions, backbone: Backbone) -> None:
    """Refuse an adapter that is damaged or of another backbone; tell of options it overrules.

    Raises:
        AdapterFolderError: It is not there or damaged.
        UsageError: It was pretrained on another backbone.
    """
    adapter = WAPTransformer.from_pretrained(named)
    check_backbone(named, adapter, backbone)
    say_whose_size(named, adapter, options.size)


def check_backbone(named: str, adapter: WAPTransformer, backbone: Backbone) -> None:
    """Refuse an adapter that was pretrained on other frames than this backbone's.

    Raises:
        UsageError: Saying which backbone it belongs to.
    """
    expected = adapter.extras.get("backbone_fingerprint")
    size = adapter.input_size
    way_out = f"Use that backbone{wanted(adapter)}, or pretrain an adapter on this one"
    if backbone.spec.layer_outputs > 1:
        way_out = "Use that layer instead of the learnt sum, or --adapter random"
    if size != backbone.spec.feature_size or expected not in (None, backbone.fingerprint()):
        raise UsageError(
            f"--adapter {named}: was pretrained on the frames of {adapter.extras.get('backbone')} "
            f"({size} features), not of {backbone.config()} ({backbone.spec.feature_size} "
            f"features). {way_out}"
        )


def say_whose_size(named: str, adapter: WAPTransformer, asked: AdapterSize) -> None:
    """Log which of the ``--size`` options do not hold, as a pretrained adapter brings its own."""
    own, default = adapter.config, AdapterSize()
    told = [
        f"--size.{name} {size}, and this has {getattr(own, name)}"
        for name, size in dataclasses.asdict(asked).items()
        if name != "dropout" and size not in (getattr(default, name), getattr(own, name))
    ]
    if told:
        logger.warning("--adapter %s: brings its own size; not used: %s", named, "; ".join(told))


def wanted(adapter: WAPTransformer) -> str:
    """The options that give the frames an adapter was pretrained on, in brackets; or nothing."""
    backbone = adapter.extras.get("backbone")
    if not isinstance(backbone, dict):
        return ""
    if backbone.get("type") == "fbank":
        return " (--backbone fbank)"
    given = written_out(backbone=backbone.get("name_or_path"), layer=backbone.get("layer"))
    return f" ({given})" if given else ""


def build_adapter(
    choice: str,
    options: FinetuneOptions,
    feature_size: int,
    statistics: tuple[torch.Tensor, torch.Tensor],
) -> Adapter:
    """Build the adapter that `choose_adapter` settled on.

    Args:
        choice: What it returned.
        options: The run's options.
        feature_size: Features ``D`` of a frame that the adapter gets.
        statistics: Mean and standard deviation ``[D]`` over the training part.
    """
    if choice == "none":
        standardizer = FeatureStandardizer(feature_size)
        standardizer.set_statistics(*statistics)
        return standardizer
    if choice == "bottleneck":
        bottleneck = BottleneckAdapter(
            BottleneckAdapterConfig(feature_size, options.bottleneck.size, options.adapter_dropout)
        )
        bottleneck.standardize.set_statistics(*statistics)
        return bottleneck
    if choice == "random":
        size = dataclasses.asdict(options.size) | {"dropout": options.adapter_dropout}
        adapter = WAPTransformer(WAPTransformerConfig(input_size=feature_size, **size))
        adapter.standardize.set_statistics(*statistics)
    else:
        adapter = WAPTransformer.from_pretrained(choice, dropout=options.adapter_dropout)
        if options.adapter_statistics == "corpus":
            adapter.standardize.set_statistics(*statistics)
    # Hidden time keeps the look that it had in pretraining. (And DistributedDataParallel would stop
    # at a parameter that waits for a gradient and gets none, as where nothing is hidden.)
    adapter.mask_embedding.requires_grad_(False)
    return adapter
