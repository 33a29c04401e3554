# SPDX-License-Identifier: Apache-2.0
"""Places in the plane for vectors of many features, neighbours beside neighbours."""

import numpy as np

# Fewer say nothing that t-SNE could find; they are drawn along their principal components.
_FEWEST = 20
_PERPLEXITY = 30.0  # scikit-learn's, and that of the paper's examples
SEEDS = 2**32  # scikit-learn takes seeds from 0 to below this; others are wrapped
_COMPONENTS = 50  # what t-SNE sees of the features, as in the paper


def place_in_plane(embeddings: np.ndarray, *, seed: int) -> tuple[np.ndarray, str]:
    """Lay vectors out in the plane: t-SNE (van der Maaten and Hinton 2008) of their components.

    Distances between clusters, and the clusters' sizes, mean nothing in such a map; who is whose
    neighbour does.

    Args:
        embeddings: ``[N, D]``, at least one.
        seed: Seed of t-SNE and of the components.

    Returns:
        ``[N, 2]`` places from 0 to 1 in both directions, and in words how they were found.
    """
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    seed %= SEEDS
    embeddings = np.asarray(embeddings, dtype=np.float64)
    spread = embeddings.std(axis=0)
    scaled = (embeddings - embeddings.mean(axis=0)) / np.where(spread > 1e-9, spread, 1.0)
    count = len(scaled)
    different = len(np.unique(scaled.round(6), axis=0))
    components = min(_COMPONENTS, *scaled.shape)
    if different < 3:
        places, method = np.zeros((count, 2)), "not drawn: the vectors are all alike"
        places[:, 0] = scaled[:, 0]
    else:
        reduced = PCA(components, random_state=seed).fit_transform(scaled)
        if count < _FEWEST or components < 2:
            places, method = _two_columns(reduced), "principal components"
        else:
            perplexity = min(_PERPLEXITY, (count - 1) / 3)
            tsne = TSNE(perplexity=perplexity, init="pca", random_state=seed, n_jobs=1)
            places, method = tsne.fit_transform(reduced), f"t-SNE, perplexity {perplexity:.0f}"
    low, high = places.min(axis=0), places.max(axis=0)
    return (places - low) / np.where(high > low, high - low, 1.0), method


def _two_columns(reduced: np.ndarray) -> np.ndarray:
    return np.pad(reduced[:, :2], ((0, 0), (0, max(0, 2 - reduced.shape[1]))))
