# SPDX-License-Identifier: Apache-2.0
"""The folder of a `SpeechClassifier`: written here or for the hub, and read."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .adapters.saving import (
    CONFIG_FILE,
    AdapterFolderError,
    Extras,
    find_folder,
    load_folder,
    save_folder,
    update_extras,
)
from .adapters.uploading import UploadError
from .adapters.written_aside import write_aside
from .backbone_bundle import BUNDLE, bundle_backbone, bundle_of, load_saved_backbone
from .backbones import (
    SAMPLE_RATE,
    Backbone,
    BackboneError,
    Precision,
    split_backbone,
    tuning_config,
    tuning_from_config,
)
from .card_results import results_of
from .classifier_names import ARCHITECTURE, MODEL_TYPE
from .frame_classifier import build_frame_classifier
from .model_card import CARD_FILE, PLACE, classifier_card
from .outputs import outputs_from_config

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


def load_classifier(
    kind: "type[SpeechClassifier]",
    name_or_path: str | os.PathLike[str],
    *,
    backbone: Backbone | None,
    revision: str | None,
    token: str | None,
    precision: Precision,
) -> "SpeechClassifier":
    """Load what `save_classifier` wrote; see `SpeechClassifier.from_pretrained`.

    Args:
        kind: The class that the folder must be of.
        name_or_path: Its folder, that of a run with it, or a hub id.
        backbone: The backbone, if it has been loaded already.
        revision: Branch, tag or commit on the hub.
        token: Access token for a private repository.
        precision: What the backbone is computed in.

    Raises:
        AdapterFolderError: Not there, damaged, of another class; or the backbone is not the one
            that the model was trained on.
        BackboneError: The backbone cannot be had.
    """
    folder = find_folder(name_or_path, revision=revision, token=token)
    if not (folder / CONFIG_FILE).exists() and (folder / "model").is_dir():
        folder = folder / "model"
    config, tensors = load_folder(folder, kind.__name__)
    try:
        tuning = tuning_from_config(config["tuning"]) if "tuning" in config else None
        bundle = bundle_of(config["backbone"], folder)
        if backbone is None:
            whole = precision if tuning is None else "fp32"
            backbone = load_saved_backbone(config["backbone"], bundle, whole)
        expected, found = config["backbone_fingerprint"], backbone.fingerprint()
        if found != expected:
            raise AdapterFolderError(
                f"{folder}: was trained on the frames of another backbone than "
                f"{backbone.spec.name} as found now (fingerprint {found[:12]} instead of "
                f"{str(expected)[:12]}). Point `backbone` at the weights that it was trained "
                "with."
            )
        frozen, tuned_layers = backbone, None
        if tuning is not None:
            frozen, tuned_layers = split_backbone(backbone, tuning, precision=precision)
        frame_classifier = build_frame_classifier(config["frame_classifier"], tuned_layers)
        model = kind(frozen, frame_classifier, outputs_from_config(config))
    except (AdapterFolderError, BackboneError) as error:
        if tensors.change:
            raise AdapterFolderError(f"{error} {tensors.change}") from error
        raise
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise AdapterFolderError(
            f"{folder / CONFIG_FILE}: a field is missing or wrong "
            f"({type(error).__name__}: {error}). Save the model again, or fetch it again."
        ) from error
    tensors.into(frame_classifier, frame_classifier.frozen_tensors())
    model.extras, model.bundle = config.get("extras", {}), bundle
    return model


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
