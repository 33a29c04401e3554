# SPDX-License-Identifier: Apache-2.0
"""Whatever a YAML file or a command line holds: options that fit, or one message and code 2."""

import contextlib
import dataclasses
import io
from pathlib import Path
from typing import Any

import pytest
import yaml

from voxadapt.recipes.extract_features import ExtractOptions
from voxadapt.recipes.pretraining.options import PretrainOptions
from voxadapt.recipes.running.command_line import parse

pytest.importorskip("hypothesis")
from hypothesis import given, settings
from hypothesis import strategies as st

FEW = settings(max_examples=60, deadline=None, database=None, derandomize=True)
MANY = settings(max_examples=1_200, deadline=None, database=None)

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 10**20),
    st.floats(),
    st.text(max_size=6),
    st.sampled_from(["last", "fbank", "1e-3", "~", "null", "a.yaml", "", "-", "{", "%", "&a"]),
    st.dates(),
    st.binary(max_size=3),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=4) | st.integers(), inner, max_size=3)
    ),
    max_leaves=4,
)
# What YAML can say beside plain values: tags, anchors, merges, several documents, odd keys.
ODDITIES = st.sampled_from(
    [
        b"!!int ''",
        b"!!float x",
        b"!!bool x",
        b"!!timestamp x",
        b"!!binary x",
        b"!!set {a}",
        b"!!omap [a]",
        b"!!pairs [a: 1]",
        b"!!python/name:os.getcwd ''",
        b"!!null x",
        b"&a [*a]",
        b"&a {b: *a}",
        b"*unknown",
        b"? [a, b]\n: c",
        b"{<<: 3}",
        b"2001-99-99",
        b"2001-01-01 25:00:00",
        b"1:99:99",
        b"0x",
        b"0b2",
        b"1_",
        b"._",
        b"=",
        b"- - - -",
        b"---\n---",
        b"%YAML 9.9\n---\na: 1",
        b"\t",
        b"\0",
        b"\xef\xbb\xbfseed: 1",
        b"[" * 3_000,
        b"{a: " * 3_000,
        b"a: " + b"9" * 5_000,
        b"1" * 400 + b".0",
    ]
)


@dataclasses.dataclass
class Inner:
    """A group.

    Args:
        rate: How fast.
        steps: How often.
    """

    rate: float = 0.5
    steps: int | None = None


@dataclasses.dataclass
class Options:
    """What it does.

    Args:
        names: Which ones.
        size: How many.
        dry: Whether to do nothing.
        layer: A number or a name.
        limit: The most, if any.
        inner: The group.
    """

    names: list[str] = dataclasses.field(default_factory=list)
    size: int = 4
    dry: bool = False
    layer: int | str = "last"
    limit: float | None = None
    inner: Inner = dataclasses.field(default_factory=Inner)


CLASSES = (Options, ExtractOptions, PretrainOptions)


def names_of(options: type) -> list[str]:
    return [field.name for field in dataclasses.fields(options)]


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzzed") / "config.yaml"


@st.composite
def config_files(draw: st.DrawFn) -> tuple[type, bytes]:
    """Options of a recipe with values of any kind, and then perhaps something odd put in."""
    options = draw(st.sampled_from(CLASSES))
    names = [*names_of(options), "sise", "inner.rate", "adapter.width", "config"]
    inner = st.dictionaries(st.sampled_from(["rate", "steps", "width", "dropout"]), VALUES)
    values = draw(st.dictionaries(st.sampled_from(names), VALUES | inner, max_size=3))
    content = yaml.safe_dump(values, allow_unicode=draw(st.booleans())).encode()
    kind = draw(st.sampled_from(["as it is", "odd value", "odd", "cut"]))
    if kind == "odd value":
        name = draw(st.sampled_from(names))
        return options, name.encode() + b": " + draw(ODDITIES) + b"\n"
    if kind == "odd":
        return options, draw(st.sampled_from([b"", content])) + draw(ODDITIES)
    if kind == "cut":
        place = draw(st.integers(0, len(content)))
        inserted = draw(
            st.binary(max_size=3) | st.sampled_from([b"\t", b": ", b"- ", b"*a", b"&a "])
        )
        content = content[:place] + inserted + content[place + draw(st.integers(0, 3)) :]
    return options, content


def check(options: type, argv: list[str]) -> bool:
    """Parse; whether it was accepted. What is refused must be one message."""
    said = io.StringIO()
    code: Any = None
    try:
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
            found = parse(options, argv, prog="x.py")
    except SystemExit as stopped:
        code = stopped.code
    if code == 0:  # --help
        return True
    if code is not None:
        assert code == 2
        message = said.getvalue()
        assert message.startswith("x.py: error: ")
        assert message.count("\n") == 1
        assert len(message) < 6_000
        return False
    assert isinstance(found, options)
    for field in dataclasses.fields(options):
        value: Any = getattr(found, field.name)
        if field.type in ("bool", bool):
            assert isinstance(value, bool)
        if field.type in ("list[str]", list[str]):
            assert isinstance(value, list)
            assert all(isinstance(item, str) for item in value)
    return True


def check_file(file: Path, drawn: tuple[type, bytes]) -> None:
    options, content = drawn
    file.write_bytes(content)
    check(options, ["--config", str(file)])


ARGUMENTS = st.lists(
    st.one_of(
        st.sampled_from(["--size", "--names", "--dry", "--no-dry", "--layer", "--limit", "--"]),
        st.sampled_from(
            ["--inner.rate", "--inner", "--config", "--nam", "--size=x", "-h", "--help"]
        ),
        st.text(max_size=5),
        st.sampled_from(
            ["3", "-1", "1e999", "nan", "null", "[]", "{}", "{a: 1}", "&a [*a]", "!!int x"]
        ),
    ),
    max_size=5,
)


@FEW
@given(config_files())
def test_config_files(file: Path, drawn: tuple[type, bytes]) -> None:
    check_file(file, drawn)


@FEW
@given(st.binary(max_size=60))
def test_any_bytes(file: Path, content: bytes) -> None:
    check_file(file, (Options, content))


@FEW
@given(ARGUMENTS)
def test_command_lines(arguments: list[str]) -> None:
    check(Options, arguments)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@MANY
@given(config_files())
def test_config_files_many(file: Path, drawn: tuple[type, bytes]) -> None:
    check_file(file, drawn)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@MANY
@given(st.binary(max_size=60))
def test_any_bytes_many(file: Path, content: bytes) -> None:
    check_file(file, (Options, content))


@pytest.mark.slow
@pytest.mark.timeout(1800)
@MANY
@given(ARGUMENTS)
def test_command_lines_many(arguments: list[str]) -> None:
    check(Options, arguments)
