# SPDX-License-Identifier: Apache-2.0
"""Options that mean the same in every recipe."""

import math
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from voxadapt.backbones import Precision

DEMO_CORPUS = "runs/demo_corpus"
PRETRAIN_OUT = "runs/pretrain"
FINETUNE_OUT = "runs/finetune"
FEATURES = "runs/features"
# In place of a folder of cached frames: the encoder runs in the training loop.
ONLINE = "online"


def require(holds: bool, name: str, found: Any, allowed: str) -> None:
    """Refuse an option's value.

    Args:
        holds: Whether the value is allowed.
        name: The option.
        found: Its value.
        allowed: What it must be, for the message.

    Raises:
        ValueError: It does not hold.
    """
    if not holds:
        raise ValueError(f"{name}: found {found}, must be {allowed}")


def check_batch_seconds(seconds: float | None) -> None:
    """Refuse a ``--batch-seconds`` that no batch can have; None is what the backbone is fast with.

    Raises:
        ValueError: It is not above 0, or not finite.
    """
    usable = seconds is None or 0 < seconds < math.inf
    require(usable, "--batch-seconds", seconds, "above 0 and finite")


@dataclass
class CorpusOptions:
    """Where the audio comes from and how it becomes frames.

    Args:
        data: Manifests (CSV or JSONL with a `path` column), folders with one sub-folder per class,
            datasets of the Hugging Face hub (`hf:NAME:SPLIT`), or WebDataset shards
            (`wds:shards/{000..099}.tar`). Left out, a small demo corpus is made and used.
        backbone: `fbank` (log-Mel filterbank, needs no download), a Hugging Face hub id, or a local
            folder, of a HuBERT, wav2vec 2.0 (XLS-R, MMS), WavLM, UniSpeech-SAT, data2vec-audio,
            Wav2Vec2-BERT or Whisper encoder.
        revision: Branch, tag or commit of the backbone on the hub.
        layer: Which of the backbone's layers gives the frames: a number, 0 being the input of the
            first one; `last`; the `mean` of all; or `weighted`, all of them side by side for a sum
            that is learnt. Layers above the number are not run.
        whisper_context: `window` pads a clip to 30 s, as Whisper was trained; `clip` shows the
            encoder the clip only, which is many times faster and gives different features.
        precision: What the backbone is computed in. `bf16` is about twice as fast as `fp32` where
            the machine has it, and its features are close to those of `fp32`; where the machine
            lacks it, `fp32` is used.
        compile: Run the encoder through `torch.compile`. For long extractions on a GPU; on
            a CPU it is slower than without. Not for WavLM and Wav2Vec2-BERT.
        features: Folder of the feature cache; frames are computed once for each backbone and clip.
            A folder that is called online is given as ./online.
        on_bad_audio: What to do with clips that are unreadable, empty, silent, too short or not
            finite: `error` lists them and stops, `skip` lists them and goes on without.
        allow_outside: Accept manifest paths outside the manifest's folder.
    """

    may_be_online: ClassVar[bool] = False

    data: list[str] = field(default_factory=list)
    backbone: str = "fbank"
    revision: str | None = None
    layer: int | str = "last"
    whisper_context: Literal["window", "clip"] = "window"
    precision: Precision = "fp32"
    compile: bool = False
    features: str = FEATURES
    on_bad_audio: Literal["error", "skip"] = "error"
    allow_outside: bool = False
