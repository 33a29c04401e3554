# SPDX-License-Identifier: Apache-2.0
import gc
import json
import os
import subprocess
import sys
import tracemalloc
from pathlib import Path

import pytest

from voxadapt.recipes.corpora.errors import DataError
from voxadapt.recipes.corpora.manifest import Clip, Manifest, read_manifest

CORPORA = Path(__file__).parents[2].parent / "shared" / "corpora"


@pytest.fixture
def corpus(tmp_path):
    for name in ("a.wav", "b.wav", "c,d.wav"):
        (tmp_path / name).touch()

    def write(content, name="m.csv"):
        path = tmp_path / name
        path.write_text(content, encoding="utf-8")
        return path

    return write


def problems_of(path, **options):
    with pytest.raises(DataError) as caught:
        read_manifest(path, **options)
    assert str(path) in caught.value.headline
    return caught.value.problems


def test_csv(corpus, tmp_path):
    path = corpus('\ufeffpath,label,speaker\na.wav,happy,s2\n"c,d.wav",sad,s1\n')
    manifest = read_manifest(path, require_label=True)
    assert manifest.source == str(path)
    assert [clip.path for clip in manifest.clips] == [tmp_path / "a.wav", tmp_path / "c,d.wav"]
    assert (manifest.labels, manifest.speakers) == (["happy", "sad"], ["s1", "s2"])
    assert (manifest.splits, manifest.folds) == ([], [])


def test_csv_and_jsonl_say_the_same(corpus):
    rows = [
        {"path": "a.wav", "start": 0.5, "end": 1.5, "label": "x", "split": "train", "age": 31},
        {"path": "a.wav", "start": 1.5, "end": None, "label": "y", "split": "test", "age": 31},
    ]
    lines = ["path,start,end,label,split,age"]
    lines += [",".join("" if v is None else str(v) for v in row.values()) for row in rows]
    by_csv = read_manifest(corpus("\n".join(lines)))
    by_json = read_manifest(corpus("\n".join(json.dumps(row) for row in rows), "m.jsonl"))
    assert by_csv.clips == by_json.clips
    assert [clip.id for clip in by_csv.clips] == ["a.wav#0.5-1.5", "a.wav#1.5-"]
    assert by_csv.clips[0].columns == {"age": "31"}
    assert by_csv.splits == ["train", "test"]


def test_labels_are_optional_until_required(corpus):
    path = corpus("path,speaker\na.wav,s1\n")
    assert read_manifest(path).labels == []
    (problem,) = problems_of(path, require_label=True)
    assert "'label'" in problem
    assert "'path', 'speaker'" in problem
    assert read_manifest(path, label="speaker", require_label=True).labels == ["s1"]


def test_a_label_column_that_was_asked_for_must_be_there(corpus):
    (problem,) = problems_of(corpus("path,label,speaker\na.wav,x,s1\n"), label="speakers")
    assert "did you mean 'speaker'" in problem


def test_all_problems_in_one_error(corpus):
    path = corpus(
        "path,label,split,start,end\n"
        "a.wav,x,dev,,\n"
        "gone.wav,x,train,,\n"
        "b.wav,x\n"
        "b.wav,x,train,2,1\n"
        "b.wav,,train,,\n"
        "../b.wav,x,train,,\n"
        "a.wav,x,train,one,\n"
    )
    problems = problems_of(path, require_label=True)
    text = "\n".join(problems)
    for part in (
        "line 2: split is 'dev'; allowed are train, valid, test; did you mean 'valid'?",
        "line 3: path 'gone.wav' does not exist",
        "line 4 has 2 fields, but the header names 5",
        "line 5: end is 1 s and start 2 s",
        "line 6: the label column 'label' is empty",
        "line 7: path '../b.wav' leads out of the manifest's folder",
        "line 8: start is 'one'",
        "line 8: the clip 'a.wav' is on line 2 already",
    ):
        assert part in text
    assert len(problems) == 8


def test_missing_path_column_is_said_once(corpus):
    problems = problems_of(corpus("file,label\na.wav,x\nb.wav,y\n"))
    assert len(problems) == 1
    assert "no column 'path'" in problems[0]


def test_json_row_without_path(corpus):
    problems = problems_of(corpus('{"path": "a.wav"}\n{"label": "x"}\n', "m.jsonl"))
    assert problems == ["line 2: path is empty; name an audio file"]


@pytest.mark.parametrize(("name", "content"), [("m.csv", ""), ("m.jsonl", "\n"), ("m.csv", "\n\n")])
def test_empty_file(corpus, name, content):
    (problem,) = problems_of(corpus(content, name))
    assert "it is empty" in problem


def test_header_alone(corpus):
    (problem,) = problems_of(corpus("path,label\n"))
    assert "lists no clip" in problem


def test_missing_manifest_suggests_its_neighbour(corpus):
    path = corpus("path\na.wav\n", "emotions.csv")
    with pytest.raises(DataError, match=r"does not exist; did you mean 'emotions.csv'"):
        read_manifest(path.with_name("emotion.csv"))
    with pytest.raises(DataError, match="there is no folder"):
        read_manifest(path.parent / "no" / "emotion.csv")


def test_outside_audio_where_allowed(corpus, tmp_path):
    (tmp_path / "sub").mkdir()
    path = corpus("path\n../a.wav\n", "sub/m.csv")
    assert len(problems_of(path)) == 1
    assert read_manifest(path, allow_outside=True).clips[0].path == tmp_path / "a.wav"


