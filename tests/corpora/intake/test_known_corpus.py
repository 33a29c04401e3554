# SPDX-License-Identifier: Apache-2.0
"""The descriptions of known corpora, on full-size trees of names and label files.

The numbers are those of EmoBox's lists, by class; where these do not have the corpus, those of the
paper or the release.
"""

from collections import Counter
from collections.abc import Iterator
from functools import cache
from itertools import islice, product
from pathlib import Path

import pytest

from voxadapt.recipes.corpora.errors import DataError
from voxadapt.recipes.corpora.intake.audio_tree import sort_files
from voxadapt.recipes.corpora.intake.description import known_names, load_description
from voxadapt.recipes.corpora.intake.found import Found
from voxadapt.recipes.corpora.intake.known_corpus import NOT_OF_THE_CORPUS, find_known

FOLDER = Path("/corpus")


def by_name(text: str) -> dict[str, int]:
    """Numbers by name: `by_name("angry 121, sad 122")`."""
    return {name: int(number) for name, number in (pair.split() for pair in text.split(", "))}


COUNTS = {
    "aesdd": by_name("angry 121, disgust 122, fear 120, happy 119, sad 122"),
    "ased": by_name("angry 486, fear 510, happy 486, neutral 522, sad 470"),
    "baved": by_name("low 585, neutral 672, high 678"),
    "cafe": by_name(
        "angry 144, disgust 144, fear 144, happy 144, neutral 72, sad 144, surprise 144"
    ),
    "cremad": by_name("angry 1271, disgust 1271, fear 1271, happy 1271, neutral 1087, sad 1271"),
    "emodb": by_name("angry 127, boredom 81, disgust 46, fear 69, happy 71, neutral 79, sad 62"),
    "emovo": by_name("angry 84, disgust 84, fear 84, happy 84, neutral 84, sad 84, surprise 84"),
    "esd": by_name("angry 7000, happy 7000, neutral 7000, sad 7000, surprise 7000"),
    "iemocap": by_name("angry 1103, happy 1636, neutral 1708, sad 1084"),
    "meld": by_name(
        "angry 1607, disgust 361, fear 358, happy 2308, neutral 6434, sad 1002, surprise 1636"
    ),
    "msp-improv": by_name("angry 792, happy 2644, neutral 3477, sad 885"),
    "ravdess": by_name(
        "angry 192, calm 192, disgust 192, fear 192, happy 192, neutral 96, sad 192, surprise 192"
    ),
    "savee": by_name("angry 60, disgust 60, fear 60, happy 60, neutral 120, sad 60, surprise 60"),
    "shemo": by_name("angry 1034, fear 29, happy 198, neutral 1018, sad 360, surprise 199"),
    "subesco": by_name(
        "angry 1000, disgust 1000, fear 1000, happy 1000, neutral 1000, sad 1000, surprise 1000"
    ),
    "tess": by_name(
        "angry 400, disgust 400, fear 400, happy 400, neutral 400, sad 400, surprise 400"
    ),
    "turev-db": by_name("angry 487, calm 408, happy 357, sad 483"),
    "urdu": by_name("angry 100, happy 100, neutral 100, sad 100"),
}
# Speakers of the release, where names or label files tell them.
SPEAKERS = by_name(
    "aesdd 6, cafe 12, cremad 91, emodb 10, emovo 6, esd 20, iemocap 10, msp-improv 12, "
    "ravdess 24, savee 4, subesco 20, tess 2, turev-db 6"
)
# IEMOCAP's clips by session; their sums are EmoBox's five folds.
SESSIONS = [
    {"ang": 229, "hap": 135, "exc": 143, "neu": 384, "sad": 194},
    {"ang": 137, "hap": 117, "exc": 210, "neu": 362, "sad": 197},
    {"ang": 240, "hap": 135, "exc": 151, "neu": 320, "sad": 305},
    {"ang": 327, "hap": 65, "exc": 238, "neu": 258, "sad": 143},
    {"ang": 170, "hap": 143, "exc": 299, "neu": 384, "sad": 245},
]
OTHERS = {"fru": 1849, "sur": 107, "fea": 40, "oth": 3, "dis": 2, "xxx": 2507}
Tree = tuple[list[str], dict[str, str]]


