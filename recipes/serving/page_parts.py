# SPDX-License-Identifier: Apache-2.0
"""What the page shows of a clip, as HTML."""

import io
import json
from collections.abc import Mapping

import numpy as np
from torch import Tensor

from voxadapt.backbones.audio import SAMPLE_RATE
from voxadapt.prediction import Prediction
from voxadapt.recipes.reporting.clip_pictures import draw_spectrogram
from voxadapt.recipes.reporting.clips import attention_picture
from voxadapt.recipes.reporting.page import data_address, percent, text
from voxadapt.recipes.reporting.sounds import Sound

_SHOWN_LABELS = 8  # further ones stand behind a click
# A name with these in it must not become a part of Gradio's template.
_TEMPLATE_SIGNS = str.maketrans({"{": "&#123;", "}": "&#125;", "$": "&#36;", "`": "&#96;"})


def as_value(html: str) -> str:
    """HTML as the value of a `gradio.HTML`, which takes some signs for instructions."""
    return html.translate(_TEMPLATE_SIGNS)


def notice(kind: str, heading: str, message: str) -> str:
    """A box with a few words.

    Args:
        kind: `error`, or `busy`.
        heading: What it is about.
        message: The words.
    """
    return f'<div class="notice {kind}" role="status"><b>{text(heading)}</b> {text(message)}</div>'


def clip_result(prediction: Prediction, waveform: Tensor, name: str) -> str:
    """All that is known of a clip.

    Args:
        prediction: What the model says, with frame weights.
        waveform: ``[S]`` at 16 kHz.
        name: The file's.
    """
    parts = [
        _headline(prediction),
        *(
            _shares(column if len(prediction.columns) > 1 else "", shares)
            for column, shares in prediction.columns.items()
        ),
        _values(prediction.values),
        _attention(prediction, waveform),
        downloads(name, embedding_files(prediction)),
    ]
    return "\n".join(part for part in parts if part)


def _headline(prediction: Prediction) -> str:
    seconds = f"{prediction.seconds:.1f} s"
    if prediction.label is None or prediction.confidence is None:
        return f'<p class="seconds">{seconds}</p>'
    return (
        f'<p class="headline"><bdi class="label">{text(prediction.label)}</bdi> '
        f'<span class="sure">{percent(prediction.confidence)}</span>'
        f'<span class="seconds">{seconds}</span></p>'
    )


def _shares(column: str, shares: Mapping[str, float]) -> str:
    """Bars of probabilities, the highest first."""
    ordered = sorted(shares.items(), key=lambda pair: -pair[1])
    heading = f"<h3>{text(column)}</h3>" if column else ""
    shown = _bars(ordered[:_SHOWN_LABELS])
    if len(ordered) > _SHOWN_LABELS:
        rest = ordered[_SHOWN_LABELS:]
        shown += f"<details><summary>{len(rest)} more</summary>{_bars(rest)}</details>"
    return f"{heading}{shown}"


def _bars(ordered: list[tuple[str, float]]) -> str:
    rows = "".join(
        f'<bdi>{text(name)}</bdi><span class="track" aria-hidden="true">'
        f'<span class="bar" style="width: {100 * share:.1f}%"></span></span>'
        f'<span class="number">{percent(share)}</span>'
        for name, share in ordered
    )
    return f'<div class="shares">{rows}</div>'


def _values(values: Mapping[str, float]) -> str:
    if not values:
        return ""
    rows = "".join(
        f'<bdi>{text(name)}</bdi><span class="number">{value:.2f}</span>'
        for name, value in values.items()
    )
    return f'<div class="values">{rows}</div>'


def _attention(prediction: Prediction, waveform: Tensor) -> str:
    weights: list[np.ndarray] = []
    told, seconds = "", prediction.seconds
    if prediction.frame_weights is not None:
        frames = prediction.frame_weights.weights.shape[-1]
        relative = prediction.frame_weights.weights.numpy() * frames
        seconds = frames * prediction.frame_weights.frame_seconds
        if np.ptp(relative) > 1e-3:
            weights = list(relative)
            heads = " (thin: each head)" if len(weights) > 1 else ""
            told = f"White line: the pooler’s weight over time{heads}; dotted: equal weights."
        else:
            told = "This model’s pooler weighs all moments alike."
    sound = Sound(draw_spectrogram(waveform), None, len(waveform) / SAMPLE_RATE)
    return (
        f"<h3>Where the model listened</h3>{attention_picture(seconds, sound, weights)}"
        f'<p class="told">{told} Log-Mel spectrogram, 20 to 7,600 Hz.</p>'
    )


def embedding_files(prediction: Prediction) -> dict[str, tuple[str, bytes]]:
    """Files to take away: media type and content by the ending of the name."""
    stream = io.BytesIO()
    np.save(stream, prediction.embedding.numpy())
    said = {
        "label": prediction.label,
        "probabilities": prediction.columns or prediction.probabilities,
        "values": prediction.values,
        "seconds": prediction.seconds,
        "embedding": prediction.embedding.tolist(),
    }
    return {
        "embedding.npy": ("application/octet-stream", stream.getvalue()),
        "result.json": (
            "application/json",
            json.dumps(said, ensure_ascii=False, indent=1).encode(),
        ),
    }


def downloads(name: str, files: Mapping[str, tuple[str, bytes]]) -> str:
    """Links to files that stand in the page itself: none is left on the server.

    Args:
        name: The recording's, which theirs begin with.
        files: Media type and content by the ending of the name.
    """
    stem = name.rpartition(".")[0] or name
    links = "".join(
        f'<a class="download" download="{text(f"{stem}.{ending}")}" '
        f'href="{data_address(kind, content)}">{text(ending)}</a>'
        for ending, (kind, content) in files.items()
    )
    return f'<p class="downloads">Download {links}</p>'
