# SPDX-License-Identifier: Apache-2.0
"""The benchmark of pretraining: its parts, its pairs, what it runs and what it leaves alone."""

import dataclasses
import json
import random
import shutil
from argparse import Namespace
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from voxadapt.adapters import CollapseError
from voxadapt.recipes.corpora.clip import Clip
from voxadapt.recipes.corpora.errors import DataError
from voxadapt.recipes.corpora.manifest import read_manifest
from voxadapt.recipes.corpora.seeding import stable_seed
from voxadapt.recipes.corpora.splits import make_splits
from voxadapt.recipes.pretraining.options import PretrainOptions
from voxadapt.recipes.pretraining.state import NotFiniteError
from voxadapt.recipes.running.command_line import parse

ROOT = Path(__file__).resolve().parents[2]
SHARED = ROOT.parent / "shared" / "corpora"
PARTS = ("worker", "cells", "splits", "plan", "pool", "tables", "picture")
SIZES = {"width": 16, "layers": 1, "heads": 2, "feedforward": 16, "position_groups": 4}
FINETUNE = " ".join(f"--size.{name}={size}" for name, size in SIZES.items())
PRETRAIN = " ".join(f"--adapter.{name}={size}" for name, size in SIZES.items())
# So small a corpus uses few attributes: that is no collapse here.
PRETRAIN += " --objectives.prototypes=8 --objectives.attributes=8 --batch-seconds=3"
PRETRAIN += " --collapse.std=-1 --collapse.effective_rank=-1 --collapse.perplexity=-1"
PRETRAIN += " --collapse.sharpness=-1"


@pytest.fixture
def parts(load_benchmark: Callable[..., Namespace]) -> Namespace:
    """The modules of the benchmark: `parts.cells` is `adapter_gain_cells`."""
    return load_benchmark("adapter_gain", PARTS)


