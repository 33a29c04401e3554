# SPDX-License-Identifier: Apache-2.0
"""The folder of a classifier, as it is saved and as it is uploaded."""

import json
import shutil
from pathlib import Path
from typing import Any

import huggingface_hub
import numpy as np
import pytest

from voxadapt import SpeechClassifier
from voxadapt.adapters import AdapterFolderError
from voxadapt.adapters.uploading import UploadError
from voxadapt.backbones import BackboneError
from voxadapt.classifier_folder import keep_results, save_for_upload, without_folders

FILES = {"README.md", "config.json", "model.safetensors", "preprocessor_config.json"}


def test_what_stands_in_the_folder(finetuned: Path, tmp_path: Path) -> None:
    SpeechClassifier.from_pretrained(finetuned).save_pretrained(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == FILES
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["model_type"] == "voxadapt"
    assert config["architectures"] == ["VoxadaptForAudioClassification"]
    assert config["sha256"].keys() == {"config.json", "model.safetensors"}
    # The scores that the run wrote down go with the model.
    scores = json.loads((finetuned / "metrics.json").read_text())
    assert config["extras"]["results"]["scores"]["ua"] == scores["ua"]


MUTATIONS = ("flip", "cut", "insert", "zeros")


def mutate(content: bytes, kind: str, place: int) -> bytes:
    before, after = content[:place], content[place:]
    if kind == "flip":
        return before + bytes([after[0] ^ 1]) + after[1:]
    if kind == "cut":
        return before
    if kind == "insert":
        return before + b"0" + after
    return before + b"0000" + after[4:]


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_folder_changed_anywhere_is_refused_or_is_the_same_model(
    name: str, finetuned: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(finetuned / "model", tmp_path / "model"))
    expected = SpeechClassifier.from_pretrained(folder)
    state = expected.frame_classifier.state_dict()
    whole, random = (folder / name).read_bytes(), np.random.default_rng(0)
    refused = []
    for number in range(80):
        place = int(random.integers(len(whole)))
        (folder / name).write_bytes(mutate(whole, MUTATIONS[number % 4], place))
        try:
            loaded = SpeechClassifier.from_pretrained(folder)
        except (AdapterFolderError, BackboneError) as error:
            refused.append(str(error))
            continue
        # Only notes were changed, of which nothing that is computed depends.
        assert loaded.outputs == expected.outputs
        found = loaded.frame_classifier.state_dict()
        assert all(tensor.equal(state[key]) for key, tensor in found.items())
    assert len(refused) >= (20 if name == "config.json" else 80)
    assert all(str(folder) in message and "\n" not in message for message in refused)


def test_results_change_the_card_and_not_the_model(finetuned: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(finetuned / "model", tmp_path / "model"))
    weights = (folder / "model.safetensors").read_bytes()
    keep_results(folder, {"wa": 0.125, "n": 8, "seed": 4})
    assert SpeechClassifier.from_pretrained(folder).extras["results"]["scores"] == {"wa": 0.125}
    assert "12.50 %" in (folder / "README.md").read_text()
    assert (folder / "model.safetensors").read_bytes() == weights


def test_the_uploaded_folder_names_no_path_of_this_machine(
    finetuned: Path, tmp_path: Path, corpus: Path
) -> None:
    model = SpeechClassifier.from_pretrained(finetuned)
    assert str(corpus) in json.dumps(model.extras)
    save_for_upload(model, tmp_path, "somebody/model")
    for file in ("config.json", "README.md"):
        text = (tmp_path / file).read_text(encoding="utf-8")
        assert str(corpus.parent) not in text
        assert corpus.name in text
    assert 'from_pretrained("somebody/model")' in text
    assert str(corpus) in json.dumps(model.extras)  # the model itself stays as it was
    SpeechClassifier.from_pretrained(tmp_path)


def test_absolute_paths_become_names() -> None:
    given = {"data": ["/a/b.csv", "c/d.csv"], "rate": 1.5, "out": "~/runs/x", "none": None}
    expected = {"data": ["b.csv", "c/d.csv"], "rate": 1.5, "out": "x", "none": None}
    assert without_folders(given) == expected


class Hub:
    """In the place of ``HfApi``: keeps what is uploaded in a folder."""

    def __init__(self, place: Path) -> None:
        self.place = place

    def __call__(self, token: str | None) -> "Hub":
        return self

    def create_repo(self, repo_id: str, **options: Any) -> None:
        pass

    def upload_folder(self, *, folder_path: str, **options: Any) -> Any:
        shutil.copytree(folder_path, self.place)

        class Commit:
            commit_url = "https://hub/commit"

        return Commit()


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Hub:
    recorded = Hub(tmp_path / "uploaded")
    monkeypatch.setattr(huggingface_hub, "HfApi", recorded)
    return recorded


def test_what_is_uploaded_can_be_loaded_by_its_id(
    finetuned: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch, corpus: Path
) -> None:
    model = SpeechClassifier.from_pretrained(finetuned)
    assert model.push_to_hub("somebody/model") == "https://hub/commit"
    assert {path.name for path in hub.place.iterdir()} == FILES
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda *a, **k: str(hub.place))
    again = SpeechClassifier.from_pretrained("somebody/model")
    clip = corpus.with_name("hum_3_0.wav")
    assert again.predict(clip).probabilities == model.predict(clip).probabilities


def test_an_encoder_of_this_machine_must_be_bundled(lora_run: Path, hub: Hub) -> None:
    model = SpeechClassifier.from_pretrained(lora_run)
    with pytest.raises(UploadError, match=r"only on this machine.*--bundle-backbone"):
        model.push_to_hub("somebody/model")
    assert not hub.place.exists()
    model.push_to_hub("somebody/model", bundle_backbone=True)
    assert {path.name for path in hub.place.iterdir()} == {"backbone", *FILES}
    assert (hub.place / "backbone" / "model.safetensors").exists()
    SpeechClassifier.from_pretrained(hub.place)
