# SPDX-License-Identifier: Apache-2.0
"""``finetune`` on several label columns and on values, and what else learns by it."""

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from voxadapt import SpeechClassifier
from voxadapt.outputs import ValueOutputs

Run = Callable[..., Any]
AROUSAL = {"hum": 1.0, "noise": 3.0, "tone": 5.0}


def read(path: Path | str) -> Any:
    return json.loads(Path(path).read_text(encoding="utf-8"))


def read_predictions(path: Path | str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path(path).read_text(encoding="utf-8").splitlines()]


@pytest.fixture(scope="session")
def columns_corpus(
    corpus_rows: list[dict[str, str]], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The tiny corpus with a column `style`, and with `arousal` by sound and `valence` by take."""
    folder = tmp_path_factory.mktemp("columns")
    with open(folder / "columns.csv", "w", encoding="utf-8", newline="") as file:
        extra = ["style", "arousal", "valence"]
        writer = csv.DictWriter(file, [*corpus_rows[0], *extra])
        writer.writeheader()
        for number, row in enumerate(corpus_rows):
            arousal = AROUSAL[row["label"]] + 0.1 * int(row["speaker"][1])
            style = "low" if row["label"] == "hum" else "high"
            further = {"style": style, "arousal": arousal, "valence": -number % 7 / 2}
            writer.writerow({**row, **further})
    return folder / "columns.csv"


@pytest.fixture
def options(finetune_options: list[str], columns_corpus: Path) -> list[Any]:
    return [*finetune_options, "--data", columns_corpus, "--allow-outside", "--adapter=random"]


LEARNING = ["--epochs=30", "--optimizer.learning_rate=0.003", "--optimizer.averaging=0.9"]
# A random adapter has too many features for a dozen clips.
LEARNING += ["--adapter=none", "--optimizer.linear_factor=5"]


def test_two_columns_are_learnt_at_once_and_the_first_decides(
    run_cli: Run, options: list[Any], corpus: Path
) -> None:
    ran = run_cli("finetune", *options, *LEARNING, "--label=label,style", "--out=run")
    assert ran.code == 0, ran.err
    assert "3 classes of label; 2 classes of style" in ran.err
    metrics = read("run/metrics.json")
    assert metrics["labels"] == ["hum", "noise", "tone"]
    assert metrics["ua"] == metrics["by_column"]["label"]["ua"] == 1.0
    assert metrics["by_column"]["style"]["ua"] == 1.0
    assert metrics["by_column"]["style"]["labels"] == ["high", "low"]
    entry = read("run/history.json")[-1]
    assert entry["valid_style_ua"] > 0.7
    assert {"valid_ua", "valid_style_loss"} <= entry.keys()
    record = read_predictions("run/predictions.jsonl")[0]
    assert record["predicted"] == record["columns"]["label"]["predicted"]
    assert record["columns"]["style"]["label"] in ("low", "high")
    assert Path("run/report.html").exists()

    model = SpeechClassifier.from_pretrained("run")
    prediction = model.predict(corpus.with_name("hum_3_0.wav"))
    assert (prediction.label, prediction.columns["label"]) == ("hum", prediction.probabilities)
    assert prediction.columns["style"]["low"] > 0.5
    assert sum(prediction.columns["style"].values()) == pytest.approx(1)

    out = run_cli("predict", "run", corpus.with_name("hum_3_0.wav"), "--format=csv").out
    (row,) = csv.DictReader(io.StringIO(out))
    assert (row["predicted"], row["style"]) == ("hum", "low")
    assert float(row["style=low"]) == pytest.approx(prediction.columns["style"]["low"], abs=1e-5)
    (line,) = run_cli("predict", "run", corpus.with_name("hum_3_0.wav")).out.splitlines()
    assert json.loads(line)["columns"]["style"]["predicted"] == "low"


def test_speakers_that_train_lacks_are_not_scored_and_that_is_said(
    run_cli: Run, options: list[Any]
) -> None:
    ran = run_cli("finetune", *options, "--label=label,speaker", "--out=run")
    assert ran.code == 0, ran.err
    metrics = read("run/metrics.json")
    assert metrics["by_column"]["speaker"] is None
    assert metrics["by_column"]["label"]["n"] == 6
    (note,) = [note for note in metrics["notes"] if "of test" in note]
    assert "6 of 6 clips of test have a label in the column 'speaker'" in note
    assert f"note: {note}" in ran.err
    record = read_predictions("run/predictions.jsonl")[0]
    assert record["columns"]["speaker"]["label"] == "s3"
    assert record["columns"]["speaker"]["predicted"] in ("s0", "s1")


def test_weights_of_columns_decide_what_is_learnt(run_cli: Run, options: list[Any]) -> None:
    common = [*options, *LEARNING, "--label=label,style"]
    ran = run_cli("finetune", *common, "--label-weights", "0", "1", "--out=run")
    assert ran.code == 0, ran.err
    scores = read("run/metrics.json")["by_column"]
    assert scores["style"]["ua"] == 1.0
    assert scores["label"]["ua"] < 0.8
    ran = run_cli("finetune", *common, "--label-weights", "1", "--out=other")
    assert ran.code == 2
    assert "--label-weights: found [1.0], give one finite number" in ran.err


REGRESSION = ["--task=regression", "--label=arousal,valence"]


def test_values_are_learnt_by_their_concordance(
    run_cli: Run, options: list[Any], corpus: Path, columns_corpus: Path
) -> None:
    ran = run_cli(
        "finetune", *options, *LEARNING, "--task=regression", "--label=arousal", "--out=r"
    )
    assert ran.code == 0, ran.err
    assert "values of arousal" in ran.err
    assert "CCC" in ran.err
    metrics = read("r/metrics.json")
    assert metrics["ccc"] > 0.9
    assert metrics["task"] == "regression"
    assert metrics["dimensions"] == ["arousal"]
    assert metrics["by_dimension"]["arousal"]["mae"] < 0.6
    assert metrics["ci95"]["ccc"][0] < metrics["ccc"]
    assert metrics["valid"].keys() == {"ccc", "pearson", "mae", "loss"}
    assert metrics["config"]["task"] == "regression"
    assert not {"confusion", "ua", "labels"} & metrics.keys()
    records = read_predictions("r/predictions.jsonl")
    true = np.array([record["values"]["arousal"] for record in records])
    predicted = np.array([record["predicted"]["arousal"] for record in records])
    assert sorted(true) == pytest.approx([1.3, 1.3, 3.3, 3.3, 5.3, 5.3])
    assert np.abs(true - predicted).mean() == pytest.approx(
        metrics["by_dimension"]["arousal"]["mae"], abs=1e-5
    )
    assert Path("r/report.html").exists()

    model = SpeechClassifier.from_pretrained("r")
    assert isinstance(model.outputs, ValueOutputs)
    prediction = model.predict(corpus.with_name(f"{records[0]['id']}.wav"))
    assert prediction.label is None
    # The cache holds half precision.
    assert prediction.values["arousal"] == pytest.approx(predicted[0], abs=0.02)
    (line,) = run_cli("predict", "r", corpus.with_name("tone_3_0.wav")).out.splitlines()
    assert json.loads(line)["values"]["arousal"] > 4

    data = ["--data", columns_corpus, "--allow-outside", "--features", options[3]]
    ran = run_cli("score", "r", *data, "--split=test", "--out=score.json")
    assert ran.code == 0, ran.err
    scored = read("score.json")
    assert scored["ccc"] == pytest.approx(metrics["ccc"], abs=1e-6)
    ran = run_cli("score", "r", *data, "--label=style")
    assert ran.code == 2
    assert "was trained on arousal and is scored by those columns" in ran.err


def test_several_columns_are_scored_again_as_they_were(
    run_cli: Run, options: list[Any], columns_corpus: Path
) -> None:
    assert run_cli("finetune", *options, "--label=style,label", "--out=run").code == 0
    data = ["--data", columns_corpus, "--allow-outside", "--features", options[3]]
    ran = run_cli("score", "run", *data, "--out=score.json")
    assert ran.code == 0, ran.err
    scored, metrics = read("score.json"), read("run/metrics.json")
    for name in ("style", "label"):
        one, other = scored["by_column"][name], metrics["by_column"][name]
        assert one["confusion"] == other["confusion"]
        assert one["ece"] == pytest.approx(other["ece"], abs=1e-5)
    assert scored["confusion"] == metrics["confusion"]


@pytest.mark.parametrize("changes", [["--fold=all"], ["--seeds=2"]])
def test_runs_of_values_are_joined(changes: list[str], run_cli: Run, options: list[Any]) -> None:
    ran = run_cli("finetune", *options, *REGRESSION, *changes, "--epochs=1", "--out=run")
    assert ran.code == 0, ran.err
    metrics = read("run/metrics.json")
    runs = [read(f"run/{run['folder']}/metrics.json") for run in metrics["runs"]]
    assert len(runs) == 2
    assert metrics["ccc"] == pytest.approx(np.mean([run["ccc"] for run in runs]))
    assert metrics["std"]["ccc"] == pytest.approx(np.std([run["ccc"] for run in runs], ddof=1))
    assert metrics["task"] == "regression"
    assert Path("run/model/model.safetensors").exists()


OPTIONS = {
    "values": [*REGRESSION, "--mixup=0.3"],
    "columns": ["--label=label,style", "--class-weights=balanced", "--mixup=0.3"],
    "sampling": ["--sampling=balanced", "--mixup=0.3"],
    "bottleneck": ["--adapter=bottleneck", "--bottleneck.size=8", "--head.output_size=6"],
}


@pytest.mark.parametrize(
    "name",
    ["values", *(pytest.param(n, marks=pytest.mark.slow) for n in ("columns", "sampling"))],
)
def test_processes_do_not_change_the_run(
    name: str, run_cli: Run, run_process: Run, options: list[Any]
) -> None:
    common = [*options, *OPTIONS[name], "--adapter-dropout=0", "--head.dropout=0"]
    common += ["--batch-seconds=1.5", "--optimizer.clip_norm=5"]
    assert run_cli("finetune", *common, "--out=one").code == 0
    ran = run_process("finetune", *common, "--passes=2", "--out=two", processes=2)
    assert ran.code == 0, ran.err
    for entry, other in zip(read("one/history.json"), read("two/history.json"), strict=True):
        assert entry == pytest.approx(other, abs=1e-4)
    key = "predicted" if name == "values" else "probabilities"
    for record, other in zip(
        read_predictions("one/predictions.jsonl"),
        read_predictions("two/predictions.jsonl"),
        strict=True,
    ):
        assert record["id"] == other["id"]
        assert record[key] == pytest.approx(other[key], abs=2e-4)


@pytest.mark.parametrize("name", list(OPTIONS))
def test_resume_is_bit_for_bit_the_run_that_was_not_stopped(
    name: str, run_cli: Run, options: list[Any]
) -> None:
    common = [*options, *OPTIONS[name], "--epochs=3"]
    assert run_cli("finetune", *common, "--out=whole").code == 0
    assert run_cli("finetune", *common, "--out=parts", "--max-epochs=1").code == 0
    ran = run_cli("finetune", *common, "--out=parts", "--resume")
    assert ran.code == 0, ran.err
    for file in ("model/model.safetensors", "history.json", "predictions.jsonl"):
        assert Path("parts", file).read_bytes() == Path("whole", file).read_bytes()


def test_patience_ends_a_run_and_a_resumed_one_alike(run_cli: Run, options: list[Any]) -> None:
    common = [*options, "--epochs=30", "--patience=2", "--optimizer.learning_rate=1e-7"]
    ran = run_cli("finetune", *common, "--out=whole")
    assert ran.code == 0, ran.err
    history = read("whole/history.json")
    assert len(history) == 3  # the first epoch, and two that were no better
    assert "no better score on the validation part for 2 epochs: stopped after epoch 3" in ran.err
    assert run_cli("finetune", *common, "--out=parts", "--max-epochs=2").code == 0
    assert run_cli("finetune", *common, "--out=parts", "--resume").code == 0
    assert Path("parts/history.json").read_bytes() == Path("whole/history.json").read_bytes()


def test_a_bottleneck_starts_as_no_adapter_and_is_saved_with_the_model(
    run_cli: Run, options: list[Any], corpus: Path
) -> None:
    common = [*options, "--epochs=1", "--optimizer.learning_rate=1e-9", "--head.output_size=5"]
    for adapter in ("bottleneck", "none"):
        ran = run_cli("finetune", *common, "--adapter", adapter, "--out", adapter)
        assert ran.code == 0, ran.err
    model = SpeechClassifier.from_pretrained("bottleneck")
    assert type(model.frame_classifier.adapter).__name__ == "BottleneckAdapter"
    assert model.frame_classifier.adapter.config.bottleneck == 64
    prediction = model.predict(corpus.with_name("hum_3_0.wav"))
    assert prediction.embedding.shape == (5,)
    assert prediction.probabilities.keys() == {"hum", "noise", "tone"}
    metrics = read("bottleneck/metrics.json")
    assert metrics["adapter"] == "bottleneck"
    size = 2 * 160 + 2 * 160 * 64 + 64 + 160
    assert metrics["parameters_trained"] - read("none/metrics.json")["parameters_trained"] == size
