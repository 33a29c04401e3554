# SPDX-License-Identifier: Apache-2.0
"""The ``--out`` folder of a run: claimed once, continued only by the same run."""

import dataclasses
import json
import platform
import typing
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, TypeVar

from voxadapt.adapters.written_aside import UNFINISHED, remove_leftovers, write_aside
from voxadapt.recipes.running.command_line import UsageError
from voxadapt.recipes.running.folder_lock import LOCK_FILE, FolderInUseError, hold
from voxadapt.recipes.running.options import ONLINE

Options = TypeVar("Options")

RUN_FILE = "run.json"
# Where the run writes, whether it continues, and what goes side by side do not change the result.
NOT_COMPARED = (
    "out",
    "resume",
    "features",
    "max_steps",
    "max_epochs",
    "jobs",
    "report_clips",
    "report_map",
)
# A run that ended before it kept anything leaves no more than these and empty folders: nothing to
# lose, and nothing that a new start would remove.
NOTHING_YET = (
    RUN_FILE,
    LOCK_FILE,
    "bad_audio.jsonl",
    "cross-*.bad_audio.jsonl",
    "audio_check.json",
    "fold-*/seed-*/log.txt",
)


def check_out(out: str | Path, command: str, config: dict[str, Any], *, resume: bool) -> Path:
    """Check that a run may write into ``out``; writes nothing.

    Args:
        out: The folder.
        command: The recipe's name.
        config: The resolved options, JSON-able.
        resume: Whether the user asked to continue the run there.

    Returns:
        The folder as a path.

    Raises:
        UsageError: The folder holds something else, or another run, or the same without
            ``--resume``.
    """
    out = Path(out)
    if out.exists() and not out.is_dir():
        raise UsageError(f"--out {out}: is a file; give a folder")
    names = {path.name for path in out.iterdir()} if out.exists() else set()
    names = {name for name in names if not name.endswith(UNFINISHED) and name != LOCK_FILE}
    found = read_record(out)
    if found is None:
        if names:
            raise UsageError(
                f"--out {out}: is not empty and holds no run of voxadapt; nothing was written. "
                "Give another folder"
            )
        return out
    if not resume and not has_results(out):
        return out
    if not resume:
        raise UsageError(
            f"--out {out}: already holds a run of {found['command']}; nothing was overwritten. Add "
            "--resume to go on with it, give another --out, or remove the folder"
        )
    if found["command"] != command:
        raise UsageError(
            f"--out {out}: --resume found a run of {found['command']} there, not of {command}. "
            "Give the run's own folder"
        )
    differences = compare_configs(found["config"], config)
    if differences:
        raise UsageError(
            f"--out {out}: --resume found a run with other options: {'; '.join(differences)}. "
            "Resume with the options it was started with, or give another --out"
        )
    return out


def has_results(out: Path) -> bool:
    """Whether a run's folder holds anything but what `NOTHING_YET` names and empty folders."""
    for path in out.rglob("*"):
        place = path.relative_to(out)
        if any(part.endswith(UNFINISHED) for part in place.parts):
            continue
        if path.is_dir() and not path.is_symlink():
            continue
        # `match` compares from the right: by itself a pattern would fit at any depth.
        if not any(
            place.match(pattern) and len(place.parts) == len(Path(pattern).parts)
            for pattern in NOTHING_YET
        ):
            return True
    return False


def read_record(out: Path) -> dict[str, Any] | None:
    """What `claim_out` wrote, or None where it wrote nothing."""
    try:
        record = json.loads((out / RUN_FILE).read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None
    ours = isinstance(record, dict) and isinstance(record.get("config"), dict)
    return record if ours and "command" in record else None


def read_options(options_class: type[Options], config: dict[str, Any]) -> Options:
    """Turn the options that `claim_out` wrote down into what they were.

    Args:
        options_class: The recipe's options, a dataclass.
        config: What stands in the record.
    """
    hints = typing.get_type_hints(options_class)
    values = {
        name: read_options(hints[name], value) if dataclasses.is_dataclass(hints[name]) else value
        for name, value in config.items()
    }
    return options_class(**values)


def compare_configs(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """List the options in which two runs differ, as ``name was X, is Y``."""
    before, now = flatten(before), flatten(now)
    # Where the cache lies does not matter, but whether there is one does.
    frames = {before.get("features"), now.get("features")}
    ignored = set(NOT_COMPARED) - ({"features"} if ONLINE in frames else set())
    return [
        f"{name} was {before.get(name)!r}, is {now.get(name)!r}"
        for name in sorted(before.keys() | now.keys())
        if name not in ignored and before.get(name) != now.get(name)
    ]


def flatten(config: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """``{"a": {"b": 1}}`` to ``{"a.b": 1}``."""
    flat: dict[str, Any] = {}
    for name, value in config.items():
        if isinstance(value, dict):
            flat.update(flatten(value, f"{prefix}{name}."))
        else:
            flat[prefix + name] = value
    return flat


def claim_out(out: Path, command: str, config: dict[str, Any], **settled: Any) -> None:
    """Make the folder, hold it, and write down whose it is; on the main process, after `check_out`.

    `folder_lock.leaving` lets go of it.

    Args:
        out: The folder.
        command: The recipe's name.
        config: The resolved options, JSON-able.
        **settled: What the options left open and the run settled on; a resumed run keeps to it.

    Raises:
        UsageError: The folder cannot be made or written, or another process writes there.
    """
    record = {"command": command, "config": config, **settled, "versions": versions()}
    try:
        out.mkdir(parents=True, exist_ok=True)
        hold(out)
        remove_leftovers(out)
        write_json(out / RUN_FILE, record)
    except FolderInUseError as error:
        raise UsageError(
            f"--out {out}: a run is at work there ({error}); nothing was written. Let it finish or "
            "stop it, or give another --out"
        ) from None
    except OSError as error:
        raise UsageError(
            f"--out {out}: cannot be written ({error}). Make room, or give another folder"
        ) from None


def make_folder(folder: Path, named: str) -> None:
    """Make a folder that results go to, before hours are spent on them.

    Args:
        folder: The folder; it may be there.
        named: The option with its value, for the message.

    Raises:
        UsageError: It cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(
            f"{named}: the folder {folder} cannot be made ({error}); name another"
        ) from None


def write_json(path: Path, value: Any) -> None:
    """Write JSON aside and rename it, so that a reader never sees half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(value, indent=2, ensure_ascii=False) + "\n"
    # Bytes of a file's name that is no UTF-8 become JSON's own way to write them.
    encoded = text.encode("utf-8", "backslashreplace")
    write_aside(path, encoded)


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that can change a result."""
    found = {"python": platform.python_version()}
    for package in ("voxadapt", "torch", "torchaudio", "transformers", "numpy", "scikit-learn"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found
