# SPDX-License-Identifier: Apache-2.0
"""From options to clips and frames."""

import json
import logging
from collections.abc import Callable
from pathlib import Path

import pytest
from accelerate import Accelerator

from voxadapt.backbones import BackboneError, EncoderBackbone, FilterbankBackbone
from voxadapt.recipes.corpora import demo_corpus
from voxadapt.recipes.corpora.errors import DataError
from voxadapt.recipes.running import encoder_precision
from voxadapt.recipes.running.options import DEMO_CORPUS, CorpusOptions
from voxadapt.recipes.running.prepare import build_backbone, hours, prepare_features, read_clips

Rows = list[dict[str, str]]


@pytest.fixture(autouse=True)
def in_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_several_manifests_are_joined_and_ids_stay_apart(
    accelerator: Accelerator, corpus: Path, corpus_rows: Rows, write_rows: Callable[..., Path]
) -> None:
    one = read_clips(CorpusOptions(data=[str(corpus)]), accelerator)
    assert [clip.id for clip in one] == [row["id"] for row in corpus_rows]
    data = [str(corpus), str(write_rows(corpus_rows))]
    both = read_clips(CorpusOptions(data=data, allow_outside=True), accelerator)
    assert len({clip.id for clip in both}) == len(both) == 2 * len(one)
    assert both[len(one)].path == one[0].path


def test_labels_are_asked_for_only_where_they_are_needed(
    accelerator: Accelerator, write_rows: Callable[..., Path], corpus_rows: Rows
) -> None:
    rows = [{"path": row["path"], "word": row["label"]} for row in corpus_rows]
    options = CorpusOptions(data=[str(write_rows(rows))], allow_outside=True)
    assert {clip.label for clip in read_clips(options, accelerator)} == {None}
    assert read_clips(options, accelerator, label="word")[0].label == "hum"
    with pytest.raises(DataError, match="label"):
        read_clips(options, accelerator, label="label")
    with pytest.raises(DataError, match="outside"):
        read_clips(CorpusOptions(data=options.data), accelerator)


def test_without_data_the_demo_corpus_is_made_and_said(
    accelerator: Accelerator,
    corpus: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    asked = []

    def make(folder: Path) -> Path:
        asked.append(folder)
        return corpus

    monkeypatch.setattr(demo_corpus, "make_demo_corpus", make, raising=False)
    with caplog.at_level(logging.INFO):
        clips = read_clips(CorpusOptions(), accelerator, label="label")
    assert asked == [Path(DEMO_CORPUS)]
    assert len(clips) == 25
    assert "using the demo corpus" in caplog.text
    assert "give --data with a CSV or JSONL manifest" in caplog.text


def test_the_backbone_has_what_was_asked_for(hubert_folder: Path) -> None:
    assert isinstance(build_backbone(CorpusOptions()), FilterbankBackbone)
    hubert = build_backbone(CorpusOptions(backbone=str(hubert_folder), layer=1))
    assert isinstance(hubert, EncoderBackbone)
    assert hubert.config()["layer"] == 1
    assert hubert.spec.feature_size == 16
    with pytest.raises(BackboneError, match="layer"):
        build_backbone(CorpusOptions(layer=1))
    with pytest.raises(BackboneError, match="revision"):
        build_backbone(CorpusOptions(revision="main"))


@pytest.mark.parametrize("has_it", [True, False])
def test_the_cache_goes_by_the_precision_that_is_used(
    has_it: bool,
    hubert_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(encoder_precision, "has_bf16", lambda kind: has_it)
    fp32 = build_backbone(CorpusOptions(backbone=str(hubert_folder)))
    asked = build_backbone(CorpusOptions(backbone=str(hubert_folder), precision="bf16"))
    assert asked.precision == ("bf16" if has_it else "fp32")
    assert (asked.cache_key() == fp32.cache_key()) == (not has_it)
    assert asked.fingerprint() == fp32.fingerprint()
    said = [record for record in caplog.records if "does not compute in it" in record.message]
    assert len(said) == (0 if has_it else 1)


def test_the_filterbank_has_one_precision(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(encoder_precision, "has_bf16", lambda kind: False)
    assert build_backbone(CorpusOptions(precision="bf16")).precision == "fp32"
    assert caplog.text == ""


def test_batches_are_what_was_asked_for(
    accelerator: Accelerator, corpus: Path, hubert_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = CorpusOptions(data=[str(corpus)], backbone=str(hubert_folder))
    clips, backbone = read_clips(options, accelerator), build_backbone(options)
    shapes: list[list[int]] = []
    backbone.register_forward_pre_hook(lambda _, inputs: shapes.append([*inputs[0].shape]))  # type: ignore[attr-defined]
    prepare_features(clips, backbone, options, accelerator, None, batch_seconds=1.0)
    assert max(rows * samples for rows, samples in shapes) <= 16_000
    assert len(shapes) > 6


def test_bad_audio_is_an_error_or_listed(
    accelerator: Accelerator,
    write_rows: Callable[..., Path],
    corpus_rows: Rows,
    features: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    Path("bad.wav").write_bytes(b"")
    bad = {**corpus_rows[0], "id": "bad", "path": "bad.wav"}
    manifest = write_rows([corpus_rows[0], bad, *corpus_rows[1:3]])
    options = CorpusOptions(data=[str(manifest)], allow_outside=True, features=str(features))
    clips = read_clips(options, accelerator)
    backbone = build_backbone(options)
    listing = Path("deep/bad_audio.jsonl")
    with pytest.raises(DataError, match=r"bad.wav"):
        prepare_features(clips, backbone, options, accelerator, listing)
    assert not listing.exists()

    options.on_bad_audio = "skip"
    corpus = prepare_features(clips, backbone, options, accelerator, listing)
    assert [clip.id for clip in corpus.clips] == [row["id"] for row in corpus_rows[:3]]
    assert len(corpus.store) == 3
    assert [clip.id for clip in corpus.bad] == ["bad"]
    (record,) = map(json.loads, listing.read_text(encoding="utf-8").splitlines())
    assert record.keys() == {"id", "path", "reason", "message"}
    assert (record["id"], record["reason"]) == ("bad", "empty")

    caplog.clear()
    prepare_features(clips, backbone, options, accelerator, None)
    assert "left out: bad: " in caplog.text
    assert [path.name for path in Path(".").glob("*.jsonl")] == []


def test_hours_of_audio(make_store: Callable[..., object]) -> None:
    assert hours(make_store([50 * 1800, 50 * 3600]), 50.0) == pytest.approx(1.5)  # type: ignore[arg-type]


def test_layers_are_compiled_only_where_there_are_some_and_they_can_be(
    hubert_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled = []

    def compile_layers(backbone: EncoderBackbone) -> EncoderBackbone:
        compiled.append(backbone)
        return backbone

    monkeypatch.setattr(EncoderBackbone, "compile_layers", compile_layers)
    assert not compiled
    build_backbone(CorpusOptions(backbone=str(hubert_folder)))
    assert not compiled
    backbone = build_backbone(CorpusOptions(backbone=str(hubert_folder), compile=True))
    assert compiled == [backbone]
    with pytest.raises(BackboneError, match="--compile: fbank has no layers"):
        build_backbone(CorpusOptions(compile=True))
