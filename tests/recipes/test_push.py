# SPDX-License-Identifier: Apache-2.0
"""``push`` from the command line, to a hub that writes down what it is given."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
from huggingface_hub import ModelCard

from voxadapt import SpeechClassifier
from voxadapt.adapters import WAPTransformer

Run = Callable[..., Any]


class RecordedHub:
    """In the place of ``HfApi``."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.calls: dict[str, Any] = {}

    def __call__(self, token: str | None) -> "RecordedHub":
        return self

    def create_repo(self, repo_id: str, **options: Any) -> None:
        self.calls["create_repo"] = (repo_id, options)

    def create_branch(self, repo_id: str, **options: Any) -> None:
        self.calls["create_branch"] = options

    def upload_folder(self, *, folder_path: str, **options: Any) -> Any:
        shutil.copytree(folder_path, self.place)
        self.calls["upload_folder"] = options

        class Commit:
            commit_url = "https://hub/somebody/model/commit/1"

        return Commit()


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> RecordedHub:
    recorded = RecordedHub(tmp_path / "uploaded")
    monkeypatch.setattr(huggingface_hub, "HfApi", recorded)
    return recorded


def test_a_finetuned_run_is_uploaded(run_cli: Run, finetuned: Path, hub: RecordedHub) -> None:
    ran = run_cli("push", finetuned, "somebody/model", "--licence=cc-by-4.0", "--message=Mine")
    assert ran.code == 0, ran.err
    assert "uploaded: https://hub/somebody/model/commit/1" in ran.err
    assert hub.calls["create_repo"] == ("somebody/model", {"private": True, "exist_ok": True})
    assert hub.calls["upload_folder"]["commit_message"] == "Mine"
    card = ModelCard((hub.place / "README.md").read_text(encoding="utf-8"))
    assert card.data.license == "cc-by-4.0"
    assert 'from_pretrained("somebody/model")' in card.text
    model = SpeechClassifier.from_pretrained(hub.place)
    assert model.extras["licence"] == "cc-by-4.0"
    metrics = json.loads((finetuned / "metrics.json").read_text())
    assert model.extras["results"]["scores"]["wa"] == metrics["wa"]


def test_a_dry_run_shows_all_and_uploads_nothing(
    run_cli: Run, finetuned: Path, hub: RecordedHub
) -> None:
    ran = run_cli("push", finetuned / "model", "somebody/model", "--dry-run", "--no-private")
    assert ran.code == 0, ran.err
    assert "model.safetensors" in ran.err
    assert "nothing was uploaded to somebody/model" in ran.err
    assert ran.out.startswith("---\n")
    assert "pipeline_tag: audio-classification" in ran.out
    assert hub.calls == {}


def test_a_public_branch(run_cli: Run, finetuned: Path, hub: RecordedHub) -> None:
    ran = run_cli("push", finetuned, "somebody/model", "--no-private", "--revision=v1")
    assert ran.code == 0, ran.err
    assert hub.calls["create_repo"][1]["private"] is False
    assert hub.calls["create_branch"]["branch"] == "v1"
    assert hub.calls["upload_folder"]["revision"] == "v1"


def test_a_pretrained_adapter_goes_with_its_codebook(
    run_cli: Run, pretrained: Path, hub: RecordedHub, corpus: Path
) -> None:
    ran = run_cli("push", pretrained, "somebody/adapter")
    assert ran.code == 0, ran.err
    names = {"README.md", "codebook.safetensors", "config.json", "model.safetensors"}
    assert set(os.listdir(hub.place)) == names
    card = (hub.place / "README.md").read_text(encoding="utf-8")
    assert 'WAPTransformer.from_pretrained("somebody/adapter")' in card
    assert ModelCard(card).data.license == "unknown"
    assert str(corpus.parent) not in card + (hub.place / "config.json").read_text()
    saved = WAPTransformer.from_pretrained(hub.place).state_dict()
    for name, tensor in WAPTransformer.from_pretrained(pretrained / "adapter").state_dict().items():
        assert tensor.equal(saved[name])


def test_a_licence_of_an_adapter_is_stated_everywhere(
    run_cli: Run, pretrained: Path, hub: RecordedHub
) -> None:
    assert run_cli("push", pretrained, "somebody/adapter", "--licence=mit").code == 0
    card = (hub.place / "README.md").read_text(encoding="utf-8")
    assert "license: mit" in card
    assert "- licence: mit\n" in card
    assert WAPTransformer.from_pretrained(hub.place).extras["licence"] == "mit"


