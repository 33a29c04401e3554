# SPDX-License-Identifier: Apache-2.0
"""Upload a finished run to the Hugging Face hub, with its model card.

    python recipes/push.py runs/finetune OWNER/NAME --dry-run

Without ``--dry-run`` the model is uploaded; log in before by ``hf auth login``, or set HF_TOKEN.
"""

import logging
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from voxadapt.adapters.uploading import UploadError, upload
from voxadapt.model_card import CARD_FILE
from voxadapt.recipes.pushing.prepare_upload import find_saved, prepare_adapter, prepare_classifier
from voxadapt.recipes.running.command_line import UsageError, leave, parse, run_command

logger = logging.getLogger(__name__)


@dataclass
class PushOptions:
    """Upload a finished run to the Hugging Face hub, with its model card.

    The model is loaded first, strictly, so that nothing damaged is uploaded. Paths of this machine
    are left out of what is uploaded.

    Args:
        run: The folder that `finetune` or `pretrain_adapter` wrote, or the model's folder in it.
        repo: Where to: OWNER/NAME. A repository that is not there is made.
        private: A repository that is made can be seen by its owner only; `--no-private` makes it
            public. One that is there stays as it is.
        bundle_backbone: Upload the encoder's checkpoint too; needed where the encoder is a folder
            on this machine. Otherwise the model refers to it by its hub id and revision.
        dry_run: Upload nothing; list what would be, and print the model card.
        licence: Licence to state in the model card; left out, the one that the model was saved
            with, or `unknown`.
        revision: Branch to upload to, made if it is not there; left out, the main one.
        message: What the commit says.
    """

    run: str
    repo: str
    private: bool = True
    bundle_backbone: bool = False
    dry_run: bool = False
    licence: str | None = None
    revision: str | None = None
    message: str | None = None


def main(argv: Sequence[str] | None = None) -> str | None:
    """Run the recipe and return the commit's address; None after a dry run."""
    options = parse(PushOptions, argv, prog="push.py", positionals=("run", "repo"), page=__doc__)
    check_repo(options.repo)
    saved = find_saved(options.run)
    try:
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place)
            if saved.is_adapter:
                if options.bundle_backbone:
                    raise UsageError(
                        "--bundle-backbone: goes with a classifier; an adapter stands on frames, "
                        "and says in its config.json of which encoder"
                    )
                prepare_adapter(saved, folder, options.repo, licence=options.licence)
            else:
                prepare_classifier(
                    saved,
                    folder,
                    options.repo,
                    bundle=options.bundle_backbone,
                    licence=options.licence,
                )
            show_files(folder)
            if options.dry_run:
                print((folder / CARD_FILE).read_text(encoding="utf-8"))
                logger.info("dry run: nothing was uploaded to %s", options.repo)
                return None
            address = upload(
                folder,
                options.repo,
                private=options.private,
                revision=options.revision,
                commit_message=options.message or f"Upload {saved.title} with voxadapt",
            )
    except UploadError as error:
        raise UsageError(str(error)) from error
    logger.info("uploaded: %s", address)
    return address


def check_repo(repo: str) -> None:
    """Refuse what is no name on the hub before anything is loaded.

    Raises:
        UsageError: Saying what a name looks like.
    """
    from huggingface_hub.utils import HFValidationError, validate_repo_id

    try:
        validate_repo_id(repo)
    except HFValidationError as error:
        reason = str(error).partition("\n")[0].rstrip(".")
        raise UsageError(f"repo: found {repo!r}, give OWNER/NAME ({reason})") from None
    if "/" not in repo:
        raise UsageError(f"repo: found {repo!r}, give OWNER/NAME, such as your-name/{repo}")


def show_files(folder: Path) -> None:
    """Log the files and their sizes."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    for path in files:
        size = path.stat().st_size
        logger.info("%12s  %s", f"{size:,}", path.relative_to(folder).as_posix())
    total = sum(path.stat().st_size for path in files)
    logger.info("%12s  bytes in %d files", f"{total:,}", len(files))


if __name__ == "__main__":
    leave(run_command(main))
