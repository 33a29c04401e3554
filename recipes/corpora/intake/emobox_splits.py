# SPDX-License-Identifier: Apache-2.0
"""The published splits of EmoBox's corpora, as manifests.

Three shapes of splits occur, and each becomes what finetune can run as it is:

- one fold: the parts are the `split` column;
- several folds whose test parts divide the corpus, each trained on all the rest: the test part is
  the `fold` column;
- anything else: one manifest for each fold, with a `split` column.

A part beside train, valid and test (MER2023's further tests) becomes a manifest of its own, all
`test`, for `score`.
"""

from dataclasses import dataclass, field, replace

from voxadapt.recipes.corpora.clip import Clip
from voxadapt.recipes.corpora.errors import DataError
from voxadapt.recipes.corpora.intake.emobox_lists import EmoboxLists
from voxadapt.recipes.corpora.manifest_columns import SPLITS


@dataclass
class SplitManifest:
    """The clips of one manifest.

    Attributes:
        suffix: What is added to the manifest's name; empty where there is one.
        clips: With `split` or `fold`.
    """

    suffix: str
    clips: list[Clip] = field(default_factory=list)


def arrange_splits(lists: EmoboxLists, clips: list[Clip]) -> tuple[list[SplitManifest], list[str]]:
    """Arrange clips as the published splits do.

    Args:
        lists: What EmoBox says of the corpus.
        clips: Those that are there.

    Returns:
        The manifests, and what the user should know of the splits.
    """
    notes: list[str] = []
    everything = list(lists.utterances)
    folds = {
        fold: _complete(fold, parts, everything, lists.name, notes)
        for fold, parts in lists.folds.items()
    }
    by_key = {clip.id: clip for clip in clips}
    if _is_partition(folds):
        fold_of = {key: fold for fold, parts in folds.items() for key in parts["test"]}
        chosen = [replace(clip, fold=fold_of[clip.id]) for clip in clips if clip.id in fold_of]
        notes.append(
            f"the {len(folds)} published folds divide the corpus: they are its fold column"
        )
        return [SplitManifest("", chosen)], notes
    manifests = []
    for fold, parts in folds.items():
        suffix = f"-fold{fold}" if len(folds) > 1 else ""
        # Of an utterance in two parts, the later one counts: the test part stays as published.
        placed = {key: part for part in SPLITS for key in parts.get(part, [])}
        twice = sum(len(parts.get(part, [])) for part in SPLITS) - len(placed)
        if twice:
            notes.append(
                f"{twice:,} utterances of fold {fold} stand in two parts; the later counts"
            )
        main = [replace(by_key[key], split=split) for key, split in placed.items() if key in by_key]
        order = {clip.id: place for place, clip in enumerate(clips)}
        main.sort(key=lambda clip: order[clip.id])
        manifests.append(SplitManifest(suffix, main))
        for part, keys in parts.items():
            further = [key for key in keys if key in by_key and key not in placed]
            if part not in SPLITS and further:
                extra = [replace(by_key[key], split="test") for key in further]
                manifests.append(SplitManifest(f"{suffix}-{part}", extra))
                notes.append(f"{part} is a further test, of {len(extra):,} clips: for `score`")
            elif part not in SPLITS:
                notes.append(f"{part} holds nothing that the other lists do not hold")
    if len(folds) > 1:
        notes.append("the published folds do not divide the corpus: one manifest for each")
    return manifests, notes


def _complete(
    fold: str, parts: dict[str, list[str]], everything: list[str], name: str, notes: list[str]
) -> dict[str, list[str]]:
    """Add a train list that is missing: all that no other list of the fold has."""
    if "test" not in parts:
        raise DataError(f"fold_{fold} of {name} has no test list; its lists: {', '.join(parts)}.")
    if "train" in parts:
        return parts
    others = {key for keys in parts.values() for key in keys}
    train = [key for key in everything if key not in others]
    if not train:
        raise DataError(
            f"fold_{fold} of {name} has no train list, and {name}.jsonl is not there to derive it "
            "from; get the whole of EmoBox's folder data."
        )
    notes.append(f"fold {fold} has no train list; it trains on all that its other lists lack")
    return {**parts, "train": train}


def _is_partition(folds: dict[str, dict[str, list[str]]]) -> bool:
    """Whether each utterance is tested in one fold, and trains in all others."""
    tested = [key for parts in folds.values() for key in parts["test"]]
    if len(folds) < 2 or len(tested) != len(set(tested)):
        return False
    whole = set(tested)
    return all(
        parts.keys() == {"train", "test"} and set(parts["train"]) == whole - set(parts["test"])
        for parts in folds.values()
    )
