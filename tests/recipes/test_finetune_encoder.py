# SPDX-License-Identifier: Apache-2.0
"""``finetune`` where layers of the encoder train, or a sum over them."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from voxadapt import SpeechClassifier
from voxadapt.backbones import Lora, OpenLayers, load_backbone
from voxadapt.recipes.finetuning import model_building, run_once
from voxadapt.recipes.finetuning import step as finetune_step
from voxadapt.recipes.running.checkpoints import load_checkpoint

Run = Callable[..., Any]
# What trains of the encoder, by name, and how many of its tensors are saved.
TUNED: dict[str, tuple[list[str], int]] = {
    "lora": (["--lora=r=2"], 8),
    "top": (["--unfreeze-top=1"], 16),
    "weighted": (["--layer=weighted"], 0),
    "weighted-lora": (["--layer=weighted", "--lora=r=2,dropout=0.5"], 8),
}


def read(path: Path | str) -> Any:
    return json.loads(Path(path).read_text(encoding="utf-8"))


@pytest.fixture
def options(finetune_options: list[str], hubert_folder: Path) -> list[Any]:
    """Options of a tiny run on HuBERT, at rates that move two layers in a few steps."""
    rates = ["--optimizer.encoder_factor=5", "--optimizer.averaging=0.5"]
    return [*finetune_options, "--backbone", hubert_folder, "--adapter=random", *rates]


@pytest.mark.parametrize("name", list(TUNED))
def test_what_trains_is_saved_and_scored_as_it_was(
    name: str, run_cli: Run, options: list[Any], corpus: Path, features: Path
) -> None:
    arguments, saved = TUNED[name]
    ran = run_cli("finetune", *options, *arguments, "--out=run")
    assert ran.code == 0, ran.err
    tensors = load_file("run/model/model.safetensors")
    assert sum(key.startswith("tuned_layers.") for key in tensors) == saved
    assert ("layer_mix.weighted_sum.scores" in tensors) == name.startswith("weighted")

    data = ["--data", corpus, "--features", features]
    assert run_cli("score", "run", *data, "--out=score.json").code == 0
    assert read("score.json")["confusion"] == read("run/metrics.json")["confusion"]
    then, now = (
        [json.loads(line) for line in Path(file).read_text().splitlines()]
        for file in ("run/predictions.jsonl", "score.predictions.jsonl")
    )
    assert len(then) == len(now) > 0
    for before, after in zip(then, now, strict=True):
        # Of the encoder's layers, what one batch rounds another way shows in the last digit.
        expected = before | {"probabilities": pytest.approx(before["probabilities"], abs=2e-6)}
        assert after == expected
    model = SpeechClassifier.from_pretrained("run")
    prediction = model.predict(corpus.with_name(f"{then[0]['id']}.wav"))
    # The cache holds half precision.
    assert prediction.probabilities == pytest.approx(then[0]["probabilities"], abs=5e-3)


def test_lora_moves_and_the_encoder_s_own_weights_are_the_checkpoint_s(
    run_cli: Run, options: list[Any], hubert_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained = []
    fit = run_once.fit

    def spy(model: Any, *arguments: Any, **named: Any) -> Any:
        trained.append(model)
        return fit(model, *arguments, **named)

    monkeypatch.setattr(run_once, "fit", spy)
    files = {path: path.read_bytes() for path in hubert_folder.iterdir()}
    assert run_cli("finetune", *options, "--lora=r=2", "--out=run").code == 0
    (model,) = trained
    checkpoint = load_file(hubert_folder / "model.safetensors")
    frozen = model.frozen_tensors()
    assert len(frozen) == 2 * 16
    for name, tensor in frozen.items():
        key = name.removeprefix("tuned_layers.").replace("base_layer.", "")
        assert torch.equal(tensor, checkpoint[key]), name
    state = model.trained_state()
    assert all(tensor.any() for name, tensor in state.items() if "lora_B" in name)
    assert {path: path.read_bytes() for path in hubert_folder.iterdir()} == files

    saved = load_checkpoint(Path("run"))
    assert saved is not None
    # The end of training folds these into the linear layer.
    folded = {f"vector_standardizer.{name}" for name in ("mean", "std")}
    for held in (saved["model"], saved["averaged"], saved["state"]["best_weights"]):
        assert held.keys() == state.keys() | folded
        assert not any("base_layer" in name for name in held)


def test_opened_layers_move_and_those_below_do_not(
    run_cli: Run, options: list[Any], hubert_folder: Path
) -> None:
    assert run_cli("finetune", *options, "--unfreeze-top=1", "--out=run").code == 0
    checkpoint = load_file(hubert_folder / "model.safetensors")
    tensors = load_file("run/model/model.safetensors")
    moved = {key.removeprefix("tuned_layers.") for key in tensors if key.startswith("tuned_layers")}
    assert len(moved) == 16
    for key in moved:
        original = checkpoint[key.replace("layers.0.", "layers.1.")]
        assert not torch.equal(tensors[f"tuned_layers.{key}"], original), key
    backbone: Any = SpeechClassifier.from_pretrained("run").backbone
    below = backbone.encoder.layers[0].state_dict()
    for key, tensor in below.items():
        assert torch.equal(tensor, checkpoint[f"encoder.layers.0.{key}"])


@pytest.mark.parametrize("name", ["lora", "top", "weighted-lora"])
def test_resume_is_bit_for_bit_the_run_that_was_not_stopped(
    name: str, run_cli: Run, options: list[Any]
) -> None:
    options = [*options, *TUNED[name][0], "--epochs=3"]
    assert run_cli("finetune", *options, "--out=whole").code == 0
    assert run_cli("finetune", *options, "--out=parts", "--max-epochs=1").code == 0
    ran = run_cli("finetune", *options, "--out=parts", "--resume")
    assert ran.code == 0, ran.err
    assert "going on from epoch 1" in ran.err
    for file in ("model/model.safetensors", "history.json", "predictions.jsonl"):
        assert Path("whole", file).read_bytes() == Path("parts", file).read_bytes()


@pytest.mark.parametrize("name", ["weighted-lora", pytest.param("top", marks=pytest.mark.slow)])
def test_processes_do_not_change_the_run(
    name: str, run_cli: Run, run_process: Run, options: list[Any]
) -> None:
    tuned = [option.replace(",dropout=0.5", "") for option in TUNED[name][0]]
    options = [*options, *tuned, "--adapter-dropout=0", "--head.dropout=0", "--batch-seconds=1.5"]
    assert run_cli("finetune", *options, "--out=one").code == 0
    ran = run_process("finetune", *options, "--passes=2", "--out=two", processes=2)
    assert ran.code == 0, ran.err
    for entry, other in zip(read("one/history.json"), read("two/history.json"), strict=True):
        assert entry == pytest.approx(other, abs=1e-4)


def test_each_seed_starts_from_the_checkpoint(run_cli: Run, options: list[Any]) -> None:
    for name in ("lora", "top"):
        tuned = [*options, *TUNED[name][0], "--epochs=1"]
        assert run_cli("finetune", *tuned, "--seeds=2", "--out", name).code == 0
        assert run_cli("finetune", *tuned, "--seed=1", "--out", f"{name}-alone").code == 0
        file = "model/model.safetensors"
        together = Path(name, "fold-none/seed-1", file).read_bytes()
        assert together == Path(f"{name}-alone", file).read_bytes()


def test_the_cache_is_shared_with_runs_on_the_layer_below(run_cli: Run, options: list[Any]) -> None:
    options = [*options, "--features=cache", "--epochs=1"]
    assert run_cli("finetune", *options, "--unfreeze-top=1", "--out=top").code == 0
    assert run_cli("finetune", *options, "--layer=1", "--out=layer").code == 0
    assert len(list(Path("cache").iterdir())) == 1
    assert run_cli("finetune", *options, "--lora=r=2", "--out=lora").code == 0
    assert len(list(Path("cache").iterdir())) == 2


def test_a_random_adapter_gets_the_statistics_of_what_it_will_see(
    run_cli: Run, options: list[Any]
) -> None:
    """The untrained layers' output, which is the frozen encoder's to the cache's precision."""
    adapters = {}
    for name in ("plain", "lora", "top"):
        tuned = TUNED[name][0] if name in TUNED else []
        assert run_cli("finetune", *options, *tuned, "--epochs=1", "--out", name).code == 0
        adapters[name] = SpeechClassifier.from_pretrained(name).frame_classifier.adapter
    plain = adapters.pop("plain").standardize
    for adapter in adapters.values():
        torch.testing.assert_close(adapter.standardize.mean, plain.mean, rtol=0, atol=2e-3)
        torch.testing.assert_close(adapter.standardize.std, plain.std, rtol=2e-2, atol=0)


