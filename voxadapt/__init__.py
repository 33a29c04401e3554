# SPDX-License-Identifier: Apache-2.0
"""Voxadapt: adapter-based transfer learning on speech.

A frozen encoder, a small pretrained adapter, attentive pooling, and a linear layer:

    from voxadapt import SpeechClassifier
    model = SpeechClassifier.from_pretrained("runs/finetune/model")
    model.predict("clip.wav").probabilities
"""

from typing import TYPE_CHECKING, Any

from .transformers_hook import install as _register_with_transformers

if TYPE_CHECKING:
    from .classifier import SpeechClassifier
    from .frame_classifier import FrameClassifier
    from .prediction import Prediction
    from .timeline import Timeline

__all__ = ["FrameClassifier", "Prediction", "SpeechClassifier", "Timeline", "__version__"]

_HOMES = {
    "FrameClassifier": "frame_classifier",
    "Prediction": "prediction",
    "SpeechClassifier": "classifier",
    "Timeline": "timeline",
}


def __getattr__(name: str) -> Any:
    # Looked up when asked for: `import voxadapt` must stay quick, and torch takes seconds.
    import importlib

    if name == "__version__":
        from importlib.metadata import version

        return version("voxadapt")
    if name in _HOMES:
        return getattr(importlib.import_module(f".{_HOMES[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)


_register_with_transformers()
