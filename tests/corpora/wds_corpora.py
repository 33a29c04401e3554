# SPDX-License-Identifier: Apache-2.0
"""Small WebDataset shards, written by the webdataset library."""

from pathlib import Path
from typing import Any


def write_shard(path: Path, samples: list[dict[str, Any]]) -> Path:
    """Write samples as `webdataset.TarWriter` does: `{"__key__": "a", "wav": b"...", ...}`."""
    from webdataset import TarWriter

    path.parent.mkdir(parents=True, exist_ok=True)
    with TarWriter(str(path), mtime=0.0) as writer:
        for sample in samples:
            writer.write(sample)
    return path


def sample_of(row: dict[str, str], **further: Any) -> dict[str, Any]:
    """A sample of a manifest's row: audio, class, and an object with the rest."""
    return {
        "__key__": row["id"],
        "wav": Path(row["path"]).read_bytes(),
        "cls": row["label"],
        "json": {"speaker": row["speaker"], "split": row["split"], "fold": int(row["fold"])},
        **further,
    }


def shard_corpus(rows: list[dict[str, str]], folder: Path, *, shard_clips: int = 7) -> str:
    """Write a manifest's rows as shards of a few clips each; what `--data` names them by."""
    parts = [rows[first : first + shard_clips] for first in range(0, len(rows), shard_clips)]
    for number, part in enumerate(parts):
        write_shard(folder / f"clips-{number:03}.tar", [sample_of(row) for row in part])
    return f"wds:{folder}/clips-{{000..{len(parts) - 1:03}}}.tar"
