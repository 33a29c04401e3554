# SPDX-License-Identifier: Apache-2.0
"""The rows of the table that `extraction.py` fills, and what is aimed at in each."""

from dataclasses import dataclass

from extraction_peers import PEERS

PRECISIONS = ("fp32", "bf16")
HF = ("HF batch 8", "HF one by one")


@dataclass(frozen=True)
class Row:
    """A line of the table, for each of its models.

    Attributes:
        title: What is done.
        models: Names in `extraction_models`.
        peers: Whom the best is sought among.
        targets: Times as fast as the best peer, at least, in fp32 and bf16.
        half: Whether to stop at half of the layers; peers run them all.
        context: For Whisper.
        cut: Whether clips are cut to 0.6-15 s.
        shares: Least share of the matrix-multiply rate in fp32 and bf16, where one is asked for.
    """

    title: str
    models: tuple[str, ...]
    peers: tuple[str, ...]
    targets: tuple[float, float]
    half: bool = False
    context: str = "clip"
    cut: bool = False
    shares: tuple[float, float] | None = None


WHISPERS = ("whisper-tiny", "whisper-small")
BASE = ("hubert-base",)
ROWS = {
    "whisper-clip": Row("clip, all layers", WHISPERS, HF, (15, 25)),
    "whisper-half": Row("clip, half the layers", WHISPERS, HF, (29, 45), half=True),
    "whisper-window": Row("window, all layers", WHISPERS, HF, (1.1, 1.9), context="window"),
    "hubert-base": Row("all layers", BASE, PEERS, (1.2, 2.3), shares=(0.8, 0.7)),
    "hubert-base-half": Row("half the layers", BASE, ("S3PRL",), (1.4, 3), half=True),
    "hubert-large": Row(
        "all layers", ("hubert-large",), ("HF batch 8", "S3PRL", "SpeechBrain"), (1.1, 2.1)
    ),
    "lengths": Row("all layers, 0.6-15 s", BASE, HF, (1.1, 2), cut=True),
}
