# SPDX-License-Identifier: Apache-2.0
"""Strict, offline-friendly loading of Hugging Face checkpoints from a hub id or a local folder.

Nothing here runs code from a checkpoint: transformers' own classes only, and safetensors, or `.bin`
through torch's weights-only unpickler.
"""

from __future__ import annotations

import json
import os
import pickle
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import torch

from .base import BackboneError

_Result = TypeVar("_Result")
_KEYS_SHOWN = 5


def read_model_type(name: str, revision: str | None = None) -> str:
    """Read the family of a checkpoint, such as `hubert`, from its `config.json`.

    Args:
        name: Hub id, or a local folder.
        revision: Branch, tag or commit on the hub.

    Returns:
        Its `model_type`; empty where the file does not tell it.

    Raises:
        BackboneError: There is no such checkpoint, or its config cannot be read.
    """
    from transformers import PretrainedConfig

    if Path(name).is_dir() and not (Path(name) / "config.json").is_file():
        # transformers takes that for an empty one.
        raise _cannot_load(name, "it has no config.json")
    config, _ = _explained(name, lambda: PretrainedConfig.get_config_dict(name, revision=revision))
    return str(config.get("model_type", ""))


def read_preprocessor(name: str, revision: str | None = None) -> dict[str, Any]:
    """Read `preprocessor_config.json`, which says how waveforms are prepared.

    Args:
        name: Hub id, or a local folder.
        revision: Branch, tag or commit on the hub.

    Returns:
        Its content; empty where the file is missing.

    Raises:
        BackboneError: The file is there but cannot be read; its `do_normalize` is neither true nor
            false; or the model expects another rate than 16 kHz.
    """
    path = _find_file(name, "preprocessor_config.json", revision)
    if path is None:
        return {}
    content = _explained(name, lambda: json.loads(path.read_text(encoding="utf-8")))
    if not isinstance(content, dict):
        raise BackboneError(
            f"preprocessor_config.json of {name} holds a {type(content).__name__}, but an object "
            "with the feature extractor's settings is needed: fetch the file again."
        )
    normalize = content.get("do_normalize")
    if normalize is not None and not isinstance(normalize, bool):
        raise BackboneError(
            f"preprocessor_config.json of {name} has do_normalize {normalize!r}, but true or false "
            "is needed: correct the file."
        )
    rate = content.get("sampling_rate", 16_000)
    if rate != 16_000:
        raise BackboneError(
            f"preprocessor_config.json of {name} has sampling_rate {rate!r}, but audio is given to "
            "backbones at 16000 Hz: take a checkpoint for that rate."
        )
    return content


def read_licence(name: str, revision: str | None = None) -> str | None:
    """Read the licence from the model card, `README.md`; None where there is none.

    Args:
        name: Hub id, or a local folder.
        revision: Branch, tag or commit on the hub.
    """
    import yaml
    from huggingface_hub.repocard import metadata_load

    path = _find_file(name, "README.md", revision)
    if path is None:
        return None
    try:
        metadata = metadata_load(path)
    except (ValueError, OSError, yaml.YAMLError):
        return None  # a card is written by hand, and nothing hangs on it
    licence = metadata.get("license") if isinstance(metadata, dict) else None
    if licence == "other" and isinstance(metadata, dict):
        licence = metadata.get("license_name", licence)
    return None if licence is None else str(licence)


def find_commit(name: str, revision: str | None = None) -> str | None:
    """Find the hub's commit that a checkpoint is of; None for a local folder.

    Args:
        name: Hub id, or a local folder.
        revision: Branch, tag or commit on the hub.
    """
    path = _find_file(name, "config.json", revision)
    if path is None or Path(name).is_dir():
        return None
    # Where the hub's files are kept: models--owner--name/snapshots/COMMIT/config.json
    found = re.search(r"/snapshots/([0-9a-f]{40})/", path.as_posix())
    return None if found is None else found[1]


def _find_file(name: str, file: str, revision: str | None) -> Path | None:
    from transformers.utils import cached_file

    path = _explained(
        name,
        lambda: cached_file(
            name,
            file,
            revision=revision,
            _raise_exceptions_for_missing_entries=False,
            _raise_exceptions_for_connection_errors=False,
        ),
    )
    return None if path is None else Path(path)


