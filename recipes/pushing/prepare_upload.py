# SPDX-License-Identifier: Apache-2.0
"""What is uploaded of a run: its model, or its adapter, as others can use it."""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from voxadapt.adapters import BottleneckAdapter, WAPTransformer
from voxadapt.adapters.saving import CONFIG_FILE, AdapterFolderError, add_file
from voxadapt.adapters.written_aside import write_aside
from voxadapt.card_results import results_of, results_section
from voxadapt.classifier import SpeechClassifier
from voxadapt.classifier_folder import save_for_upload, without_folders
from voxadapt.model_card import CARD_FILE, PLACE, front_matter, hub_id
from voxadapt.recipes.running.command_line import UsageError
from voxadapt.recipes.scoring.run_reading import read_metrics

_ADAPTERS = {kind.__name__: kind for kind in (WAPTransformer, BottleneckAdapter)}
_CODEBOOK = "codebook.safetensors"


@dataclass(frozen=True)
class Saved:
    """A model in a run.

    Attributes:
        folder: The model's folder.
        run: The run's folder, if that was named and has results.
        kind: What ``config.json`` says it is.
    """

    folder: Path
    run: Path | None
    kind: str

    @property
    def is_adapter(self) -> bool:
        """Whether it is an adapter alone."""
        return self.kind in _ADAPTERS

    @property
    def title(self) -> str:
        """What it is, in words."""
        return "adapter" if self.is_adapter else "classifier"


def find_saved(named: str) -> Saved:
    """Find the model in a run's folder, or that is a folder itself.

    Raises:
        UsageError: There is none.
    """
    place = Path(named)
    if not place.is_dir():
        raise UsageError(f"{named}: there is no such folder; name the --out of a finished run")
    for folder in (place, place / "model", place / "adapter"):
        try:
            config = json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        kind = config.get("class") if isinstance(config, dict) else None
        if kind == SpeechClassifier.__name__ or kind in _ADAPTERS:
            scored = place if folder != place and (place / "metrics.json").exists() else None
            return Saved(folder, scored, str(kind))
    raise UsageError(
        f"{named}: holds no model; name the --out of a finished run of finetune or "
        "pretrain_adapter (an unfinished one is finished by --resume)"
    )


def prepare_classifier(
    saved: Saved, folder: Path, repo: str, *, bundle: bool, licence: str | None
) -> None:
    """Write a classifier's folder as it is uploaded; the model is loaded for it, strictly.

    Args:
        saved: Where the model is.
        folder: Where to write.
        repo: Where it will be on the hub.
        bundle: Whether the encoder goes with it.
        licence: To be stated instead of the one that it was saved with.
    """
    model = SpeechClassifier.from_pretrained(saved.folder)
    metrics = read_metrics(saved.run) if saved.run is not None else {}
    if "runs" not in metrics and metrics and "results" not in model.extras:
        model.extras = {**model.extras, "results": results_of(metrics)}
    if licence is not None:
        model.extras = {**model.extras, "licence": licence}
    save_for_upload(model, folder, repo, bundle=bundle)
    if "runs" in metrics:
        heading = f"Over all {len(metrics['runs'])} runs"
        section = results_section(results_of(metrics), heading)
        about = (
            f"This model is one of {len(metrics['runs'])}, trained on other folds or with other "
            "seeds, and the best of them on validation. All of them together:"
        )
        card = (folder / CARD_FILE).read_text(encoding="utf-8")
        heading_line, _, rest = section.partition("\n")
        text = f"{card.rstrip()}\n\n{heading_line}\n\n{about}\n{rest}\n"
        write_aside(folder / CARD_FILE, text.encode())


def prepare_adapter(saved: Saved, folder: Path, repo: str, *, licence: str | None) -> None:
    """Write an adapter's folder as it is uploaded; it is loaded for it, strictly.

    Args:
        saved: Where the adapter is.
        folder: Where to write.
        repo: Where it will be on the hub.
        licence: To be stated instead of the one that it was saved with.
    """
    adapter: Any = _ADAPTERS[saved.kind].from_pretrained(saved.folder)
    stated = licence or adapter.extras.get("licence", "unknown")
    adapter.extras = {**without_folders(adapter.extras), "licence": stated}
    adapter.save_pretrained(folder)
    codebook = saved.folder / _CODEBOOK
    if codebook.exists():
        add_file(folder, _CODEBOOK, codebook.read_bytes())
    elif _has_codebook(adapter.extras):
        raise AdapterFolderError(
            f"{codebook}: not there, but the adapter was pretrained with local attributes; the "
            "folder is incomplete. Fetch it again."
        )
    card = saved.folder / CARD_FILE
    body = "# Adapter\n"
    if card.exists():
        body = card.read_text(encoding="utf-8").partition("\n---\n")[2]
    top = front_matter(stated, hub_id(adapter.extras.get("backbone", {})), ["speech", "adapter"])
    body = re.sub(r"(?m)^- licence: .*$", f"- licence: {stated}", body.replace(PLACE, repo))
    write_aside(folder / CARD_FILE, f"{top}\n{body}".encode())


def _has_codebook(extras: dict[str, Any]) -> bool:
    objectives = (extras.get("options") or {}).get("objectives") or {}
    return bool(objectives.get("local_attributes"))
