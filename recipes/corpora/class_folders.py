# SPDX-License-Identifier: Apache-2.0
"""A folder with one sub-folder per class, read as a manifest."""

import os
from collections.abc import Iterator
from pathlib import Path

from voxadapt.recipes.corpora.clip import Clip
from voxadapt.recipes.corpora.manifest_columns import split_meant_by
from voxadapt.recipes.corpora.manifest_paths import printable

AUDIO_EXTENSIONS = (".wav", ".flac", ".ogg", ".mp3", ".aiff", ".aif")
OTHER_AUDIO_EXTENSIONS = (".m4a", ".mp4", ".aac", ".wma", ".opus", ".amr", ".webm", ".sph", ".caf")


def read_class_folders(folder: Path) -> tuple[list[Clip], list[str]]:
    """List the audio below each sub-folder of `folder`; the sub-folder's name is the label.

    Names that begin with a dot are passed over, and so are files that are no audio by their name.

    Args:
        folder: An existing folder (absolute).

    Returns:
        The clips, sorted by id (their path relative to `folder`, with `/`), and what is wrong, one
        sentence each.
    """
    clips: list[Clip] = []
    problems: list[str] = []
    entries = sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
    classes = [entry for entry in entries if entry.is_dir()]
    for entry in entries:
        if not entry.is_dir() and _is_audio(entry.name):
            problems.append(f"{entry.name!r} lies in no class; move it into a sub-folder")
    for class_folder in classes:
        found = sorted(files_below(class_folder))
        audio = [path for path in found if _is_audio(path.name)]
        clips.extend(
            Clip(
                id=printable(path.relative_to(folder).as_posix()),
                path=path,
                label=printable(class_folder.name),
            )
            for path in audio
        )
        problems.extend(
            f"{path.relative_to(folder).as_posix()!r} cannot be taken: class folders hold "
            f"{', '.join(AUDIO_EXTENSIONS)}; convert it, or remove it"
            for path in found
            if path.suffix.lower() in OTHER_AUDIO_EXTENSIONS
        )
        if not audio:
            problems.append(
                f"sub-folder {class_folder.name!r} holds no audio; remove it, or put the clips of "
                f"its class into it ({', '.join(AUDIO_EXTENSIONS)})"
            )
    problems.extend(_layout_problems(entries, classes))
    return sorted(clips, key=lambda clip: clip.id), problems


def _layout_problems(entries: list[Path], classes: list[Path]) -> Iterator[str]:
    """Recognise two other layouts, whose sub-folders would be taken for classes in silence."""
    names = [path.name for path in classes]
    if names and all(map(split_meant_by, names)):
        yield (
            f"the sub-folders are named {', '.join(names)}: splits, and not classes; write a "
            "manifest with the columns path, label and split"
        )
    manifests = [path.name for path in entries if path.suffix.lower() in (".csv", ".jsonl")]
    if len(classes) == 1 and manifests:
        yield (
            f"the only class would be {names[0]!r}, and beside it lies {manifests[0]!r}; give that "
            "file if it is the manifest"
        )


def _is_audio(name: str) -> bool:
    return name.lower().endswith(AUDIO_EXTENSIONS)


def files_below(folder: Path) -> Iterator[Path]:
    """Yield all files below a folder, through links as well, each real folder once."""
    # A link back to the corpus would put all other classes into this one.
    entered = {os.path.realpath(os.path.dirname(os.path.abspath(folder)))}
    for parent, folders, files in os.walk(folder, followlinks=True):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        real = os.path.realpath(parent)
        if real in entered:  # a link back to a folder above would go round for ever
            folders.clear()
            continue
        entered.add(real)
        yield from (Path(parent, name) for name in files if not name.startswith("."))