def test_a_sum_over_layers_is_learnt_and_told(
    run_cli: Run, options: list[Any], hubert_folder: Path
) -> None:
    ran = run_cli("finetune", *options, "--layer=weighted", "--out=run")
    assert ran.code == 0, ran.err
    weights = read("run/metrics.json")["layer_weights"]
    assert len(weights) == 3
    assert sum(weights) == pytest.approx(1)
    assert np.abs(np.array(weights) - 1 / 3).max() > 1e-3
    assert "layers: 0: 0.3" in ran.err
    best = read("run/history.json")[read("run/metrics.json")["best_epoch"] - 1]
    assert weights == pytest.approx([best[f"layer_weight_{layer}"] for layer in range(3)])

    classifier = SpeechClassifier.from_pretrained("run").frame_classifier
    mix, adapter = classifier.layer_mix, classifier.adapter
    assert mix is not None
    assert adapter.standardize.mean.eq(0).all()
    assert adapter.standardize.std.eq(1).all()
    single = run_cli("finetune", *options, "--layer=1", "--epochs=1", "--out=single")
    assert single.code == 0, single.err
    plain = SpeechClassifier.from_pretrained("single").frame_classifier.adapter.standardize
    torch.testing.assert_close(mix.standardize.mean[16:32], plain.mean)
    torch.testing.assert_close(mix.standardize.std[16:32], plain.std)

    ran = run_cli("finetune", *options, "--layer=weighted", "--seeds=2", "--out=seeds")
    runs = [read(f"seeds/fold-none/seed-{seed}/metrics.json")["layer_weights"] for seed in (0, 1)]
    assert read("seeds/metrics.json")["layer_weights"] == pytest.approx(np.mean(runs, axis=0))


