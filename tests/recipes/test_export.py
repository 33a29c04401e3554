# SPDX-License-Identifier: Apache-2.0
"""``export``: a file that gives what torch gives, and runs where torch is not."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="needs pip install -e '.[onnx]'")
for package in ("onnxruntime", "onnxscript"):
    pytest.importorskip(package, reason="needs pip install -e '.[onnx]'")

from voxadapt import SpeechClassifier  # noqa: E402
from voxadapt.backbones import read_audio  # noqa: E402
from voxadapt.recipes import export  # noqa: E402
from voxadapt.recipes.exporting import onnx_file  # noqa: E402
from voxadapt.recipes.exporting.onnx_session import OnnxModel  # noqa: E402

Run = Callable[..., Any]
ROOT = Path(__file__).resolve().parents[2]
# Put before the page's snippet: an import of torch, or of us, is an error.
BLOCKED = "import sys; sys.modules.update(dict.fromkeys(('torch', 'voxadapt', 'transformers')))\n"


@pytest.fixture(scope="module")
def exported(
    run_recipe: Run, finetuned: Path, corpus: Path, tmp_path_factory: pytest.TempPathFactory
) -> Any:
    """What the command said, and the folder with its files; not to be written to."""
    folder = tmp_path_factory.mktemp("exported")
    ran = run_recipe(
        "export", finetuned, "--onnx", folder / "model.onnx", "--int8", "--data", corpus
    )
    assert ran.code == 0, ran.err
    return ran, folder


def test_it_writes_both_files_and_says_how_they_fare(exported: Any, finetuned: Path) -> None:
    ran, folder = exported
    assert sorted(path.name for path in folder.iterdir()) == [
        "model.int8.onnx",
        "model.json",
        "model.onnx",
    ]
    record = json.loads((folder / "model.json").read_text(encoding="utf-8"))
    rows = record["parity"]["rows"]
    assert len({row["seconds"] for row in rows}) == 5
    assert len({row["batch"] for row in rows}) == 3
    assert all(value < 1e-4 for row in rows for value in row["differences"].values())
    assert [row["name"] for row in record["accuracy"]] == ["torch", "model.onnx", "model.int8.onnx"]
    of_torch, fp32, int8 = record["accuracy"]
    assert fp32["score"] == of_torch["score"]
    assert fp32["agreement"] == 1.0
    assert fp32["difference"] < 1e-5 < int8["difference"] < 0.1
    for row, path in ((fp32, folder / "model.onnx"), (int8, folder / "model.int8.onnx")):
        assert row["bytes"] == path.stat().st_size
    assert "Parity with torch" in ran.out
    assert "Accuracy on 6 clips (test)" in ran.out
    # What the packages say of their own workings stays with them.
    assert "initializer" not in ran.err
    assert "torchvision" not in ran.err
    model = SpeechClassifier.from_pretrained(finetuned)
    metadata = OnnxModel(folder / "model.onnx").metadata
    assert metadata["labels"] == model.labels
    assert metadata["sample_rate"] == 16_000
    assert metadata["backbone"]["type"] == "fbank"
    assert {name: record[name] for name in metadata} == metadata


def test_the_file_gives_what_the_model_predicts(
    exported: Any, finetuned: Path, corpus: Path
) -> None:
    _, folder = exported
    clips = [read_audio(path) for path in sorted(corpus.parent.glob("*_3_*.wav"))]
    found = OnnxModel(folder / "model.onnx").run(clips, filler=float("nan"))
    model = SpeechClassifier.from_pretrained(finetuned)
    for row, clip in enumerate(clips):
        expected = model.predict(clip, 16_000)
        assert found["probabilities"][row] == pytest.approx(
            list(expected.probabilities.values()), abs=1e-5
        )
        assert found["embedding"][row] == pytest.approx(expected.embedding.numpy(), abs=1e-5)


def test_the_file_is_valid_and_its_sizes_are_free(exported: Any) -> None:
    model = onnx.load(exported[1] / "model.onnx")
    onnx.checker.check_model(model, full_check=True)
    shapes = {
        item.name: [size.dim_param or size.dim_value for size in item.type.tensor_type.shape.dim]
        for item in [*model.graph.input, *model.graph.output]
    }
    assert shapes == {
        "waveforms": ["batch", "samples"],
        "lengths": ["batch"],
        "probabilities": ["batch", 3],
        "logits": ["batch", 3],
        "embedding": ["batch", 32],
    }


def test_the_page_s_snippet_runs_where_there_is_no_torch(
    exported: Any, finetuned: Path, corpus: Path, tmp_path: Path
) -> None:
    page = (ROOT / "docs" / "onnx.md").read_text(encoding="utf-8")
    snippet = re.search(r"```python\n(.*?)```", page, flags=re.DOTALL)
    assert snippet is not None
    shutil.copy(exported[1] / "model.onnx", tmp_path)
    model, expected = SpeechClassifier.from_pretrained(finetuned), []
    for name, clip in (("clip.wav", "hum_3_0.wav"), ("new.wav", "noise_3_1.wav")):
        shutil.copy(corpus.with_name(clip), tmp_path / name)
        expected.append(model.predict(tmp_path / name))
    ran = subprocess.run(
        [sys.executable, "-c", BLOCKED + snippet[1]], cwd=tmp_path, capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stderr
    lines = ran.stdout.splitlines()
    for line, prediction in zip(lines, expected, strict=True):
        label, _, numbers = line.partition(" ")
        assert label == prediction.label
        shares = [float(number) for number in re.findall(r"[\d.]+", numbers)]
        assert shares == pytest.approx(list(prediction.probabilities.values()), abs=6e-4)
    blocked = subprocess.run(
        [sys.executable, "-c", BLOCKED + "import torch"], capture_output=True, text=True
    )
    assert "ModuleNotFoundError" in blocked.stderr


def test_a_file_that_differs_is_not_kept(
    run_cli: Run, finetuned: Path, exported: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write_wrong(model: Any, path: Path, metadata: Any) -> None:
        right = onnx.load(exported[1] / "model.onnx")
        (bias,) = [item for item in right.graph.initializer if item.name.endswith(".linear.bias")]
        values = onnx.numpy_helper.to_array(bias) + np.array([0, 0, 3e-3], dtype=np.float32)
        bias.CopyFrom(onnx.numpy_helper.from_array(values, bias.name))
        onnx.save(right, path)

    monkeypatch.setattr(export, "write_onnx", write_wrong)
    ran = run_cli("export", finetuned, "--onnx=out/model.onnx")
    assert ran.code == 2
    assert "error: the exported graph differs from torch by 3.0e-03" in ran.err
    assert "no file was kept" in ran.err
    assert ran.out.count("too large") == 15
    assert list(Path("out").iterdir()) == []


def test_what_cannot_be_is_refused_before_anything_runs(
    run_cli: Run, finetuned: Path, corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "write_onnx", None)  # would be a traceback
    for name in ("there.onnx", "half.int8.onnx", "told.json", "large.onnx.data"):
        Path(name).touch()
    for arguments, message in (
        ((finetuned,), "--onnx: missing"),
        ((finetuned, "--onnx=model.pt"), "found the ending '.pt', must be .onnx"),
        ((finetuned, "--onnx=there.onnx"), "there.onnx is there already"),
        ((finetuned, "--onnx=half.onnx", "--int8"), "half.int8.onnx is there already"),
        ((finetuned, "--onnx=told.onnx"), "told.json is there already"),
        ((finetuned, "--onnx=large.onnx"), "large.onnx.data is there already"),
        ((finetuned, "--onnx=there.onnx/m.onnx"), "the folder there.onnx cannot be made"),
        ((finetuned / "model", "--onnx=m.onnx", "--int8"), "--data: missing; --int8 shows"),
        ((finetuned, "--onnx=m.onnx", "--data", "no.csv"), "no.csv"),
        (("./no-run", "--onnx=m.onnx"), "./no-run: there is no such folder"),
    ):
        ran = run_cli("export", *arguments)
        assert ran.code == 2, ran.err
        assert message in ran.err
        assert "Traceback" not in ran.err
    assert not list(Path().glob("m.*"))


def test_a_missing_package_is_named(
    run_cli: Run, finetuned: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnx_file, "PACKAGES", ("onnx", "not_a_package"))
    ran = run_cli("export", finetuned, "--onnx=model.onnx")
    assert ran.code == 2
    assert "export needs not_a_package, which is not installed" in ran.err
    assert "pip install -e '.[onnx]'" in ran.err


def test_without_data_it_is_the_runs_own(finetuned: Path) -> None:
    options = export.ExportOptions(str(finetuned), int8=True)
    clips = export.labelled_clips(options, SpeechClassifier.from_pretrained(finetuned))
    assert {clip.split for clip in clips} == {"test"}
    assert np.unique([clip.label for clip in clips]).tolist() == ["hum", "noise", "tone"]


def test_without_data_no_split_column_is_needed(
    run_cli: Run,
    finetune_options: list[str],
    corpus_rows: list[dict[str, str]],
    write_rows: Callable[..., Path],
) -> None:
    without = [{name: row[name] for name in row if name != "split"} for row in corpus_rows]
    data = ["--data", write_rows(without), "--allow-outside"]
    options = [*finetune_options, *data, "--adapter=none", "--epochs=1", "--out=run"]
    assert run_cli("finetune", *options).code == 0
    parts = json.loads(Path("run/splits.json").read_text(encoding="utf-8"))
    model = SpeechClassifier.from_pretrained("run")
    clips = export.labelled_clips(export.ExportOptions("run", int8=True), model)
    assert [clip.id for clip in clips] == parts["test"]


@pytest.mark.slow
def test_a_model_with_lora_is_exported_where_its_weights_are_folded_in(
    run_cli: Run, lora_run: Path, corpus: Path
) -> None:
    ran = run_cli("export", lora_run, "--onnx=model.onnx", "--data", corpus, "--split=all")
    assert ran.code == 0, ran.err
    names = {item.name for item in onnx.load("model.onnx").graph.initializer}
    assert names
    assert not any("lora" in name for name in names)
    record = json.loads(Path("model.json").read_text(encoding="utf-8"))
    assert record["backbone"]["type"] == "encoder"
    assert record["accuracy"][1]["difference"] < 1e-5
