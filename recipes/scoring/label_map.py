# SPDX-License-Identifier: Apache-2.0
"""``--label-map FILE``: what another corpus's labels are called by the model.

One line for each label: its name there, and its name here, or ``null`` for clips to leave out. ::

    anger: angry
    joy: happy
    fear: null

Where corpora need different lines, each has a section, called by the manifest's file name without
its ending. ::

    emodb: {W: angry, F: happy}
    ravdess: {calm: neutral, surprised: null}
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from voxadapt.recipes.corpora.clip import Clip
from voxadapt.recipes.corpora.errors import did_you_mean, some_of
from voxadapt.recipes.running.command_line import UsageError

Lines = dict[str, str | None]


@dataclass
class LabelMap:
    """What a file says.

    Attributes:
        path: The file, for messages.
        lines: Our label, or None, by theirs, for every corpus.
        sections: The same, for one corpus by its name.
    """

    path: str
    lines: Lines = field(default_factory=dict)
    sections: dict[str, Lines] = field(default_factory=dict)

    def of_corpus(self, name: str) -> Lines:
        """The lines that hold for a corpus; its own come before those for all."""
        return {**self.lines, **self.sections.get(name, {})}

    def check_corpora(self, names: Iterable[str]) -> None:
        """Refuse a section of a corpus that is not there.

        Raises:
            UsageError: There is one.
        """
        names = list(names)
        for section in self.sections:
            if section not in names:
                raise UsageError(
                    f"--label-map {self.path}: the section {section!r} belongs to no corpus; the "
                    f"corpora are {', '.join(names)}{did_you_mean(section, names)}"
                )

    def check_lines(self, found: Iterable[str]) -> None:
        """Refuse a line outside of sections for a label that no corpus has: it may be misspelt.

        Args:
            found: The labels of all corpora.

        Raises:
            UsageError: There is one.
        """
        self._check(self.lines, set(found), "")

    def check_section(self, name: str, found: Iterable[str]) -> None:
        """Refuse a line in a corpus's section for a label that it does not have.

        Args:
            name: The corpus.
            found: Its labels.

        Raises:
            UsageError: There is one.
        """
        self._check(self.sections.get(name, {}), set(found), f"{name}.")

    def _check(self, lines: Lines, found: set[str], where: str) -> None:
        unknown = [theirs for theirs in lines if theirs not in found]
        if unknown:
            raise UsageError(
                f"--label-map {self.path}: no clip has the label {where}{unknown[0]}; the labels "
                f"are {', '.join(sorted(found))}{did_you_mean(unknown[0], found)}"
            )


def read_label_map(path: str | None) -> LabelMap:
    """Read the file; without one, every label keeps its name.

    Raises:
        UsageError: It cannot be read, is not YAML, or holds something else than names.
    """
    if path is None:
        return LabelMap("")
    place = f"--label-map {path}:"
    try:
        # Nodes and not values: a label called `no` or `01` is a text, whatever YAML makes of it.
        root = yaml.compose(Path(path).read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{place} cannot be read ({error})") from None
    except yaml.YAMLError as error:
        raise UsageError(
            f"--label-map {path}: is not YAML ({' '.join(str(error).split())})"
        ) from None
    found = LabelMap(path)
    if not isinstance(root, yaml.MappingNode) or not root.value:
        raise UsageError(f"--label-map {path}: must hold lines such as `anger: angry`")
    for key, value in root.value:
        name = _text(key, path)
        if name in found.lines or name in found.sections:
            raise UsageError(f"--label-map {path}: {name!r} is there twice; leave one line")
        if isinstance(value, yaml.MappingNode):
            found.sections[name] = _section(value, path, name)
        else:
            found.lines[name] = _ours(value, path)
    return found


def apply_lines(
    clips: Sequence[Clip], lines: Lines, labels: Sequence[str] | None, source: str, path: str
) -> tuple[list[Clip], dict[str, int]]:
    """Give clips our labels, in place, and leave out those whose label has none.

    Args:
        clips: The clips of one corpus, each with a label.
        lines: Our label, or None, by theirs; a label without a line keeps its name.
        labels: The labels that are allowed; None allows all.
        source: The corpus, for messages.
        path: The label map, for messages; empty where there is none.

    Returns:
        The clips that stay, and how many were left out, by their label.

    Raises:
        UsageError: A label is not allowed, or no clip stays.
    """
    counts = Counter(str(clip.label) for clip in clips)
    if labels is not None:
        _check_labels(counts, lines, labels, source, path)
    kept = [clip for clip in clips if lines.get(str(clip.label), "") is not None]
    left_out = {
        theirs: counts[theirs] for theirs in sorted(counts) if lines.get(theirs, "") is None
    }
    if not kept:
        raise UsageError(f"--label-map {path}: leaves out every clip of {source}")
    for clip in kept:
        clip.label = lines.get(str(clip.label), clip.label)
    return kept, left_out


def _check_labels(
    counts: Counter[str], lines: Lines, labels: Sequence[str], source: str, path: str
) -> None:
    known = ", ".join(labels)
    wrong = sorted({ours for ours in lines.values() if ours is not None} - set(labels))
    if wrong:
        raise UsageError(
            f"--label-map {path}: {some_of(wrong)} is none of the model's labels, which are {known}"
            f"{did_you_mean(wrong[0], labels)}"
        )
    unknown = [name for name in sorted(counts) if name not in lines and name not in labels]
    if unknown:
        clips = sum(counts[name] for name in unknown)
        raise UsageError(
            f"{source}: {clips:,} clips have labels that are none of the model's ({known}): "
            f"{some_of(unknown)}. Write each into a --label-map file as `{unknown[0]}: LABEL`, or "
            f"as `{unknown[0]}: null` to leave its clips out; or name another column with --label"
        )


def _section(node: yaml.MappingNode, path: str, name: str) -> Lines:
    lines: Lines = {}
    for key, value in node.value:
        theirs = _text(key, path)
        if theirs in lines:
            raise UsageError(f"--label-map {path}: {name}.{theirs} is there twice; leave one line")
        lines[theirs] = _ours(value, path)
    return lines


def _ours(node: yaml.Node, path: str) -> str | None:
    if isinstance(node, yaml.ScalarNode) and node.tag == "tag:yaml.org,2002:null":
        return None
    return _text(node, path)


def _text(node: yaml.Node, path: str) -> str:
    if not isinstance(node, yaml.ScalarNode) or not node.value.strip():
        line = node.start_mark.line + 1
        raise UsageError(
            f"--label-map {path}, line {line}: must be a label, as in `anger: angry`, or null"
        )
    return str(node.value).strip()