def test_a_joined_run_tells_of_all_its_runs(
    run_cli: Run, finetuned: Path, hub: RecordedHub, tmp_path: Path
) -> None:
    run = Path(shutil.copytree(finetuned, tmp_path / "run"))
    metrics = json.loads((run / "metrics.json").read_text())
    runs = [{"folder": "seed-0"}, {"folder": "seed-1"}]
    (run / "metrics.json").write_text(json.dumps({**metrics, "wa": 0.4321, "runs": runs}))
    assert run_cli("push", run, "somebody/model").code == 0
    card = (hub.place / "README.md").read_text(encoding="utf-8")
    before, _, after = card.partition("## Over all 2 runs")
    assert "43.21 %" not in before
    assert "43.21 %" in after
    assert "one of 2" in after


def test_an_older_run_gets_its_scores_from_its_metrics(
    run_cli: Run, finetuned: Path, hub: RecordedHub, tmp_path: Path
) -> None:
    run = Path(shutil.copytree(finetuned, tmp_path / "run"))
    config = json.loads((run / "model/config.json").read_text())
    del config["extras"]["results"], config["sha256"]
    (run / "model/config.json").write_text(json.dumps(config))
    assert run_cli("push", run, "somebody/model").code == 0
    assert "Weighted accuracy" in (hub.place / "README.md").read_text(encoding="utf-8")


def test_what_is_damaged_is_not_uploaded(
    run_cli: Run, finetuned: Path, pretrained: Path, hub: RecordedHub, tmp_path: Path
) -> None:
    model = Path(shutil.copytree(finetuned / "model", tmp_path / "model"))
    weights = (model / "model.safetensors").read_bytes()
    (model / "model.safetensors").write_bytes(weights[:-9])
    adapter = Path(shutil.copytree(pretrained / "adapter", tmp_path / "adapter"))
    (adapter / "codebook.safetensors").unlink()
    older = Path(shutil.copytree(adapter, tmp_path / "older"))
    config = json.loads((older / "config.json").read_text())
    del config["sha256"]
    (older / "config.json").write_text(json.dumps(config))
    for folder, message in (
        (model, "model/model.safetensors: cannot be read as safetensors"),
        (adapter, "adapter/codebook.safetensors: not there"),
        (older, "older/codebook.safetensors: not there"),
    ):
        ran = run_cli("push", folder, "somebody/model")
        assert ran.code == 2
        assert message in ran.err
        assert ran.err.count("error:") == 1
    assert hub.calls == {}


def test_what_cannot_be_uploaded_is_said_first(
    run_cli: Run, finetuned: Path, pretrained: Path, lora_run: Path, hub: RecordedHub
) -> None:
    Path("empty").mkdir()
    for arguments, message in (
        (("nowhere", "somebody/model"), "nowhere: there is no such folder"),
        (("empty", "somebody/model"), "empty: holds no model"),
        ((finetuned, "model"), "give OWNER/NAME, such as your-name/model"),
        ((finetuned, "a/b/c"), "repo: found 'a/b/c', give OWNER/NAME"),
        ((pretrained, "somebody/a", "--bundle-backbone"), "--bundle-backbone: goes with a class"),
        ((lora_run, "somebody/model"), "only on this machine"),
    ):
        ran = run_cli("push", *arguments)
        assert ran.code == 2, ran.err
        assert message in ran.err
    assert hub.calls == {}


def test_a_refusal_of_the_hub_is_one_message(
    run_cli: Run, finetuned: Path, hub: RecordedHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: Any, **options: Any) -> None:
        raise ConnectionError("401 Unauthorized")

    monkeypatch.setattr(hub, "create_repo", refuse)
    ran = run_cli("push", finetuned, "somebody/model")
    assert ran.code == 2
    assert "error: somebody/model: cannot be uploaded (ConnectionError: 401" in ran.err
    assert "Traceback" not in ran.err


def test_the_encoder_goes_with_it(run_cli: Run, lora_run: Path, hub: RecordedHub) -> None:
    assert run_cli("push", lora_run, "somebody/model", "--bundle-backbone").code == 0
    assert (hub.place / "backbone/model.safetensors").exists()
    SpeechClassifier.from_pretrained(hub.place)