def take(counts: dict[str, int], *choices: list[str]) -> Iterator[tuple[str, ...]]:
    """As many combinations of the choices for each code as there are to be."""
    for code, count in counts.items():
        chosen = list(islice(product(*choices), count))
        assert len(chosen) == count
        for parts in chosen:
            yield (code, *parts)


def numbers(first: int, last: int, width: int = 2) -> list[str]:
    return [f"{number:0{width}d}" for number in range(first, last + 1)]


def aesdd() -> Tree:
    folders = {"a": "anger", "d": "disgust", "f": "fear", "h": "happiness", "s": "sadness"}
    counts = {"a": 121, "d": 122, "f": 120, "h": 119, "s": 122}
    takes = ["", "b"]
    names = take(counts, takes, numbers(1, 20), numbers(1, 6, 1))
    files = [f"{folders[c]}/{c}{n} ({s}){t}.wav" for c, t, n, s in names]
    # As in the release: another way to write the first speaker.
    return [name.replace("f10 (1)", "f10 (01)") for name in files], {}


def ased() -> Tree:
    folders = {"n": "01Neutral/n1", "f": "02Fearful/f2", "h": "03Happy/h3", "s": "04Sad/s4"}
    folders |= {"a": "05Angry/a5", "S": "04Sad/S4"}
    counts = {"S": 1, "a": 486, "f": 510, "h": 486, "n": 522, "s": 469}
    names = take(counts, numbers(1, 65), numbers(1, 7), numbers(1, 2))
    return [f"{folders[c]}-{text}-{again}-01-{s}.wav" for c, s, text, again in names], {}


def baved() -> Tree:
    counts = {"0": 585, "1": 672, "2": 678}
    names = take(counts, numbers(0, 103, 1), numbers(0, 6, 1))
    return [f"{w}/{s}-m-20-{w}-{c}-{i}.wav" for i, (c, s, w) in enumerate(names)], {}


def cafe() -> Tree:
    names = [
        f"CaFE_48k/Colère/Fort/{s}-{c}-{strength}-{text}.wav"
        for s, c, text in product(numbers(1, 12), "CDJNPST", "123456")
        for strength in ("1" if c == "N" else "12")
    ]
    return names, {}


def cremad() -> Tree:
    counts = dict.fromkeys(("ANG", "DIS", "FEA", "HAP", "SAD"), 1271) | {"NEU": 1087}
    texts = ["IEO", "TIE", "IOM", "IWW", "TAI", "MTI", "IWL", "ITH", "DFA", "ITS", "TSI", "WSI"]
    names = take(counts, ["XX", "LO", "HI"], texts, numbers(1001, 1091, 4))
    table = "ActorID,Age,Sex,Race,Ethnicity\n1001,51,Male,Caucasian,Not Hispanic\n"
    files = [f"AudioWAV/{s}_{text}_{c}_{level}.wav" for c, level, text, s in names]
    return [*files, "VideoDemographics.csv"], {"VideoDemographics.csv": table}


def emodb() -> Tree:
    counts = {"W": 127, "L": 81, "E": 46, "A": 69, "F": 71, "N": 79, "T": 62}
    speakers = ["03", *numbers(8, 16)]
    names = take(counts, ["a01", "a02", "b03", "b10"], list("abcdef"), speakers)
    return [f"wav/{s}{text}{c}{version}.wav" for c, text, version, s in names], {}


def emovo() -> Tree:
    codes = ["dis", "gio", "neu", "pau", "rab", "sor", "tri"]
    texts = ["b1", "b2", "b3", "d1", "d2", "l1", "l2", "l3", "l4", "n1", "n2", "n3", "n4", "n5"]
    speakers = ["f1", "f2", "f3", "m1", "m2", "m3"]
    return [f"{s}/{c}-{s}-{text}.wav" for s, c, text in product(speakers, codes, texts)], {}


def esd() -> Tree:
    codes = ["Neutral", "Angry", "Happy", "Sad", "Surprise"]
    names = [
        f"{s}/{code}/{s}_{350 * place + number:06d}.wav"
        for s in numbers(1, 20, 4)
        for place, code in enumerate(codes)
        for number in range(1, 351)
    ]
    return [*names, "0011/0011.txt"], {
        "0011/0011.txt": "0011_000001\tThe nine the eggs.\tNeutral\n"
    }


