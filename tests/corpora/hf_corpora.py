# SPDX-License-Identifier: Apache-2.0
"""Small datasets of the `datasets` library, with audio in their tables."""

from pathlib import Path
from typing import Any

LABELS = ("hum", "noise", "tone")


def make_dataset(rows: list[dict[str, str]], *, with_paths: bool = False) -> Any:
    """A dataset of a manifest's rows: audio, label (class), speaker_id, take and text.

    Args:
        rows: With an absolute `path`, `label`, `speaker`.
        with_paths: Whether rows name their files instead of holding the bytes.
    """
    from datasets import Audio, ClassLabel, Dataset, Features, Sequence, Value

    features = Features(
        {
            # As the bytes of an Audio column are: encoding into one needs torchcodec.
            "audio": {"bytes": Value("binary"), "path": Value("string")},
            "label": ClassLabel(names=list(LABELS)),
            "speaker_id": Value("string"),
            "take": Value("int64"),
            "text": Value("string"),
            "words": Sequence(Value("string")),
        }
    )
    table = [
        {
            "audio": {
                "bytes": None if with_paths else Path(row["path"]).read_bytes(),
                "path": row["path"] if with_paths else Path(row["path"]).name,
            },
            "label": LABELS.index(row["label"]),
            "speaker_id": row["speaker"],
            "take": take,
            "text": None if take == 1 else f" clip {take} ",
            "words": ["a"],
        }
        for take, row in enumerate(rows)
    ]
    return Dataset.from_list(table, features=features).cast_column("audio", Audio(decode=False))


def save_splits(rows: list[dict[str, str]], folder: Path, **options: Any) -> Path:
    """Save a manifest's rows as a dataset of splits train, validation and test."""
    from datasets import DatasetDict

    names = {"train": "train", "valid": "validation", "test": "test"}
    parts = {
        name: make_dataset([row for row in rows if row["split"] == split], **options)
        for split, name in names.items()
    }
    DatasetDict(parts).save_to_disk(str(folder))
    return folder
