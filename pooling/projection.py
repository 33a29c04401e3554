# SPDX-License-Identifier: Apache-2.0
"""The projection of a pooled vector to an embedding, for poolers that do without one."""

from torch import nn

from .padding import check_sizes


def project_or_not(pooled_size: int, output_size: int | None) -> nn.Module:
    """Return the linear layer behind a pooler whose own vector needs none.

    Shendabadi et al. 2026 (arXiv 2602.06000) compare poolers by embeddings of 256 features; with
    it, mean and statistical pooling can be compared at the same size.

    Args:
        pooled_size: features of the pooled vector.
        output_size: features of the embedding; None gives a layer that does nothing, and adds no
            tensor to the model.

    Raises:
        ValueError: `output_size` is not a whole number of at least one.
    """
    if output_size is None:
        return nn.Identity()
    check_sizes(output_size=output_size)
    return nn.Linear(pooled_size, output_size)
