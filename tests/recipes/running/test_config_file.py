# SPDX-License-Identifier: Apache-2.0
"""The shape of a YAML file is checked before its values are."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from voxadapt.recipes.running.config_file import check_options, read_yaml


@dataclasses.dataclass
class Inner:
    rate: float = 0.5
    limit: int | None = None


@dataclasses.dataclass
class Options:
    names: list[str] = dataclasses.field(default_factory=list)
    size: int = 4
    dry: bool = False
    inner: Inner = dataclasses.field(default_factory=Inner)


def test_what_fits_passes() -> None:
    check_options({"names": ["a"], "size": 3, "dry": True, "inner": {"limit": None}}, Options)
    check_options({"inner": {}}, Options)
    check_options({}, Options)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"sise": 3}, "there is no option 'sise'. Did you mean 'size'?"),
        ({"zzz": 3}, "there is no option 'zzz'; allowed: names, size, dry, inner"),
        ({3: 3}, "there is no option '3'"),
        ({"inner": {"rat": 3}}, "there is no option 'inner.rat'. Did you mean 'rate'?"),
        ({"inner": 3}, "inner: found 3, must be options"),
        ({"names": "a"}, "names: found 'a', must be a list"),
        ({"dry": 1}, "dry: found 1, must be true or false"),
        ({"size": None}, "size: found None, must have a value"),
        ({"inner": {"rate": None}}, "inner.rate: found None, must have a value"),
        ([1], "found [1], must be options"),
        (None, "found None, must be options"),
    ],
)
def test_what_does_not_fit_is_named(values: Any, message: str) -> None:
    with pytest.raises(ValueError) as raised:
        check_options(values, Options)
    assert str(raised.value).startswith(message)


def test_a_value_of_any_size_makes_a_short_message() -> None:
    """By anchors, ten lines of YAML hold a list of a billion."""
    value: Any = "x" * 1_000
    for _ in range(30):
        value = [value] * 10
    with pytest.raises(ValueError) as raised:
        check_options({"dry": value}, Options)
    assert len(str(raised.value)) < 3_000


def test_files_that_cannot_be_read_say_why(tmp_path: Path) -> None:
    file = tmp_path / "x.yaml"
    for content, message in (
        (None, "there is no such file"),
        (b"a: [", "is not YAML"),
        (b"\xff\xfe\x00", "cannot be read"),
        (b"!!python/object/apply:os.getcwd []", "is not YAML"),
        (b"a: !!int ''", "is not YAML"),
        (b"a: 2001-99-99", "is not YAML"),
        (b"[" * 3_000, "is not YAML"),
    ):
        if content is not None:
            file.write_bytes(content)
        with pytest.raises(ValueError, match=message):
            read_yaml(file)
    with pytest.raises(ValueError, match="cannot be read"):
        read_yaml(tmp_path)
    file.write_text("a: 1e-3")
    assert read_yaml(file) == {"a": "1e-3"}