def test_bands_of_features_are_hidden_in_the_sum_and_not_in_one_layer(
    run_cli: Run, options: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = []
    draw = finetune_step.draw_batch_augment

    def spy(ids: Any, padding_mask: Any, size: int, *arguments: Any, **named: Any) -> Any:
        sizes.append((size, named["period"]))
        return draw(ids, padding_mask, size, *arguments, **named)

    monkeypatch.setattr(finetune_step, "draw_batch_augment", spy)
    bands = ["--spec_augment.feature_masks=2", "--epochs=1"]
    for name in ("weighted", "lora"):
        ran = run_cli("finetune", *options, *TUNED[name][0], *bands, "--out", name)
        assert ran.code == 0, ran.err
    assert set(sizes) == {(16, 16)}


def test_an_adapter_of_the_whole_backbone_goes_with_its_tuned_layers(
    run_cli: Run, options: list[Any], pretrain_options: list[str], hubert_folder: Path
) -> None:
    backbone = ["--backbone", hubert_folder]
    ran = run_cli("pretrain_adapter", *pretrain_options, *backbone, "--epochs=1", "--out=adapter")
    assert ran.code == 0, ran.err
    options = [*options, "--epochs=1", "--adapter=adapter"]
    lora = ["--lora=r=2", "--adapter-statistics=pretraining"]
    assert run_cli("finetune", *options, *lora, "--out=run").code == 0
    adapter = SpeechClassifier.from_pretrained("run").frame_classifier.adapter
    saved = load_file("adapter/adapter/model.safetensors")
    assert torch.equal(adapter.standardize.mean, saved["standardize.mean"])

    ran = run_cli("finetune", *options, "--layer=weighted", "--out=weighted")
    assert ran.code == 2
    assert "Use that layer instead of the learnt sum, or --adapter random" in ran.err
    shutil.copytree("adapter", "runs/pretrain")
    named = [
        option for option in options if option not in ("--adapter=adapter", "--adapter=random")
    ]
    ran = run_cli("finetune", *named, "--layer=weighted", "--out=weighted")
    assert ran.code == 0, ran.err
    assert "using a random adapter" in ran.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--lora=rank=2"], "Did you mean 'r'?"),
        (["--lora=r=2", "--unfreeze-top=1"], "found both"),
        (["--unfreeze-top=3"], "runs 2 layers for layer 'last', but the top 3"),
        (["--lora=r=2", "--layer=0"], "runs 0 layers"),
        (["--unfreeze-top=1", "--layer=mean"], "reads all layers"),
        (["--lora=r=2", "--backbone=fbank"], "which has no layers to train"),
    ],
)
def test_what_cannot_be_tuned_is_said_before_anything_is_written(
    arguments: list[str], message: str, run_cli: Run, options: list[Any]
) -> None:
    ran = run_cli("finetune", *options, *arguments, "--out=run")
    assert ran.code == 2
    assert message in " ".join(ran.err.split())
    assert "Traceback" not in ran.err
    assert not Path("run").exists()


def test_bf16_runs_and_keeps_the_trained_weights_in_full(
    run_cli: Run, options: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Also where this machine would fall back.
    monkeypatch.setattr(model_building, "usable_precision", lambda precision: precision)
    for name in ("lora", "top"):
        arguments = [*TUNED[name][0], "--precision=bf16", "--epochs=1", "--features=cache"]
        ran = run_cli("finetune", *options, *arguments, "--out", name)
        assert ran.code == 0, ran.err
        weights = load_file(f"{name}/model/model.safetensors")
        assert all(tensor.dtype == torch.float32 for tensor in weights.values())
        backbone: Any = SpeechClassifier.from_pretrained(name).backbone
        assert backbone.precision == "fp32"


def test_the_tuning_is_read_from_the_folder(lora_run: Path, hubert_folder: Path) -> None:
    model = SpeechClassifier.from_pretrained(lora_run)
    tuned_layers = model.frame_classifier.tuned_layers
    assert tuned_layers is not None
    assert tuned_layers.tuning == Lora(2, 4.0)
    assert tuned_layers.merged().tuning == OpenLayers(2)
    assert tuned_layers.backbone_fingerprint == load_backbone(str(hubert_folder)).fingerprint()
