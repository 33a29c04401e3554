# SPDX-License-Identifier: Apache-2.0
"""A model as a folder: ``config.json`` and ``model.safetensors``, read strictly."""

import json
import os
import tempfile
from collections.abc import Callable, Collection
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

from torch import Tensor, nn

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"
FORMAT_VERSION = 1

Extras = dict[str, Any]
Config = TypeVar("Config")


class AdapterFolderError(ValueError):
    """A saved model cannot be loaded: the message names the folder, the fault and the way out."""


@dataclass(frozen=True)
class SavedTensors:
    """Tensors of a saved model, by name, and where they came from."""

    tensors: dict[str, Tensor]
    source: str

    def into(self, module: nn.Module, elsewhere: Collection[str] = ()) -> None:
        """Copy the tensors into ``module``, which must have exactly these names and shapes.

        Args:
            module: The module.
            elsewhere: Names of its tensors that come from elsewhere and must not be here.

        Raises:
            AdapterFolderError: A tensor is missing, left over or of another shape.
        """
        own = module.state_dict()
        expected = {n: tuple(value.shape) for n, value in own.items() if n not in elsewhere}
        found = {name: tuple(value.shape) for name, value in self.tensors.items()}
        if expected != found:
            faults = [f"missing {name}" for name in sorted(expected.keys() - found.keys())]
            faults += [f"unexpected {name}" for name in sorted(found.keys() - expected.keys())]
            faults += [
                f"{name} is {list(found[name])} instead of {list(expected[name])}"
                for name in sorted(expected.keys() & found.keys())
                if expected[name] != found[name]
            ]
            more = f" and {len(faults) - 5} more" if len(faults) > 5 else ""
            raise AdapterFolderError(
                f"{self.source}: its tensors do not fit its {CONFIG_FILE}: "
                f"{'; '.join(faults[:5])}{more}. Save the model again, or fetch it again."
            )
        # Not strict for those from elsewhere only: all others have just been compared.
        module.load_state_dict(self.tensors, strict=not elsewhere)


def save_folder(
    folder: str | os.PathLike[str], tensors: dict[str, Tensor], config: dict[str, Any]
) -> None:
    """Write tensors and config; each file is written aside and renamed, so none is ever torn.

    Args:
        folder: Where; made if it is not there.
        tensors: The state dict.
        config: JSON-able; must have ``"class"``.

    Raises:
        TypeError: The config is not JSON-able; nothing has been written.
    """
    from safetensors.torch import save

    text = json.dumps({"format_version": FORMAT_VERSION, **config}, indent=2, ensure_ascii=False)
    contiguous = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    # Not by safetensors' save_file, which makes a file that only its owner can read.
    write_aside(folder / WEIGHTS_FILE, save(contiguous, metadata={"format": "pt"}))
    write_aside(folder / CONFIG_FILE, f"{text}\n".encode())


def write_aside(path: Path, content: bytes) -> None:
    """Write a file under another name and rename it."""
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    aside.write_bytes(content)
    os.replace(aside, path)


