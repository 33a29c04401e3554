# SPDX-License-Identifier: Apache-2.0
"""What transformers knows of a saved model."""

import json
from pathlib import Path

import pytest
from transformers import AutoConfig

from voxadapt.transformers_config import VoxadaptConfig


def test_the_labels_are_those_of_the_folder(finetuned: Path) -> None:
    config = AutoConfig.from_pretrained(finetuned / "model")
    assert type(config) is VoxadaptConfig
    assert config.label2id == {"hum": 0, "noise": 1, "tone": 2}
    assert config.num_labels == 3
    assert config.problem_type is None
    assert config.sample_rate == 16_000


def test_of_several_columns_it_is_the_first_and_values_are_a_regression() -> None:
    config = VoxadaptConfig(columns={"emotion": ["a", "b", "c"], "speaker": ["x", "y"]})
    assert config.id2label == {0: "a", 1: "b", 2: "c"}
    config = VoxadaptConfig(dimensions={"arousal": {"mean": 0, "std": 1}})
    assert config.id2label == {0: "arousal"}
    assert config.problem_type == "regression"


def test_names_may_be_translated_but_not_be_more(finetuned: Path) -> None:
    names = {0: "Brummen", 1: "Rauschen", 2: "Ton"}
    config = AutoConfig.from_pretrained(finetuned / "model", id2label=names)
    assert config.id2label == names
    with pytest.raises(ValueError, match="num_labels: found 7, but this model was trained for 3"):
        VoxadaptConfig(labels=["a", "b", "c"], num_labels=7)


def test_saved_by_transformers_and_read_again_it_is_the_same(
    finetuned: Path, tmp_path: Path
) -> None:
    config = AutoConfig.from_pretrained(finetuned / "model")
    config.save_pretrained(tmp_path)
    again = AutoConfig.from_pretrained(tmp_path)
    assert again.id2label == config.id2label
    assert again.frame_classifier == config.frame_classifier
    saved = json.loads((tmp_path / "config.json").read_text())
    assert saved["model_type"] == "voxadapt"
    assert VoxadaptConfig().to_dict()["model_type"] == "voxadapt"
