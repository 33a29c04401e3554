# SPDX-License-Identifier: Apache-2.0
"""Uploads, to a hub that writes down what it is asked."""

import os
from collections.abc import Callable
from typing import Any

import huggingface_hub
import pytest

from voxadapt.adapters.uploading import UploadError


class RecordedHub:
    """In the place of ``HfApi``: keeps each call, and the files of each upload."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []

    def __call__(self, token: str | None) -> "RecordedHub":
        self.calls.append(("token", token))
        return self

    def create_repo(self, repo_id: str, **options: Any) -> None:
        self.calls.append(("create_repo", repo_id, options))

    def create_branch(self, repo_id: str, **options: Any) -> None:
        self.calls.append(("create_branch", repo_id, options))

    def upload_folder(self, *, folder_path: str, **options: Any) -> Any:
        self.calls.append(("upload_folder", sorted(os.listdir(folder_path)), options))

        class Commit:
            commit_url = "https://hub/commit"

        return Commit()


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> RecordedHub:
    recorded = RecordedHub()
    monkeypatch.setattr(huggingface_hub, "HfApi", recorded)
    return recorded


OURS = ["backbone/*", "codebook.safetensors", "preprocessor_config.json"]


def test_what_the_hub_is_asked(make_adapter: Callable, hub: RecordedHub) -> None:
    assert make_adapter().push_to_hub("somebody/adapter", token="secret") == "https://hub/commit"
    to_main = {"revision": None, "commit_message": None}
    assert hub.calls == [
        ("token", "secret"),
        ("create_repo", "somebody/adapter", {"private": True, "exist_ok": True}),
        (
            "upload_folder",
            ["config.json", "model.safetensors"],
            {"repo_id": "somebody/adapter", "delete_patterns": OURS, **to_main},
        ),
    ]


def test_a_branch_is_made_first(make_adapter: Callable, hub: RecordedHub) -> None:
    options = {"revision": "v1", "commit_message": "First"}
    make_adapter().push_to_hub("somebody/adapter", private=False, **options)
    assert [call[0] for call in hub.calls] == [
        "token",
        "create_repo",
        "create_branch",
        "upload_folder",
    ]
    assert hub.calls[1][2]["private"] is False
    assert hub.calls[2][2] == {"branch": "v1", "exist_ok": True}
    assert options.items() <= hub.calls[3][2].items()


@pytest.mark.parametrize("step", ["create_repo", "create_branch", "upload_folder"])
def test_a_refusal_is_one_message(
    step: str, make_adapter: Callable, hub: RecordedHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: Any, **options: Any) -> None:
        raise ConnectionError("403 Forbidden: no write access.\nRequest ID: 1")

    monkeypatch.setattr(hub, step, refuse)
    with pytest.raises(UploadError) as caught:
        make_adapter().push_to_hub("somebody/adapter", revision="v1")
    message = str(caught.value)
    assert message.startswith(
        "somebody/adapter: cannot be uploaded (ConnectionError: 403 Forbidden"
    )
    assert "no write access). Log in by `hf auth login`" in message
    assert "\n" not in message


def test_what_huggingface_hub_itself_refuses(
    make_adapter: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the real client, which sees a bad name, and that it is offline, before it asks."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    for name in ("a/b/c", "somebody/adapter"):
        with pytest.raises(UploadError, match=f"^{name}: cannot be uploaded"):
            make_adapter().push_to_hub(name, token="hf_none")
