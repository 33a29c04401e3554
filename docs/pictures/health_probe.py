# SPDX-License-Identifier: Apache-2.0
"""What is an adapter worth as it is? Logistic regression on its frames, by speaker."""

import csv
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from voxadapt.adapters import WAPTransformer
from voxadapt.backbones import FilterbankBackbone, pad_waveforms, read_audio

DIVISIONS = 5  # into folds, by other seeds


def probe(corpus: Path, adapters: Mapping[str, Path]) -> dict[str, dict[str, float]]:
    """Unweighted accuracy on each adapter's output, on random weights, and on the frames alone.

    Mean and standard deviation over time of a clip's frames, logistic regression, 5 folds that
    share no speaker, all test clips together; mean and deviation over divisions into folds.

    Args:
        corpus: A CSV manifest with `path`, `label` and `speaker`.
        adapters: Folders by name. One at random weights is made like the first.
    """
    with open(corpus, encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    labels = np.array([row["label"] for row in rows])
    speakers = np.array([row["speaker"] for row in rows])
    backbone = FilterbankBackbone()
    models: dict[str, WAPTransformer | None] = {"frames alone": None}
    for name, folder in adapters.items():
        models[name] = WAPTransformer.from_pretrained(folder)
    models["random"] = with_random_weights(
        WAPTransformer.from_pretrained(next(iter(adapters.values())))
    )
    vectors: dict[str, list[np.ndarray]] = {name: [] for name in models}
    for row in rows:
        waveforms, padding = pad_waveforms([read_audio(corpus.parent / row["path"])])
        with torch.no_grad():
            frames, padding_mask = backbone(waveforms, padding)
            for name, model in models.items():
                output = frames if model is None else model(frames, padding_mask)
                std, mean = torch.std_mean(output[0], dim=0, correction=0)
                vectors[name].append(torch.cat([mean, std]).numpy())
    return {name: score(np.stack(found), labels, speakers) for name, found in vectors.items()}


def with_random_weights(adapter: WAPTransformer) -> WAPTransformer:
    """An adapter like this one, not trained; it keeps the statistics of the corpus."""
    torch.manual_seed(0)
    other = WAPTransformer(adapter.config)
    other.standardize.load_state_dict(adapter.standardize.state_dict())
    return other.eval()


def score(vectors: np.ndarray, labels: np.ndarray, speakers: np.ndarray) -> dict[str, float]:
    """UA over divisions into folds of speakers, from vectors ``[N, D]``."""
    found = []
    for seed in range(DIVISIONS):
        folds = StratifiedGroupKFold(min(5, len(set(speakers))), shuffle=True, random_state=seed)
        model = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=2000))
        predicted = cross_val_predict(model, vectors, labels, groups=speakers, cv=folds)
        found.append(balanced_accuracy_score(labels, predicted))
    return {"mean": round(float(np.mean(found)), 4), "std": round(float(np.std(found)), 4)}
