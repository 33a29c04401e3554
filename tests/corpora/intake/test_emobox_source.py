# SPDX-License-Identifier: Apache-2.0
"""EmoBox's 32 corpora: every label, every shape of split, and nothing lost."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml

from voxadapt.recipes.corpora.errors import DataError
from voxadapt.recipes.corpora.intake.emobox_lists import EmoboxLists, Utterance, read_lists
from voxadapt.recipes.corpora.intake.emobox_slips import LABEL_FIXES
from voxadapt.recipes.corpora.intake.emobox_source import IN_NO_LIST, audio_folder, find_emobox
from voxadapt.recipes.corpora.intake.emobox_splits import arrange_splits
from voxadapt.recipes.corpora.intake.table_source import NO_AUDIO

FACTS: dict[str, Any] = yaml.safe_load(
    Path(__file__).with_name("emobox_facts.yaml").read_text(encoding="utf-8")
)
PER_LABEL = 12


def entry(name: str, key: str, path: str, label: str) -> dict[str, Any]:
    line = {"key": key, "dataset": name, "wav": path, "type": "raw", "task": "category"}
    return {**line, "length": 1.5, "emo": label, "channel": 1}


def write_lists(folder: Path, name: str, audio: Path) -> list[str]:
    """Write a corpus's metadata as EmoBox has it, with a dozen utterances of each label, and files.

    Each fold's lists share the utterances out in turn, so that folds that divide the corpus do.
    """
    facts = FACTS[name]
    folder.mkdir(parents=True)
    (folder / facts["map_file"]).write_text(json.dumps(facts["map"]))
    sample = Path(facts["path"])
    entries = []
    for label in facts.get("labels", facts["map"]):
        for _ in range(PER_LABEL):
            file = f"{len(entries):04d}{sample.name}"
            path = f"downloads/{sample.with_name(file).as_posix()}"
            entries.append(entry(name, f"{name}-{file}", path, label))
            # What is released as video is there converted.
            real = audio / sample.relative_to(name).with_name(file)
            ending = sample.suffix if sample.suffix in (".wav", ".flac") else ".wav"
            real.parent.mkdir(parents=True, exist_ok=True)
            real.with_suffix(ending).touch()
    lines = [json.dumps(one) for one in entries]
    (folder / f"{name}.jsonl").write_text("\n".join(lines))
    folds = facts["folds"]
    for place, (fold, lists) in enumerate(folds.items()):
        (folder / fold).mkdir()
        parts = sorted({file.split("_")[1] for file in lists} | {"train"}, key=len)
        further = [part for part in parts if part != "train"]
        for file in {*lists, f"{name}_train_{fold}.jsonl"}:
            part = file.split("_")[1]
            wanted = "test" if part == "test1" else part  # MER2023 has that list twice
            turns = ["train", *(one for one in further if one != "test1"), "train"]
            if len(folds) > 1:
                turns = ["test" if one == place else "train" for one in range(len(folds))]
            chosen = [turns[number % len(turns)] == wanted for number in range(len(lines))]
            kept = [line for line, yes in zip(lines, chosen, strict=True) if yes]
            (folder / fold / file).write_text("\n".join(kept))
    return [one["key"] for one in entries]


def test_there_are_32_corpora() -> None:
    assert len(FACTS) == 32


@pytest.mark.parametrize("name", list(FACTS))
def test_every_corpus_becomes_manifests_and_no_utterance_is_lost(name: str, tmp_path: Path) -> None:
    audio = tmp_path / "downloads" / name
    keys = write_lists(tmp_path / "data" / name, name, audio)
    lists = read_lists(tmp_path / "data" / name)
    found = find_emobox(lists, audio_folder(tmp_path, name, None))
    manifests, _ = arrange_splits(lists, found.clips)
    left = {one.what for one in found.left_out}
    written = [clip.id for manifest in manifests for clip in manifest.clips]
    assert sorted([*written, *left]) == sorted(keys)

    wrong = [fix.label for fix in LABEL_FIXES if fix.corpus == name and not fix.target]
    assert left == {key for key in keys if any(clip.what == key for clip in found.left_out)}
    assert len(left) == PER_LABEL * len(wrong)
    classes = {target.casefold() for target in FACTS[name]["map"].values()}
    classes -= {FACTS[name]["map"][label].casefold() for label in wrong}
    assert {clip.label for clip in found.clips} == classes

    folds = FACTS[name]["folds"]
    if len(folds) > 1:
        (manifest,) = manifests
        assert {clip.fold for clip in manifest.clips} == {fold[5:] for fold in folds}
        assert all(clip.split is None for clip in manifest.clips)
    else:
        assert all(clip.fold is None for clip in manifests[0].clips)
        parts = {file.split("_")[1] for file in folds["fold_1"]} | {"train"}
        expected = {"valid"} & parts | {"train", "test"}
        assert {clip.split for clip in manifests[0].clips} == expected
    suffixes = [manifest.suffix for manifest in manifests]
    assert suffixes == (["", "-test2", "-test3"] if name == "mer2023" else [""])


def test_the_published_folds_that_divide_a_corpus() -> None:
    """Test lists whose sizes add up to the corpus, by the sizes that EmoBox has."""
    divided = {
        name
        for name, facts in FACTS.items()
        if len(facts["folds"]) > 1
        and sum(
            size
            for lists in facts["folds"].values()
            for file, size in lists.items()
            if "_test_fold_" in file
        )
        == sum(facts.get("labels", {"": 35_000}).values())
    }
    assert divided == {name for name, facts in FACTS.items() if len(facts["folds"]) > 1}


def emodb_lists() -> EmoboxLists:
    label_map = FACTS["emodb"]["map"]
    lists = EmoboxLists("emodb", label_map=label_map)
    codes = {"anger": "W", "neutral": "N"}
    for label, code in codes.items():
        for number in range(10):
            key = f"emodb-{number + 10}a01{code}a"
            path = f"downloads/emodb/wav/{number + 10}a01{code}a.wav"
            lists.utterances[key] = Utterance(key, path, label)
    lists.whole = list(lists.utterances)
    lists.folds = {"1": {"train": lists.whole[:15], "test": lists.whole[15:]}}
    return lists


def make_audio(lists: EmoboxLists, folder: Path) -> Path:
    for utterance in lists.utterances.values():
        file = folder / utterance.path.removeprefix(f"downloads/{lists.name}/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    return folder


def test_a_label_slip_is_corrected_and_speakers_are_recovered(tmp_path: Path) -> None:
    lists = emodb_lists()
    assert "neutral" not in lists.label_map
    found = find_emobox(lists, make_audio(lists, tmp_path))
    assert Counter(clip.label for clip in found.clips) == {"angry": 10, "neutral": 10}
    clip = found.clips[3]
    assert (clip.speaker, clip.columns["gender"], clip.columns["raw_label"]) == (
        "13",
        "female",
        "anger",
    )


@pytest.mark.parametrize(
    ("name", "path", "speaker"),
    [
        ("asvpesd", "Audio/actor_36/03-01-09-01-06-36-02-02-01-39.wav", "36"),
        ("casia", "wangzhe/neutral/239.wav", "wangzhe"),
        ("emns", "cleaned_webm/recorded_audio_RF6OuQ4.webm", "emns"),
        ("emovdb", "jenie_Amused/amused_57-84_0057.wav", "jenie"),
        ("enterface", "subject 19/anger/sentence 4/s19_an_4.avi", "19"),
        ("enterface", "subject 6/anger/s6_an.avi", "6"),
        ("esd", "0005/Neutral/0005_000001.wav", "0005"),
        ("iemocap", "Session1/sentences/wav/Ses01F_impro01/Ses01F_impro01_F000.wav", "Ses01F"),
        ("jlcorpus", "Raw JL corpus/JL(wav+txt)/female1_excited_7a_2.wav", "female1"),
        ("mead", "W019/audio/neutral/level_1/020.m4a", "W019"),
        ("oreau", "OréauFR_02/m/sessj/31a06Ja.wav", "31"),
        ("pavoque", "pavoque-poker.flac", "pavoque"),
        ("polish", "m3.s_trzymaj_5.wav", "m3"),
        ("ravdess", "audio/Audio_Speech_Actors_01-24/Actor_18/03-01-05-01-02-01-18.wav", "18"),
        ("turevdb", "Sound Source/Calm/1984_sk_eger.wav", "1984"),
        ("meld", "train/train_splits/dia0_utt0.mp4", None),
        ("mesd", "Mexican Emotional Speech Database (MESD)/Anger_F_A_tarde.wav", None),
    ],
)
def test_speakers_by_the_paths(name: str, path: str, speaker: str | None, tmp_path: Path) -> None:
    lists = EmoboxLists(name, label_map={"a": "Angry"})
    lists.utterances = {"x": Utterance("x", f"downloads/{name}/{path}", "a")}
    lists.folds = {"1": {"train": [], "test": ["x"]}}
    file = (tmp_path / path).with_suffix(".wav")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.touch()
    found = find_emobox(lists, tmp_path)
    assert [clip.speaker for clip in found.clips] == [speaker]
    assert any("are not told" in note for note in found.notes) == (speaker is None)


@pytest.mark.parametrize(
    ("name", "listed", "real"),
    [
        ("cafe", "CaFE_48k/D‚go–t/Fort/04-D-2-4.wav", "CaFE_48k/Dégoût/Fort/04-D-2-4.wav"),
        ("cafe", "CaFE_48k/ColŠre/Faible/05-C-1-5.wav", "Colère/Faible/05-C-1-5.wav"),
        ("savee", "JE_n23.wav", "AudioData/JE/n23.wav"),
        ("meld", "train/train_splits/dia0_utt0.mp4", "train/train_splits/dia0_utt0.flac"),
        ("ravdess", "audio/Actor_18/03-01-05-01-02-01-18.wav", "Actor_18/03-01-05-01-02-01-18.wav"),
    ],
)
def test_other_layouts_are_found(name: str, listed: str, real: str, tmp_path: Path) -> None:
    lists = EmoboxLists(name, label_map={"a": "Angry"})
    lists.utterances = {"x": Utterance("x", f"downloads/{name}/{listed}", "a")}
    lists.folds = {"1": {"train": [], "test": ["x"]}}
    (tmp_path / real).parent.mkdir(parents=True)
    (tmp_path / real).touch()
    assert [clip.path for clip in find_emobox(lists, tmp_path).clips] == [tmp_path / real]


def test_segments_keep_their_times(tmp_path: Path) -> None:
    lists = EmoboxLists("pavoque", label_map={"poker": "Poker"})
    path = "downloads/pavoque/pavoque-poker.flac"
    for number in range(2):
        key = f"pavoque-m{number}-poker"
        lists.utterances[key] = Utterance(key, path, "poker", 10.0 * number, 10.0 * number + 7.92)
    lists.folds = {"1": {"train": ["pavoque-m0-poker"], "test": ["pavoque-m1-poker"]}}
    found = find_emobox(lists, make_audio(lists, tmp_path))
    assert [(clip.start, clip.end) for clip in found.clips] == [(0.0, 7.92), (10.0, 17.92)]


def test_utterances_without_a_list_or_a_recording_are_listed(tmp_path: Path) -> None:
    lists = emodb_lists()
    make_audio(lists, tmp_path)
    lists.folds["1"]["train"] = lists.whole[2:15]
    (tmp_path / "wav/19a01Na.wav").unlink()
    found = find_emobox(lists, tmp_path)
    reasons = Counter(one.reason for one in found.left_out)
    assert reasons == {IN_NO_LIST: 2, NO_AUDIO: 1}
    assert len(found.clips) == 17


def test_labels_in_no_map_are_an_error(tmp_path: Path) -> None:
    lists = emodb_lists()
    lists.label_map = {"anger": "Angry"}
    lists.utterances["new"] = Utterance("new", "downloads/emodb/wav/x.wav", "glee")
    with pytest.raises(DataError, match="says nothing") as raised:
        find_emobox(lists, tmp_path)
    assert raised.value.problems == ["'glee' (1 utterances)"]


def test_audio_that_is_elsewhere_is_asked_for(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="name the folder of the corpus in front"):
        audio_folder(tmp_path, "emodb", None)
    lists = emodb_lists()
    with pytest.raises(DataError, match="none of the 20 recordings"):
        find_emobox(lists, tmp_path)
    inner = tmp_path / "downloads" / "emodb"
    inner.mkdir(parents=True)
    assert audio_folder(tmp_path, "emodb", None) == inner
    assert audio_folder(Path("/elsewhere"), "emodb", tmp_path) == inner
    assert audio_folder(Path("/elsewhere"), "emodb", inner) == inner
