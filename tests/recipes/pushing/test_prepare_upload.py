# SPDX-License-Identifier: Apache-2.0
"""What of a run is uploaded; the rest is in ``test_push.py``."""

import json
import shutil
from pathlib import Path

import pytest

from voxadapt.adapters import BottleneckAdapter, BottleneckAdapterConfig
from voxadapt.recipes.pushing.prepare_upload import find_saved, prepare_adapter
from voxadapt.recipes.running.command_line import UsageError


def test_the_model_is_found_in_a_run_and_by_itself(finetuned: Path, pretrained: Path) -> None:
    saved = find_saved(str(finetuned))
    assert (saved.folder, saved.run) == (finetuned / "model", finetuned)
    assert (saved.kind, saved.is_adapter, saved.title) == ("SpeechClassifier", False, "classifier")
    # A model's folder alone has no results beside it but those that it holds.
    saved = find_saved(str(finetuned / "model"))
    assert (saved.folder, saved.run) == (finetuned / "model", None)
    saved = find_saved(str(pretrained))
    assert (saved.folder, saved.title) == (pretrained / "adapter", "adapter")


def test_a_folder_of_something_else(hubert_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="holds no model"):
        find_saved(str(hubert_folder))
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(UsageError, match="holds no model"):
        find_saved(str(tmp_path))


def test_an_adapter_without_codebook_and_card(tmp_path: Path) -> None:
    adapter = BottleneckAdapter(BottleneckAdapterConfig(8, 2))
    adapter.extras = {"backbone": {"name_or_path": "facebook/hubert"}, "out": "/srv/me/x"}
    adapter.save_pretrained(tmp_path / "adapter")
    saved = find_saved(str(tmp_path / "adapter"))
    (tmp_path / "upload").mkdir()
    prepare_adapter(saved, tmp_path / "upload", "somebody/adapter", licence=None)
    text = (tmp_path / "upload" / "README.md").read_text()
    assert "base_model: facebook/hubert" in text
    assert "license: unknown" in text
    assert BottleneckAdapter.from_pretrained(tmp_path / "upload").extras["out"] == "x"


def test_without_local_attributes_there_is_no_codebook_to_miss(
    pretrained: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(pretrained / "adapter", tmp_path / "adapter"))
    (folder / "codebook.safetensors").unlink()
    config = json.loads((folder / "config.json").read_text())
    del config["sha256"]
    config["extras"]["options"]["objectives"]["local_attributes"] = 0.0
    (folder / "config.json").write_text(json.dumps(config))
    (tmp_path / "upload").mkdir()
    prepare_adapter(find_saved(str(folder)), tmp_path / "upload", "a/b", licence=None)
    assert not (tmp_path / "upload" / "codebook.safetensors").exists()
