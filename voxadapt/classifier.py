# SPDX-License-Identifier: Apache-2.0
"""The whole model in one folder: backbone, adapter, pooler and linear layer."""

import copy
import os
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from .adapters.saving import (
    CONFIG_FILE,
    AdapterFolderError,
    Extras,
    find_folder,
    load_folder,
    push_folder,
    save_folder,
)
from .audio_source import Audio, read_source
from .backbones import (
    SAMPLE_RATE,
    Backbone,
    BackboneError,
    Precision,
    backbone_from_config,
    pad_waveforms,
    split_backbone,
    tuning_config,
    tuning_from_config,
)
from .frame_classifier import FrameClassifier, build_frame_classifier
from .outputs import Outputs, as_outputs, outputs_from_config
from .prediction import Prediction, describe_clip


class SpeechClassifier(nn.Module):
    """A frozen backbone, an adapter, a pooler and a linear layer.

    Args:
        backbone: From `voxadapt.backbones`. Where layers of it were trained, the frozen part that
            `split_backbone` gave: those layers are in the frame classifier.
        frame_classifier: What was trained on its frames.
        labels: Names of the classes, in the order of the logits; or, for several columns of labels
            or for values, what the outputs mean.

    Attributes:
        outputs: What the outputs mean.
        labels: Names of the classes, of the first column where there are several; empty for values.

    Raises:
        ValueError: The number of labels is not the number of classes, or the frame classifier has
            trained layers and the backbone is not the frozen part below them.

    Example:
        >>> model = SpeechClassifier.from_pretrained("runs/finetune/model")  # doctest: +SKIP
        >>> model.predict("clip.wav").probabilities  # doctest: +SKIP
        {'angry': 0.91, 'happy': 0.05, 'neutral': 0.01, 'sad': 0.03}
    """

    def __init__(
        self,
        backbone: Backbone,
        frame_classifier: FrameClassifier,
        labels: Sequence[str] | Outputs,
    ) -> None:
        super().__init__()
        outputs = as_outputs(labels)
        if outputs.size != frame_classifier.linear.out_features:
            raise ValueError(
                f"labels: found {outputs.size} names for "
                f"{frame_classifier.linear.out_features} classes"
            )
        tuned_layers = frame_classifier.tuned_layers
        if tuned_layers is not None and backbone.spec.layers != tuned_layers.frozen_layers:
            raise ValueError(
                f"backbone: runs {backbone.spec.layers} layers, but the trained layers stand on "
                f"{tuned_layers.frozen_layers}; give the frozen part from split_backbone"
            )
        self.backbone = backbone
        self.frame_classifier = frame_classifier
        self.outputs = outputs
        self.labels = outputs.labels
        self.extras: Extras = {}

    def forward(self, waveforms: Tensor, padding_mask: Tensor) -> Tensor:
        """Map waveforms to logits.

        Args:
            waveforms: ``[B, S]`` float, 16 kHz mono, about -1 to 1.
            padding_mask: ``[B, S]`` bool, True = padding.

        Returns:
            ``[B, C]`` float; `outputs` says what they mean.
        """
        return self.frame_classifier(*self.backbone(waveforms, padding_mask))

    @torch.inference_mode()
    def predict(
        self,
        source: Audio | Sequence[Audio],
        sample_rate: int | None = None,
        *,
        batch_seconds: float = 60.0,
    ) -> Any:
        """Classify one clip or several, or predict their values.

        Args:
            source: A path, the bytes of an audio file, or samples (``[S]``, or
                ``[channels, S]``); or a list of these. Files may have any rate, width and number of
                channels.
            sample_rate: Rate of samples in Hz; needed for samples, not allowed for files.
            batch_seconds: Seconds of audio, padding included, in one forward pass.

        Returns:
            A `Prediction`, or a list of them in the order of ``source``.

        Raises:
            AudioError: A clip cannot be read, or is empty, silent or not finite.
            ValueError: Samples without a rate.
        """
        if isinstance(source, Sequence) and not isinstance(source, str | bytes):
            return self._predict_all(list(source), sample_rate, batch_seconds)
        return self._predict_all([source], sample_rate, batch_seconds)[0]

    def _predict_all(
        self, sources: list[Any], sample_rate: int | None, batch_seconds: float
    ) -> list[Prediction]:
        waveforms = [read_source(source, sample_rate) for source in sources]
        # Alike lengths together, so that little is computed on padding; results go back in order.
        order = sorted(range(len(waveforms)), key=lambda row: len(waveforms[row]), reverse=True)
        predictions: dict[int, Prediction] = {}
        start = 0
        while start < len(order):
            longest = len(waveforms[order[start]]) / SAMPLE_RATE
            rows = order[start : start + max(1, int(batch_seconds / longest))]
            start += len(rows)
            batch = self._predict_batch([waveforms[row] for row in rows])
            predictions.update(zip(rows, batch, strict=True))
        return [predictions[row] for row in range(len(sources))]

    def _predict_batch(self, waveforms: list[Tensor]) -> list[Prediction]:
        was_training = self.training
        self.eval()
        padded, padding_mask = pad_waveforms(waveforms)
        device = self.frame_classifier.linear.weight.device
        frames, frame_mask = self.backbone(padded.to(device), padding_mask.to(device))
        logits, pooled, _ = self.frame_classifier.with_weights(frames, frame_mask)
        self.train(was_training)
        activated, pooled = self.outputs.activate(logits.float()).cpu(), pooled.float().cpu()
        return [
            describe_clip(self.outputs, row, len(waveform) / SAMPLE_RATE, vector)
            for waveform, row, vector in zip(
                waveforms, activated, pooled.float().cpu(), strict=True
            )
        ]

    def save_pretrained(self, folder: str | os.PathLike[str]) -> None:
        """Write ``config.json`` and ``model.safetensors``; the backbone is referred to, not copied.

        Of layers that were trained, what was trained is in the file: LoRA, or the opened layers.

        The backbone's fingerprint is kept, so that `from_pretrained` can tell when it finds
        another.
        """
        tuned_layers = self.frame_classifier.tuned_layers
        if tuned_layers is None:
            described = {
                "backbone": self.backbone.config(),
                "backbone_fingerprint": self.backbone.fingerprint(),
            }
        else:
            described = {
                "backbone": tuned_layers.backbone_config,
                "backbone_fingerprint": tuned_layers.backbone_fingerprint,
                "tuning": tuning_config(tuned_layers.tuning),
            }
        config = {
            "class": type(self).__name__,
            **self.outputs.config(),
            "sample_rate": SAMPLE_RATE,
            **described,
            "frame_classifier": self.frame_classifier.config(),
            "extras": self.extras,
        }
        save_folder(folder, self.frame_classifier.trained_state(), config)

    def merge(self) -> "SpeechClassifier":
        """Fold LoRA into the encoder's layers, for a model that runs without it and without peft.

        Returns:
            A model with the same logits to float tolerance, on the same backbone; this one stays as
            it is. Saved, it holds the layers whole, and so is as large as they are.

        Raises:
            BackboneError: The model has no LoRA.
        """
        tuned_layers = self.frame_classifier.tuned_layers
        if tuned_layers is None:
            raise BackboneError(
                "There is no LoRA to merge: nothing of the encoder was trained. Use the model as "
                "it is, or train one with --lora."
            )
        frame_classifier = copy.deepcopy(self.frame_classifier)
        frame_classifier.tuned_layers = tuned_layers.merged()
        merged = SpeechClassifier(self.backbone, frame_classifier, self.outputs)
        merged.extras = {**self.extras, "merged": tuning_config(tuned_layers.tuning)}
        return merged.train(self.training)

    @classmethod
    def from_pretrained(
        cls,
        name_or_path: str | os.PathLike[str],
        *,
        backbone: Backbone | None = None,
        revision: str | None = None,
        token: str | None = None,
        precision: Precision = "fp32",
    ) -> "SpeechClassifier":
        """Load a model from a folder or a hub id, strictly; it comes in eval mode.

        Args:
            name_or_path: A folder that `save_pretrained` or ``finetune`` wrote (a run's folder will
                do), or a hub id.
            backbone: The backbone, where it has been loaded already or has moved; the whole one in
                float32 where layers of it were trained.
            revision: Branch, tag or commit on the hub.
            token: Access token for a private repository.
            precision: What the backbone is computed in, `fp32` or `bf16`; not for a `backbone` that
                is given, but for the frozen part of one whose layers were trained.

        Raises:
            AdapterFolderError: Not there, damaged, of another class; or the backbone is not the one
                that the model was trained on.
            BackboneError: The backbone cannot be had.
        """
        folder = find_folder(name_or_path, revision=revision, token=token)
        if not (folder / CONFIG_FILE).exists() and (folder / "model").is_dir():
            folder = folder / "model"
        config, tensors = load_folder(folder, cls.__name__)
        try:
            tuning = tuning_from_config(config["tuning"]) if "tuning" in config else None
            if backbone is None:
                whole = precision if tuning is None else "fp32"
                backbone = backbone_from_config(config["backbone"], precision=whole)
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
            model = cls(frozen, frame_classifier, outputs_from_config(config))
        except (AdapterFolderError, BackboneError):
            raise
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise AdapterFolderError(
                f"{folder / CONFIG_FILE}: a field is missing or wrong "
                f"({type(error).__name__}: {error}). Save the model again, or fetch it again."
            ) from error
        tensors.into(frame_classifier, frame_classifier.frozen_tensors())
        model.extras = config.get("extras", {})
        return model.eval()

    def push_to_hub(self, repo_id: str, *, private: bool = True, token: str | None = None) -> str:
        """Upload the model to the Hugging Face hub and return the address of the commit."""
        return push_folder(self.save_pretrained, repo_id, private=private, token=token)
