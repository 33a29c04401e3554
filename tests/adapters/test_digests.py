# SPDX-License-Identifier: Apache-2.0
"""Digests of a saved model's files."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from voxadapt.adapters.digests import DIGESTS, config_digest, digest, find_change


@pytest.fixture
def saved(tmp_path: Path) -> dict[str, Any]:
    content = bytes(3_000_000)  # more than is read at once
    (tmp_path / "weights").write_bytes(content)
    config = {"class": "Thing", "size": 3, "extras": {"note": 1}}
    digests = {"config.json": config_digest(config), "weights": digest(content)}
    config = {**config, DIGESTS: digests}
    (tmp_path / "config.json").write_text(json.dumps(config))
    return config


def test_it_is_sha_256(tmp_path: Path) -> None:
    assert digest(b"abc") == hashlib.sha256(b"abc").hexdigest()


def test_what_was_not_changed(saved: dict[str, Any], tmp_path: Path) -> None:
    assert find_change(tmp_path, saved) == ""
    # Neither the order of the fields nor what JSON makes of them counts, nor do notes.
    again = json.loads(json.dumps(dict(reversed(saved.items()))))
    assert find_change(tmp_path, {**again, "extras": {}}) == ""
    assert config_digest({"sizes": (1, 2)}) == config_digest({"sizes": [1, 2]})
    assert find_change(tmp_path, {"class": "Thing"}) == ""  # of an older version


def test_what_was_changed(saved: dict[str, Any], tmp_path: Path) -> None:
    assert "config.json: was changed" in find_change(tmp_path, {**saved, "size": 4})
    assert "config.json: was changed" in find_change(tmp_path, {**saved, "more": None})
    content = bytearray((tmp_path / "weights").read_bytes())
    content[-1] = 1
    (tmp_path / "weights").write_bytes(content)
    assert "weights: was changed" in find_change(tmp_path, saved)
    (tmp_path / "weights").unlink()
    assert "weights: not there" in find_change(tmp_path, saved)
    assert "'sha256' is [1]" in find_change(tmp_path, {**saved, DIGESTS: [1]})
