# SPDX-License-Identifier: Apache-2.0
"""How the end of a fine-tuning run is told."""

import logging
from pathlib import Path

import pytest

from voxadapt.recipes.finetuning.run_results import log_result


def test_the_command_that_uses_a_run_is_ready_for_a_shell(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    metrics = {
        **dict.fromkeys(("ua", "wa", "macro_f1"), 0.5),
        "n": 4,
        "protocol": "split-column",
        "ci95": {"ua": [0.25, 0.75], "unit": "clip"},
    }
    log_result(Path("runs/my first"), metrics)
    assert "use it:  voxadapt predict 'runs/my first' CLIP.wav" in caplog.messages