def iemocap() -> Tree:
    names, files = [], {}
    for session, counts in enumerate(SESSIONS, 1):
        everything = counts | (OTHERS if session == 1 else {})
        dialogue = f"Ses0{session}F_impro01"
        lines = ["% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]", ""]
        codes = [code for code, count in everything.items() for _ in range(count)]
        for number, code in enumerate(codes):
            utterance = f"{dialogue}_{'FM'[number % 2]}{number:03d}"
            lines += [f"[6.2901 - 8.2357]\t{utterance}\t{code}\t[2.5000, 2.5000, 2.0000]"]
            lines += ["C-E2:\tNeutral;\t()", ""]
            names.append(f"Session{session}/sentences/wav/{dialogue}/{utterance}.wav")
        place = f"Session{session}/dialog/EmoEvaluation/{dialogue}.txt"
        files[place] = "\n".join(lines)
        names.append(place)
    return names, files


def meld() -> Tree:
    counts = {"anger": 1607, "disgust": 361, "fear": 358, "joy": 2308}
    counts |= {"neutral": 6434, "sadness": 1002, "surprise": 1636}
    labels = [label for label, count in counts.items() for _ in range(count)]
    folders = {"train": "train_splits", "dev": "dev_splits_complete"}
    folders["test"] = "output_repeated_splits_test"
    names, files = [], {}
    parts = {"train": labels[:9988], "dev": labels[9988:11096], "test": labels[11096:]}
    for part, wanted in parts.items():
        lines = ["Sr No.,Utterance,Speaker,Emotion,Sentiment,Dialogue_ID,Utterance_ID"]
        for number, label in enumerate(wanted):
            lines.append(f'{number},"Hi, you",Ross,{label},positive,{number // 20},{number % 20}')
            names.append(f"{part}/{folders[part]}/dia{number // 20}_utt{number % 20}.wav")
        if part != "test":  # a row without a usable video
            lines.append("1,Oh,Joey,neutral,neutral,9999,3")
        files[f"{part}_sent_emo.csv"] = "\n".join(lines)
    return [
        *names,
        *files,
        "test/output_repeated_splits_test/final_videos_testdia0_utt0.wav",
    ], files