@pytest.fixture(scope="module")
def corpora(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """URDU, FSDD and BAVED in name: two tones by six speakers, a few seconds each."""
    import soundfile

    folder = tmp_path_factory.mktemp("corpora")
    noise = np.random.default_rng(0)
    for corpus, takes in (("urdu", 4), ("fsdd", 1), ("baved", 2)):
        lines = ["path,label,speaker,split"]
        for number in range(12 * takes):
            label, speaker = number % 2, number // 2 % 6
            time = np.arange(4_000 + 400 * (number % 5)) / 16_000
            tone = np.sin(2 * np.pi * (300 + 900 * label + 20 * speaker) * time)
            samples = 0.2 * tone + 0.05 * noise.standard_normal(len(time))
            (folder / corpus).mkdir(exist_ok=True)
            soundfile.write(folder / corpus / f"{number:02}.wav", samples, 16_000)
            split = "test" if number % 12 in (0, 3) else "train"
            lines.append(f"{number:02}.wav,{'low' if label else 'high'},s{speaker},{split}")
        (folder / corpus / f"{corpus}.csv").write_text("\n".join(lines) + "\n")
    return folder


@pytest.fixture
def clips() -> list[Clip]:
    """Made-up clips: 3 labels, 90, 45 and 9 of each, by 12 speakers."""
    labels = ["a"] * 90 + ["b"] * 45 + ["c"] * 9
    return [
        Clip(id=f"{label}{i}", path=Path(f"{i}.wav"), label=label, speaker=f"s{i % 12}")
        for i, label in enumerate(labels)
    ]


@pytest.fixture
def command(corpora: Path, tmp_path: Path) -> list[str]:
    """A tiny run of two epochs, in this process."""
    command = [str(corpora), "--runs", str(tmp_path / "runs"), "--jobs", "0", "--seeds", "1"]
    command += ["--epochs", "2", "--pretrain-epochs", "1"]
    return [*command, f"--finetune={FINETUNE}", f"--pretrain={PRETRAIN}"]


def result(ua: float, valid: float = 0.5, **more: Any) -> dict[str, Any]:
    """What a run leaves, as far as the tables read it: 10 clips of each of two classes."""
    right = round(10 * ua)
    confusion = [[right, 10 - right], [10 - right, right]]
    return {"ua": ua, "valid": {"ua": valid}, "labels": ["a", "b"], "confusion": confusion} | more


# Parts


def test_shares_are_stratified_seeded_and_nested(parts: Namespace, clips: list[Clip]) -> None:
    everyone = range(len(clips))
    tenth, quarter = (parts.splits.take_share(clips, everyone, share, 3) for share in (10, 25))
    assert Counter(clips[i].label for i in tenth) == {"a": 9, "b": 4, "c": 1}
    assert Counter(clips[i].label for i in quarter) == {"a": 22, "b": 11, "c": 2}
    assert set(tenth) < set(quarter)
    assert tenth == sorted(tenth)
    assert tenth == parts.splits.take_share(clips, everyone, 10, 3)
    assert tenth != parts.splits.take_share(clips, everyone, 10, 4)
    # One clip is the least, and another one's absence moves nobody.
    assert len(parts.splits.take_share(clips, everyone, 1, 3)) == 3
    without = [i for i in everyone if i not in set(quarter[:5])]
    assert set(quarter[5:]) <= set(parts.splits.take_share(clips, without, 25, 3))


def test_the_order_of_the_corpus_does_not_matter(parts: Namespace, clips: list[Clip]) -> None:
    shuffled = random.Random(0).sample(clips, len(clips))
    shares, folds = [], []
    for order in (clips, shuffled):
        chosen = parts.splits.take_share(order, range(len(order)), 25, 3)
        shares.append({order[i].id for i in chosen})
        numbers = parts.splits.speaker_folds(order)
        folds.append({clip.id: fold for clip, fold in zip(order, numbers, strict=True)})
    assert shares[0] == shares[1]
    assert folds[0] == folds[1]


def test_folds_keep_speakers_whole_and_spread_labels(parts: Namespace, clips: list[Clip]) -> None:
    folds = parts.splits.speaker_folds(clips)
    assert set(folds) == set(range(5))
    where = {(clip.speaker, fold) for clip, fold in zip(clips, folds, strict=True)}
    assert len(where) == 12
    for fold in range(5):
        labels = Counter(c.label for c, f in zip(clips, folds, strict=True) if f == fold)
        assert 12 <= labels["a"] <= 24
    clips[3].speaker = None
    with pytest.raises(ValueError, match="speaker of every clip"):
        parts.splits.speaker_folds(clips)


def test_cut_parts_keep_test_whole_and_validation_disjoint(
    parts: Namespace, clips: list[Clip]
) -> None:
    protocol = parts.cells.PROTOCOLS["baved-folds"]
    tested: list[int] = []
    for fold in range(5):
        whole = parts.splits.divide(clips, protocol, fold, seed=1)
        tested += whole["test"]
        sets = {name: {clips[i].speaker for i in rows} for name, rows in whole.items()}
        assert not sets["train"] & sets["valid"]
        assert not sets["test"] & (sets["train"] | sets["valid"])
        smaller = whole
        for share in (25, 10):
            cut = parts.splits.cut_labels(clips, whole, share, seed=1)
            assert cut["test"] == whole["test"]
            for name in ("train", "valid"):
                assert set(cut[name]) < set(smaller[name])
                labels = [{clips[i].label for i in rows[name]} for rows in (cut, whole)]
                assert labels[0] == labels[1]
            assert not parts.splits.parts_share_speakers(clips, cut)
            smaller = cut
    assert sorted(tested) == list(range(len(clips)))


def test_nested_folds_never_see_the_fold_that_is_left_out(
    parts: Namespace, clips: list[Clip]
) -> None:
    protocol = parts.cells.PROTOCOLS["urdu-nested"]
    runs = parts.cells.plan_runs(protocol, 2, rotate=False)
    assert runs == [(fold, seed) for seed in range(2) for fold in range(25)]
    rotated = parts.cells.plan_runs(protocol, 50, rotate=True)
    assert rotated == [(seed % 25, seed) for seed in range(50)]
    outer_folds = parts.splits.speaker_folds(clips)
    for outer in range(5):
        left_out = {index for index, fold in enumerate(outer_folds) if fold == outer}
        tested: list[int] = []
        for inner in range(5):
            found = parts.splits.divide(clips, protocol, 5 * outer + inner, seed=1)
            assert not left_out & set().union(*found.values())
            tested += found["test"]
            sets = {name: {clips[i].speaker for i in rows} for name, rows in found.items()}
            assert sets["train"]
            assert sets["valid"]
            assert not sets["train"] & sets["valid"]
            assert not sets["test"] & (sets["train"] | sets["valid"])
        assert sorted(tested) == sorted(set(range(len(clips))) - left_out)


def test_folds_that_share_speakers_are_refused(
    parts: Namespace, clips: list[Clip], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        parts.splits, "speaker_folds", lambda clips: [i % 5 for i, _ in enumerate(clips)]
    )
    with pytest.raises(DataError, match="speakers of test are also in train"):
        parts.splits.divide(clips, parts.cells.PROTOCOLS["urdu-folds"], 0, seed=0)


def test_all_labels_are_what_finetune_would_take(parts: Namespace, corpora: Path) -> None:
    clips = read_manifest(corpora / "urdu" / "urdu.csv").clips
    protocol = parts.cells.PROTOCOLS["urdu-official"]
    found = parts.splits.divide(clips, protocol, None, seed=4)
    seed = stable_seed(4, "splits")
    assert found == make_splits(clips, seed=seed, allow_speaker_overlap=True).parts()
    assert {clips[i].split for i in found["test"]} == {"test"}
    assert parts.splits.cut_labels(clips, found, 100, seed=4) == found


@pytest.mark.parametrize(
    "protocol", ["urdu-official", "urdu-folds", "urdu-nested", "baved-folds", "fsdd-folds"]
)
def test_real_corpora_can_be_divided_so(parts: Namespace, protocol: str) -> None:
    division = parts.cells.PROTOCOLS[protocol]
    source = SHARED / division.corpus / f"{division.corpus}.csv"
    if not source.exists():
        pytest.skip(f"{source} is not there")
    clips = read_manifest(source).clips
    labels = {clip.label for clip in clips}
    for fold, seed in parts.cells.plan_runs(division, 2, rotate=False):
        whole = parts.splits.divide(clips, division, fold, seed)
        cut = parts.splits.cut_labels(clips, whole, 10, seed)
        assert {clips[i].label for i in cut["train"]} == labels
        assert parts.splits.parts_share_speakers(clips, cut) == (not division.folds)


def test_manifests_are_read_back_as_the_parts(
    parts: Namespace, corpora: Path, tmp_path: Path
) -> None:
    clips = read_manifest(corpora / "urdu" / "urdu.csv").clips
    clips[0].start, clips[0].end = 0.1, 0.2
    division = parts.splits.divide(clips, parts.cells.PROTOCOLS["urdu-folds"], 2, seed=0)
    cut = parts.splits.cut_labels(clips, division, 25, seed=0)
    path = tmp_path / "sub" / "rows.csv"
    parts.splits.write_manifest(path, parts.splits.manifest_rows(clips, cut))
    read = read_manifest(path, require_label=True, allow_outside=True).clips
    for name, indices in cut.items():
        expected = [dataclasses.replace(clips[i], split=name) for i in indices]
        assert [clip for clip in read if clip.split == name] == expected
    before = path.stat().st_mtime_ns
    parts.splits.write_manifest(path, parts.splits.manifest_rows(clips, cut))
    assert path.stat().st_mtime_ns == before


# Cells


def test_the_cells_are_those_of_the_issue(parts: Namespace) -> None:
    cells = parts.cells.list_cells()
    assert len({cell.name for cell in cells}) == len(set(cells)) == len(cells)
    counts = Counter(cell.group for cell in cells)
    for share in (100, 25, 10):
        for adapter in ("none", "random", "heard", "unheard"):
            assert counts["urdu-official", share, adapter, "full"] == 5
            assert counts["urdu-folds", share, adapter, "full"] == 25
            assert counts["baved-folds", share, adapter, "full"] == 5
    variants = set(parts.cells.VARIANTS) - {"full"}
    for variant in variants:
        for protocol, runs in (("urdu-official", 5), ("urdu-folds", 25), ("baved-folds", 5)):
            assert counts[protocol, 10, "heard", variant] == runs
    assert len(counts) == 3 * 3 * 4 + 3 * len(variants)
    # Each clip of BAVED is tested by one seed.
    assert {cell.pair for cell in cells if cell.protocol == "baved-folds"} == {
        (number, number) for number in range(5)
    }
    rotated = parts.cells.list_cells(rotate=True, seeds=2, ablation_shares=())
    assert len(rotated) == 3 * 3 * 4 * 2


def test_pretraining_is_shared_and_unheard_leaves_the_target_out(parts: Namespace) -> None:
    cells = parts.cells.list_cells()
    found: dict[Any, set[str]] = {}
    for cell in cells:
        if cell.pretraining is None:
            assert cell.adapter in ("none", "random")
            continue
        found.setdefault(cell.pretraining, set()).add(cell.protocol)
        corpus = parts.cells.PROTOCOLS[cell.protocol].corpus
        assert (corpus in cell.pretraining.corpora) == (cell.adapter == "heard")
    names = {"+".join(p.corpora) for p in found if p.variant == "full"}
    assert names == {"urdu+fsdd+baved", "fsdd+baved", "urdu+fsdd"}
    assert len(found) == 3 + len(parts.cells.VARIANTS) - 1
    two = parts.cells.list_cells(pretrain_seeds=2, ablation_shares=())
    assert {(c.seed, c.pretrain_seed) for c in two if c.adapter == "heard"} == {
        (seed, seed % 2) for seed in range(5)
    }
    chosen = parts.cells.choose_cells(two, ["heard", "10%"])
    assert {c.adapter for c in chosen} == {"heard", "random"}
    assert len(chosen) == 2 * (5 + 25 + 5)


def test_only_takes_what_all_words_name_and_its_baseline(parts: Namespace) -> None:
    cells = parts.cells.list_cells()
    choose = parts.cells.choose_cells
    chosen = choose(cells, ["urdu-official", "10%", "heard", "full"])
    assert {cell.group for cell in chosen} == {
        ("urdu-official", 10, "heard", "full"),
        ("urdu-official", 10, "random", "full"),
    }
    assert len(choose(cells, ["urdu-folds", "25%,10%", "none", "fold=2", "seed=0,seed=3"])) == 4
    ablation = choose(cells, ["baved-folds", "no-ema"])
    assert {cell.variant for cell in ablation} == {"no-ema", "full"}
    assert {cell.adapter for cell in ablation} == {"heard"}
    assert choose(cells, []) == cells
    with pytest.raises(ValueError, match=r"unknown hered; known: .*heard"):
        choose(cells, ["hered"])
    with pytest.raises(ValueError, match="no cell is all of none no-ema"):
        choose(cells, ["none", "no-ema"])
    # Ablations at a share without main rows bring their baseline along.
    few = parts.cells.list_cells(shares=(100,), ablation_shares=(25,))
    groups = {cell.group for cell in choose(few, [])}
    assert ("urdu-folds", 25, "heard", "full") in groups


def test_each_variant_switches_off_what_it_names(parts: Namespace) -> None:
    full = dataclasses.asdict(PretrainOptions())

    def changed(variant: str) -> dict[str, Any]:
        argv = parts.cells.VARIANTS[variant]
        found = dataclasses.asdict(parse(PretrainOptions, argv, prog="test"))
        return {
            f"{group}.{name}": value
            for group, values in found.items()
            if isinstance(values, dict)
            for name, value in values.items()
            if value != full[group][name]
        }

    objectives = ("mask_prediction", "frame_distillation", "utterance_distillation")
    expected: dict[str, dict[str, Any]] = {
        f"no-{name.replace('_', '-')}": {f"objectives.{name}": 0.0}
        for name in (*objectives, "local_attributes", "reconstruction", "denoising")
    }
    expected["no-frame-augmentation"] = {
        f"frame_augment.{name}": 0.0 for name in ("level", "channel", "warp", "noise")
    } | {"masking.feature_masks": 0}
    expected["full"] = {}
    expected["no-self-distillation"] = {f"objectives.{name}": 0.0 for name in objectives[1:]}
    expected["input-attributes"] = {"codebook.refit_at": [0.0]}
    expected["no-ema"] = {"optimizer.ema_start": 0.0, "optimizer.ema_end": 0.0}
    assert {variant: changed(variant) for variant in parts.cells.VARIANTS} == expected


# Pairs


def test_paired_differences(parts: Namespace) -> None:
    found = parts.tables.paired_difference([0.1, 0.3])
    assert found["pairs"] == found["better"] == 2
    assert found["mean"] == pytest.approx(0.2)
    assert found["standard_error"] == pytest.approx(0.1)
    assert found["ci95"] == pytest.approx([0.1, 0.3])
    one = parts.tables.paired_difference([-0.1])
    assert (one["mean"], one["standard_error"], one["ci95"], one["better"]) == (-0.1, None, None, 0)
    same = parts.tables.paired_difference([0.25] * 5)
    assert same["standard_error"] == pytest.approx(0)
    assert same["ci95"] == pytest.approx([0.25, 0.25])


def test_the_interval_is_that_of_the_mean(parts: Namespace) -> None:
    values = np.random.default_rng(1).normal(0.05, 0.1, 400)
    found = parts.tables.paired_difference(values, seed=2)
    assert found == parts.tables.paired_difference(values, seed=2)
    low, high = found["ci95"]
    assert low != parts.tables.paired_difference(values, seed=3)["ci95"][0]
    error = found["standard_error"]
    assert low == pytest.approx(found["mean"] - 1.96 * error, abs=0.1 * error)
    assert high == pytest.approx(found["mean"] + 1.96 * error, abs=0.1 * error)


def test_together_weighs_classes_and_not_folds(parts: Namespace) -> None:
    one = {"labels": ["a", "b"], "confusion": [[9, 1], [0, 0]]}
    two = {"labels": ["b", "c"], "confusion": [[3, 1], [5, 5]]}
    assert parts.tables.together([one]) == pytest.approx(0.9)
    assert parts.tables.together([one, two]) == pytest.approx((0.9 + 0.75 + 0.5) / 3)


def test_runs_are_paired_by_fold_and_seed(parts: Namespace) -> None:
    cell = parts.cells.Cell
    pairs = [(0, 0), (1, 0), (0, 1), (1, 1)]
    random_ua, heard_ua = [0.5, 0.6, 0.7, 0.8], [0.6, 0.8, 0.7, 0.7]
    results = {}
    for pair, ua in zip(pairs, random_ua, strict=True):
        results[cell("urdu-folds", 10, "random", "full", *pair)] = result(ua, valid=0.4)
    for pair, ua in reversed(list(zip(pairs, heard_ua, strict=True))):
        results[cell("urdu-folds", 10, "heard", "full", *pair)] = result(ua, valid=0.5)
    # Another share and another fold are no partners.
    results[cell("urdu-folds", 10, "heard", "full", 2, 0)] = result(0.9)
    results[cell("urdu-folds", 25, "random", "full", 2, 0)] = result(0.1)
    rows = {(row["share"], row["adapter"]): row for row in parts.tables.make_rows(results)}
    assert list(rows) == [(25, "random"), (10, "random"), (10, "heard")]
    heard = rows[10, "heard"]
    assert (heard["runs"], heard["over"]) == (5, "random")
    differences = {(d["fold"], d["seed"]): d["ua"] for d in heard["differences"]}
    assert differences == pytest.approx({(0, 0): 0.1, (1, 0): 0.2, (0, 1): 0.0, (1, 1): -0.1})
    assert heard["gain"]["mean"] == pytest.approx(0.05)
    assert heard["gain"]["better"] == 2
    assert heard["valid_gain"]["mean"] == pytest.approx(0.1)
    assert heard["gain_together"] == pytest.approx(0.05)
    assert heard["ua"]["mean"] == pytest.approx(0.74)
    assert rows[10, "random"]["gain"] is None
    text = parts.tables.tables(list(rows.values()))
    assert "| 10 % | heard | 5 | 50.0 ± 0.0 | 74.0 ± " in text
    assert "| random | +10.0 ± 0.0 | +5.0 ± 6.5 |" in text
    assert len({line.count("|") for line in text.splitlines() if line.startswith("|")}) == 1


def test_ablations_are_compared_with_the_full_method(parts: Namespace) -> None:
    cell = parts.cells.Cell
    results = {
        cell("urdu-official", 10, "random", "full", None, 0): result(0.5),
        cell("urdu-official", 10, "heard", "full", None, 0): result(0.8),
        cell("urdu-official", 10, "heard", "no-mask-prediction", None, 0): result(0.7),
    }
    gone = cell("urdu-official", 10, "heard", "no-ema", None, 0)
    rows = parts.tables.make_rows(results, {gone: "collapsed"})
    assert [(row["variant"], row["runs"]) for row in rows] == [
        ("full", 1),
        ("full", 1),
        ("no-mask-prediction", 1),
        ("no-ema", 0),
    ]
    assert rows[2]["gain"]["mean"] == pytest.approx(-0.1)
    assert rows[2]["over"] == "heard"
    text = parts.tables.tables(rows)
    assert "| heard, no-mask-prediction | 1 |" in text
    assert "| heard, full | +0.0 | -10.0 |" in text
    assert "| heard, no-ema | 0 | pretraining collapsed |" in text


def test_the_picture_has_a_panel_for_each_protocol_and_a_line_for_each_adapter(
    parts: Namespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cell = parts.cells.Cell
    results = {
        cell("urdu-official", share, adapter, "full", None, seed): result(ua)
        for share in (10, 100)
        for adapter, ua in (("random", 0.5), ("heard", 0.8))
        for seed in (0, 1)
    }
    results[cell("baved-folds", 10, "none", "full", 0, 0)] = result(0.4)
    results[cell("urdu-official", 10, "heard", "no-ema", None, 0)] = result(0.1)
    figures = []
    monkeypatch.setattr(parts.picture, "save_figure", lambda figure, path: figures.append(figure))
    parts.picture.draw_gain(parts.tables.make_rows(results), tmp_path / "gain.svg")
    official, baved = figures[0].axes
    assert (official.get_title(), baved.get_title()) == ("urdu-official", "baved-folds")
    drawn = {
        container.get_label(): container.lines[0].get_ydata().tolist()
        for container in official.containers
    }
    assert drawn == {
        "random adapter": pytest.approx([50.0, 50.0]),
        "pretrained, target heard": pytest.approx([80.0, 80.0]),
    }
    assert [label.get_text() for label in official.get_xticklabels()] == ["10 %", "100 %"]
    assert [container.get_label() for container in baved.containers] == ["no adapter"]
    with pytest.raises(ValueError, match="found none of a run that has finished"):
        parts.picture.draw_gain([], tmp_path / "gain.svg")


def test_the_picture_is_drawn_from_several_results(parts: Namespace, tmp_path: Path) -> None:
    cell = parts.cells.Cell
    for share in (10, 25):
        results = {cell("urdu-folds", share, "none", "full", 0, 0): result(0.5)}
        rows = {"rows": parts.tables.make_rows(results)}
        (tmp_path / f"{share}.json").write_text(json.dumps(rows))
    files = [str(tmp_path / name) for name in ("10.json", "25.json", "gain.svg")]
    parts.picture.main(files)
    assert (tmp_path / "gain.svg").read_text().lstrip().startswith("<?xml")


def ablation_results(parts: Namespace, share: int = 10) -> dict[Any, Any]:
    """Two protocols and two runs each: without EMA 0.1 less than the full method, then 0.3 less."""
    cell = parts.cells.Cell
    results = {}
    for protocol, fold, full in (("urdu-official", None, 0.8), ("baved-folds", 0, 0.6)):
        for seed, less in ((0, 0.1), (1, 0.3)):
            group = (protocol, share, "heard")
            results[cell(*group, "full", fold, seed)] = result(full, valid=0.5)
            results[cell(*group, "no-ema", fold, seed)] = result(full - less, valid=0.6)
            better = full + 0.1 if fold is None else full
            results[cell(*group, "no-denoising", fold, seed)] = result(better, valid=0.5)
    return results


def test_ablations_are_averaged_over_protocols(parts: Namespace) -> None:
    rows = parts.tables.make_rows(ablation_results(parts))
    found = {row["variant"]: row for row in parts.tables.ablation_gains(rows)}
    assert list(found) == ["no-denoising", "no-ema"]
    assert found["no-ema"]["gain"] == {
        "mean": pytest.approx(-0.2),
        "standard_error": pytest.approx(0.1 / 2**0.5),  # of two means, each with one of 0.1
        "pairs": 4,
        "better": 0,
    }
    assert found["no-ema"]["valid_gain"]["mean"] == pytest.approx(0.1)
    assert found["no-denoising"]["gain"]["mean"] == pytest.approx(0.05)
    assert found["no-denoising"]["gain"]["better"] == 2
    text = parts.tables.tables(rows)
    assert "| 10 % | no-ema | 2 | +10.0 ± 0.0 | -20.0 ± 7.1 | 0 of 4 |" in text
    full = [row for row in rows if row["variant"] == "full"]
    assert parts.tables.ablation_gains(full) == []
    assert "ablation" not in parts.tables.tables(full)


def test_the_picture_of_ablations_has_a_line_for_each(
    parts: Namespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    figures = []
    monkeypatch.setattr(parts.picture, "save_figure", lambda figure, path: figures.append(figure))
    rows = parts.tables.make_rows(ablation_results(parts))
    (tmp_path / "rows.json").write_text(json.dumps({"rows": rows}))
    files = [str(tmp_path / name) for name in ("rows.json", "ablations.svg")]
    parts.picture.main(["--ablations", *files])
    (panel,) = figures[0].axes
    names = [label.get_text() for label in panel.get_yticklabels()]
    assert names == ["no denoising", "no ema"]  # the best first
    drawn = {box.get_label(): box.lines[0].get_xdata().tolist() for box in panel.containers}
    assert drawn == {
        "test": pytest.approx([5.0, -20.0]),
        "validation": pytest.approx([0.0, 10.0]),
    }
    with pytest.raises(ValueError, match="found ablations at 0 shares"):
        parts.picture.draw_ablations([row for row in rows if row["variant"] == "full"], tmp_path)
    rows += parts.tables.make_rows(ablation_results(parts, share=25))
    with pytest.raises(ValueError, match="found ablations at 2 shares"):
        parts.picture.draw_ablations(rows, tmp_path)


def test_the_pages_table_of_ablations_is_that_of_its_rows(parts: Namespace) -> None:
    rows = json.loads((ROOT / "docs" / "pictures" / "adapter_gain.json").read_text())["rows"]
    page = (ROOT / "docs" / "adapter_gain.md").read_text(encoding="utf-8")

    def points(gain: dict[str, float]) -> str:
        return f"{100 * gain['mean']:+.1f} ± {100 * gain['standard_error']:.1f}"

    ablations = parts.tables.ablation_gains(rows)
    assert {row["variant"] for row in ablations} == set(parts.cells.VARIANTS) - {
        "full",
        "no-self-distillation",  # whose halves are there
    }
    for row in ablations:
        found = {one["protocol"]: one for one in rows if one["variant"] == row["variant"]}
        protocols = [found[name]["gain"] for name in ("urdu-official", "urdu-folds")]
        better = f"{row['gain']['better']} of {row['gain']['pairs']}"
        gains = [points(row["valid_gain"]), points(row["gain"]), better, *map(points, protocols)]
        assert f"| `{row['variant']}` | {' | '.join(gains)} |" in page


# Runs


def plan_of(parts: Namespace, command: Sequence[str], *more: str) -> Any:
    return parts.plan.Plan(parts.main.parse([*command, *more]))


def test_a_run_is_named_by_all_that_changes_it(
    parts: Namespace, command: list[str], tmp_path: Path
) -> None:
    cell = parts.cells.Cell
    random_cell = cell("urdu-folds", 10, "random", "full", 0, 0)
    heard = dataclasses.replace(random_cell, adapter="heard")

    def names(*more: str) -> tuple[str, str]:
        plan = plan_of(parts, command, *more)
        tasks = (plan.cell_task(random_cell), plan.cell_task(heard))
        return tuple(Path(task["result"]).name for task in tasks)  # type: ignore[return-value]

    before = names()
    assert names("--runs", str(tmp_path / "elsewhere"), "--jobs", "3") == before
    after = names(f"--finetune={FINETUNE} --optimizer.learning_rate=3e-4")
    assert after[0] != before[0]
    assert after[1] != before[1]
    pretrained = names(f"--pretrain={PRETRAIN} --masking.span_length=4")
    assert pretrained[0] == before[0]
    assert pretrained[1] != before[1]
    assert names("--pretrain-epochs", "2")[1] != before[1]


def test_a_new_default_of_a_recipe_names_other_runs(
    parts: Namespace, command: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    cell = parts.cells.Cell("urdu-folds", 10, "random", "full", 0, 0)
    plan = plan_of(parts, command)
    before = plan.cell_task(cell)["result"]
    plan.finetune_config.optimizer.adapter_factor = 0.123
    assert plan.cell_task(cell)["result"] != before


def test_adapters_must_have_one_size(parts: Namespace, command: list[str]) -> None:
    with pytest.raises(ValueError, match=r"width is 16 and 32. Give --adapter"):
        plan_of(parts, command, f"--finetune={FINETUNE} --size.width=32")


def test_shared_speakers_are_declared_where_they_are(parts: Namespace, command: list[str]) -> None:
    plan, cell = plan_of(parts, command), parts.cells.Cell
    official = plan.cell_task(cell("urdu-official", 10, "none", "full", None, 0))
    folds = plan.cell_task(cell("urdu-folds", 10, "none", "full", 0, 0))
    assert "--allow-speaker-overlap" in official["argv"]
    assert "--allow-speaker-overlap" not in folds["argv"]


def test_voices_are_told_apart_by_drawn_parts_that_share_speakers(
    parts: Namespace, command: list[str], corpora: Path, tmp_path: Path
) -> None:
    manifest = shutil.copytree(corpora / "baved", tmp_path / "own" / "baved") / "baved.csv"
    lines = manifest.read_text().splitlines()  # BAVED has no split of its own
    manifest.write_text("\n".join(line.rpartition(",")[0] for line in lines))
    plan, cell = plan_of(parts, [str(tmp_path / "own"), *command[1:]]), parts.cells.Cell
    tested = set()
    for seed in range(3):
        voices = cell("baved-voices", 50, "none", "full", None, seed)
        rows = plan.rows(voices, 50)
        assert all(row["label"] == row["speaker"] for row in rows)
        for split in ("train", "valid", "test"):
            assert {row["label"] for row in rows if row["split"] == split} == {
                f"s{number}" for number in range(6)
            }, split
        assert "--allow-speaker-overlap" in plan.cell_task(voices)["argv"]
        tested.add(tuple(row["id"] for row in rows if row["split"] == "test"))
    assert len(tested) > 1
    assert {clip.label for clip in plan.clips("baved")} == {"low", "high"}


def test_time_left_follows_the_finished_runs_of_a_kind(parts: Namespace) -> None:
    def task(kind: str, work: float) -> dict[str, Any]:
        return {"about": {"kind": kind, "work": work}}

    estimate, start = parts.plan.estimate_seconds, parts.plan.START_SECONDS
    guess = estimate([task("adapter", 1700)], [])
    assert guess == pytest.approx(start + 1700 / parts.plan.FIRST_RATES["adapter"])
    done = {"status": "finished", "resumed": False, "kind": "adapter"}
    results = [done | {"work": 100.0, "seconds": start + 1}, done | {"work": 300, "seconds": start}]
    results.append(done | {"resumed": True, "work": 1000, "seconds": 1})
    results.append({"status": "collapsed", "resumed": False, "kind": "adapter", "seconds": 9})
    assert estimate([task("adapter", 800)] * 2, results) == pytest.approx(2 * (start + 2))


def test_after_a_failure_no_further_run_is_begun(
    parts: Namespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, finished = [], []

    def do_task(task: dict[str, Any]) -> dict[str, Any]:
        begun.append(task["name"])
        if task["name"] == "two":
            raise SystemExit(2)
        return {"status": "finished"}

    monkeypatch.setattr(parts.pool, "do_task", do_task)
    tasks = [{"name": name, "log": f"{name}.log"} for name in ("one", "two", "three")]
    with pytest.raises(parts.pool.RunError, match=r"two: SystemExit: 2\n.*two\.log"):
        parts.pool.run_tasks(tasks, 0, 1, lambda task, result: finished.append(task["name"]))
    assert (begun, finished) == (["one", "two"], ["one"])


def test_a_worker_that_dies_is_a_failure(
    parts: Namespace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    script = tmp_path / "worker.py"
    script.write_text("import os, sys\nsys.stdin.readline()\nos._exit(9)\n")
    monkeypatch.setattr(parts.pool, "WORKER", script)
    tasks = [{"name": name, "log": f"{name}.log"} for name in "abcd"]
    seen: list[Any] = []
    with pytest.raises(parts.pool.RunError, match="its process died"):
        parts.pool.run_tasks(tasks, 2, 1, lambda *result: seen.append(result))
    assert not seen


def test_workers_answer_and_are_replaced(
    parts: Namespace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    script = tmp_path / "worker.py"
    script.write_text(
        "import json, os, sys\n"
        "for line in sys.stdin:\n"
        "    result = {'id': os.getpid(), 'threads': os.environ['OMP_NUM_THREADS']}\n"
        "    print(json.dumps({'result': result}), flush=True)\n"
    )
    monkeypatch.setattr(parts.pool, "WORKER", script)
    monkeypatch.setattr(parts.pool, "RUNS_OF_A_WORKER", 2)
    tasks = [{"name": str(number), "log": "log"} for number in range(5)]
    seen: dict[str, Any] = {}
    parts.pool.run_tasks(tasks, 1, 3, lambda task, result: seen.update({task["name"]: result}))
    assert list(seen) == ["0", "1", "2", "3", "4"]
    assert len({result["id"] for result in seen.values()}) == 3
    assert {result["threads"] for result in seen.values()} == {"3"}


def test_dry_run_lists_and_writes_nothing(
    parts: Namespace, command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    parts.main.main([*command, "--dry-run"])
    printed = capsys.readouterr().out
    assert "pretrain/fsdd+baved-full-seed-0\n" in printed
    assert "urdu-folds/025/unheard/fold-3-seed-0\n" in printed
    assert "13 runs of pretrain_adapter and 154 of finetune, 0 of them finished; about " in printed
    assert "a guess for: adapter, none, pretraining" in printed
    assert not (tmp_path / "runs").exists()


def test_words_and_numbers_are_checked(
    parts: Namespace, command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match=r"error: --only: unknown 20%"):
        parts.main.main([*command, "--only", "20%"])
    with pytest.raises(SystemExit):
        parts.main.main([*command, "--shares", "0"])
    assert "percents from 1 to 100" in capsys.readouterr().err


def test_two_cells_from_end_to_end_and_resumed(
    parts: Namespace,
    command: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    chosen = ["--only", "urdu-official", "25%", "random"]
    parts.main.main([*command, *chosen, "--jobs", "1", "--threads", "1"])
    printed = capsys.readouterr()
    content = json.loads((tmp_path / "runs" / "results.json").read_text())
    assert [(row["adapter"], row["runs"]) for row in content["rows"]] == [
        ("none", 1),
        ("random", 1),
    ]
    assert content["setup"]["missing"] == []
    for run in content["runs"]:
        assert (run["status"], run["resumed"]) == ("finished", False)
        # 32 clips are no test clips; validation and train keep a quarter, test all of its 8 or so.
        assert run["split_sizes"]["train"] + run["split_sizes"]["valid"] < 14
        assert run["split_sizes"]["test"] == run["n"] == 8
        assert run["valid"]["n"] > run["split_sizes"]["valid"]
        assert run["speaker_overlap"] is True
    assert "| 25 % | random | 1 |" in printed.out
    assert "left" in printed.err
    folders = [path for path in (tmp_path / "runs/finetune").rglob("*") if path.is_dir()]
    runs = [path for path in folders if (path / "metrics.json").exists()]
    assert len(runs) == 2
    for run in runs:
        assert {"history.json", "predictions.jsonl"} <= {path.name for path in run.iterdir()}
        assert not {"model", "checkpoint.pt"} & {path.name for path in run.iterdir()}

    # Finished runs are read.
    def refuse(task: dict[str, Any]) -> dict[str, Any]:
        raise RuntimeError(f"{task['name']} is run again")

    with monkeypatch.context() as patch:
        patch.setattr(parts.pool, "do_task", refuse)
        parts.main.main([*command, *chosen])
        assert capsys.readouterr().out == printed.out
        parts.main.main([*command, *chosen, "--dry-run"])
        assert "1 of finetune" not in capsys.readouterr().out
        # And one more seed is not.
        with pytest.raises(SystemExit, match="urdu-official/025/none/seed-1 is run again"):
            parts.main.main([*command, *chosen, "--seeds", "2"])
    capsys.readouterr()

    # One that was killed after an epoch goes on, to the same end.
    other = [*command, *chosen, "--runs", str(tmp_path / "killed")]
    plan = parts.plan.Plan(parts.main.parse(other))
    cell = parts.cells.Cell("urdu-official", 25, "random", "full", None, 0)
    plan.write_manifests([cell])
    task = plan.cell_task(cell)
    from voxadapt.recipes.finetune import main as finetune

    assert finetune([*task["argv"], "--max-epochs", "1"]) is None
    parts.main.main(other)
    killed = json.loads(Path(task["result"]).read_text())
    whole = next(run for run in content["runs"] if run["adapter"] == "random")
    assert killed["resumed"] is True
    same = set(whole) - {"resumed", "seconds"}
    assert {name: killed[name] for name in same} == {name: whole[name] for name in same}


@pytest.mark.parametrize("illness", [CollapseError, NotFiniteError])
def test_pretraining_and_its_collapse(
    illness: type[Exception],
    parts: Namespace,
    command: list[str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    pretrained = parts.worker.pretrain

    def pretrain(task: dict[str, Any]) -> dict[str, Any]:
        if "no-ema" in task["name"]:
            raise illness("the teacher's frames are all alike")
        return pretrained(task)

    monkeypatch.setattr(parts.worker, "pretrain", pretrain)
    chosen = ["--only", "urdu-official", "heard", "no-ema", "--out", str(tmp_path / "out.json")]
    parts.main.main([*command, *chosen])
    printed = capsys.readouterr()
    content = json.loads((tmp_path / "out.json").read_text())
    by_variant = {row["variant"]: row for row in content["rows"]}
    assert by_variant["full"]["runs"] == 1
    assert by_variant["no-ema"]["collapsed"] == "the teacher's frames are all alike"
    assert "all alike" in printed.err
    assert "| heard, no-ema | 0 | pretraining collapsed |" in printed.out
    assert {run["status"] for run in content["pretraining"]} == {"finished", "collapsed"}
    full = next(run for run in content["pretraining"] if run["status"] == "finished")
    assert full["last_logged"]["step"] > 0
    folder = next((tmp_path / "runs/pretrain").glob("*-full-*/"))
    assert (folder / "adapter" / "config.json").exists()
    assert not (folder / "checkpoint.pt").exists()


def test_a_run_that_another_process_finished_is_taken(parts: Namespace, tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text('{"status": "finished", "ua": 0.5}')
    task = {"out": str(tmp_path / "x"), "result": str(path), "log": str(tmp_path / "x.log")}
    assert parts.worker.do_task(task)["ua"] == 0.5
