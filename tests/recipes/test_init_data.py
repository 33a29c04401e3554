# SPDX-License-Identifier: Apache-2.0
"""``init-data``: from what people have to a manifest that finetune takes as it is."""

import csv
import json
import os
import shlex
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from voxadapt.recipes.corpora.manifest import read_manifest
from voxadapt.recipes.corpora.splits import make_splits

Run = Callable[..., Any]
LABELS = ("happy", "neutral", "sad")


def write_audio(names: Sequence[str], seconds: float = 0.25) -> None:
    """Write short noise, another for each name, below the working folder."""
    for number, name in enumerate(names):
        noise = 0.1 * np.random.default_rng(number).standard_normal(round(8_000 * seconds))
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(name, noise, 8_000)


def rows_of(path: str | Path) -> list[dict[str, str]]:
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def spoken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Six speakers, three labels, two takes: ``rec/s1_happy_0.wav``; and a file of another name."""
    monkeypatch.chdir(tmp_path)
    names = [
        f"rec/s{speaker}_{label}_{take}.wav"
        for speaker in range(6)
        for label in LABELS
        for take in range(2)
    ]
    write_audio([*names, "rec/noise.wav"])
    return names


def finetune_on(run_cli: Run, manifest: str, *options: str) -> dict[str, Any]:
    sizes = ("--adapter=none", "--pool=mean", "--epochs=1", "--features=cache", "--out=run")
    ran = run_cli("finetune", "--data", manifest, *sizes, *options)
    assert ran.code == 0, ran.err
    metrics: dict[str, Any] = json.loads(Path("run/metrics.json").read_text(encoding="utf-8"))
    return metrics


def test_from_file_names_to_a_trained_model(run_cli: Run, spoken: list[str]) -> None:
    ran = run_cli("init_data", "rec", "--pattern", "{speaker}_{label}_{n}.wav", "--folds=3")
    assert ran.code == 0, ran.err
    rows = rows_of("rec/manifest.csv")
    assert len(rows) == 36
    assert rows[0] == {
        "path": "s0_happy_0.wav",
        "label": "happy",
        "speaker": "s0",
        "fold": rows[0]["fold"],
        "seconds": "0.250",
        "n": "0",
    }
    folds = Counter((row["fold"], row["label"]) for row in rows)
    assert folds == {(fold, label): 4 for fold in "123" for label in LABELS}
    of_speaker = {(row["speaker"], row["fold"]) for row in rows}
    assert len(of_speaker) == 6
    assert rows_of("rec/manifest.left_out.csv") == [
        {"what": "noise.wav", "reason": "the name does not fit --pattern"}
    ]
    assert "left out: 1, listed in rec/manifest.left_out.csv" in ran.out
    assert "fold 2     12   0.00         2        3      4        4    4" in ran.out
    assert "next: voxadapt finetune --data rec/manifest.csv --fold all\n" in ran.out
    metrics = finetune_on(run_cli, "rec/manifest.csv", "--fold=2")
    assert metrics["n"] == 12
    assert metrics["protocol"].startswith(("fold-column", "kfold"))


def test_from_class_folders_without_speakers(run_cli: Run, spoken: list[str]) -> None:
    for name in spoken:
        Path("classes", name.split("_")[1]).mkdir(parents=True, exist_ok=True)
        Path(name).rename(Path("classes", name.split("_")[1], Path(name).name))
    ran = run_cli("init_data", "classes", "--out=m.csv")
    assert ran.code == 0, ran.err
    rows = rows_of("m.csv")
    assert rows[0]["path"] == "classes/happy/s0_happy_0.wav"
    assert "speaker" not in rows[0]
    sizes = Counter(row["fold"] for row in rows)
    assert sorted(sizes.values()) == [7, 7, 7, 7, 8]
    assert "SPEAKERS ARE NOT KNOWN" in ran.out
    assert "--pattern with {speaker}" in ran.out
    clips = read_manifest("m.csv", require_label=True).clips
    assert len(make_splits(clips, seed=0, fold="1").test) in (7, 8)


def test_a_table_of_chinese_windows_is_not_read_as_another(run_cli: Run, spoken: list[str]) -> None:
    chinese = {"happy": "高兴", "sad": "难过"}
    lines = ["文件,情感"]
    for name in spoken:
        label = Path(name).stem.split("_")[1]
        lines.append(f"{Path(name).name},{chinese.get(label, label)}")
    Path("t.csv").write_bytes("\n".join(lines).encode("gbk"))
    options = ["t.csv", "--audio=rec", "--label-column=情感"]
    refused = run_cli("init_data", *options)
    assert refused.code == 2
    assert "文件  --encoding gb18030" in refused.err
    assert not Path("t.manifest.csv").exists()
    ran = run_cli("init_data", *options, "--encoding=gb18030")
    assert ran.code == 0, ran.err
    assert set(chinese.values()) & {row["label"] for row in rows_of("t.manifest.csv")}
    wrong = run_cli("init_data", *options, "--encoding=gbkk")
    assert wrong.code == 2
    assert "--encoding: found gbkk, must be one that Python knows" in wrong.err
    folder = run_cli("init_data", "rec", "--encoding=gbk")
    assert folder.code == 2
    assert "--encoding: it is about a table" in folder.err


def test_from_a_table_in_any_naming(run_cli: Run, spoken: list[str]) -> None:
    lines = ["Datei;Stimmung;Actor ID;Set;Bemerkung"]
    for name in spoken:
        speaker, label, _ = Path(name).stem.split("_")
        part = {"s4": "dev", "s5": "Test"}.get(speaker, "TRAIN")
        lines.append(f"{Path(name).name};{label};{speaker};{part};schön")
    Path("tabelle.csv").write_bytes("\n".join(lines).encode("cp1252"))
    refused = run_cli("init_data", "tabelle.csv", "--audio=rec")
    assert refused.code == 2
    assert "name it by --label-column" in refused.err
    ran = run_cli("init_data", "tabelle.csv", "--audio=rec", "--label-column=Stimmung")
    assert ran.code == 0, ran.err
    assert "path from 'Datei' (by the audio files it names)" in ran.err
    assert "speaker from 'Actor ID' (by its name)" in ran.err
    assert "semicolon-separated, Windows-1252" in ran.err
    rows = rows_of("tabelle.manifest.csv")
    assert Counter(row["split"] for row in rows) == {"train": 24, "valid": 6, "test": 6}
    assert (rows[0]["path"], rows[0]["Bemerkung"]) == ("rec/s0_happy_0.wav", "schön")
    assert "fold" not in rows[0]
    assert "the corpus brings its own split: kept as it is" in ran.out
    assert finetune_on(run_cli, "tabelle.manifest.csv")["n"] == 6


def test_speech_without_labels(run_cli: Run, spoken: list[str]) -> None:
    Path("list.txt").write_text("\n".join(["audio\tspk", *(f"{name}\tme" for name in spoken)]))
    ran = run_cli("init_data", "list.txt", "--label-column=none")
    assert ran.code == 0, ran.err
    rows = rows_of("list.manifest.csv")
    assert len(rows) == 36
    assert set(rows[0]) == {"path", "speaker", "seconds"}
    assert "next: voxadapt pretrain_adapter --data list.manifest.csv" in ran.out


def test_parts_by_shares_and_labels_by_a_map(run_cli: Run, spoken: list[str]) -> None:
    options = ["--pattern", "{speaker}_{label}_{_}.wav", "--map", "happy=pos,sad=neg,neutral="]
    ran = run_cli("init_data", "rec", *options, "--shares=60,20,20", "--out=rec/m.csv")
    assert ran.code == 0, ran.err
    rows = rows_of("rec/m.csv")
    assert {(row["label"], row["raw_label"]) for row in rows} == {("pos", "happy"), ("neg", "sad")}
    speakers = {
        part: {row["speaker"] for row in rows if row["split"] == part}
        for part in ("train", "valid", "test")
    }
    assert sorted(map(len, speakers.values())) == [1, 1, 4]
    assert len(set.union(*speakers.values())) == 6
    reasons = Counter(row["reason"] for row in rows_of("rec/m.left_out.csv"))
    assert reasons["label 'neutral' is left out by --map"] == 12
    assert "speaker-disjoint-random" in ran.out


def test_the_same_seed_gives_the_same_manifest(run_cli: Run, spoken: list[str]) -> None:
    contents = []
    for seed, out in ((0, "a"), (0, "b"), (1, "c")):
        options = ["--pattern", "{speaker}_{label}_{n}.wav", "--folds=2", f"--seed={seed}"]
        assert run_cli("init_data", "rec", *options, f"--out=rec/{out}.csv").code == 0
        contents.append(Path(f"rec/{out}.csv").read_bytes())
    assert contents[0] == contents[1] != contents[2]


def test_a_known_corpus_with_label_files(run_cli: Run) -> None:
    names = []
    for session in range(1, 6):
        dialogue = f"Ses0{session}F_impro01"
        lines = []
        for number, code in enumerate(["ang", "hap", "exc", "neu", "sad", "fru", "xxx", "ang"]):
            utterance = f"{dialogue}_{'FM'[number % 2]}{number:03d}"
            names.append(f"IEMOCAP/Session{session}/sentences/wav/{dialogue}/{utterance}.wav")
            lines.append(f"[6.2901 - 8.2357]\t{utterance}\t{code}\t[2.5000, 2.5000, 2.5000]")
        evaluation = Path(f"IEMOCAP/Session{session}/dialog/EmoEvaluation/{dialogue}.txt")
        evaluation.parent.mkdir(parents=True)
        evaluation.write_text("\n\n".join(lines))
    write_audio(names)
    ran = run_cli("init_data", "IEMOCAP", "--corpus=iemocap")
    assert ran.code == 0, ran.err
    rows = rows_of("IEMOCAP/iemocap.manifest.csv")
    assert Counter(row["label"] for row in rows) == {
        "angry": 10,
        "happy": 10,
        "neutral": 5,
        "sad": 5,
    }
    assert {(row["fold"], row["session"]) for row in rows} == {
        (f"{number}", f"0{number}") for number in range(1, 6)
    }
    assert rows[0]["id"] == "Ses01F_impro01_F000"
    assert "the folds are the five sessions" in ran.err
    assert "label 'fru' is not among the classes" in ran.out
    ran = run_cli("init_data", "IEMOCAP", "--corpus=iemocap", "--classes=6", "--folds=2")
    assert ran.code == 0, ran.err
    rows = rows_of("IEMOCAP/iemocap-6.manifest.csv")
    assert len({row["label"] for row in rows}) == 6
    assert {row["fold"] for row in rows} == {"1", "2"}
    metrics = finetune_on(run_cli, "IEMOCAP/iemocap.manifest.csv", "--fold=1")
    assert metrics["labels"] == ["angry", "happy", "neutral", "sad"]


@pytest.mark.parametrize(
    ("corpus", "names"),
    [
        ("emodb", ["wav/03a01Wa.wav", "wav/08a01Fa.wav", "wav/08a01Wb.wav", "wav/03b01Fa.wav"]),
        (
            "urdu",
            [
                "Angry/SM1_F10_A010.wav",
                "Happy/SM1_F4_H042.wav",
                "Angry/SF7_F4_A042.wav",
                "Happy/SF7_F4_H02.wav",
            ],
        ),
        ("savee", ["Audio/DC/a01.wav", "Audio/DC/h01.wav", "Audio/KL/a02.wav", "Audio/KL/h03.wav"]),
        ("cafe", ["Colère/01-C-2-1.wav", "01-J-2-1.wav", "Colère/02-C-2-1.wav", "02-J-2-1.wav"]),
        ("aesdd", ["anger/a03 (3).wav", "h10 (3).wav", "anger/a16 (2).wav", "h01 (2).wav"]),
    ],
)
def test_trees_in_miniature(corpus: str, names: list[str], run_cli: Run) -> None:
    write_audio([f"corpus/{name}" for name in names])
    Path("corpus/readme.txt").write_text("hello")
    ran = run_cli("init_data", "corpus", "--corpus", corpus)
    assert ran.code == 0, ran.err
    rows = rows_of(f"corpus/{corpus}.manifest.csv")
    assert {row["path"] for row in rows} == set(names)
    assert len({row["speaker"] for row in rows}) == 2
    manifest = read_manifest(f"corpus/{corpus}.manifest.csv", require_label=True)
    assert manifest.folds == ["1", "2"]
    assert manifest.labels == ["angry", "happy"]


def emobox(name: str, folds: dict[str, dict[str, list[str]]], labels: dict[str, str]) -> None:
    """Write metadata as EmoBox has it: one label map, a list of all, and the lists of folds."""
    keys = sorted({key for parts in folds.values() for part in parts.values() for key in part})
    lines = {
        key: json.dumps(
            {"key": f"{name}-{key}", "wav": f"downloads/{name}/wav/{key}.wav", "emo": key[-2]}
        )
        for key in keys
    }
    folder = Path("EmoBox/data", name)
    folder.mkdir(parents=True)
    (folder / "label_map.json").write_text(json.dumps(labels))
    (folder / f"{name}.jsonl").write_text("\n".join(lines.values()))
    for fold, parts in folds.items():
        (folder / f"fold_{fold}").mkdir()
        for part, chosen in parts.items():
            file = folder / f"fold_{fold}/{name}_{part}_fold_{fold}.jsonl"
            file.write_text("\n".join(lines[key] for key in chosen))


def test_emobox_folds_run_and_overlap_is_said(run_cli: Run) -> None:
    keys = [
        f"{speaker}a0{take}{code}a"
        for speaker in ("03", "08")
        for take in (1, 2, 4)
        for code in "WF"
    ]
    write_audio([f"EmoBox/downloads/emodb/wav/{key}.wav" for key in keys])
    halves = {"1": keys[::4] + keys[1::4], "2": keys[2::4] + keys[3::4]}
    folds = {
        fold: {"test": test, "train": [key for key in keys if key not in test]}
        for fold, test in halves.items()
    }
    emobox("emodb", folds, {"W": "Angry", "F": "Happy"})
    ran = run_cli("init_data", "--emobox=EmoBox", "--corpus=EmoDB")
    assert ran.code == 0, ran.err
    (out,) = Path("EmoBox").rglob("emobox-emodb.csv")
    rows = rows_of(out)
    assert {row["id"]: row["fold"] for row in rows} == {
        f"emodb-{key}": fold for fold, test in halves.items() for key in test
    }
    assert {row["speaker"] for row in rows} == {"03", "08"}
    assert "SPEAKER OVERLAP: in 2 of 2 folds, speakers that are tested also train" in ran.out
    assert "--fold all --allow-speaker-overlap" in ran.out
    metrics = finetune_on(run_cli, str(out), "--fold=1", "--allow-speaker-overlap")
    assert metrics["n"] == len(halves["1"])


def test_emobox_utterances_that_are_not_there_stop_the_run_or_are_listed(run_cli: Run) -> None:
    keys = [
        f"{speaker}a0{take}{code}a" for speaker in ("03", "08") for take in (1, 2) for code in "WF"
    ]
    write_audio([f"audio/{key}.wav" for key in keys[1:]])
    emobox("emodb", {"1": {"train": keys[:4], "test": keys[4:]}}, {"W": "Angry", "F": "Happy"})
    given = ["init_data", "audio", "--emobox=EmoBox", "--corpus=emodb"]
    ran = run_cli(*given)
    assert ran.code == 2
    assert f"1 of {len(keys)} clips have no usable audio file" in ran.err
    assert f"emodb-{keys[0]}: there is no such audio file" in ran.err
    ran = run_cli(*given, "--on-bad-audio=skip")
    assert ran.code == 0, ran.err
    assert len(rows_of("audio/emobox-emodb.csv")) == len(keys) - 1
    (left,) = rows_of("audio/emobox-emodb.left_out.csv")
    assert left["what"] == f"emodb-{keys[0]}"
    assert "SPEAKER OVERLAP" not in ran.out


def test_bad_audio_stops_or_is_listed(run_cli: Run, spoken: list[str]) -> None:
    Path(spoken[0]).write_bytes(b"no audio")
    Path(spoken[1]).write_bytes(b"")
    given = ["init_data", "rec", "--pattern", "{speaker}_{label}_{n}.wav"]
    ran = run_cli(*given)
    assert ran.code == 2
    assert "2 of 36 clips have no usable audio file" in ran.err
    assert "s0_happy_0.wav: the file cannot be read as audio" in ran.err
    assert not Path("rec/manifest.csv").exists()
    ran = run_cli(*given, "--on-bad-audio=skip")
    assert ran.code == 0, ran.err
    assert len(rows_of("rec/manifest.csv")) == 34
    assert len(rows_of("rec/manifest.left_out.csv")) == 3


def test_names_of_all_kinds(run_cli: Run) -> None:
    good = ["a, b", 'say "hi"', "😀", "日本", "it's", "#1 %d {x}", "-x"]
    write_audio([f"rec/{label}/{name}.wav" for label in ("x", "y") for name in good])
    Path("rec/x/a, b.wav").with_name("q\nr.wav").write_bytes(Path("rec/x/😀.wav").read_bytes())
    Path("rec/loop").symlink_to(Path("rec").absolute())
    Path(os.fsdecode(b"rec/x/\xff.wav")).write_bytes(Path("rec/x/😀.wav").read_bytes())
    ran = run_cli("init_data", "rec", "--pattern={label}/{_:[^/]*}", "--on-bad-audio=skip")
    assert ran.code == 0, ran.err
    found = {clip.path for clip in read_manifest("rec/manifest.csv", require_label=True).clips}
    expected = {Path("rec", label, f"{name}.wav") for label in "xy" for name in [*good]}
    assert found == {path.absolute() for path in expected} | {Path("rec/x/q\nr.wav").absolute()}
    (left,) = rows_of("rec/manifest.left_out.csv")
    assert left["reason"] == "the name is not UTF-8; rename the file"
    assert "\\udcff.wav" in left["what"]
    assert "\\udcff.wav" in ran.out


def test_nothing_is_overwritten_without_force(run_cli: Run, spoken: list[str]) -> None:
    Path("rec/manifest.csv").write_text("mine")
    given = ["init_data", "rec", "--pattern", "{speaker}_{label}_{n}.wav"]
    ran = run_cli(*given)
    assert ran.code == 2
    assert "rec/manifest.csv is there already; nothing was overwritten" in ran.err
    assert Path("rec/manifest.csv").read_text() == "mine"
    assert run_cli(*given, "--force").code == 0
    assert len(rows_of("rec/manifest.csv")) == 36


def test_a_manifest_elsewhere_needs_allow_outside_and_says_so(
    run_cli: Run, spoken: list[str]
) -> None:
    Path("elsewhere").mkdir()
    given = ["rec", "--pattern", "{speaker}_{label}_{n}.wav", "--out=elsewhere/m.csv"]
    ran = run_cli("init_data", *given)
    assert ran.code == 0, ran.err
    assert "--fold all --allow-outside" in ran.out
    assert rows_of("elsewhere/m.csv")[0]["path"] == "../rec/s0_happy_0.wav"
    finetune_on(run_cli, "elsewhere/m.csv", "--fold=1", "--allow-outside")


def next_of(out: str) -> list[str]:
    """The arguments of the command that was told, without ``voxadapt``."""
    (told,) = [line for line in out.splitlines() if line.startswith("next: ")]
    return shlex.split(told.removeprefix("next: voxadapt "))


def test_the_command_for_one_speaker_is_one_that_runs(run_cli: Run, spoken: list[str]) -> None:
    lines = ["path,label,speaker", *(f"{name},{name.split('_')[1]},me" for name in spoken)]
    Path("mine.csv").write_text("\n".join(lines))
    ran = run_cli("init_data", "mine.csv")
    assert ran.code == 0, ran.err
    assert "scores will not hold for other speakers" in ran.out
    command, flag, manifest, *further = next_of(ran.out)
    assert (command, flag, further) == ("finetune", "--data", ["--allow-speaker-overlap"])
    assert finetune_on(run_cli, manifest, *further)["speaker_overlap"] is True


def test_labels_that_finetune_refuses_are_to_be_mended_first(
    run_cli: Run, spoken: list[str]
) -> None:
    lines = ["path,label,speaker"]
    for number, name in enumerate(spoken):
        speaker, label, _ = Path(name).stem.split("_")
        lines.append(f"{name},{label.title() if number % 2 else label},{speaker}")
    Path("t.csv").write_text("\n".join(lines))
    ran = run_cli("init_data", "t.csv")
    assert ran.code == 0, ran.err
    assert "next: mend the corpus, since finetune would refuse this manifest: labels" in ran.out
    assert "'Happy' (6 clips) and 'happy' (6 clips)" in ran.out
    assert "Then: voxadapt finetune --data t.manifest.csv --fold all\n" in ran.out
    names = "Happy=happy,happy=happy,Sad=sad,sad=sad,Neutral=neutral,neutral=neutral"
    ran = run_cli("init_data", "t.csv", "--force", "--map", names)
    assert ran.code == 0, ran.err
    assert next_of(ran.out) == ["finetune", "--data", "t.manifest.csv", "--fold", "all"]


def test_a_table_without_labels_says_how_it_is_taken(run_cli: Run, spoken: list[str]) -> None:
    Path("bare.csv").write_text("path\n" + "".join(f"{name}\n" for name in spoken))
    Path("empty.csv").write_text("path,label\n" + "".join(f"{name},\n" for name in spoken))
    for table in ("bare.csv", "empty.csv"):
        ran = run_cli("init_data", table)
        assert ran.code == 2
        assert "to pretrain on, by --label-column none." in ran.err


def test_the_command_for_speech_without_labels_is_told_whole(
    run_cli: Run, spoken: list[str]
) -> None:
    Path("el se").mkdir()
    Path("list.csv").write_text("path\n" + "".join(f"{name}\n" for name in spoken))
    given = ["list.csv", "--label-column=none", "--out=el se/m.csv"]
    ran = run_cli("init_data", *given)
    assert ran.code == 0, ran.err
    (told,) = [line for line in ran.out.splitlines() if line.startswith("next: ")]
    assert told == "next: voxadapt pretrain_adapter --data 'el se/m.csv' --allow-outside"
    (note,) = [line for line in ran.out.splitlines() if "cannot be moved apart" in line]
    assert note.startswith("note: the audio lies outside")


def test_sessions_as_folds_and_no_speakers(run_cli: Run, spoken: list[str]) -> None:
    pattern = ["--pattern", "s{session}_{label}_{speaker}.wav"]
    ran = run_cli("init_data", "rec", *pattern, "--fold-column=session", "--speaker-column=none")
    assert ran.code == 0, ran.err
    rows = rows_of("rec/manifest.csv")
    assert all(row["fold"] == row["session"] for row in rows)
    assert "speaker" not in rows[0]
    ran = run_cli("init_data", "rec", *pattern, "--fold-column=sesion", "--force")
    assert ran.code == 2
    assert "--fold-column sesion" in ran.err
    assert "speaker, session" in ran.err


def test_options_from_a_file(run_cli: Run, spoken: list[str]) -> None:
    Path("init.yaml").write_text('source: rec\npattern: "{speaker}_{label}_{n}.wav"\nfolds: 6\n')
    assert run_cli("init_data", "--config=init.yaml", "--folds=2").code == 0
    assert {row["fold"] for row in rows_of("rec/manifest.csv")} == {"1", "2"}
    ran = run_cli("init_data", "--config=init.yaml", "elsewhere")
    assert "elsewhere: there is no such folder" in ran.err


def test_the_list_of_corpora(run_cli: Run) -> None:
    ran = run_cli("init_data", "--list-corpora")
    assert ran.code == 0
    lines = ran.out.splitlines()
    assert len([line for line in lines if line.startswith(("iemocap ", "nemo ", "urdu "))]) == 3
    assert "4: angry, happy, neutral, sad; 5; 6" in ran.out
    assert "CC BY-NC-SA 4.0" in ran.out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "name a folder or a table"),
        (["recc"], "recc: there is no such folder or file; did you mean 'rec'?"),
        (["rec"], "no audio in class folders"),
        (["rec", "--pattern={speaker}_{n}.wav"], "has no {label}"),
        (["rec", "--pattern={label}-{speaker}.wav"], "fits none of the 37 audio files"),
        (["rec", "--corpus=emodb"], "does not hold EmoDB"),
        (["rec", "--corpus=emodbb"], "did you mean 'emodb'?"),
        (["rec", "--corpus=xyz"], "urdu. For others, a YAML file of your own"),
        (["rec/noise.wav"], "a table ends in"),
        (["rec", "--corpus=emodb", "--pattern={label}.wav"], "give one of the two"),
        (["rec", "--classes=4"], "class sets of a --corpus"),
        (["rec", "--emobox=x"], "name the corpus as well"),
        (["--emobox=rec", "--corpus=emodb"], "it holds no such lists"),
        (["--emobox=rec", "--corpus=emodb", "--folds=3"], "its own labels and splits are taken"),
        (["--emobox=rec", "--corpus=emodb", "--fold-column=speaker"], "such as --fold-column"),
        (["rec", "--pattern={speaker}_{label}_{n}.wav", "--folds=1"], "must be 0, or 2 and more"),
        (["rec", "--pattern={speaker}_{label}_{n}.wav", "--folds=7"], "there are 6 speakers"),
        (["rec", "--pattern={speaker}_{label}_{n}.wav", "--shares=1,2"], "add up to 100"),
        (["rec", "--pattern={speaker}_{label}_{n}.wav", "--out=m.txt"], "ends in .csv"),
        (["rec", "--pattern={speaker}_{label}_{n}.wav", "--out=no/m.csv"], "there is no folder no"),
        (["rec", "--pattern={speaker}_{label}_{n}.wav", "--map=happy=x"], "'sad' (12 clips)"),
        (["rec", "--pattern={split}_{label}_{n}.wav"], "which are no names of train"),
    ],
)
def test_mistakes_are_one_message(
    arguments: list[str], message: str, run_cli: Run, spoken: list[str]
) -> None:
    ran = run_cli("init_data", *arguments)
    assert ran.code == 2
    assert message in ran.err
    assert "Traceback" not in ran.err
    assert not list(Path("rec").glob("*.csv"))


def test_clips_that_would_make_a_bad_manifest_leave_none(run_cli: Run, spoken: list[str]) -> None:
    lines = ["path,label,speaker,id", *(f"{Path(name).name},x,s,same" for name in spoken)]
    Path("rec/t.csv").write_text("\n".join(lines))
    ran = run_cli("init_data", "rec/t.csv")
    assert ran.code == 2
    assert "no manifest was written" in ran.err
    assert "id 'same' is on line" in ran.err
    assert sorted(path.name for path in Path("rec").glob("*.csv")) == ["t.csv"]
    assert not list(Path("rec").glob(".*"))


def test_the_recipe_runs_by_its_path(run_process: Run, spoken: list[str]) -> None:
    ran = run_process("init_data", "rec", "--pattern={speaker}_{label}_{n}.wav")
    assert ran.code == 0, ran.err
    assert Path("rec/manifest.csv").is_file()
