# SPDX-License-Identifier: Apache-2.0
"""The model card that stands beside a saved model."""

import re
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import ModelCard

from voxadapt import SpeechClassifier
from voxadapt.model_card import classifier_card, front_matter, hub_id

CONFIG: dict[str, Any] = {
    "labels": ["angry", "sad"],
    "sample_rate": 16_000,
    "backbone": {
        "type": "encoder",
        "name_or_path": "facebook/hubert-base-ls960",
        "revision": "0123abc",
        "layer": 9,
    },
    "frame_classifier": {
        "adapter": {"class": "WAPTransformer"},
        "pooler": {"name": "sap"},
        "classes": 2,
    },
}


def test_the_hub_reads_the_top() -> None:
    extras = {
        "licence": "cc-by-4.0",
        "backbone_licence": "apache-2.0",
        "options": {"data": ["/srv/me/emo.csv", "hf:somebody/corpus@main:train"]},
        "results": {"scores": {"wa": 0.5}, "n": 4, "data": ["emo.csv"]},
    }
    text = classifier_card({**CONFIG, "extras": extras}, "somebody/model")
    card = ModelCard(text)
    assert card.data.pipeline_tag == "audio-classification"
    assert card.data.library_name == "voxadapt"
    assert card.data.license == "cc-by-4.0"
    assert card.data.base_model == "facebook/hubert-base-ls960"
    assert card.data.datasets == ["somebody/corpus"]
    assert card.data.eval_results is not None
    assert card.data.eval_results[0].metric_value == 0.5
    assert {"audio-classification", "sap"} <= set(card.data.tags or [])
    assert "`angry`, `sad`" in text
    assert "`facebook/hubert-base-ls960`, revision `0123abc`, layer 9, fetched" in text
    assert "licence of the encoder: apache-2.0" in text
    assert "/srv" not in text


def test_columns_values_bundles_and_tuning_are_told() -> None:
    config = {key: value for key, value in CONFIG.items() if key != "labels"}
    text = classifier_card({**config, "columns": {"emotion": ["a"], "speaker": ["x", "y"]}})
    assert "- speaker: `x`, `y`" in text
    dimensions = {"arousal": {"mean": 3.0, "std": 0.5}}
    bundled = {**CONFIG["backbone"], "name_or_path": "./mine", "bundled": True}
    text = classifier_card(
        {**config, "dimensions": dimensions, "backbone": bundled, "tuning": {"method": "lora"}}
    )
    assert "Speech regression: arousal" in text
    assert "mean 3" in text
    assert "`mine`, revision `0123abc`, layer 9, in `backbone/`" in text
    assert "trained in the encoder: lora" in text
    assert ModelCard(text).data.base_model is None


def test_a_licence_the_hub_does_not_know_gets_a_name() -> None:
    assert "license: mit" in front_matter("MIT", None, ["a"])
    text = front_matter("for research: see LICENCE", None, ["a"])
    assert "license: other" in text
    assert ModelCard(f"{text}\n# x").data.license_name == "for research: see LICENCE"


@pytest.mark.parametrize("name", ["./model", "/models/hubert", "~/hubert", "a/b/c", None])
def test_what_is_no_hub_id(name: str | None, tmp_path: Path, monkeypatch: Any) -> None:
    assert hub_id({"name_or_path": name}) is None
    assert hub_id({"type": "fbank"}) is None
    assert hub_id({"name_or_path": "facebook/hubert"}) == "facebook/hubert"
    monkeypatch.chdir(tmp_path)
    Path("facebook/hubert").mkdir(parents=True)
    assert hub_id({"name_or_path": "facebook/hubert"}) is None


def test_a_finished_run_has_a_card_with_its_scores_and_its_code_runs(
    finetuned: Path, corpus: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (finetuned / "model" / "README.md").read_text(encoding="utf-8")
    card = ModelCard(text)
    extras = SpeechClassifier.from_pretrained(finetuned).extras
    assert card.data.eval_results is not None
    found = {result.metric_type: result.metric_value for result in card.data.eval_results}
    assert found["accuracy"] == round(extras["results"]["scores"]["wa"], 4)
    assert "- label: `hum`, `noise`, `tone`" in text
    assert str(corpus.parent) not in text
    code = re.search(r"```python\n(.*?)```", text, re.DOTALL)
    assert code is not None
    assert len(code[1].strip().splitlines()) == 3
    code_here = code[1].replace("THIS_FOLDER", str(finetuned / "model"))
    exec(code_here.replace("clip.wav", str(corpus.with_name("hum_3_0.wav"))))
    assert "Prediction(label=" in capsys.readouterr().out