def load_checkpoint(
    model_class: Any,
    name: str,
    revision: str | None = None,
    *,
    may_be_missing: Sequence[str] = (),
    may_be_unexpected: Sequence[str] = (),
    key_mapping: dict[str, str] | None = None,
) -> Any:
    """Load a checkpoint in float32, and refuse it unless every weight found its place.

    transformers fills what a checkpoint lacks with random numbers and a warning.

    Args:
        model_class: A class of transformers with `from_pretrained`.
        name: Hub id, or a local folder.
        revision: Branch, tag or commit on the hub.
        may_be_missing: Regular expressions, matched from a key's beginning, of weights that the
            model has but does not need.
        may_be_unexpected: The same of weights that the checkpoint has for other purposes.
        key_mapping: Regular expressions to replacements, to rename the checkpoint's keys.

    Returns:
        The model, on the CPU.

    Raises:
        BackboneError: No such checkpoint, unreadable weights, or weights that do not fit the model.
    """
    with _quiet_transformers():
        model, info = _explained(
            name,
            lambda: model_class.from_pretrained(
                name,
                revision=revision,
                # The default takes the type the checkpoint was saved in, which may be float16.
                dtype=torch.float32,
                trust_remote_code=False,
                weights_only=True,
                output_loading_info=True,
                # Reported below, where the message can name them.
                ignore_mismatched_sizes=True,
                key_mapping=key_mapping,
            ),
        )
    problems = [
        *_unplaced("lacks", info["missing_keys"], may_be_missing),
        *_unplaced("has, beyond the model's,", info["unexpected_keys"], may_be_unexpected),
        *_unplaced("has in another shape", [key[0] for key in info["mismatched_keys"]], ()),
    ]
    if problems:
        raise BackboneError(
            f"The weights of {name} do not fit {model_class.__name__}: the checkpoint "
            f"{'; it '.join(problems)}. Give a complete checkpoint of this family, or save it "
            "again with save_pretrained."
        )
    return model


def _unplaced(what: str, keys: Sequence[str], allowed: Sequence[str]) -> list[str]:
    left = sorted(key for key in keys if not any(re.match(rule, key) for rule in allowed))
    if not left:
        return []
    more = f" and {len(left) - _KEYS_SHOWN} more" if len(left) > _KEYS_SHOWN else ""
    return [f"{what} {len(left)} weights ({', '.join(left[:_KEYS_SHOWN])}{more})"]


def _explained(name: str, load: Callable[[], _Result]) -> _Result:
    """Run `load`, and turn what goes wrong into one message that says what to do."""
    import safetensors

    if os.path.isfile(name):
        # transformers would ask the hub for it, again and again.
        raise BackboneError(_is_file(name))
    try:
        return load()
    except (
        OSError,
        ValueError,
        RuntimeError,
        EOFError,
        pickle.UnpicklingError,
        safetensors.SafetensorError,
    ) as error:
        first_line = str(error).strip().split("\n")[0].rstrip(".")
        raise _cannot_load(name, first_line) from error


def _is_file(name: str) -> str:
    message = f"{name} is a file, but a hub id or a folder is needed: "
    folder = Path(name).parent
    if (folder / "config.json").is_file():
        return f"{message}give its folder, {folder}."
    return (
        f"{message}give a folder with config.json and model.safetensors (or pytorch_model.bin), as "
        "save_pretrained or `hf download` writes them."
    )


def _cannot_load(name: str, why: str) -> BackboneError:
    if Path(name).is_dir():
        advice = (
            "A folder needs config.json and model.safetensors (or pytorch_model.bin), as "
            "save_pretrained or `hf download` writes them"
        )
    else:
        advice = (
            "It is no folder on this machine, so it was looked up as a hub id. Without network "
            f"fetch it elsewhere (`hf download {name} --local-dir FOLDER`) and give FOLDER "
            "instead, or use the fbank backbone, which needs no download"
        )
    return BackboneError(f"{name} cannot be loaded: {why}. {advice}.")


@contextmanager
def _quiet_transformers() -> Iterator[None]:
    """Hold back transformers' report on keys, which alarms over heads that nobody needs.

    The keys are checked here instead, and a key that matters is an error.
    """
    from transformers.utils import logging

    verbosity, bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bar:
            logging.enable_progress_bar()
