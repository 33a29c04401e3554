# SPDX-License-Identifier: Apache-2.0
"""A saved model's folder, uploaded to the Hugging Face hub."""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

# What an older upload may have left in the repository and a newer one may not have.
_OURS = ["backbone/*", "codebook.safetensors", "preprocessor_config.json"]


class UploadError(ValueError):
    """The hub refused an upload, or could not be reached; the message says what to do."""


def push_folder(
    save: Callable[[str], None],
    repo_id: str,
    *,
    private: bool,
    token: str | None,
    revision: str | None = None,
    commit_message: str | None = None,
) -> str:
    """Save into a temporary folder and upload that.

    Args:
        save: Writes the files into the folder it is given.
        repo_id: ``OWNER/NAME`` on the hub; made if it is not there.
        private: Whether a repository that is made is private; one that is there stays as it is.
        token: Access token; None takes the one of ``hf auth login`` or ``HF_TOKEN``.
        revision: Branch to upload to, made if it is not there; None is the main one.
        commit_message: What the commit says; None leaves it to the hub's library.

    Returns:
        The commit's address.

    Raises:
        UploadError: The hub cannot be reached, or refuses.
    """
    with tempfile.TemporaryDirectory() as folder:
        save(folder)
        return upload(
            folder,
            repo_id,
            private=private,
            token=token,
            revision=revision,
            commit_message=commit_message,
        )


def upload(
    folder: str | os.PathLike[str],
    repo_id: str,
    *,
    private: bool,
    token: str | None = None,
    revision: str | None = None,
    commit_message: str | None = None,
) -> str:
    """Upload a folder as it is; for the arguments see `push_folder`.

    What an earlier upload left of ours and this one does not have (a bundled backbone, say) is
    deleted from the repository in the same commit; all other files there stay.
    """
    from huggingface_hub import HfApi

    try:
        api = HfApi(token=token)
        api.create_repo(repo_id, private=private, exist_ok=True)
        if revision is not None:
            api.create_branch(repo_id, branch=revision, exist_ok=True)
        commit = api.upload_folder(
            repo_id=repo_id,
            folder_path=Path(folder),
            revision=revision,
            commit_message=commit_message,
            delete_patterns=_OURS,
        )
    # A bad name, a missing token, a refusal, no network: the errors have no base in common.
    except Exception as error:
        reason = str(error).strip().partition("\n")[0].rstrip(".")
        raise UploadError(
            f"{repo_id}: cannot be uploaded ({type(error).__name__}: {reason}). Log in by "
            "`hf auth login` (or set HF_TOKEN) with a token that may write to this OWNER/NAME, and "
            "check the network."
        ) from error
    return str(commit.commit_url)
