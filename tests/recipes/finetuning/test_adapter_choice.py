# SPDX-License-Identifier: Apache-2.0
"""Which adapter is fine-tuned, and from what weights."""

import logging
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from voxadapt.adapters import (
    AdapterFolderError,
    BottleneckAdapter,
    BottleneckAdapterConfig,
    FeatureStandardizer,
    WAPTransformer,
)
from voxadapt.backbones import load_backbone
from voxadapt.recipes.finetuning.adapter_choice import build_adapter, choose_adapter, wanted
from voxadapt.recipes.finetuning.options import BottleneckOptions, FinetuneOptions
from voxadapt.recipes.pretraining.options import AdapterSize
from voxadapt.recipes.running.command_line import UsageError

STATISTICS = (torch.full((160,), 2.0), torch.full((160,), 3.0))


@pytest.fixture(autouse=True)
def in_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def fbank() -> Any:
    return load_backbone("fbank")


def test_words_are_themselves(fbank: Any) -> None:
    for name in ("random", "bottleneck", "none"):
        assert choose_adapter(FinetuneOptions(adapter=name), fbank) == name


def test_a_run_or_its_adapter_may_be_named(fbank: Any, pretrained: Path) -> None:
    for named in (pretrained, pretrained / "adapter"):
        choice = choose_adapter(FinetuneOptions(adapter=str(named)), fbank)
        assert choice == str(pretrained / "adapter")


def test_a_size_that_a_pretrained_adapter_does_not_have_is_told(
    fbank: Any, pretrained: Path, caplog: pytest.LogCaptureFixture
) -> None:
    own = WAPTransformer.from_pretrained(pretrained / "adapter").config
    other = AdapterSize(width=2 * own.width, layers=own.layers, heads=own.heads)
    with caplog.at_level(logging.INFO, logger="voxadapt.recipes.finetuning.adapter_choice"):
        choose_adapter(FinetuneOptions(adapter=str(pretrained), size=other), fbank)
    expected = f"brings its own size; not used: --size.width {2 * own.width}, and this has "
    assert [record.getMessage().split("/adapter: ")[1] for record in caplog.records] == [
        f"{expected}{own.width}"
    ]
    caplog.clear()
    shutil.copytree(pretrained, "runs/pretrain")  # where one is found without being named
    with caplog.at_level(logging.INFO, logger="voxadapt.recipes.finetuning.adapter_choice"):
        choose_adapter(FinetuneOptions(size=other), fbank)
    assert expected in caplog.text
    caplog.clear()
    same = AdapterSize(own.width, own.layers, own.heads, own.feedforward)
    for size in (AdapterSize(), same):
        choose_adapter(FinetuneOptions(adapter=str(pretrained), size=size), fbank)
    assert not caplog.records


def test_what_is_not_there_is_refused(fbank: Any, pretrained: Path) -> None:
    with pytest.raises(UsageError, match=r"--adapter randm: .* for `random`, write that"):
        choose_adapter(FinetuneOptions(adapter="randm"), fbank)
    for named, message in (
        ("./nowhere", "there is no such folder"),
        (str(pretrained / "run.json"), "is a file"),
        (str(pretrained / "tensorboard"), "no config.json"),
    ):
        with pytest.raises(AdapterFolderError, match=message):
            choose_adapter(FinetuneOptions(adapter=named), fbank)
    Path("begun").mkdir()
    shutil.copy(pretrained / "run.json", "begun")
    with pytest.raises(AdapterFolderError, match=r"this run has no adapter yet; finish it first"):
        choose_adapter(FinetuneOptions(adapter="begun"), fbank)
    record = Path("begun/run.json").read_text().replace('"pretrain_adapter"', '"finetune"')
    Path("begun/run.json").write_text(record)
    with pytest.raises(AdapterFolderError, match=r"begun: is a run of finetune, which leaves no"):
        choose_adapter(FinetuneOptions(adapter="begun"), fbank)


def test_another_backbone_is_refused_by_size_and_by_fingerprint(
    fbank: Any, pretrained: Path, hubert_folder: Path
) -> None:
    options = FinetuneOptions(adapter=str(pretrained))
    with pytest.raises(UsageError, match=r"160 features\), not of .*16 features") as caught:
        choose_adapter(options, load_backbone(str(hubert_folder)))
    assert "Use that backbone (--backbone fbank)" in str(caught.value)
    adapter = WAPTransformer.from_pretrained(pretrained / "adapter")
    adapter.extras["backbone"] = {"type": "encoder", "name_or_path": "my hub", "layer": 1}
    assert wanted(adapter) == " (--backbone 'my hub' --layer 1)"

    class Other:
        spec = fbank.spec
        config = fbank.config

        def fingerprint(self) -> str:
            return "0" * 64

    other: Any = Other()
    with pytest.raises(UsageError, match="was pretrained on the frames of"):
        choose_adapter(options, other)