def test_paths_that_climb_out_of_100_000_rows(corpus, tmp_path):
    (tmp_path / "sub").mkdir()
    climbs = {line for line in range(2, 100_002) if line % 1_000 == 0}
    lines = [
        f"{line},{'sub/../' * (line % 3)}{'../' * (line in climbs)}{tmp_path.name}/../a.wav"
        if line in climbs
        else f"{line},{'./' * (line % 3)}a.wav"
        for line in range(2, 100_002)
    ]
    path = corpus("id,path\n" + "\n".join(lines))
    problems = problems_of(path)
    assert {int(problem.split()[1][:-1]) for problem in problems} == climbs
    assert all("--allow-outside" in problem for problem in problems)
    with pytest.raises(DataError) as caught:
        read_manifest(path, allow_outside=True)  # one folder up there is no a.wav
    assert len(caught.value.problems) == len(climbs)
    (tmp_path.parent / "a.wav").touch()
    assert len(read_manifest(path, allow_outside=True).clips) == 100_000


@pytest.mark.parametrize("suffix", ["folder", "jsonl"])
def test_names_that_are_no_utf8_become_text_that_can_be_written(tmp_path, suffix):
    name = os.fsdecode(b"caf\xe9")
    try:
        (tmp_path / name).mkdir()
    except OSError:
        pytest.skip("this file system has UTF-8 names only")
    (tmp_path / name / '\U0001f600 "a".wav').touch()
    path = tmp_path
    if suffix == "jsonl":
        path = tmp_path / "m.jsonl"
        path.write_text(json.dumps({"path": f'{name}/\U0001f600 "a".wav'}))
    (clip,) = read_manifest(path).clips
    assert clip.path.exists()
    assert clip.id == 'caf\\udce9/\U0001f600 "a".wav'
    assert clip.label in (None, "caf\\udce9")


def test_reading_a_manifest_takes_no_library():
    """A million rows are near the memory that is allowed; torch alone takes 0.3 GB."""
    program = "import sys, voxadapt.recipes.corpora.manifest; print(*sys.modules)"
    child = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert not {"torch", "datasets", "webdataset", "soundfile"} & set(child.stdout.split())


def test_the_collector_is_on_again(corpus):
    path = corpus("path\ngone.wav\n")
    assert gc.isenabled()
    problems_of(path)
    assert gc.isenabled()


def test_paths_are_relative_to_a_linked_manifest_as_named(corpus, tmp_path):
    (tmp_path / "blobs").mkdir()
    real = corpus("path\na.wav\n", "blobs/0123.csv")
    link = tmp_path / "m.csv"
    link.symlink_to(real)
    assert read_manifest(link).clips[0].path == tmp_path / "a.wav"


def test_relative_manifest_gives_absolute_paths(corpus, tmp_path, monkeypatch):
    corpus("path\na.wav\n")
    monkeypatch.chdir(tmp_path)
    (clip,) = read_manifest("m.csv").clips
    assert os.path.isabs(clip.path)


@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_a_large_manifest_takes_little_memory(tmp_path, suffix):
    (tmp_path / "a.wav").touch()
    names = ("id", "path", "start", "end", "label", "speaker", "split", "note")
    rows = [
        (f"clip-{n:06}", "a.wav", f"{n}.25", f"{n}.75", "happy", f"speaker-{n % 7}", "train", "x")
        for n in range(5_000)
    ]
    if suffix == "csv":
        lines = [",".join(values) for values in (names, *rows)]
    else:
        lines = [json.dumps(dict(zip(names, values, strict=True))) for values in rows]
    path = tmp_path / f"corpus.{suffix}"
    path.write_text("\n".join(lines))
    tracemalloc.start()
    clips = read_manifest(path).clips
    kept, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert [clips[-1].id, clips[-1].columns] == ["clip-004999", {"note": "x"}]
    assert clips[0].speaker is clips[7].speaker
    assert clips[0].label is clips[1].label
    assert kept < 5_000 * 700
    assert peak < 5_000 * 800


def test_class_folders(tmp_path):
    for name in ("happy/a.wav", "sad/b.wav"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).touch()
    manifest = read_manifest(tmp_path, require_label=True)
    assert manifest.labels == ["happy", "sad"]
    assert "no column 'speaker'" in problems_of(tmp_path, label="speaker")[0]
    (tmp_path / "z.wav").touch()
    assert "lies in no class" in problems_of(tmp_path)[0]


def test_folder_without_audio(tmp_path):
    assert "it holds no audio" in problems_of(tmp_path)[0]


def test_folds_sort_by_number():
    clips = [Clip(id=fold, path=Path("x"), fold=fold) for fold in ("10", "b", "2", "a")]
    assert Manifest(clips, "m").folds == ["2", "10", "a", "b"]


@pytest.mark.parametrize(
    ("name", "clips", "labels", "speakers"),
    [("urdu", 400, 4, 29), ("fsdd", 3_000, 10, 6), ("baved", 1_935, 3, None)],
)
def test_real_corpora(name, clips, labels, speakers):
    path = CORPORA / name / f"{name}.csv"
    if not path.exists():
        pytest.skip(f"{name} is not in {CORPORA}")
    manifest = read_manifest(path, require_label=True)
    assert len(manifest.clips) == clips
    assert len(manifest.labels) == labels
    assert speakers is None or len(manifest.speakers) == speakers
