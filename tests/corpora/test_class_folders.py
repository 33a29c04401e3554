# SPDX-License-Identifier: Apache-2.0
import pytest

from voxadapt.recipes.corpora.class_folders import AUDIO_EXTENSIONS, read_class_folders


@pytest.fixture
def tree(tmp_path):
    def make(*names):
        for name in names:
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        return tmp_path

    return make


def test_labels_ids_and_order(tree):
    folder = tree("sad/b.wav", "happy/deep/er/a.FLAC", "happy/z.mp3", "sad/a.ogg", "sad/notes.txt")
    clips, problems = read_class_folders(folder)
    assert problems == []
    assert [(clip.id, clip.label) for clip in clips] == [
        ("happy/deep/er/a.FLAC", "happy"),
        ("happy/z.mp3", "happy"),
        ("sad/a.ogg", "sad"),
        ("sad/b.wav", "sad"),
    ]
    assert clips[0].path == folder / "happy/deep/er/a.FLAC"


def test_every_promised_ending_is_taken(tree):
    folder = tree(*(f"a/x{ending}" for ending in AUDIO_EXTENSIONS), "b/y.wav")
    clips, _ = read_class_folders(folder)
    assert len(clips) == len(AUDIO_EXTENSIONS) + 1


def test_hidden_names_are_passed_over(tree):
    clips, problems = read_class_folders(tree("a/x.wav", "b/y.wav", "b/._y.wav", ".git/z.wav"))
    assert [clip.id for clip in clips] == ["a/x.wav", "b/y.wav"]
    assert problems == []


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["a/x.wav", "b/y.wav", "z.wav"], "'z.wav' lies in no class"),
        (["a/x.wav", "b/y.wav", "b/sub/z.m4a"], "'b/sub/z.m4a' cannot be taken"),
        (["a/x.wav", "b/y.wav", "docs/readme.md"], "sub-folder 'docs' holds no audio"),
        (["train/a/x.wav", "Test/a/y.wav"], "splits, and not classes"),
        (["train/a/x.wav", "evaluation/a/y.wav"], "splits, and not classes"),
        (["audio/x.wav", "corpus.csv"], "'corpus.csv'; give that file"),
    ],
)
def test_problems(tree, names, message):
    _, problems = read_class_folders(tree(*names))
    assert len(problems) == 1
    assert message in problems[0]


def test_a_table_beside_several_classes_is_no_manifest(tree):
    assert read_class_folders(tree("a/x.wav", "b/y.wav", "scores.csv"))[1] == []


def test_links_are_followed_once(tree, tmp_path_factory):
    folder = tree("a/x.wav")
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / "y.wav").touch()
    (folder / "b").symlink_to(elsewhere)
    (folder / "a" / "loop").symlink_to(folder / "a")
    clips, problems = read_class_folders(folder)
    assert [clip.id for clip in clips] == ["a/x.wav", "b/y.wav"]
    assert problems == []
