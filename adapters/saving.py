# SPDX-License-Identifier: Apache-2.0
"""A model as a folder: ``config.json`` and ``model.safetensors``, read strictly."""

import json
import os
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

from torch import Tensor, nn

from .digests import CONFIG, DIGESTS, config_digest, digest, find_change
from .written_aside import remove_leftovers, write_aside

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"
FORMAT_VERSION = 1

Extras = dict[str, Any]
Config = TypeVar("Config")


class AdapterFolderError(ValueError):
    """A saved model cannot be loaded: the message names the folder, the fault and the way out."""


@dataclass(frozen=True)
class SavedTensors:
    """Tensors of a saved model, by name, and where they came from.

    Attributes:
        tensors: The tensors.
        source: The folder.
        change: Which file of it is not what was saved, as an error message; empty if none.
    """

    tensors: dict[str, Tensor]
    source: str
    change: str = ""

    @property
    def config_file(self) -> str:
        """The config that stands beside them."""
        return str(Path(self.source) / CONFIG_FILE)

    def into(self, module: nn.Module, elsewhere: Collection[str] = ()) -> None:
        """Copy the tensors into ``module``, which must have exactly these names and shapes.

        Args:
            module: The module.
            elsewhere: Names of its tensors that come from elsewhere and must not be here.

        Raises:
            AdapterFolderError: A tensor is missing, left over or of another shape; or a file of the
                folder is not what was saved.
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
                f"{Path(self.source) / WEIGHTS_FILE}: its tensors do not fit its {CONFIG_FILE}: "
                f"{'; '.join(faults[:5])}{more}. "
                f"{self.change or 'Save the model again, or fetch it again.'}"
            )
        # Last, because a message that names what does not fit says more.
        if self.change:
            raise AdapterFolderError(self.change)
        # Not strict for those from elsewhere only: all others have just been compared.
        module.load_state_dict(self.tensors, strict=not elsewhere)


def save_folder(
    folder: str | os.PathLike[str], tensors: dict[str, Tensor], config: dict[str, Any]
) -> None:
    """Write tensors and config; each file is written aside and renamed, so none is ever torn.

    The config gets digests of the weights and of its own fields but ``extras``, by which
    `load_folder` sees what was changed later.

    Args:
        folder: Where; made if it is not there.
        tensors: The state dict.
        config: JSON-able; must have ``"class"``.

    Raises:
        TypeError: The config is not JSON-able; nothing has been written.
    """
    from safetensors.torch import save

    config = {"format_version": FORMAT_VERSION, **config}
    contiguous = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    # Not by safetensors' save_file, which makes a file that only its owner can read.
    weights = save(contiguous, metadata={"format": "pt"})
    config[DIGESTS] = {CONFIG: config_digest(config), WEIGHTS_FILE: digest(weights)}
    text = _config_text(config)
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    remove_leftovers(folder)
    write_aside(folder / WEIGHTS_FILE, weights)
    write_aside(folder / CONFIG_FILE, text)


def add_file(folder: Path, name: str, content: bytes) -> None:
    """Write a further file into a folder that `save_folder` wrote, of which it is part then."""
    config = json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))
    config[DIGESTS][name] = digest(content)
    write_aside(folder / name, content)
    write_aside(folder / CONFIG_FILE, _config_text(config))


def update_extras(folder: Path, extras: Mapping[str, Any]) -> dict[str, Any]:
    """Put more into the ``extras`` of a folder that `save_folder` wrote, and return its config."""
    config: dict[str, Any] = json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))
    config["extras"] = {**config.get("extras", {}), **extras}
    write_aside(folder / CONFIG_FILE, _config_text(config))
    return config


def _config_text(config: Mapping[str, Any]) -> bytes:
    return f"{json.dumps(config, indent=2, ensure_ascii=False)}\n".encode()


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
    if not isinstance(config.get("extras", {}), dict):
        raise AdapterFolderError(
            f"{config_path}: 'extras' is {config['extras']!r} instead of notes by name. Save the "
            "model again, or fetch it again."
        )
    tensors = read_tensors(folder / WEIGHTS_FILE)
    return config, SavedTensors(tensors, str(folder), find_change(folder, config))


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
    name_or_path: str | os.PathLike[str],
    *,
    revision: str | None = None,
    token: str | None = None,
    **download: Any,
) -> Path:
    """Return a local folder as it is, or the local copy of a hub repository.

    Args:
        name_or_path: A folder or a hub id.
        revision: Branch, tag or commit on the hub.
        token: Access token for a private repository.
        **download: Further options of `huggingface_hub.snapshot_download`.

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
        return Path(snapshot_download(name, revision=revision, token=token, **download))
    except Exception as error:
        reason = str(error).partition("\n")[0]
        raise AdapterFolderError(
            f"{name}: there is no such folder, and it cannot be had as a Hugging Face hub id "
            f"({type(error).__name__}: {reason}). Check the spelling; "
            "without a network, point at a local folder."
        ) from error


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
