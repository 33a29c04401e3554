# SPDX-License-Identifier: Apache-2.0
"""What finetune would say of a manifest."""

from pathlib import Path

from voxadapt.recipes.corpora.clip import Clip
from voxadapt.recipes.finetuning.options import FinetuneOptions
from voxadapt.recipes.finetuning.refusal import refusal


def make_clips(speakers: int, labels: tuple[str, ...] = ("a", "b"), takes: int = 3) -> list[Clip]:
    names = [(s, label, t) for s in range(speakers) for label in labels for t in range(takes)]
    return [
        Clip(f"{s}{label}{t}", Path(f"{s}{label}{t}.wav"), label=label, speaker=f"s{s}")
        for s, label, t in names
    ]


def test_a_manifest_that_finetune_takes_is_not_refused() -> None:
    assert refusal(make_clips(5), FinetuneOptions()) is None


def test_labels_parts_and_folds_are_refused_with_the_message_of_finetune() -> None:
    told = refusal(make_clips(5, ("a", "A")), FinetuneOptions())
    assert told is not None
    assert "'A' (15 clips) and 'a' (15 clips)" in told
    told = refusal(make_clips(1), FinetuneOptions())
    assert told is not None
    assert "no speaker-disjoint test part can be drawn" in told
    assert refusal(make_clips(1), FinetuneOptions(allow_speaker_overlap=True)) is None
    told = refusal(make_clips(5), FinetuneOptions(fold="all"))
    assert told is not None
    assert "fold" in told
    assert refusal(make_clips(1, takes=1), FinetuneOptions()) is not None
