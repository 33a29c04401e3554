# SPDX-License-Identifier: Apache-2.0
"""The folder of a `SpeechClassifier`: what is written into it, here or for the hub."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .adapters.saving import Extras, save_folder, update_extras, write_aside
from .adapters.uploading import UploadError
from .backbone_bundle import BUNDLE, bundle_backbone
from .backbones import SAMPLE_RATE, tuning_config
from .card_results import results_of
from .classifier_names import ARCHITECTURE, MODEL_TYPE
from .model_card import CARD_FILE, PLACE, classifier_card

if TYPE_CHECKING:
    from .classifier import SpeechClassifier

PREPROCESSOR_FILE = "preprocessor_config.json"
# What transformers' AutoFeatureExtractor reads. The backbone normalises, so this must not.
_PREPROCESSOR = {
    "feature_extractor_type": "Wav2Vec2FeatureExtractor",
    "sampling_rate": SAMPLE_RATE,
    "feature_size": 1,
    "do_normalize": False,
    "padding_side": "right",
    "padding_value": 0.0,
    "return_attention_mask": True,
}


def describe(model: "SpeechClassifier") -> dict[str, Any]:
    """What ``config.json`` holds of a model, but for ``extras``."""
    tuned_layers = model.frame_classifier.tuned_layers
    if tuned_layers is None:
        described = {
            "backbone": model.backbone.config(),
            "backbone_fingerprint": model.backbone.fingerprint(),
        }
    else:
        described = {
            "backbone": tuned_layers.backbone_config,
            "backbone_fingerprint": tuned_layers.backbone_fingerprint,
            "tuning": tuning_config(tuned_layers.tuning),
        }
    return {
        "class": type(model).__name__,
        # By these two, transformers finds the class that reads the rest.
        "model_type": MODEL_TYPE,
        "architectures": [ARCHITECTURE],
        **model.outputs.config(),
        "sample_rate": SAMPLE_RATE,
        **described,
        "frame_classifier": model.frame_classifier.config(),
    }


def save_classifier(
    model: "SpeechClassifier",
    folder: str | os.PathLike[str],
    *,
    bundle: bool = False,
    extras: Extras | None = None,
    place: str = PLACE,
) -> None:
    """Write a model's folder; see `SpeechClassifier.save_pretrained`.

    Args:
        model: The model.
        folder: Where; made if it is not there.
        bundle: Whether the encoder's checkpoint is put in; one that was stays so in any case.
        extras: Instead of the model's own.
        place: Folder or hub id that the model card shows in its examples.
    """
    folder, config = Path(folder), describe(model)
    if bundle or model.bundle is not None:
        config["backbone"] = bundle_backbone(
            config["backbone"], config["backbone_fingerprint"], folder, model.bundle
        )
    config["extras"] = dict(model.extras if extras is None else extras)
    if model.backbone.spec.licence is not None:
        config["extras"].setdefault("backbone_licence", model.backbone.spec.licence)
    card = classifier_card(config, place)
    save_folder(folder, model.frame_classifier.trained_state(), config)
    preprocessor = json.dumps(_PREPROCESSOR, indent=2)
    write_aside(folder / PREPROCESSOR_FILE, f"{preprocessor}\n".encode())
    write_aside(folder / CARD_FILE, card.encode())


def keep_results(folder: Path, metrics: Mapping[str, Any]) -> None:
    """Put what a saved model scored into its folder, for its card and whoever loads it.

    Args:
        folder: The model's folder.
        metrics: What stands in the run's ``metrics.json``.
    """
    config = update_extras(folder, {"results": results_of(metrics)})
    write_aside(folder / CARD_FILE, classifier_card(config).encode())


def save_for_upload(
    model: "SpeechClassifier", folder: str | os.PathLike[str], repo_id: str, *, bundle: bool = False
) -> None:
    """Write a model's folder as others get it: without this machine's paths.

    Args:
        model: The model.
        folder: Where.
        repo_id: Where it will be.
        bundle: Whether the encoder's checkpoint is put in.

    Raises:
        UploadError: The encoder is one that nobody else has, and is not to be bundled.
    """
    name = describe(model)["backbone"].get("name_or_path", "")
    if not bundle and model.bundle is None and (name is None or os.path.isdir(name)):
        raise UploadError(
            f"backbone: {name or 'an encoder in memory'} is only on this machine, so nobody else "
            f"could load the model. Put it in by --bundle-backbone (bundle_backbone=True: a folder "
            f"{BUNDLE!r} beside the weights), or train on an encoder of the hub by its id."
        )
    extras = without_folders(model.extras)
    save_classifier(model, folder, bundle=bundle, extras=extras, place=repo_id)


def without_folders(value: Any) -> Any:
    """Shorten absolute paths in JSON values to their last part."""
    if isinstance(value, dict):
        return {key: without_folders(held) for key, held in value.items()}
    if isinstance(value, list):
        return [without_folders(held) for held in value]
    if isinstance(value, str) and (os.path.isabs(value) or value.startswith("~")):
        return Path(value).name
    return value
