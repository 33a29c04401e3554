# SPDX-License-Identifier: Apache-2.0
"""One process or several, and a log for each run."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
import torch
from accelerate.state import AcceleratorState, GradientState
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from voxadapt.recipes.running import encoder_precision
from voxadapt.recipes.running.command_line import UsageError
from voxadapt.recipes.running.process_group import finish_log, join_processes, log_values, start_log


@pytest.fixture(autouse=True)
def alone() -> Iterator[None]:
    def forget() -> None:
        AcceleratorState._reset_state(reset_partial_state=True)
        GradientState._reset_state()

    forget()
    yield
    forget()


def test_one_process_is_a_group_too() -> None:
    accelerator = join_processes()
    assert (accelerator.num_processes, accelerator.is_main_process) == (1, True)
    assert accelerator.mixed_precision == "no"
    assert torch.backends.cudnn.allow_tf32 is False


@pytest.mark.skipif(torch.accelerator.is_available(), reason="is about machines without a GPU")
def test_without_a_gpu_it_is_told_that_the_cpu_is_meant(monkeypatch: pytest.MonkeyPatch) -> None:
    """Accelerate would otherwise take each process of ``torchrun`` for the only one."""
    asked = {}
    monkeypatch.setattr(
        "voxadapt.recipes.running.process_group.Accelerator",
        lambda **options: asked.update(options),
    )
    join_processes()
    assert asked["cpu"] is True
    # One process may read shards or fit a codebook for longer than torch's 10 or 30 minutes.
    (patience,) = [h.timeout for h in asked["kwargs_handlers"] if hasattr(h, "timeout")]
    assert patience >= timedelta(days=1)


@pytest.mark.parametrize(("has_it", "mixed"), [(True, "bf16"), (False, "no")])
def test_without_bf16_in_hardware_training_is_in_fp32(
    has_it: bool, mixed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(encoder_precision, "has_bf16", lambda kind: has_it)
    assert join_processes("bf16").mixed_precision == mixed


def test_a_precision_that_the_machine_lacks_is_a_usage_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(**options: object) -> None:
        assert options["mixed_precision"] == "bf16"
        raise ValueError("bf16 mixed precision requires a supported device.")

    monkeypatch.setattr("voxadapt.recipes.running.process_group.Accelerator", refuse)
    monkeypatch.setattr(encoder_precision, "has_bf16", lambda kind: True)
    with pytest.raises(UsageError, match="--precision bf16: this machine does not have it"):
        join_processes("bf16")


def test_each_run_logs_to_its_own_folder_alone(tmp_path: Path) -> None:
    accelerator = join_processes()
    sizes = []
    for name in ("one", "two"):
        start_log(accelerator, tmp_path / name)
        assert not (tmp_path / name).exists()  # a run that fails here leaves nothing
        log_values(accelerator, {"loss": 1.0}, step=0)
        finish_log(accelerator)
        (events,) = (tmp_path / name / "tensorboard").iterdir()
        sizes.append(events.stat().st_size)
    assert sizes[0] == sizes[1]
    (events,) = (tmp_path / "one" / "tensorboard").iterdir()
    assert events.stat().st_size == sizes[0]
    assert accelerator.trackers == []


def test_a_log_without_a_value_leaves_no_folder(tmp_path: Path) -> None:
    accelerator = join_processes()
    start_log(accelerator, tmp_path)
    finish_log(accelerator)
    assert list(tmp_path.iterdir()) == []


def test_what_is_logged_again_counts_once(
    wait_a_second: Callable[[], None], tmp_path: Path
) -> None:
    """A run that is resumed from its checkpoint repeats the steps that came after it."""
    for first, last in ((0, 5), (3, 7)):
        accelerator = join_processes()
        start_log(accelerator, tmp_path, first_step=first)
        for step in range(first, last):
            log_values(accelerator, {"loss": 10.0 * first + step}, step=step)
        finish_log(accelerator)
        wait_a_second()
    found = EventAccumulator(str(tmp_path / "tensorboard")).Reload().Scalars("loss")
    assert [(event.step, event.value) for event in found] == [
        *((step, step) for step in range(3)),
        *((step, 30 + step) for step in range(3, 7)),
    ]
