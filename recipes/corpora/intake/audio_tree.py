# SPDX-License-Identifier: Apache-2.0
"""The files below a folder: audio that can be read, audio that must be converted, and others."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from voxadapt.recipes.corpora.class_folders import (
    AUDIO_EXTENSIONS,
    OTHER_AUDIO_EXTENSIONS,
    files_below,
)
from voxadapt.recipes.corpora.intake.found import LeftOut

FOREIGN_EXTENSIONS = (*OTHER_AUDIO_EXTENSIONS, ".avi", ".mkv", ".mov", ".mpg")
"""Recordings that hold speech and that this package does not decode."""


@dataclass
class AudioTree:
    """What lies below a folder, as paths relative to it, with `/`, sorted.

    Attributes:
        folder: The folder (absolute).
        audio: Audio files.
        foreign: Recordings in formats that must be converted first.
        others: All other files.
    """

    folder: Path
    audio: list[str] = field(default_factory=list)
    foreign: list[str] = field(default_factory=list)
    others: list[str] = field(default_factory=list)


def list_tree(folder: Path) -> AudioTree:
    """List the files below a folder; names that begin with a dot are passed over.

    Args:
        folder: An existing folder (absolute).
    """
    names = sorted(path.relative_to(folder).as_posix() for path in files_below(folder))
    return sort_files(folder, names)


def sort_files(folder: Path, names: Sequence[str]) -> AudioTree:
    """Sort relative paths by what their endings say.

    Args:
        folder: The folder that they are relative to; it is not looked at.
        names: Relative paths.
    """
    tree = AudioTree(folder)
    for name in names:
        ending = Path(name).suffix.lower()
        if ending in AUDIO_EXTENSIONS:
            tree.audio.append(name)
        elif ending in FOREIGN_EXTENSIONS:
            tree.foreign.append(name)
        else:
            tree.others.append(name)
    return tree


def unconverted(tree: AudioTree) -> list[LeftOut]:
    """The recordings that must be converted and have not been: those without an audio twin."""
    converted = {name.rpartition(".")[0] for name in tree.audio}
    return [
        LeftOut(name, f"{Path(name).suffix.lower()} is not read here; convert it to .wav or .flac")
        for name in tree.foreign
        if name.rpartition(".")[0] not in converted
    ]


def conversion_command(tree: AudioTree) -> str:
    """A shell command that puts a .wav beside each recording of the most frequent foreign kind."""
    ending = Counter(Path(name).suffix for name in tree.foreign).most_common(1)[0][0]
    return (
        f"find {str(tree.folder)!r} -name '*{ending}' -exec sh -c "
        f'\'ffmpeg -nostdin -loglevel error -i "$1" -ac 1 -ar 16000 "${{1%{ending}}}.wav"\' _ '
        "{} \\;"
    )


def draw_tree(tree: AudioTree, most: int = 12) -> str:
    """What a folder holds, in a few lines: folders two levels deep with counts and an example."""
    names = [*tree.audio, *tree.foreign, *tree.others]
    if not names:
        return "  (no files)"
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault("/".join(name.split("/")[:-1][:2]), []).append(name)
    lines = []
    for group, members in list(groups.items())[:most]:
        example = members[0] if not group else members[0][len(group) + 1 :]
        more = f"  and {len(members) - 1:,} more" if len(members) > 1 else ""
        lines.append(f"  {group + '/' if group else ''}{example}{more}")
    if len(groups) > most:
        lines.append(f"  and {len(groups) - most:,} more folders")
    return "\n".join(lines)
