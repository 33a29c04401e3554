# SPDX-License-Identifier: Apache-2.0
"""``finetune`` from the command line: what it leaves, what it touches, what does not change it."""

import hashlib
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from voxadapt import SpeechClassifier
from voxadapt.adapters import FeatureStandardizer, WAPTransformer
from voxadapt.pooling import POOLERS
from voxadapt.recipes import finetune
from voxadapt.recipes.finetuning import fit_classifier, run_once
from voxadapt.recipes.running.command_line import UsageError

Run = Callable[..., Any]
METRICS = {
    *("labels", "n", "wa", "ua", "macro_f1", "confusion", "protocol", "by_fold", "ci95", "seed"),
    *("config", "versions", "split_fingerprint", "left_out", "parameters_trained", "adapter"),
}


def read(path: Path | str) -> Any:
    return json.loads(Path(path).read_text(encoding="utf-8"))


def read_predictions(out: Path | str) -> list[dict[str, Any]]:
    lines = Path(out, "predictions.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def outcome(out: Path | str) -> dict[str, Any]:
    """All that a resumed run must have in common with one that was not stopped."""
    metrics = read(Path(out) / "metrics.json")
    for changing in ("seconds", "config"):
        del metrics[changing]
    files = ("model/model.safetensors", "history.json", "predictions.jsonl", "splits.json")
    return {"metrics": metrics} | {name: (Path(out) / name).read_bytes() for name in files}


@pytest.mark.parametrize("pool", list(POOLERS))
def test_every_pooler_trains_two_steps_and_leaves_what_is_promised(
    pool: str, run_cli: Run, finetune_options: list[str]
) -> None:
    options = [*finetune_options, "--epochs=1", "--adapter=random", "--out=run"]
    ran = run_cli("finetune", *options, "--pool", pool)
    assert ran.code == 0, ran.err
    assert re.search(r"^clips to train: hum \d, noise \d, tone \d$", ran.err, re.MULTILINE)
    assert re.search(r"^training on \w+: 1 epoch of about \d steps$", ran.err, re.MULTILINE)
    assert len(read("run/history.json")) == 1
    model = SpeechClassifier.from_pretrained("run")
    assert type(model.frame_classifier.pooler) is POOLERS[pool]

    metrics = read("run/metrics.json")
    assert metrics.keys() >= METRICS
    assert metrics["labels"] == ["hum", "noise", "tone"] == model.labels
    assert metrics["n"] == 6 == np.sum(metrics["confusion"])
    assert all(0 <= metrics[name] <= 1 for name in ("wa", "ua", "macro_f1"))
    assert metrics["ua"] == pytest.approx(np.mean(np.diag(metrics["confusion"])) / 2)
    assert metrics["config"]["pool"] == pool
    assert metrics["protocol"] == "split-column"
    assert torch.__version__.startswith(metrics["versions"]["torch"])

    predictions = read_predictions("run")
    assert [record.keys() for record in predictions] == [
        {"id", "label", "predicted", "probabilities", "speaker", "seconds"}
    ] * 6
    right = [record["label"] == record["predicted"] for record in predictions]
    assert np.mean(right) == pytest.approx(metrics["wa"])
    for record in predictions:
        assert list(record["probabilities"]) == metrics["labels"]
        assert sum(record["probabilities"].values()) == pytest.approx(1, abs=1e-5)
        assert max(record["probabilities"], key=record["probabilities"].get) == record["predicted"]
    assert "report.html" in ran.err
    assert Path("run/report.html").stat().st_size > 1_000


@pytest.mark.parametrize("probe", [0, 0.03])
def test_it_learns(run_cli: Run, finetune_options: list[str], probe: float) -> None:
    options = [*finetune_options, "--epochs=40", "--adapter=random", "--out=run"]
    options += ["--optimizer.learning_rate=0.003", "--optimizer.averaging=0.9"]
    options += ["--optimizer.linear_factor=5", f"--head.probe={probe}"]
    assert run_cli("finetune", *options).code == 0
    assert read("run/metrics.json")["ua"] == 1.0


def test_adapter_of_a_run_is_what_training_starts_from(
    run_cli: Run, finetune_options: list[str], pretrained: Path
) -> None:
    saved = load_file(pretrained / "adapter" / "model.safetensors")
    options = [*finetune_options, "--epochs=1", "--optimizer.learning_rate=1e-9"]
    options.append("--adapter-statistics=pretraining")
    for adapter in (pretrained, pretrained / "adapter"):
        out = f"run-{adapter.name}"
        ran = run_cli("finetune", *options, "--adapter", adapter, "--out", out)
        assert ran.code == 0, ran.err
        model = SpeechClassifier.from_pretrained(out)
        for name, tensor in model.frame_classifier.adapter.state_dict().items():
            torch.testing.assert_close(tensor, saved[name], rtol=0, atol=1e-6)
        assert read(f"{out}/metrics.json")["adapter"] == str(pretrained / "adapter")


def test_adapter_random_and_none(
    run_cli: Run, finetune_options: list[str], pretrained: Path
) -> None:
    options = [*finetune_options, "--epochs=1"]
    for adapter in ("random", "none"):
        ran = run_cli("finetune", *options, "--adapter", adapter, "--out", adapter)
        assert ran.code == 0, ran.err
    random = SpeechClassifier.from_pretrained("random").frame_classifier.adapter
    assert isinstance(random, WAPTransformer)
    saved = load_file(pretrained / "adapter" / "model.safetensors")
    assert not torch.allclose(random.input_projection.weight, saved["input_projection.weight"])
    none = SpeechClassifier.from_pretrained("none").frame_classifier.adapter
    assert isinstance(none, FeatureStandardizer)
    counts = [read(f"{name}/metrics.json")["parameters_trained"] for name in ("random", "none")]
    assert counts[0] != counts[1]
    # Both are standardised by the training part alone, not by what is tested.
    torch.testing.assert_close(random.standardize.mean, none.mean)
    assert not torch.allclose(none.mean, saved["standardize.mean"], atol=1e-3)


def test_without_adapter_the_default_runs_is_taken_and_said(
    run_cli: Run, finetune_options: list[str], pretrained: Path, hubert_folder: Path
) -> None:
    options = [*finetune_options, "--epochs=1"]
    ran = run_cli("finetune", *options, "--out=without")
    assert "none in runs/pretrain/adapter: using a random one" in ran.err
    assert read("without/metrics.json")["adapter"] == "random"

    shutil.copytree(pretrained, "runs/pretrain")
    ran = run_cli("finetune", *options, "--out=with")
    assert "using the pretrained one in runs/pretrain/adapter" in ran.err
    assert read("with/metrics.json")["adapter"] == "runs/pretrain/adapter"

    ran = run_cli("finetune", *options, "--out=other", "--backbone", hubert_folder)
    assert ran.code == 0, ran.err
    assert "does not fit" in ran.err
    assert "using a random adapter" in ran.err


def test_an_adapter_of_another_backbone_is_refused(
    run_cli: Run, finetune_options: list[str], pretrained: Path, hubert_folder: Path
) -> None:
    options = [*finetune_options, "--out=run", "--backbone", hubert_folder]
    ran = run_cli("finetune", *options, "--adapter", pretrained)
    assert ran.code == 2
    assert "was pretrained on the frames of {'type': 'fbank'" in ran.err
    assert str(hubert_folder) in ran.err
    assert "pretrain an adapter on this one" in ran.err
    assert not Path("run").exists()


@pytest.mark.parametrize("stop", [0, 1, 2])
def test_resume_is_bit_for_bit_the_run_that_was_not_stopped(
    stop: int, run_cli: Run, finetune_options: list[str]
) -> None:
    options = [*finetune_options, "--epochs=3", "--adapter=random"]
    assert run_cli("finetune", *options, "--out=whole").code == 0
    ran = run_cli("finetune", *options, "--out=parts", "--max-epochs", stop)
    assert ran.code == 0, ran.err
    assert "go on with --resume" in ran.err
    assert not Path("parts/metrics.json").exists()
    ran = run_cli("finetune", *options, "--out=parts", "--resume")
    assert ran.code == 0, ran.err
    assert (f"going on from epoch {stop}" in ran.err) == (stop > 0)
    assert outcome("parts") == outcome("whole")


def test_refit_trains_the_model_that_is_tested_on_validation_clips_too(
    run_cli: Run, finetune_options: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    options = [*finetune_options, "--epochs=3", "--adapter=random"]
    fit, fitted = run_once.fit, []

    def fit_once(model: Any, data: Any, *arguments: Any, **named: Any) -> Any:
        state = fit(model, data, *arguments, **named)
        fitted.append((data.splits, named.get("epochs"), state))
        return state

    monkeypatch.setattr(run_once, "fit", fit_once)
    assert run_cli("finetune", *options, "--out=plain").code == 0
    ran = run_cli("finetune", *options, "--out=refitted", "--refit")
    assert ran.code == 0, ran.err
    _, (splits, _, state), (everything, epochs, again) = fitted
    assert everything.train == sorted([*splits.train, *splits.valid])
    assert everything.test == splits.test
    assert epochs == state.best_epoch + 1 == again.epoch
    metrics, plain = read("refitted/metrics.json"), read("plain/metrics.json")
    assert metrics["refit_clips"] == len(everything.train)
    assert "refit_clips" not in plain
    for name in ("valid", "split_fingerprint", "best_epoch", "split_sizes"):
        assert metrics[name] == plain[name]
    models = [Path(out, "model/model.safetensors").read_bytes() for out in ("plain", "refitted")]
    assert models[0] != models[1]


def test_a_run_stopped_in_its_refit_ends_bit_for_bit_the_same(
    run_cli: Run, finetune_options: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    options = [*finetune_options, "--epochs=3", "--adapter=random", "--refit"]
    assert run_cli("finetune", *options, "--out=whole").code == 0
    save = fit_classifier.save_checkpoint

    def save_and_stop(out: Path, checkpoint: dict[str, Any]) -> None:
        save(out, checkpoint)
        if out.name == "refit":
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(fit_classifier, "save_checkpoint", save_and_stop)
        assert run_cli("finetune", *options, "--out=parts").code == 130
    ran = run_cli("finetune", *options, "--out=parts", "--resume", "--max-epochs=2")
    assert ran.code == 0, ran.err
    assert not Path("parts/model").exists()  # the refit is not done
    assert not Path("parts/metrics.json").exists()
    ran = run_cli("finetune", *options, "--out=parts", "--resume")
    assert ran.code == 0, ran.err
    assert "going on from epoch 2" in ran.err
    assert outcome("parts") == outcome("whole")


def test_resume_goes_on_with_the_folds_and_seeds_that_are_left(
    run_cli: Run, finetune_options: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    options = [*finetune_options, "--adapter=random", "--seeds=2", "--out=run"]
    fitted = []
    fit = run_once.fit

    def fit_once(*arguments: Any, **named: Any) -> Any:
        fitted.append(arguments[3])
        if len(fitted) == 2:
            raise KeyboardInterrupt
        return fit(*arguments, **named)

    monkeypatch.setattr(run_once, "fit", fit_once)
    ran = run_cli("finetune", *options)
    assert ran.code == 130
    assert "--resume" in ran.err
    first = outcome("run/fold-none/seed-0")
    assert run_cli("finetune", *options, "--resume").code == 0
    assert fitted == [0, 1, 1]
    assert outcome("run/fold-none/seed-0") == first
    assert len(read("run/metrics.json")["runs"]) == 2


def test_a_resumed_run_keeps_to_the_adapter_it_began_with(
    run_cli: Run, finetune_options: list[str], pretrained: Path
) -> None:
    assert run_cli("finetune", *finetune_options, "--out=whole").code == 0
    assert run_cli("finetune", *finetune_options, "--out=parts", "--max-epochs=1").code == 0
    shutil.copytree(pretrained, "runs/pretrain")
    ran = run_cli("finetune", *finetune_options, "--out=parts", "--resume")
    assert ran.code == 0, ran.err
    assert outcome("parts") == outcome("whole")


def test_a_run_stopped_before_its_report_gets_it_without_another_test(
    run_cli: Run, finetune_options: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    options = [*finetune_options, "--epochs=1", "--adapter=none", "--out=run"]

    def interrupt(out: Path) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(run_once, "write_report", interrupt)
        assert run_cli("finetune", *options).code == 130
    assert not Path("run/report.html").exists()
    monkeypatch.setattr(run_once, "classify_clips", None)
    assert run_cli("finetune", *options, "--resume").code == 0
    assert Path("run/report.html").exists()


def test_seeds_and_folds_are_averaged(run_cli: Run, finetune_options: list[str]) -> None:
    options = [*finetune_options, "--epochs=1", "--adapter=random", "--out=run"]
    ran = run_cli("finetune", *options, "--seeds=2", "--fold=all", "--seed=5")
    assert ran.code == 0, ran.err
    metrics = read("run/metrics.json")
    folders = [f"fold-{fold}/seed-{seed}" for fold in "12" for seed in (5, 6)]
    assert [run["folder"] for run in metrics["runs"]] == folders
    runs = [read(f"run/{folder}/metrics.json") for folder in folders]
    assert [run["n"] for run in runs] == [13, 13, 12, 12]
    for name in ("ua", "wa", "macro_f1"):
        values = [run[name] for run in runs]
        assert metrics[name] == pytest.approx(np.mean(values))
        assert metrics["std"][name] == pytest.approx(np.std(values, ddof=1))
    assert metrics["ci95"]["unit"] == "clip"
    assert metrics["ci95"]["wa"][0] <= metrics["wa"] <= metrics["ci95"]["wa"][1]
    assert [entry["fold"] for entry in metrics["by_fold"]] == ["1", "2"]
    assert metrics["by_fold"][0]["ua"]["mean"] == pytest.approx(
        np.mean([r["ua"] for r in runs[:2]])
    )
    assert metrics["n"] == 50 == np.sum(metrics["confusion"])
    assert runs[0]["protocol"] == "fold-column:1"
    best = max(range(4), key=lambda number: runs[number]["valid"]["ua"])
    weights = Path(f"run/{folders[best]}/model/model.safetensors").read_bytes()
    assert Path("run/model/model.safetensors").read_bytes() == weights
    for folder in folders:  # each logs to its own folder, and to no other
        assert len(list(Path(f"run/{folder}/tensorboard").iterdir())) == 1
    assert not Path("run/tensorboard").exists()


@pytest.mark.parametrize("more", [[], ["--fold=all"]])
def test_a_run_that_failed_before_it_kept_anything_may_be_started_again(
    more: list[str],
    run_cli: Run,
    finetune_options: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*arguments: Any) -> float:
        raise UsageError("mend the clips")

    options = [*finetune_options, "--epochs=1", "--adapter=random", "--out=run", *more]
    with monkeypatch.context() as patch:
        patch.setattr(fit_classifier, "train_step", fail)
        ran = run_cli("finetune", *options)
    assert ran.code == 2
    assert "mend the clips" in ran.err
    assert {path.name for path in Path("run").rglob("*") if path.is_file()} == {"run.json", ".lock"}
    ran = run_cli("finetune", *options)
    assert ran.code == 0, ran.err
    assert Path("run/metrics.json").exists()


def test_one_fold_is_tested_where_one_is_asked_for(
    run_cli: Run, finetune_options: list[str]
) -> None:
    options = [*finetune_options, "--epochs=1", "--adapter=none", "--fold=2", "--out=run"]
    assert run_cli("finetune", *options).code == 0
    metrics = read("run/metrics.json")
    assert (metrics["fold"], metrics["protocol"], metrics["n"]) == ("2", "fold-column:2", 12)
    assert metrics["protocol_name"] == "kfold-v1"


def test_wrong_protocols_and_folds_are_told_before_anything_is_computed(
    run_cli: Run,
    finetune_options: list[str],
    corpus_rows: list[dict[str, str]],
    write_rows: Callable[..., Path],
) -> None:
    def refused(*given: Any) -> str:
        ran = run_cli("finetune", *finetune_options, *given, "--allow-outside", "--out=run")
        assert ran.code == 2, given
        assert "Traceback" not in ran.err
        assert not Path("run").exists()
        return str(ran.err)

    assert "--protocol: found 'kfolds', must be one of official, kfold" in refused(
        "--protocol=kfolds"
    )
    assert "no column 'session'" in refused("--protocol=leave-one-session-out")
    assert "there is no fold '3'" in refused("--fold=3")
    assert "protocol official has no folds" in refused("--protocol=official", "--fold=1")
    assert "only 4 speakers" in refused("--protocol=speaker-disjoint-kfold", "--num-folds=5")
    one = write_rows([{**row, "fold": "1"} for row in corpus_rows])
    assert "the column 'fold' holds '1' for every clip" in refused("--data", one, "--folds=all")
    both = [
        {**row, "speaker": "s0" if row["speaker"] == "s3" else row["speaker"]}
        for row in corpus_rows
    ]
    told = refused("--data", write_rows(both))
    assert "1 of the 1 speakers of test are also in train: 's0'" in told
    assert "--allow-speaker-overlap" in told
    lost = [row for row in corpus_rows if row["label"] != "hum" or row["fold"] == "2"]
    told = refused("--data", write_rows(lost), "--fold=all")
    assert "fold '2': label 'hum' is in test (4 clips) but never in train" in told


@pytest.mark.parametrize("adapter", ["random", pytest.param("none", marks=pytest.mark.slow)])
def test_processes_do_not_change_the_run(
    adapter: str,
    run_cli: Run,
    run_process: Run,
    finetune_options: list[str],
) -> None:
    options = [*finetune_options, "--adapter", adapter, "--pool=attentive"]
    options += ["--adapter-dropout=0", "--head.dropout=0"]
    # A batch is about 3 clips, so that one process has more of them, and more passes, than the
    # other; some gradients are clipped and some not, so that their size matters under AdamW.
    options += ["--batch-seconds=1.5", "--optimizer.clip_norm=5"]
    assert run_cli("finetune", *options, "--out=one").code == 0
    ran = run_process("finetune", *options, "--passes=2", "--out=two", processes=2)
    assert ran.code == 0, ran.err
    one, two = read("one/metrics.json"), read("two/metrics.json")
    for name in ("confusion", "ua", "wa", "macro_f1", "best_epoch", "split_fingerprint"):
        assert one[name] == two[name]
    for entry, other in zip(read("one/history.json"), read("two/history.json"), strict=True):
        assert entry == pytest.approx(other, abs=1e-4)
    for record, other in zip(read_predictions("one"), read_predictions("two"), strict=True):
        assert record["id"] == other["id"]
        assert record["probabilities"] == pytest.approx(other["probabilities"], abs=1e-4)


@pytest.mark.slow
def test_processes_do_not_change_several_runs_joined(
    run_cli: Run, run_process: Run, finetune_options: list[str]
) -> None:
    options = [*finetune_options, "--adapter=none", "--head.dropout=0", "--epochs=1"]
    # Test parts of 13 and 12 clips, which three processes cannot share evenly.
    options += ["--folds=all", "--seeds=2", "--report-clips=0"]
    assert run_cli("finetune", *options, "--out=one").code == 0
    ran = run_process("finetune", *options, "--out=three", processes=3)
    assert ran.code == 0, ran.err
    one, three = read("one/metrics.json"), read("three/metrics.json")
    for name in ("n", "confusion", "pooled", "ci95", "by_speaker", "by_duration", "by_fold"):
        assert one[name] == three[name], name
    for name in ("ua", "wa", "macro_f1", "test_fingerprint", "protocol"):
        assert one[name] == three[name], name
    pairs = zip(read_predictions("one"), read_predictions("three"), strict=True)
    for record, other in pairs:
        assert (record["id"], record["seed"]) == (other["id"], other["seed"])
        assert record["probabilities"] == pytest.approx(other["probabilities"], abs=1e-4)


def test_passes_do_not_change_the_run(run_cli: Run, finetune_options: list[str]) -> None:
    options = [*finetune_options, "--adapter=random", "--adapter-dropout=0", "--head.dropout=0"]
    for passes in (1, 3):
        out = f"--out=passes-{passes}"
        assert run_cli("finetune", *options, "--passes", passes, out).code == 0
    histories = [read(f"passes-{passes}/history.json") for passes in (1, 3)]
    for entry, other in zip(*histories, strict=True):
        assert entry == pytest.approx(other, abs=1e-4)


def test_the_test_part_is_scored_once_by_the_model_that_was_loaded_back(
    run_cli: Run, finetune_options: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    happened: list[Any] = []
    classify = run_once.classify_clips

    def spy(model: Any, store: Any, indices: Any, *arguments: Any, **options: Any) -> Any:
        happened.append((list(indices), model))
        return classify(model, store, indices, *arguments, **options)

    from_pretrained = SpeechClassifier.from_pretrained

    def load(*arguments: Any, **options: Any) -> Any:
        happened.append(from_pretrained(*arguments, **options))
        return happened[-1]

    for module in (run_once, fit_classifier):
        monkeypatch.setattr(module, "classify_clips", spy)
    monkeypatch.setattr(SpeechClassifier, "from_pretrained", staticmethod(load))
    ran = run_cli("finetune", *finetune_options, "--adapter=random", "--out=run")
    assert ran.code == 0, ran.err
    ids = read("run/splits.json")
    valid, test = list(range(13, 19)), list(range(19, 25))
    assert [len(ids[part]) for part in ("train", "valid", "test")] == [13, 6, 6]
    assert [event[0] if isinstance(event, tuple) else "loaded" for event in happened] == [
        valid,
        valid,
        "loaded",
        test,
    ]
    assert happened[-1][1] is happened[-2].frame_classifier


def test_a_frozen_backbone_stays_byte_for_byte_what_it_was(
    run_cli: Run,
    finetune_options: list[str],
    hubert_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def digest(backbone: Any) -> str:
        state = hashlib.sha256()
        for name, tensor in sorted(backbone.state_dict().items()):
            state.update(name.encode() + tensor.numpy().tobytes())
        return state.hexdigest()

    built = []
    build = finetune.build_backbone

    def spy(options: Any) -> Any:
        backbone = build(options)
        built.append((backbone, digest(backbone)))
        return backbone

    monkeypatch.setattr(finetune, "build_backbone", spy)
    files = {path: path.read_bytes() for path in hubert_folder.iterdir()}
    options = [*finetune_options, "--backbone", hubert_folder, "--adapter=random", "--out=run"]
    ran = run_cli("finetune", *options)
    assert ran.code == 0, ran.err
    ((backbone, before),) = built
    assert len(backbone.state_dict()) > 10
    assert digest(backbone) == before
    assert not backbone.training
    assert not any(parameter.requires_grad for parameter in backbone.parameters())
    assert {path: path.read_bytes() for path in hubert_folder.iterdir()} == files
    assert not any("backbone" in name for name in load_file("run/model/model.safetensors"))


def test_bad_audio_is_listed_and_counted_where_it_may_be_left_out(
    run_cli: Run,
    finetune_options: list[str],
    corpus_rows: list[dict[str, str]],
    write_rows: Callable[..., Path],
) -> None:
    Path("bad.wav").write_bytes(b"no audio")
    bad = {**corpus_rows[0], "id": "bad", "path": "bad.wav"}
    manifest = write_rows([bad, *corpus_rows])
    options = [*finetune_options, "--data", manifest, "--allow-outside", "--adapter=none"]
    ran = run_cli("finetune", *options, "--epochs=1", "--out=run", "--on-bad-audio=skip")
    assert ran.code == 0, ran.err
    assert "1 bad clips left out, listed in run/bad_audio.jsonl" in ran.err
    (record,) = map(json.loads, Path("run/bad_audio.jsonl").read_text().splitlines())
    assert (record["id"], record["reason"]) == ("bad", "unreadable")
    assert "bad.wav" in record["message"]
    assert read("run/metrics.json")["left_out"] == 1
    assert sum(read("run/metrics.json")["split_sizes"].values()) == 25


def test_overlap_of_speakers_is_in_the_results_where_it_is_allowed(
    run_cli: Run,
    finetune_options: list[str],
    corpus_rows: list[dict[str, str]],
    write_rows: Callable[..., Path],
) -> None:
    manifest = write_rows([{**row, "speaker": "same"} for row in corpus_rows])
    options = [*finetune_options, "--data", manifest, "--allow-outside", "--adapter=none"]
    ran = run_cli("finetune", *options, "--epochs=1", "--out=run", "--allow-speaker-overlap")
    assert ran.code == 0, ran.err
    metrics = read("run/metrics.json")
    assert metrics["speaker_overlap"] is True
    assert metrics["protocol"] == "split-column+speaker-overlap"
    assert "speaker" in " ".join(metrics["notes"])


def test_a_loss_that_is_not_finite_stops_the_run_and_names_the_clips(
    run_cli: Run, finetune_options: list[str]
) -> None:
    options = [*finetune_options, "--adapter=random", "--out=run"]
    ran = run_cli("finetune", *options, "--optimizer.learning_rate=1e38")
    assert ran.code == 2
    assert "the loss is not finite" in ran.err
    assert re.search(r"on clips \['(hum|noise|tone)_", ran.err)
    assert not Path("run/model").exists()


def test_an_option_of_another_pooler_is_refused(run_cli: Run, finetune_options: list[str]) -> None:
    ran = run_cli("finetune", *finetune_options, "--pool=sap", "--head.heads=2", "--out=run")
    assert ran.code == 2
    assert "--head.heads: the 'sap' pooler has no such option" in ran.err
    assert not Path("run").exists()
    options = [*finetune_options, "--pool=qkv", "--head.heads=2", "--head.output_size=6"]
    assert run_cli("finetune", *options, "--epochs=1", "--adapter=none", "--out=run").code == 0
    pooler = SpeechClassifier.from_pretrained("run").frame_classifier.pooler
    assert (pooler.heads, pooler.output_size) == (2, 6)


def test_bf16_runs(run_cli: Run, finetune_options: list[str]) -> None:
    options = [*finetune_options, "--adapter=random", "--precision=bf16", "--out=run"]
    ran = run_cli("finetune", *options)
    assert ran.code == 0, ran.err
    weights = load_file("run/model/model.safetensors")
    assert all(tensor.dtype == torch.float32 for tensor in weights.values())
