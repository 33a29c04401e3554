# SPDX-License-Identifier: Apache-2.0
"""A saved model as a model of transformers, loaded as strictly as `SpeechClassifier` is."""

import os
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers.modeling_outputs import SequenceClassifierOutput
from transformers.modeling_utils import PreTrainedModel

from .adapters.saving import find_folder
from .backbones import Precision
from .classifier import SpeechClassifier
from .outputs import LabelOutputs
from .transformers_config import VoxadaptConfig

_PRECISIONS: dict[Any, Precision] = {
    **dict.fromkeys((None, "auto", "float32", torch.float32), "fp32"),
    **dict.fromkeys(("bfloat16", torch.bfloat16), "bf16"),
}
# What transformers passes on by itself, or what changes nothing here.
_WITHOUT_EFFECT = {
    "_from_auto",
    "_from_pipeline",
    "adapter_kwargs",
    "ignore_mismatched_sizes",
    "low_cpu_mem_usage",
    "trust_remote_code",
    "use_safetensors",
    "weights_only",
}
_OF_THE_HUB = ("cache_dir", "force_download", "local_files_only", "revision", "token")


class VoxadaptForAudioClassification(PreTrainedModel):
    """A `SpeechClassifier` with the calls of transformers' audio classifiers.

    ``AutoModelForAudioClassification`` and ``pipeline("audio-classification", model=FOLDER)`` make
    it from a saved model's folder, once `voxadapt` is imported. Weights are never made up: what
    `SpeechClassifier.from_pretrained` refuses is refused here.

    Args:
        config: The folder's.
        classifier: The model.
    """

    config_class = VoxadaptConfig
    main_input_name = "input_values"
    base_model_prefix = "classifier"

    def __init__(self, config: VoxadaptConfig, classifier: SpeechClassifier) -> None:
        super().__init__(config)
        self.classifier = classifier
        self.post_init()

    def init_weights(self) -> None:
        """Leave the weights alone: they have been loaded."""

    @property
    def dtype(self) -> torch.dtype:
        """What samples come in, whatever the encoder is computed in."""
        return torch.float32

    def forward(
        self,
        input_values: Tensor,
        attention_mask: Tensor | None = None,
        labels: Tensor | None = None,
        return_dict: bool | None = None,
        **_ignored: Any,
    ) -> SequenceClassifierOutput | tuple[Tensor, ...]:
        """Classify waveforms.

        Args:
            input_values: ``[B, S]`` float, 16 kHz mono, about -1 to 1.
            attention_mask: ``[B, S]``, 0 = padding, on the right; None where nothing is padded.
            labels: ``[B]`` classes, or ``[B, O]`` values, for a loss.
            return_dict: False gives a tuple.

        Returns:
            ``logits`` ``[B, C]``, whose softmax is what `SpeechClassifier.predict` calls
            probabilities, of the first column where there are several; of a model of values, the
            values ``[B, O]``. And ``loss``, where labels are given.
        """
        if attention_mask is None:
            padding_mask = torch.zeros(input_values.shape, dtype=torch.bool)
        else:
            padding_mask = attention_mask == 0
        raw = self.classifier(input_values, padding_mask.to(input_values.device))
        outputs = self.classifier.outputs
        if isinstance(outputs, LabelOutputs):
            logits = outputs.split(outputs.scale(raw.float()))[0]
            loss = None if labels is None else F.cross_entropy(logits, labels)
        else:
            logits = outputs.activate(raw.float())
            loss = None if labels is None else F.mse_loss(logits, labels.to(logits))
        if return_dict is False:
            return (logits,) if loss is None else (loss, logits)
        return SequenceClassifierOutput(loss=loss, logits=logits)

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | os.PathLike[str],
        *model_args: Any,
        config: VoxadaptConfig | None = None,
        dtype: torch.dtype | str | None = None,
        device_map: Any = None,
        subfolder: str = "",
        output_loading_info: bool = False,
        **options: Any,
    ) -> Any:
        """Load a saved model from a folder or a hub id.

        Args:
            pretrained_model_name_or_path: Folder or hub id.
            *model_args: None are taken.
            config: Its config, if it has been read; may have other names for the labels.
            dtype: What the encoder is computed in, float32 or bfloat16; the rest is in float32.
            device_map: One device, such as ``cuda:0``; ``auto`` is a GPU where there is one.
            subfolder: Folder inside.
            output_loading_info: Also return which weights were missing: never any.
            **options: ``revision``, ``token``, ``cache_dir``, ``local_files_only`` and
                ``force_download`` for the hub. Others that would change how a model is loaded are
                errors.

        Returns:
            The model, in eval mode; with ``output_loading_info``, and the lists.

        Raises:
            AdapterFolderError: The folder is not there, or damaged, or its weights do not fit.
            BackboneError: The encoder cannot be had.
            ValueError: An option that is not supported.
        """
        asked = options.pop("torch_dtype", None) if dtype is None else dtype
        precision = _precision(asked)
        hub = {name: options.pop(name) for name in _OF_THE_HUB if name in options}
        unknown = {name for name, value in options.items() if value not in (None, False)}
        if unknown - _WITHOUT_EFFECT or model_args:
            raise ValueError(
                f"from_pretrained: {sorted(unknown - _WITHOUT_EFFECT) or model_args} cannot be used"
                " with a voxadapt model; allowed: config, dtype, device_map, subfolder, "
                f"{', '.join(_OF_THE_HUB)}"
            )
        folder = find_folder(pretrained_model_name_or_path, **hub) / subfolder
        classifier = SpeechClassifier.from_pretrained(folder, precision=precision)
        if config is None:
            config = VoxadaptConfig.from_pretrained(folder)
        size = len(classifier.outputs.labels) or classifier.outputs.size
        if len(config.id2label) != size:
            raise ValueError(
                f"id2label: found {len(config.id2label)} names for {size} outputs; give one for "
                "each, or leave them out"
            )
        config.name_or_path = str(pretrained_model_name_or_path)
        model = cls(config, classifier).eval()
        if device_map is not None:
            model = model.to(_one_device(device_map))
        lists = ("missing_keys", "unexpected_keys", "mismatched_keys", "error_msgs")
        return (model, {name: [] for name in lists}) if output_loading_info else model

    @classmethod
    def _from_config(cls, config: VoxadaptConfig, **_options: Any) -> Any:
        raise ValueError(
            "from_config would make a model with random weights. Train one by `voxadapt finetune`, "
            "and load it by AutoModelForAudioClassification.from_pretrained(FOLDER)."
        )

    def save_pretrained(
        self,
        save_directory: str | os.PathLike[str],
        is_main_process: bool = True,
        **_options: Any,
    ) -> None:
        """Write the folder of the `SpeechClassifier`; see its ``save_pretrained``."""
        if is_main_process:
            self.classifier.save_pretrained(save_directory)

    def push_to_hub(self, repo_id: str, **options: Any) -> str:
        """Upload the model; see `SpeechClassifier.push_to_hub` for the options."""
        return self.classifier.push_to_hub(repo_id, **options)


def _precision(dtype: Any) -> Precision:
    if dtype not in _PRECISIONS:
        raise ValueError(
            f"dtype: found {dtype!r}, allowed: float32, bfloat16 (of the encoder; the rest of the "
            "model is in float32)"
        )
    return _PRECISIONS[dtype]


def _one_device(device_map: Any) -> torch.device:
    if isinstance(device_map, dict):
        places = set(device_map.values())
        device_map = places.pop() if len(places) == 1 else device_map
    if device_map in ("auto", "balanced", "balanced_low_0", "sequential"):
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if isinstance(device_map, str | int | torch.device):
        return torch.device(device_map)
    raise ValueError(f"device_map: found {device_map!r}, give one device; the model is not split")
