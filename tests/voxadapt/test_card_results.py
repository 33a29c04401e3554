# SPDX-License-Identifier: Apache-2.0
"""What a model's folder and card tell of what it scored."""

import json
from pathlib import Path

from huggingface_hub import ModelCardData

from voxadapt.card_results import model_index, results_of, results_section

METRICS = {
    "n": 100,
    "wa": 0.93,
    "ua": 0.9251,
    "macro_f1": 0.92,
    "ci95": {"wa": [0.87, 0.97], "ua": [0.8, 0.98], "macro_f1": [0.8, 0.97], "unit": "speaker"},
    "protocol": "split-column+speaker-overlap",
    "protocol_name": "official-v1",
    "speaker_overlap": True,
    "split_sizes": {"train": 255, "valid": 45, "test": 100},
    "seed": 3,
    "seconds": 716.4,
    "confusion": [[1]],
    "config": {"data": ["/srv/me/urdu/urdu.csv", "hf:somebody/corpus:test"], "out": "/srv/me/x"},
    "versions": {"voxadapt": "0.1.0", "torch": "2.11.0"},
}


def test_what_is_kept_is_the_same_for_the_same_run_and_tells_no_paths() -> None:
    results = results_of(METRICS)
    assert results["scores"] == {"ua": 0.9251, "wa": 0.93, "macro_f1": 0.92}
    assert results["data"] == ["urdu.csv", "hf:somebody/corpus:test"]
    assert results["seed"] == 3
    assert "/srv" not in json.dumps(results)
    assert not {"seconds", "confusion", "config"} & results.keys()


def test_the_section_has_scores_with_intervals_and_the_protocol() -> None:
    text = results_section(results_of(METRICS))
    assert text.startswith("## Results\n")
    assert "| Unweighted accuracy (UA, macro recall) | 92.51 % | 80.00 % to 98.00 % |" in text
    assert "scored on 100 test clips of `urdu.csv`, `hf:somebody/corpus:test`" in text
    assert "protocol: official-v1" in text
    assert "speakers of the test part are in the training part too" in text
    assert "255 train, 45 valid, 100 test" in text
    assert "bootstrap over test speakers" in text
    assert "voxadapt 0.1.0" in text
    assert "- seed: 3\n" in text
    several = results_section(results_of({**METRICS, "seeds": 5, "left_out": 2}))
    assert "- seed:" not in several
    assert "- seeds: 5\n" in several
    assert "could not be used: 2" in several
    disjoint = results_section(results_of({**METRICS, "speaker_overlap": False}))
    assert "training part too" not in disjoint


def test_values_and_what_is_not_known() -> None:
    metrics = {"task": "regression", "n": 9, "ccc": 0.61234, "pearson": None, "mae": 0.4}
    text = results_section(results_of(metrics), "Scores")
    assert "| Concordance correlation (CCC) | 0.612 | – |" in text
    assert "Pearson" not in text
    assert "the demo corpus" in text


def test_the_hub_can_read_the_scores(tmp_path: Path) -> None:
    index = model_index(results_of(METRICS), "A model")
    read = ModelCardData(**index).to_dict()["model-index"][0]
    assert read["name"] == "A model"
    found = {m["type"]: m["value"] for m in read["results"][0]["metrics"]}
    assert found == {"recall": 0.9251, "accuracy": 0.93, "f1": 0.92}
    assert read["results"][0]["dataset"]["split"] == "test"
    assert model_index({"scores": {}}, "A model") == {}
