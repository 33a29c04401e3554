# SPDX-License-Identifier: Apache-2.0
import subprocess
from pathlib import Path

from voxadapt.recipes.corpora.intake.audio_tree import (
    AudioTree,
    conversion_command,
    draw_tree,
    list_tree,
    sort_files,
    unconverted,
)


def test_files_are_sorted_by_what_they_are(tmp_path: Path) -> None:
    names = ["b/x.wav", "a/y.FLAC", "a/z.mp4", "labels.csv", ".hidden.wav", "a/._y.flac"]
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    tree = list_tree(tmp_path)
    assert tree.audio == ["a/y.FLAC", "b/x.wav"]
    assert tree.foreign == ["a/z.mp4"]
    assert tree.others == ["labels.csv"]


def test_recordings_without_a_converted_twin() -> None:
    tree = sort_files(Path("/x"), ["a.mp4", "a.wav", "b.mp4"])
    (left,) = unconverted(tree)
    assert (left.what, left.reason) == (
        "b.mp4",
        ".mp4 is not read here; convert it to .wav or .flac",
    )


def test_the_conversion_command_runs_for_each_file(tmp_path: Path) -> None:
    folder = tmp_path / "it's here"
    folder.mkdir()
    names = ["a b.mp4", "sub/ü.mp4", "c.avi"]
    for name in names:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).touch()
    program = tmp_path / "bin" / "ffmpeg"
    program.parent.mkdir()
    program.write_text('#!/bin/sh\nfor last; do :; done\n: > "$last"\n')
    program.chmod(0o755)
    command = conversion_command(list_tree(folder))
    path = f"{program.parent}:/usr/bin:/bin"
    subprocess.run(["sh", "-c", command], check=True, env={"PATH": path})
    assert list_tree(folder).audio == ["a b.wav", "sub/ü.wav"]


def test_a_picture_of_a_tree() -> None:
    names = [f"s{speaker}/wav/deep/{take}.wav" for speaker in range(20) for take in range(3)]
    picture = draw_tree(sort_files(Path("/x"), [*names, "readme.txt"]))
    assert picture.splitlines()[0] == "  s0/wav/deep/0.wav  and 2 more"
    assert picture.splitlines()[-1] == "  and 9 more folders"
    assert draw_tree(AudioTree(Path("/x"))) == "  (no files)"
