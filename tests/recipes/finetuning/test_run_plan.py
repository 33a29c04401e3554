# SPDX-License-Identifier: Apache-2.0
"""Which runs a command asks for, in which order and folders, and what is wrong with their parts."""

from pathlib import Path
from typing import Any

import pytest

from voxadapt.recipes.corpora.clip import Clip
from voxadapt.recipes.corpora.errors import DataError
from voxadapt.recipes.finetuning.options import FinetuneOptions
from voxadapt.recipes.finetuning.run_plan import check_splits, draw_splits, folder_name, plan_runs
from voxadapt.recipes.running.command_line import UsageError


def make_clips(count: int = 120, **columns: Any) -> list[Clip]:
    return [
        Clip(
            id=f"c{index:03}",
            path=Path(f"{index}.wav"),
            label=f"l{index % 3}",
            speaker=f"s{index // 3 % 12}",
            columns={"session": f"Session{1 + index // 3 % 12 // 2}"},
            **{name: value(index) for name, value in columns.items()},
        )
        for index in range(count)
    ]


def planned(clips: list[Clip], **options: Any) -> list[tuple[str | None, int, str]]:
    plan = plan_runs(clips, FinetuneOptions(**options), Path("out"))
    return [(run.fold, run.seed, run.folder.as_posix()) for run in plan]


def test_one_run_writes_into_the_folder_itself() -> None:
    assert planned(make_clips(), seed=4) == [(None, 4, "out")]
    folds = make_clips(fold=lambda index: str(index // 3 % 12))
    assert planned(folds, fold="11") == [("11", 0, "out")]


def test_seeds_and_folds_have_folders_in_natural_order() -> None:
    folds = make_clips(fold=lambda index: str(index // 3 % 12))
    plan = planned(folds, fold="all", seeds=2, seed=7)
    assert [fold for fold, _, _ in plan[::2]] == [str(number) for number in range(12)]
    assert plan[-2:] == [("11", 7, "out/fold-11/seed-7"), ("11", 8, "out/fold-11/seed-8")]
    assert planned(make_clips(), seeds=2) == [
        (None, 0, "out/fold-none/seed-0"),
        (None, 1, "out/fold-none/seed-1"),
    ]


@pytest.mark.parametrize(
    ("protocol", "folds"),
    [
        ("leave-one-session-out", [f"Session{number}" for number in range(1, 7)]),
        ("leave-one-speaker-out-v1", [f"s{number}" for number in range(12)]),
        ("speaker-disjoint-kfold", ["1", "2", "3", "4", "5"]),
    ],
)
def test_a_protocol_with_folds_runs_them_all_unless_one_is_named(
    protocol: str, folds: list[str]
) -> None:
    plan = planned(make_clips(), protocol=protocol)
    assert [fold for fold, _, _ in plan] == folds
    assert plan == planned(make_clips(), protocol=protocol, fold="all")
    assert planned(make_clips(), protocol=protocol, fold=folds[1]) == [(folds[1], 0, "out")]


def test_folds_that_cannot_be_are_refused() -> None:
    with pytest.raises(UsageError, match="--fold 1: protocol official has no folds"):
        planned(make_clips(split=lambda _: "train"), protocol="official", fold="1")
    with pytest.raises(DataError, match="the manifest has no column 'fold'"):
        planned(make_clips(), fold="all")
    one = make_clips(fold=lambda _: "1")
    with pytest.raises(DataError, match="column 'fold' holds '1' for every clip"):
        planned(one, fold="all")


def test_all_folds_problems_are_told_at_once() -> None:
    clips = make_clips(fold=lambda index: str(index // 3 % 3))
    for clip in clips:
        if clip.fold == "2":
            clip.speaker, clip.label = "s0", "l0" if clip.label == "l0" else f"only-{clip.label}"
    options = FinetuneOptions(fold="all")
    with pytest.raises(DataError) as caught:
        check_splits(clips, options, plan_runs(clips, options, Path("out")))
    told = str(caught.value)
    assert "fold '0': 1 of the 4 speakers of test are also in train" in told
    assert "fold '2': label 'only-l1' is in test" in told


def test_one_runs_problem_is_told_as_it_is() -> None:
    clips = make_clips(split=lambda _: "train")
    options = FinetuneOptions()
    with pytest.raises(DataError, match="test has no clip"):
        check_splits(clips, options, plan_runs(clips, options, Path("out")))


def test_drawn_folds_are_the_same_for_all_seeds_and_parts_are_not() -> None:
    clips = make_clips(360)
    options = FinetuneOptions(protocol="speaker-disjoint-kfold", num_folds=3, seeds=2)
    first, second = (draw_splits(clips, options, seed, "2") for seed in (0, 1))
    assert first.test == second.test
    assert first.valid != second.valid
    random = FinetuneOptions(seeds=2)
    first, second = (draw_splits(clips, random, seed, None) for seed in (0, 1))
    assert first.test != second.test


def test_the_seed_draws_the_folds_unless_there_is_a_split_seed() -> None:
    clips = make_clips(360)

    def tested(**options: Any) -> list[int]:
        given = FinetuneOptions(protocol="speaker-disjoint-kfold", num_folds=3, **options)
        return draw_splits(clips, given, 0, "1").test

    assert tested(seed=0) != tested(seed=1)
    assert tested(seed=0, split_seed=1) == tested(seed=1)


def test_the_validation_part_is_cut_as_the_command_says() -> None:
    clips = make_clips(split=lambda index: "test" if index % 5 == 0 else "train")
    by_label = FinetuneOptions(validation="label", allow_speaker_overlap=True)
    by_speaker = FinetuneOptions(allow_speaker_overlap=True)
    heard = [
        {clips[index].speaker for index in draw_splits(clips, options, 0, None).train}
        for options in (by_label, by_speaker)
    ]
    assert heard[0] > heard[1]


def test_a_split_seed_gives_every_run_the_same_parts() -> None:
    clips = make_clips(360)
    for protocol, fold in ((None, None), ("speaker-disjoint-kfold", "1")):
        runs = [
            draw_splits(
                clips, FinetuneOptions(protocol=protocol, seed=seed, split_seed=9), seed, fold
            )
            for seed in (0, 1)
        ]
        assert runs[0] == runs[1]
        other = FinetuneOptions(protocol=protocol, split_seed=8)
        assert draw_splits(clips, other, 0, fold) != runs[0]


def test_folders_of_folds_fit_any_file_system_and_differ() -> None:
    names = ["1", "a/b", "a_b", "a b", "..", "Ses01", None, "ÜB", "a:b"]
    folders = [folder_name(name) for name in names]
    assert folders[0] == "1"
    assert (folders[5], folders[6], folders[7]) == ("Ses01", "none", "ÜB")
    assert len(set(folders)) == len(names)
    assert not any(set(folder) & set("/\\: ") or folder.startswith(".") for folder in folders)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"protocol": "kfolds"}, "--protocol: found 'kfolds'"),
        ({"protocol": "official-v9"}, "there is official-v1 only"),
        ({"num_folds": 1}, "--num-folds: found 1, must be at least 2"),
        ({"jobs": 0}, "--jobs: found 0, must be at least 1"),
    ],
)
def test_options_are_checked(options: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match="found") as caught:
        FinetuneOptions(**options)
    assert told in str(caught.value)