def load_folder(
    name_or_path: str | os.PathLike[str],
    class_name: str,
    *,
    revision: str | None = None,
    token: str | None = None,
) -> tuple[dict[str, Any], SavedTensors]:
    """Read a folder, or a repository of the Hugging Face hub, that `save_folder` wrote.

    Args:
        name_or_path: A folder or a hub id.
        class_name: The class that the folder must say it holds.
        revision: Branch, tag or commit on the hub.
        token: Access token for a private repository.

    Returns:
        The config and the tensors.

    Raises:
        AdapterFolderError: Not there, damaged, of another class or of a newer format.
    """
    folder = find_folder(name_or_path, revision=revision, token=token)
    config_path = folder / CONFIG_FILE
    try:
        config = json.loads(config_path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise AdapterFolderError(
            f"{folder}: there is no {CONFIG_FILE} in it, so it holds no saved {class_name}. "
            "Point at the folder that save_pretrained (or a recipe) wrote."
        ) from None
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise AdapterFolderError(
            f"{config_path}: not valid JSON ({error}). Save it again."
        ) from None
    found = config.get("class") if isinstance(config, dict) else None
    if found != class_name:
        raise AdapterFolderError(
            f"{config_path}: 'class' is {found!r}, expected {class_name!r}: this folder holds "
            "another kind of model."
        )
    if config.get("format_version") != FORMAT_VERSION:
        raise AdapterFolderError(
            f"{config_path}: 'format_version' is {config.get('format_version')!r}, this version "
            f"reads {FORMAT_VERSION}. Upgrade voxadapt, or save the model with this version."
        )
    return config, SavedTensors(read_tensors(folder / WEIGHTS_FILE), str(folder))


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read a safetensors file.

    Raises:
        AdapterFolderError: It is not there or damaged.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except FileNotFoundError:
        raise AdapterFolderError(f"{path}: not there; the folder is incomplete.") from None
    except (SafetensorError, OSError) as error:
        raise AdapterFolderError(
            f"{path}: cannot be read as safetensors ({error}); it is truncated or damaged. "
            "Save or fetch it again."
        ) from None


def find_folder(
    name_or_path: str | os.PathLike[str], *, revision: str | None = None, token: str | None = None
) -> Path:
    """Return a local folder as it is, or the local copy of a hub repository.

    Raises:
        AdapterFolderError: Neither a folder nor a repository that can be reached.
    """
    if os.path.isdir(name_or_path):
        return Path(name_or_path)
    name = os.fspath(name_or_path)
    if os.path.exists(name):
        raise AdapterFolderError(f"{name}: is a file; point at the folder that it stands in.")
    if name.count("/") > 1 or name.startswith((".", "/", "~")):
        raise AdapterFolderError(f"{name}: there is no such folder.")
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(name, revision=revision, token=token))
    except Exception as error:
        reason = str(error).partition("\n")[0]
        raise AdapterFolderError(
            f"{name}: there is no such folder, and it cannot be had as a Hugging Face hub id "
            f"({type(error).__name__}: {reason}). Check the spelling; "
            "without a network, point at a local folder."
        ) from error


def push_folder(
    save: Callable[[str], None], repo_id: str, *, private: bool, token: str | None
) -> str:
    """Save into a temporary folder, upload that to the hub, return the commit's address."""
    from huggingface_hub import HfApi

    api = HfApi(token=token)
    api.create_repo(repo_id, private=private, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        save(folder)
        return str(api.upload_folder(repo_id=repo_id, folder_path=folder).commit_url)


def build_config(
    config_class: Callable[..., Config], values: Any, source: str = CONFIG_FILE
) -> Config:
    """Build a config dataclass from JSON values; an unknown field is an error that lists them.

    Args:
        config_class: The dataclass.
        values: What stood in the JSON; a dict where all is well.
        source: The folder or file that it came from, for the message.

    Raises:
        AdapterFolderError: Not a dict, a field that the class does not have, one that it needs and
            that is missing, or a value that it refuses.
    """
    if not isinstance(values, dict):
        raise AdapterFolderError(
            f"{source}: the model's 'config' is {values!r} instead of its fields; the file is "
            "damaged. Save the model again, or fetch it again."
        )
    known = {field.name for field in fields(config_class)}  # type: ignore[arg-type]
    unknown = sorted(values.keys() - known)
    if unknown:
        raise AdapterFolderError(
            f"{source}: unknown fields {unknown}; allowed: {sorted(known)}. The model may "
            "come from a newer version."
        )
    try:
        return config_class(**values)
    except (TypeError, ValueError) as error:
        raise AdapterFolderError(
            f"{source}: a value of its 'config' does not fit ({error}). Save the model again, or "
            "fetch it again."
        ) from None
