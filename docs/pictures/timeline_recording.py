# SPDX-License-Identifier: Apache-2.0
"""Draw the picture of docs/timeline.md: a made-up recording, and what the demo's model says of it.

    voxadapt demo
    python docs/pictures/timeline_recording.py --run runs/demo/finetune --corpus runs/demo/corpus

The recording is made of clips of the demo's test speakers: some of one emotion after the other,
with pauses and a little noise. Beside it stands a label track of what is in it, for Audacity.
"""

import argparse
from pathlib import Path

import numpy as np
import soundfile

from voxadapt import SpeechClassifier
from voxadapt.backbones import SAMPLE_RATE, read_audio
from voxadapt.recipes.corpora.manifest import read_manifest
from voxadapt.recipes.reporting.picture import save_figure
from voxadapt.recipes.timelines.picture import draw_timeline
from voxadapt.recipes.timelines.table import timeline_table
from voxadapt.timeline_gates import EnergyGate

# Emotions in turn, and how many clips of each.
TURNS = (("neutral", 5), ("angry", 5), ("sad", 6), ("happy", 4), ("neutral", 2), ("angry", 3))
PAUSE, LONG_PAUSE = 0.3, 3.0  # seconds, between clips and between turns
NOISE = 5e-4


def join_clips(manifest: Path) -> tuple[np.ndarray, list[tuple[float, float, str]]]:
    """The recording ``[S]`` at 16 kHz, and from when to when (seconds) which emotion is heard."""
    clips = [clip for clip in read_manifest(manifest).clips if clip.split == "test"]
    left = {emotion: [clip for clip in clips if clip.label == emotion] for emotion, _ in TURNS}
    parts: list[np.ndarray] = [np.zeros(SAMPLE_RATE)]
    spans = []
    place = 1.0
    for emotion, count in TURNS:
        start = place
        for _ in range(count):
            samples = read_audio(left[emotion].pop(0).path).numpy()
            parts += [samples, np.zeros(round(PAUSE * SAMPLE_RATE))]
            place += len(samples) / SAMPLE_RATE + PAUSE
        spans.append((start, place - PAUSE, emotion))
        parts.append(np.zeros(round((LONG_PAUSE - PAUSE) * SAMPLE_RATE)))
        place += LONG_PAUSE - PAUSE
    recording = np.concatenate(parts)
    return recording + NOISE * np.random.default_rng(0).standard_normal(len(recording)), spans


def main() -> None:
    """Write the recording, its label track, and the picture."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--run", default="runs/demo/finetune")
    parser.add_argument("--corpus", type=Path, default=Path("runs/demo/corpus"))
    parser.add_argument("--recording", type=Path, default=Path("runs/demo/recording.flac"))
    parser.add_argument("--out", type=Path, default=Path("docs/pictures/timeline.png"))
    options = parser.parse_args()
    recording, spans = join_clips(options.corpus / "demo.csv")
    soundfile.write(options.recording, recording, SAMPLE_RATE)
    lines = [f"{start:.3f}\t{end:.3f}\t{emotion}\n" for start, end, emotion in spans]
    options.recording.with_suffix(".true.txt").write_text("".join(lines), encoding="utf-8")
    model = SpeechClassifier.from_pretrained(options.run)
    timeline = model.timeline(options.recording, vad=EnergyGate())
    print(timeline_table(timeline))
    save_figure(draw_timeline(timeline), options.out)


if __name__ == "__main__":
    main()
