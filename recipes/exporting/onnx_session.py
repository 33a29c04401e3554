# SPDX-License-Identifier: Apache-2.0
"""An ONNX file at work in onnxruntime."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from voxadapt.recipes.exporting.onnx_file import INPUTS, METADATA_KEY


class OnnxModel:
    """An exported model, on the CPU, with as many threads as torch has.

    Args:
        path: The file.

    Attributes:
        metadata: What the file says of itself.
        names: Names of its outputs.
    """

    def __init__(self, path: Path) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(
            str(path), options, providers=["CPUExecutionProvider"]
        )
        described = self._session.get_modelmeta().custom_metadata_map
        self.metadata: dict[str, Any] = json.loads(described[METADATA_KEY])
        self.names = [output.name for output in self._session.get_outputs()]

    def run(self, clips: Sequence[Tensor], filler: float = 0.0) -> dict[str, np.ndarray]:
        """Run clips as one batch.

        Args:
            clips: Each ``[S]`` float32 at 16 kHz.
            filler: What the padding holds.

        Returns:
            ``[B, ...]`` float32 by the name of the output.
        """
        lengths = np.array([len(clip) for clip in clips], dtype=np.int64)
        waveforms = np.full((len(clips), lengths.max()), filler, dtype=np.float32)
        for row, clip in zip(waveforms, clips, strict=True):
            row[: len(clip)] = clip.numpy()
        found = self._session.run(None, dict(zip(INPUTS, (waveforms, lengths), strict=True)))
        return dict(zip(self.names, found, strict=True))