def test_the_default_is_said(
    fbank: Any, pretrained: Path, hubert_folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    options = FinetuneOptions()
    assert choose_adapter(options, fbank) == "random"
    assert "accelerate launch recipes/pretrain_adapter.py" in caplog.text
    shutil.copytree(pretrained, "runs/pretrain")
    assert choose_adapter(options, fbank) == "runs/pretrain/adapter"
    assert "using the pretrained one in runs/pretrain/adapter" in caplog.text
    assert choose_adapter(options, load_backbone(str(hubert_folder))) == "random"
    assert "does not fit" in caplog.text


def test_a_damaged_default_is_no_reason_to_go_on_in_silence(fbank: Any, pretrained: Path) -> None:
    shutil.copytree(pretrained, "runs/pretrain")
    Path("runs/pretrain/adapter/model.safetensors").write_bytes(b"torn")
    with pytest.raises(AdapterFolderError, match="damaged"):
        choose_adapter(FinetuneOptions(), fbank)


@pytest.mark.parametrize("statistics", ["corpus", "pretraining"])
def test_a_pretrained_adapter_keeps_its_weights_and_gets_the_dropout(
    statistics: Any, pretrained: Path
) -> None:
    named = str(pretrained / "adapter")
    options = FinetuneOptions(adapter_dropout=0.25, adapter_statistics=statistics)
    adapter = build_adapter(named, options, 160, STATISTICS)
    assert isinstance(adapter, WAPTransformer)
    expected = WAPTransformer.from_pretrained(named).state_dict()
    if statistics == "corpus":
        expected |= dict(zip(("standardize.mean", "standardize.std"), STATISTICS, strict=True))
    for name, tensor in expected.items():
        assert torch.equal(adapter.state_dict()[name], tensor)
    assert adapter.config.dropout == 0.25
    assert adapter.layers[0].dropout == 0.25


def test_a_random_adapter_has_the_size_and_the_statistics_of_the_training_part() -> None:
    size = AdapterSize(width=32, layers=1, heads=2, feedforward=8, position_groups=4)
    options = FinetuneOptions(size=size, adapter_dropout=0.25)
    adapter = build_adapter("random", options, 160, STATISTICS)
    assert isinstance(adapter, WAPTransformer)
    assert (adapter.config.width, len(adapter.layers)) == (32, 1)
    assert adapter.config.dropout == 0.25
    assert torch.equal(adapter.standardize.mean, STATISTICS[0])
    assert torch.equal(adapter.standardize.std, STATISTICS[1])


def test_no_adapter_standardises() -> None:
    adapter = build_adapter("none", FinetuneOptions(), 160, STATISTICS)
    assert isinstance(adapter, FeatureStandardizer)
    frames = torch.full((1, 1, 160), 8.0)
    assert adapter(frames, torch.zeros(1, 1, dtype=torch.bool)).eq(2).all()


@pytest.mark.parametrize("choice", ["random", "pretrained"])
def test_every_weight_that_asks_for_a_gradient_gets_one(choice: str, pretrained: Path) -> None:
    """DistributedDataParallel stops at one that does not."""
    named = str(pretrained / "adapter") if choice == "pretrained" else choice
    adapter = build_adapter(named, FinetuneOptions(), 160, STATISTICS)
    adapter(torch.randn(2, 9, 160), torch.zeros(2, 9, dtype=torch.bool)).sum().backward()
    for name, parameter in adapter.named_parameters():
        assert (parameter.grad is not None) == parameter.requires_grad, name
    assert sum(not parameter.requires_grad for parameter in adapter.parameters()) == 1


def test_a_bottleneck_has_its_size_the_statistics_and_the_dropout() -> None:
    options = FinetuneOptions(bottleneck=BottleneckOptions(size=8), adapter_dropout=0.2)
    adapter = build_adapter("bottleneck", options, 160, STATISTICS)
    assert isinstance(adapter, BottleneckAdapter)
    assert adapter.config == BottleneckAdapterConfig(160, 8, 0.2)
    assert torch.equal(adapter.standardize.mean, STATISTICS[0])
    assert torch.equal(adapter.standardize.std, STATISTICS[1])
