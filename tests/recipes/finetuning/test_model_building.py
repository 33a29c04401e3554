# SPDX-License-Identifier: Apache-2.0
"""From options to the parts of a model."""

import pytest

from voxadapt.pooling import POOLERS, build_pooler
from voxadapt.recipes.finetuning.model_building import pooler_options
from voxadapt.recipes.finetuning.options import FinetuneOptions, HeadOptions
from voxadapt.recipes.running.command_line import UsageError


@pytest.mark.parametrize("pool", list(POOLERS))
def test_every_size_of_a_pooler_can_be_set(pool: str) -> None:
    sizes = {"heads": 2, "output_size": 256, "attention_size": 8, "head_size": 8}
    own = build_pooler(pool, 12).config().keys() & sizes.keys()
    given = {name: sizes[name] for name in own}
    options = FinetuneOptions(pool=pool, head=HeadOptions(**given))
    assert pooler_options(options) == given
    assert build_pooler(pool, 12, **pooler_options(options)).output_size == 256
    assert pooler_options(FinetuneOptions(pool=pool)) == {}
    for name in sizes.keys() - own:
        wrong = FinetuneOptions(pool=pool, head=HeadOptions(**{name: 8}))
        with pytest.raises(UsageError, match=f"--head.{name}: the '{pool}' pooler has no such"):
            pooler_options(wrong)
