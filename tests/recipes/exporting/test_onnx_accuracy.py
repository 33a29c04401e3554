# SPDX-License-Identifier: Apache-2.0
"""The table of accuracies, from files that are stand-ins."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from voxadapt.outputs import ValueOutputs
from voxadapt.recipes.corpora.clip import Clip
from voxadapt.recipes.corpora.errors import DataError
from voxadapt.recipes.exporting import onnx_accuracy
from voxadapt.recipes.exporting.parity import run_alone

Make = Callable[..., Any]


@pytest.fixture
def labelled(corpus_rows: list[dict[str, str]]) -> list[Clip]:
    """Eight clips of the tiny corpus."""
    return [Clip(id=row["id"], path=Path(row["path"]), label=row["label"]) for row in corpus_rows][
        :8
    ]


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[Path]]:
    """Stand-ins for files, which change what torch says: ``files(model, turn=...)``."""

    def make(model: Any, **changes: Callable[[np.ndarray], np.ndarray]) -> list[Path]:
        class Session:
            def __init__(self, path: Path) -> None:
                self.change = changes[path.stem]

            def run(self, clips: list[Any]) -> dict[str, np.ndarray]:
                (clip,) = clips
                name, said = next(iter(run_alone(model, clip).items()))
                return {name: self.change(said)[None]}

        monkeypatch.setattr(onnx_accuracy, "OnnxModel", Session)
        for name in changes:
            (tmp_path / f"{name}.onnx").write_bytes(bytes(2_000_000))
        return [tmp_path / f"{name}.onnx" for name in changes]

    return make


def test_a_file_is_scored_beside_torch(
    tiny_classifier: Make, labelled: list[Clip], files: Callable[..., list[Path]]
) -> None:
    model = tiny_classifier(outputs=("hum", "noise", "tone"))
    said = np.stack([run_alone(model, read(clip))["probabilities"] for clip in labelled])
    paths = files(model, same=lambda row: row, turned=lambda row: np.roll(row, 1))
    torch_row, same, turned = onnx_accuracy.compare_accuracy(model, paths, labelled, skip_bad=False)
    classes = [["hum", "noise", "tone"].index(str(clip.label)) for clip in labelled]
    recalls = [
        np.mean(said.argmax(axis=1)[np.array(classes) == number] == number)
        for number in sorted(set(classes))
    ]
    assert torch_row.name == "torch"
    assert torch_row.score == same.score == pytest.approx(np.mean(recalls))
    assert (torch_row.bytes, same.bytes) == (None, 2_000_000)
    assert (same.agreement, same.difference) == (1.0, 0.0)
    assert turned.agreement == 0.0
    assert turned.difference == pytest.approx(np.abs(np.roll(said, 1, axis=1) - said).max())
    table = onnx_accuracy.accuracy_table(model.outputs, [torch_row, same, turned], "(test)")
    assert f"Accuracy on {len(labelled)} clips (test), one clip at a time" in table
    assert "UA, %" in table
    assert "100.0 %" in table
    assert "2.00" in table


def read(clip: Clip) -> Any:
    from voxadapt.backbones import read_audio

    return read_audio(clip.path)


def test_values_are_scored_by_their_concordance(
    tiny_classifier: Make, labelled: list[Clip], files: Callable[..., list[Path]]
) -> None:
    for number, clip in enumerate(labelled):
        clip.columns["arousal"] = str(number)
    model = tiny_classifier(outputs=ValueOutputs(["arousal"], mean=[3.0], std=[2.0]))
    rows = onnx_accuracy.compare_accuracy(
        model, files(model, off=lambda row: row + 100), labelled, skip_bad=False
    )
    assert rows[1].agreement is None
    assert rows[1].difference == pytest.approx(100, rel=1e-4)
    assert abs(rows[1].score) < abs(rows[0].score)
    assert "CCC" in onnx_accuracy.accuracy_table(model.outputs, rows, "(test)")


def test_bad_clips_stop_it_or_are_left_out(
    tiny_classifier: Make,
    labelled: list[Clip],
    files: Callable[..., list[Path]],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    (tmp_path / "bad.wav").write_bytes(b"no audio")
    bad = Clip(id="bad one", path=tmp_path / "bad.wav", label="hum")
    model = tiny_classifier(outputs=("hum", "noise", "tone"))
    paths = files(model, same=lambda row: row)
    with pytest.raises(DataError, match="'bad one'"):
        onnx_accuracy.compare_accuracy(model, paths, [bad, *labelled], skip_bad=False)
    kept = onnx_accuracy.compare_accuracy(model, paths, [bad, *labelled], skip_bad=True)
    good = onnx_accuracy.compare_accuracy(model, paths, labelled, skip_bad=True)
    assert [row.score for row in kept] == [row.score for row in good]
    assert [row.clips for row in kept] == [len(labelled)] * 2
    assert "left out: clip 'bad one'" in caplog.text
    with pytest.raises(DataError, match="no clip can be used"):
        onnx_accuracy.compare_accuracy(model, paths, [bad], skip_bad=True)
