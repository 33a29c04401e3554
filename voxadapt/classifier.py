# SPDX-License-Identifier: Apache-2.0
"""The whole model in one folder: backbone, adapter, pooler and linear layer."""

import copy
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, get_args

import torch
from torch import Tensor, nn

from .adapters.saving import Extras
from .adapters.uploading import push_folder
from .allowed_labels import AllowedLabels, allowed_mask
from .audio_source import Audio, is_pair, read_source
from .backbones import AudioError, Backbone, BackboneError, Precision, tuning_config
from .batched_prediction import OnError, predict_batches, predict_sources, seconds_per_batch
from .classifier_folder import load_classifier, save_classifier, save_for_upload
from .frame_classifier import FrameClassifier
from .outputs import Outputs, as_outputs
from .prediction import Prediction
from .timeline import Timeline
from .timeline_prediction import Progress, TimelineSettings, predict_timeline
from .timeline_speech import Gate


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
        bundle: Where the encoder's checkpoint is, if the model was loaded with it in its folder.

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
        self.bundle: Path | None = None

    def forward(self, waveforms: Tensor, padding_mask: Tensor) -> Tensor:
        """Map waveforms to logits.

        Args:
            waveforms: ``[B, S]`` float, 16 kHz mono, about -1 to 1.
            padding_mask: ``[B, S]`` bool, True = padding.

        Returns:
            ``[B, C]`` float; `outputs` says what they mean.
        """
        return self.frame_classifier(*self.backbone(waveforms, padding_mask))

    def predict(
        self,
        source: Audio | Sequence[Audio],
        sample_rate: int | None = None,
        *,
        batch_seconds: float | None = None,
        frame_weights: bool = False,
        allowed_labels: AllowedLabels | None = None,
        on_error: OnError = "raise",
    ) -> Any:
        """Classify one clip or several, or predict their values.

        A clip has the same result alone and in any list.

        Args:
            source: A path, the content of an audio file (bytes, or a file open for reading in
                binary), samples (``[S]``, or ``[channels, S]``), or a pair of samples and rate; or
                a list of these. Files may have any rate, width and number of channels.
            sample_rate: Rate of samples in Hz; needed for samples alone, not allowed for files.
            batch_seconds: Seconds of audio, padding included, in one forward pass; None is what the
                backbone is fast with.
            frame_weights: Also say where in the clip the pooler listened.
            allowed_labels: Names of labels that may come up, of the first column, or lists of them
                by column; the probabilities of the others are shared out among them.
            on_error: What becomes of a bad clip in a list: `raise` stops there, `return` puts the
                error in its place and goes on. A single clip's error is always raised.

        Returns:
            A `Prediction`, or a list of them in the order of ``source``; with
            ``on_error="return"``, an `AudioError` in place of each clip that cannot be used.

        Raises:
            AudioError: A clip cannot be read, or is empty, silent or not finite.
            ValueError: Samples without a rate, or an allowed label that the model does not know.
            TypeError: Something that is no audio.

        Example:
            >>> model.predict(["a.wav", "b.wav"], allowed_labels=["angry", "sad"])  # doctest: +SKIP
        """
        options: dict[str, Any] = {
            "batch_seconds": batch_seconds,
            "frame_weights": frame_weights,
            "allowed_labels": allowed_labels,
        }
        if isinstance(source, list | tuple) and not is_pair(source):
            return list(self.predict_each(source, sample_rate, on_error=on_error, **options))
        _check_choice(on_error)
        clip: Any = source  # what is no clip, `read_source` refuses
        return self.predict_waveforms([read_source(clip, sample_rate)], **options)[0]

    def predict_each(
        self,
        sources: Iterable[Audio],
        sample_rate: int | None = None,
        *,
        batch_seconds: float | None = None,
        frame_weights: bool = False,
        allowed_labels: AllowedLabels | None = None,
        on_error: OnError = "raise",
    ) -> Iterator[Prediction | AudioError]:
        """Yield what `predict` gives of each clip, for more clips than fit into memory.

        Args:
            sources: Clips, in order; a generator will do. They are read a few batches ahead.
            sample_rate: As in `predict`, and so are the others.
            batch_seconds: Seconds of audio in one forward pass.
            frame_weights: Also say where in the clips the pooler listened.
            allowed_labels: Labels that may come up.
            on_error: `raise` stops at a bad clip, `return` yields its error in its place.

        Returns:
            An iterator over a `Prediction` for each clip, in order.
        """
        _check_choice(on_error)
        return predict_sources(
            self,
            sources,
            sample_rate,
            batch_seconds=seconds_per_batch(self, batch_seconds),
            frame_weights=frame_weights,
            allowed=allowed_mask(self.outputs, allowed_labels),
            on_error=on_error,
        )

    def predict_waveforms(
        self,
        waveforms: Sequence[Tensor],
        *,
        batch_seconds: float | None = None,
        frame_weights: bool = False,
        allowed_labels: AllowedLabels | None = None,
    ) -> list[Prediction]:
        """What `predict` gives of waveforms that are known to be good: nothing is checked.

        So a window of a long recording may be silent.

        Args:
            waveforms: ``[S]`` float each, 16 kHz mono, about -1 to 1, at least one sample.
            batch_seconds: As in `predict`, and so are the others.
            frame_weights: Also say where in the clips the pooler listened.
            allowed_labels: Labels that may come up.
        """
        return predict_batches(
            self,
            waveforms,
            batch_seconds=seconds_per_batch(self, batch_seconds),
            frame_weights=frame_weights,
            allowed=allowed_mask(self.outputs, allowed_labels),
        )

    def timeline(
        self,
        source: Audio,
        sample_rate: int | None = None,
        *,
        window: float = 3.0,
        hop: float = 1.0,
        smooth: float | None = None,
        vad: Gate | None = None,
        min_speech: float = 0.25,
        batch_seconds: float | None = None,
        allowed_labels: AllowedLabels | None = None,
        progress: Progress | None = None,
    ) -> Timeline:
        """Say over time what is in a long recording; a file is read from disk as it is needed.

        Windows are cut one `hop` after the other, the last one so that it ends where the recording
        does. Of each the model says what `predict` says of the same samples; then the outputs are
        averaged over neighbouring windows. Memory does not grow with the recording but for some
        numbers a window.

        Args:
            source: As in `predict`, one clip.
            sample_rate: As in `predict`.
            window: Seconds that the model hears at once.
            hop: Seconds from one window to the next, at most a window.
            smooth: Width of the moving mean over windows (seconds), which looks to both sides;
                None is one window, 0 is none. The last audio that a moment's label depends on is
                half of `window` and half of `smooth` later.
            vad: Finds speech: takes samples ``[S]`` and their rate, gives ``(start, end)`` pairs in
                seconds. `voxadapt.timeline_gates` has some. None takes all for speech.
            min_speech: Share of what a window stands for that must be speech; of others the model
                is not asked, and they have no label.
            batch_seconds: As in `predict`.
            allowed_labels: As in `predict`.
            progress: Is told after each batch how many seconds are done, and how many there are.

        Raises:
            AudioError: The audio cannot be used: it is empty, damaged, not finite, all silent ...
            ValueError: A setting is out of range, or the window is shorter than one frame of the
                backbone.

        Example:
            >>> timeline = model.timeline("meeting.flac", window=3, hop=1)  # doctest: +SKIP
            >>> for segment in timeline.segments():  # doctest: +SKIP
            ...     print(segment.start, segment.end, segment.label)
        """
        settings = TimelineSettings(window, hop, smooth, vad, min_speech)
        return predict_timeline(
            self,
            source,
            sample_rate,
            settings=settings,
            batch_seconds=batch_seconds,
            allowed_labels=allowed_labels,
            progress=progress,
        )

    def calibrated(self, logits: Tensor) -> Tensor:
        """Divide logits ``[..., C]`` of `forward` by the temperature, where one was fitted.

        Their softmax is what `predict` calls probabilities.
        """
        return self.outputs.scale(logits)

    @property
    def device(self) -> torch.device:
        """Where the model is; `to` moves it."""
        return self.frame_classifier.linear.weight.device

    def save_pretrained(
        self, folder: str | os.PathLike[str], bundle_backbone: bool = False
    ) -> None:
        """Write ``config.json`` and ``model.safetensors``; the backbone is referred to, not copied.

        Of layers that were trained, what was trained is in the file: LoRA, or the opened layers.
        The backbone's fingerprint is kept, so that `from_pretrained` can tell when it finds
        another. A model card and a file for transformers' feature extractor are written beside.

        Args:
            folder: Where; made if it is not there.
            bundle_backbone: Put the encoder's checkpoint into the folder too, for a model that
                needs nothing else, as where the encoder is not on the hub. One that was loaded with
                its encoder inside keeps it.

        Raises:
            BackboneError: The encoder cannot be bundled: it has no checkpoint.
        """
        save_classifier(self, folder, bundle=bundle_backbone)

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
        merged.bundle = self.bundle
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
        device: str | torch.device | None = None,
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
            device: Where it is to be, as `cuda`; None is the CPU. With a `backbone` that is
                elsewhere, give where that is.

        Raises:
            AdapterFolderError: Not there, damaged, of another class; or the backbone is not the one
                that the model was trained on.
            BackboneError: The backbone cannot be had.
        """
        model = load_classifier(
            cls,
            name_or_path,
            backbone=backbone,
            revision=revision,
            token=token,
            precision=precision,
        )
        return model.eval() if device is None else model.eval().to(device)

    def push_to_hub(
        self,
        repo_id: str,
        *,
        private: bool = True,
        token: str | None = None,
        revision: str | None = None,
        commit_message: str | None = None,
        bundle_backbone: bool = False,
    ) -> str:
        """Upload the model with its card to the Hugging Face hub.

        Args:
            repo_id: ``OWNER/NAME``; made if it is not there.
            private: Whether a repository that is made is private; one that is there stays as it is.
            token: Access token; None takes the one of ``hf auth login`` or ``HF_TOKEN``.
            revision: Branch to upload to, made if it is not there; None is the main one.
            commit_message: What the commit says.
            bundle_backbone: As in `save_pretrained`.

        Returns:
            The address of the commit.

        Raises:
            UploadError: The hub refuses or cannot be reached; or the encoder is only on this
                machine and is not bundled.
        """
        return push_folder(
            lambda folder: save_for_upload(self, folder, repo_id, bundle=bundle_backbone),
            repo_id,
            private=private,
            token=token,
            revision=revision,
            commit_message=commit_message,
        )


def _check_choice(on_error: str) -> None:
    if on_error not in get_args(OnError):
        raise ValueError(f"on_error: found {on_error!r}, allowed: 'raise', 'return'")
