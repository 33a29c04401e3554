# SPDX-License-Identifier: Apache-2.0
"""Options of pretraining that do not go together."""

from dataclasses import replace

import pytest

from voxadapt.adapters import CollapseThresholds, ObjectivesConfig
from voxadapt.recipes.pretraining.options import PretrainOptions


@pytest.mark.parametrize("name", ["prototypes", "attributes"])
def test_a_threshold_that_no_run_can_be_above_is_refused(name: str) -> None:
    objectives = replace(ObjectivesConfig(), **{name: 2})
    with pytest.raises(ValueError, match=rf"--objectives.{name}: found 2, .*--collapse.perplexity"):
        PretrainOptions(objectives=objectives)
    PretrainOptions(objectives=replace(objectives, **{name: 3}))
    PretrainOptions(objectives=objectives, collapse=CollapseThresholds(perplexity=1.5))


def test_an_objective_that_is_off_needs_no_threshold() -> None:
    off = {"frame_distillation": 0.0, "utterance_distillation": 0.0, "local_attributes": 0.0}
    PretrainOptions(objectives=ObjectivesConfig(prototypes=2, attributes=2, **off))