def msp_improv() -> Tree:
    counts = {"A": 792, "H": 2644, "N": 3477, "S": 885, "O": 30, "X": 20}
    names, lines = [], []
    codes = [code for code, count in counts.items() for _ in range(count)]
    for number, code in enumerate(codes):
        session = number % 6 + 1
        sex = "FM"[number // 6 % 2]
        utterance = f"S01{'AHNS'[number % 4]}-{sex}0{session}-P-{sex}M{number:04d}"
        lines.append(f"UTD-IMPROV-{utterance}.avi; {code}; A:3.600; V:2.400; D:2.800 ; N:4.200;")
        lines.append("Trainer_1; Angry; Angry; A:4.000; V:2.000; D:3.000 ; N:4.000;")
        names.append(f"session{session}/S01A/P/MSP-IMPROV-{utterance}.wav")
    return [*names, "Evaluation.txt"], {"Evaluation.txt": "\n".join(lines)}


def ravdess() -> Tree:
    names = [
        f"Audio_Speech_Actors_01-24/Actor_{actor}/03-01-{code}-{level}-{text}-{again}-{actor}.wav"
        for actor, code, text, again in product(
            numbers(1, 24), numbers(1, 8), ("01", "02"), ("01", "02")
        )
        for level in (("01",) if code == "01" else ("01", "02"))
    ]
    return [*names, "Audio_Song_Actors_01-24/Actor_01/03-02-01-01-01-01-01.wav"], {}


def savee() -> Tree:
    counts = {"a": 15, "d": 15, "f": 15, "h": 15, "n": 30, "sa": 15, "su": 15}
    speakers = ["DC", "JE", "JK", "KL"]
    return [
        f"AudioData/{s}/{code}{number:02d}.wav"
        for s in speakers
        for code, count in counts.items()
        for number in range(1, count + 1)
    ], {}


def shemo() -> Tree:
    counts = {"A": 1034, "F": 29, "H": 198, "N": 1018, "S": 360, "W": 199}
    speakers = [f"M{n}" for n in numbers(1, 50)] + [f"F{n}" for n in numbers(1, 31)]
    folder = {"M": "male", "F": "female"}
    names = take(counts, numbers(1, 20), speakers)
    return [f"{folder[s[0]]}/{s}{code}{number}.wav" for code, number, s in names], {}


def subesco() -> Tree:
    codes = ["ANGRY", "DISGUST", "FEAR", "HAPPY", "NEUTRAL", "SAD", "SURPRISE"]
    speakers = [f"{sex}_{n}_NAME" for sex in "FM" for n in numbers(1, 10)]
    return [
        f"{s}_S_{text}_{code}_{again}.wav"
        for s, text, code, again in product(speakers, range(1, 11), codes, range(1, 6))
    ], {}


def tess() -> Tree:
    codes = ["angry", "disgust", "fear", "happy", "neutral", "ps", "sad"]
    words = [f"w{a}{b}" for a, b in product("abcdefghijklmnopqrst", "abcdefghij")]
    names = [f"{s}_{w}_{code}" for s, w, code in product(("OAF", "YAF"), words, codes)]
    return [f"{name.replace('OAF_waa_neu', 'OA_waa_neu')}.wav" for name in names], {}


def turev_db() -> Tree:
    counts = {"Angry": 487, "Calm": 408, "Happy": 357, "Sad": 483}
    codes = {"Angry": "kz", "Calm": "sk", "Happy": "mt", "Sad": "hl"}
    speakers = ["1157", "1234", "1358", "1984", "6783", "7895"]
    words = [f"kelime{number}" for number in range(83)]
    names = take(counts, words, speakers)
    return [f"Sound Source/{c}/{s}_{codes[c]}_{w}.wav" for c, w, s in names], {}


def urdu() -> Tree:
    folders = {"A": "Angry", "H": "Happy", "N": "Neutral", "S": "Sad"}
    names = take(dict.fromkeys(folders, 100), numbers(1, 10), ["SM1", "SM27", "SF1"], numbers(1, 9))
    return [f"{folders[c]}/{s}_F{f}_{c}0{n}.wav" for c, f, s, n in names], {}


BUILDERS = (
    *(aesdd, ased, baved, cafe, cremad, emodb, emovo, esd, iemocap, meld, msp_improv, ravdess),
    *(savee, shemo, subesco, tess, turev_db, urdu),
)
TREES = {builder.__name__.replace("_", "-"): builder for builder in BUILDERS}


def find(name: str, tree: Tree, classes: str | None = None) -> Found:
    names, files = tree
    return find_known(
        load_description(name),
        sort_files(FOLDER, names),
        classes=classes,
        read=lambda file: files[file].encode(),
    )


@cache
def whole(name: str) -> tuple[list[str], Found]:
    """The names of the full corpus, and what is found in them."""
    tree = TREES[name]()
    return tree[0], find(name, tree)


@pytest.mark.parametrize("name", list(TREES))
def test_classes_of_the_full_corpus(name: str) -> None:
    _, found = whole(name)
    assert Counter(clip.label for clip in found.clips) == COUNTS[name]
    assert len({clip.id for clip in found.clips}) == len(found.clips)
    assert all(clip.speaker for clip in found.clips if name != "meld")
    if name in SPEAKERS:
        assert len({clip.speaker for clip in found.clips}) == SPEAKERS[name]


@pytest.mark.parametrize("name", list(TREES))
def test_nothing_is_lost(name: str) -> None:
    names, found = whole(name)
    audio = {path for path in names if path.endswith(".wav")}
    taken = {clip.path.relative_to(FOLDER).as_posix() for clip in found.clips}
    left = {one.what for one in found.left_out}
    assert taken | (left & audio) == audio
    assert not taken & left


def test_every_known_corpus_is_tested_here() -> None:
    assert set(TREES) | {"msp-podcast", "nemo"} == set(known_names())
    assert len(known_names()) == 20


def test_iemocap_sessions_are_the_folds_of_the_literature() -> None:
    _, found = whole("iemocap")
    assert Counter(clip.fold for clip in found.clips) == by_name(
        "1 1085, 2 1023, 3 1151, 4 1031, 5 1241"
    )
    assert {clip.speaker for clip in found.clips if clip.fold == "3"} == {"Ses03F", "Ses03M"}
    clip = found.clips[0]
    assert (clip.id, clip.columns["gender"]) == ("Ses01F_impro01_F000", "female")
    assert clip.columns["activation"] == "2.5000"


def test_iemocap_in_five_and_six_classes() -> None:
    tree = iemocap()
    five = Counter(clip.label for clip in find("iemocap", tree, "5").clips)
    assert five == COUNTS["iemocap"] | {"frustrated": 1849}
    found = find("iemocap", tree, "6")
    six = Counter(clip.label for clip in found.clips)
    assert six == by_name(
        "angry 1103, happy 595, excited 1041, neutral 1708, sad 1084, frustrated 1849"
    )
    left = Counter(one.reason.split(" is")[0] for one in found.left_out)
    assert left == {f"label '{code}'": OTHERS[code] for code in OTHERS if code != "fru"}


def test_meld_parts_and_rows_without_a_recording() -> None:
    _, found = whole("meld")
    parts = Counter(clip.split for clip in found.clips)
    assert parts == {"train": 9988, "valid": 1108, "test": 2610}
    reasons = Counter(one.reason for one in found.left_out)
    assert reasons == {"has a label, but there is no audio file of it": 2, NOT_OF_THE_CORPUS: 1}
    assert {one.what for one in found.left_out} >= {"train/9999/3", "dev/9999/3"}
    assert found.clips[0].speaker == "Ross"
    assert found.clips[0].columns["text"] == "Hi, you"


def podcast(rows: list[tuple[str, ...]]) -> Tree:
    header = "FileName,EmoClass,EmoAct,EmoVal,EmoDom,SpkrID,Gender,Split_Set"
    lines = [",".join((*row[:2], "4.0", "5.0", "3.0", *row[2:])) for row in rows]
    files = {"Labels/labels_concensus.csv": "\n".join([header, *lines])}
    return [*(f"Audios/{row[0]}" for row in rows), *files], files


def test_msp_podcast() -> None:
    letters = "ASHUFDCNOX"
    rows = [
        (f"MSP-PODCAST_0001_{place:04d}.wav", letter, f"{place}", "Female", part)
        for place, (letter, part) in enumerate(
            product(letters, ("Train", "Development", "Test1", "Test2"))
        )
    ]
    rows[0] = (*rows[0][:2], "Unknown", *rows[0][3:])
    found = find("msp-podcast", podcast(rows))
    # Else these clips would pass for one speaker who is in every part.
    assert [clip.speaker for clip in found.clips][:2] == [None, "1"]
    expected = {"angry", "sad", "happy", "surprise", "fear", "disgust", "contempt", "neutral"}
    assert Counter(clip.label for clip in found.clips) == dict.fromkeys(expected, 3)
    assert Counter(clip.split for clip in found.clips) == {"train": 8, "valid": 8, "test": 8}
    reasons = Counter(one.reason.partition(";")[0] for one in found.left_out)
    assert reasons["part is 'Test2'"] == 10
    ten = find("msp-podcast", podcast(rows), "10")
    assert {clip.label for clip in ten.clips} == expected | {"other", "no-agreement"}
    assert len(find("msp-podcast", podcast(rows), "4").clips) == 12


def test_nemo() -> None:
    codes = ["anger", "fear", "happiness", "neutral", "sadness", "surprised"]
    names = [f"samples/{s}_{c}_{n}.wav" for s, c, n in product(("EB0", "SK0"), codes, (1, 2))]
    table = "file_id\temotion\traw_text\tnormalized_text\tspeaker_id\tgender\tage\n"
    table += "EB0_anger_1.wav\tanger\tKto tam?\tkto tam\tEB0\tfemale\t24\n"
    found = find("nemo", ([*names, "data.tsv"], {"data.tsv": table}))
    classes = ("angry", "fear", "happy", "neutral", "sad", "surprise")
    assert Counter(clip.label for clip in found.clips) == dict.fromkeys(classes, 4)
    told = {"text": "Kto tam?", "gender": "female", "age": "24"}
    assert told.items() <= found.clips[0].columns.items()


@pytest.mark.parametrize(
    ("name", "clip_id", "columns"),
    [
        ("cremad", "1001_IEO_ANG_XX", {"gender": "male", "text": "It's eleven o'clock."}),
        ("emodb", "03a01Wa", {"gender": "male", "text": "Der Lappen liegt auf dem Eisschrank."}),
        ("esd", "0011_000001", {"language": "en", "text": "The nine the eggs."}),
        ("ravdess", "03-01-05-02-02-01-12", {"gender": "female", "intensity": "strong"}),
        ("tess", "OA_waa_neutral", {"gender": "female", "text": "Say the word waa."}),
        ("urdu", "SF1_F01_A001", {"gender": "female"}),
        ("baved", "0-m-20-0-0-0", {"gender": "male", "age": "20", "word": "0"}),
        ("subesco", "F_10_S_6_FEAR_5", {"gender": "female", "sentence": "6"}),
        ("msp-improv", "S01A-F01-P-FM0000", {"session": "01", "scenario": "natural"}),
    ],
)
def test_names_tell_more(name: str, clip_id: str, columns: dict[str, str]) -> None:
    clips = {clip.id: clip for clip in whole(name)[1].clips}
    assert columns.items() <= clips[clip_id].columns.items()


def test_a_slip_of_tess_is_the_same_speaker() -> None:
    clips = {clip.id: clip for clip in whole("tess")[1].clips}
    assert clips["OA_waa_neutral"].speaker == "OAF"


@pytest.mark.parametrize(
    ("name", "path", "clip_id"),
    [
        ("savee", "JE_n23.wav", "JE_n23"),
        ("savee", "AudioData/JE/n23.wav", "JE_n23"),
        ("esd", "Emotion Speech Dataset/0011/Sad/test/0011_001071.wav", "0011_001071"),
        ("ravdess", "03-01-05-01-02-01-18.flac", "03-01-05-01-02-01-18"),
        ("iemocap", None, "Ses01F_impro01_F000"),
    ],
)
def test_layouts_that_people_have(name: str, path: str | None, clip_id: str) -> None:
    names, files = TREES[name]()
    if path is None:  # the folder above the release
        names = [f"IEMOCAP_full_release/{one}" for one in names]
        files = {f"IEMOCAP_full_release/{one}": text for one, text in files.items()}
    else:
        names, files = [path], {}
    assert find(name, (names, files)).clips[0].id == clip_id


def test_the_song_part_and_second_copies_are_left_out() -> None:
    names, _ = ravdess()
    found = find("ravdess", ([*names, *(f"copy/{name}" for name in names)], {}))
    assert len(found.clips) == 1440
    reasons = Counter(one.reason.split(", such")[0] for one in found.left_out)
    assert reasons["the same clip as another file"] == 1441 - 1 + 1
    assert reasons["channel is '02'; 01 is taken"] == 1


def test_a_release_that_is_not_whole_is_said() -> None:
    names, _ = emodb()
    assert find("emodb", (names, {})).notes == []
    (note,) = find("emodb", (names[:500], {})).notes
    assert "535 clips; 500 were found" in note


def test_a_wrong_folder_shows_what_was_expected_and_what_is_there() -> None:
    names, _ = ravdess()
    with pytest.raises(DataError) as raised:
        find("emodb", (names, {}))
    message = str(raised.value)
    assert "does not hold EmoDB" in message
    assert "03a01Wa.wav        speaker 03" in message
    assert "Audio_Speech_Actors_01-24/Actor_01/03-01-01-01-01-01-01.wav  and 59 more" in message


def test_a_folder_without_the_label_files_says_so() -> None:
    names, _ = iemocap()
    with pytest.raises(DataError, match="not its label files") as raised:
        find("iemocap", ([name for name in names if name.endswith(".wav")], {}))
    assert "EmoEvaluation/Ses01F_impro01.txt" in str(raised.value)


def test_videos_are_answered_with_the_command_that_converts_them() -> None:
    names, files = meld()
    names = [name.replace(".wav", ".mp4") for name in names]
    with pytest.raises(DataError, match="not read here") as raised:
        find("meld", (names, files))
    assert "ffmpeg" in str(raised.value)
    assert "*.mp4" in str(raised.value)


def test_an_unknown_class_set_is_answered_with_those_there_are() -> None:
    with pytest.raises(DataError, match="--classes 9: iemocap has the class sets 4, 5, 6"):
        find("iemocap", iemocap(), "9")
