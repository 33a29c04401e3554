# SPDX-License-Identifier: Apache-2.0
"""Options of ``init-data``."""

from dataclasses import dataclass
from typing import Literal

from voxadapt.recipes.corpora.intake.text_encoding import is_encoding
from voxadapt.recipes.running.options import require

TABLE_COLUMNS = ("path", "label", "speaker", "split", "fold", "id", "start", "end")
"""What `--NAME-column` names a table's column for."""


@dataclass
class InitDataOptions:
    """Make a manifest out of any corpus, with folds that share no speaker.

    From a folder with one sub-folder per class: `init-data FOLDER`. From a table in any column
    naming (CSV, TSV, JSON, JSONL): `init-data TABLE`. From file names: `init-data FOLDER --pattern
    "{speaker}_{label}_{n}.wav"`. From a corpus as it was downloaded: `init-data FOLDER --corpus
    iemocap`. From EmoBox's lists, with its splits: `init-data --emobox DIR --corpus NAME`.

    It ends with a table of clips, hours, speakers and classes, and with what was left out and why.

    Args:
        source: A folder or a table. With `--emobox`, the folder of the corpus, where that is not in
            downloads/ of the copy of EmoBox.
        corpus: A known corpus (`--list-corpora`), or a YAML description of your own.
        classes: Which of the corpus's class sets, such as 4 or 6; the first one if left out.
        list_corpora: Print the known corpora with their classes, licence and source, and stop.
        emobox: A copy of the repository emo-box/EmoBox, or of its folder `data`.
        pattern: What file names mean: `{speaker}_{label}_{n}.wav`. A field ends before the
            character that follows it; `{name:REGEX}` says what it looks like, `*` is any text,
            `**/` any folders, `{_}` a field to ignore. It is compared with the end of each path.
        map: What labels stand for: `"W=angry,L=bored"`, or a YAML file of such pairs. It must have
            every label; an empty name, `X=`, leaves those clips out.
        path_column: The table's column of audio files; columns are guessed by name if left out.
        label_column: The table's column of labels; `none` for speech without labels, to pretrain
            on.
        speaker_column: The table's column of speakers; `none` takes none.
        split_column: The table's column of train, valid and test.
        fold_column: The column to take as folds, also one that `--pattern` or a known corpus gives,
            such as session.
        id_column: The table's column of ids.
        start_column: The table's column of where clips begin (seconds).
        end_column: The table's column of where clips end (seconds).
        audio: The folder that the table's paths are relative to; its own folder if left out.
        encoding: What the table is encoded in, such as gb18030; left out, UTF-8, UTF-16 and
            Windows-1252 are told apart, and a table that may be something else is refused.
        folds: How many folds to draw: whole speakers, balanced in labels and clips. Left out, 5 are
            drawn (or as many as there are speakers) where the corpus brings no parts of its own; 0
            draws none.
        shares: Percentages of train, valid and test to draw, such as 70,15,15.
        seed: Seed of what is drawn.
        out: The manifest, .csv. Left out, it is put into the corpus's folder, so that paths in it
            are relative and the folder can be moved.
        force: Replace a manifest that is there.
        on_bad_audio: What to do with files that are missing or have no readable header: `error`
            lists them and stops, `skip` lists them and goes on without.
    """

    source: str | None = None
    corpus: str | None = None
    classes: str | None = None
    list_corpora: bool = False
    emobox: str | None = None
    pattern: str | None = None
    map: str | None = None
    path_column: str | None = None
    label_column: str | None = None
    speaker_column: str | None = None
    split_column: str | None = None
    fold_column: str | None = None
    id_column: str | None = None
    start_column: str | None = None
    end_column: str | None = None
    audio: str | None = None
    encoding: str | None = None
    folds: int | None = None
    shares: str | None = None
    seed: int = 0
    out: str | None = None
    force: bool = False
    on_bad_audio: Literal["error", "skip"] = "error"

    def __post_init__(self) -> None:
        folds = self.folds
        require(folds is None or folds == 0 or folds >= 2, "--folds", folds, "0, or 2 and more")
        known = self.encoding is None or is_encoding(self.encoding)
        require(known, "--encoding", self.encoding, "one that Python knows, such as gb18030")
        if self.emobox and not self.corpus:
            raise ValueError("--emobox: name the corpus as well, as --corpus iemocap")
        columns = [getattr(self, f"{name}_column") for name in TABLE_COLUMNS]
        choices = (self.pattern, self.map, self.shares, self.folds, *columns)
        if self.emobox and any(choices):
            raise ValueError(
                "--emobox: its own labels and splits are taken; leave out --pattern, --map, "
                "--folds, --shares and columns such as --fold-column"
            )
        if self.corpus and self.pattern:
            raise ValueError("--pattern: --corpus says what names mean; give one of the two")
        if self.classes and (not self.corpus or self.emobox):
            raise ValueError("--classes: these are class sets of a --corpus without --emobox")
