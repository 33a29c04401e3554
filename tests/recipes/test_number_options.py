# SPDX-License-Identifier: Apache-2.0
"""Every number that a recipe takes: none that is not finite, and none below 0 without a meaning."""

import contextlib
import dataclasses
import functools
import importlib
import re
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from voxadapt.recipes.running import command_line
from voxadapt.recipes.running.command_line import build_parser, flag, parse

RECIPES = Path(__file__).resolve().parents[2] / "recipes"
CALL = re.compile(r"parse\(\s*(\w+Options),(.*?)page=__doc__", re.DOTALL)
GIVEN = {"runs": ["a", "b"]}
"""What stands at a recipe's positions, where one word is not enough."""
NEEDED = {
    "cross_corpus": ["--data", "a", "b"],
    "pretrain_adapter": ["--features=online"],
    "sweep_layers": ["--backbone=x"],
}

# Checks that are switched off by it.
MAY_BE_INFINITE = {f"check_data --{name}" for name in ("max-seconds", "max-clipped", "max-offset")}
# Seeds, and thresholds that no run is below.
MAY_BE_BELOW_ZERO = {"seed", "split-seed", "std", "effective_rank", "perplexity", "sharpness"}
# Shares, weights and changes that are off with it, and what is not done at all.
MAY_BE_ZERO = MAY_BE_BELOW_ZERO | {
    *("dropout", "adapter-dropout", "feature_masks", "feature_share", "time_masks", "time_share"),
    *("mask_prediction", "frame_distillation", "utterance_distillation", "local_attributes"),
    *("reconstruction", "denoising", "prosody", "hidden_prosody"),
    *("temperature_warmup", "center_momentum", "refit_at"),
    *("warmup", "weight_decay", "ema_start", "ema_end", "label_smoothing", "averaging", "probe"),
    *("adapter_factor", "encoder_factor", "layer_factor", "linear_factor", "pooler_factor"),
    *("level", "channel", "warp", "noise", "noise_probability", "babble_share", "mixup"),
    *(
        "sweep_layers --layers",
        "smooth",
        "min-seconds",
        "max-clipped",
        "max-offset",
        "collect-ms",
        "port",
    ),
    *("clips", "report-clips", "show", "folds", "max-epochs", "max-steps"),
}


class Recipe(NamedTuple):
    """How a recipe is called."""

    name: str
    options: type
    positions: tuple[str, ...]


class Number(NamedTuple):
    """An option that takes numbers."""

    name: str
    many: bool

    def given(self, value: str) -> list[str]:
        """The option with a value, as it is typed."""
        return [f"{flag(self.name)}={f'[{value}]' if self.many and '.' in self.name else value}"]


def find_recipes() -> Iterator[Recipe]:
    for path in sorted(RECIPES.glob("*.py")):
        for options, rest in CALL.findall(path.read_text(encoding="utf-8")):
            module = importlib.import_module(f"voxadapt.recipes.{path.stem}")
            positions = re.search(r"positionals=\((.*?)\)", rest)
            words = re.findall(r'"(\w+)"', positions[1]) if positions else []
            yield Recipe(path.stem, getattr(module, options), tuple(words))


FOUND = list(find_recipes())


def numbers_of(options: type, group: str = "") -> Iterator[Number]:
    """The options of a recipe whose values are numbers; those that may be names too are not."""
    for name, hint in typing.get_type_hints(options).items():
        if dataclasses.is_dataclass(hint):
            yield from numbers_of(typing.cast(type, hint), f"{name}.")
        kinds = {hint, *typing.get_args(hint)}
        if kinds & {int, float} and str not in kinds:
            yield Number(f"{group}{name}", typing.get_origin(hint) is list)


def answer(recipe: Recipe, number: Number, value: str, capsys: Any) -> str:
    """What a recipe says of a value; nothing if it takes it."""
    positions = [word for name in recipe.positions for word in GIVEN.get(name, ["x"])]
    argv = [*positions, *NEEDED.get(recipe.name, []), *number.given(value)]
    with contextlib.suppress(SystemExit):
        parse(recipe.options, argv, prog=recipe.name, positionals=recipe.positions, page="")
    return str(capsys.readouterr().err)


def test_the_recipes_are_found() -> None:
    modules = {path.stem for path in RECIPES.glob("*.py")} - {"__init__"}
    assert {recipe.name for recipe in FOUND} == modules
    numbers = {number.name for recipe in FOUND for number in numbers_of(recipe.options)}
    assert numbers >= {"batch_seconds", "seed", "head.probe", "label_weights", "codebook.refit_at"}


@pytest.mark.parametrize("recipe", FOUND, ids=lambda recipe: recipe.name)
def test_numbers_that_mean_nothing_are_refused_by_the_name_of_the_option(
    recipe: Recipe, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command_line, "build_parser", functools.cache(build_parser))
    for number in numbers_of(recipe.options):
        name = flag(number.name)
        names = {f"{recipe.name} {name}", name.lstrip("-").rsplit(".", 1)[-1]}
        taken = {
            ".nan": False,
            ".inf": bool(names & MAY_BE_INFINITE),
            "-.inf": False,
            "-1": bool(names & MAY_BE_BELOW_ZERO),
            "0": bool(names & MAY_BE_ZERO),
        }
        for value, allowed in taken.items():
            said = answer(recipe, number, value, capsys)
            assert (said == "") == allowed, f"{name}={value}: {said}"
            assert allowed or re.search(rf"{name}(?: element 1)?: found ", said), said


@pytest.mark.parametrize(
    ("recipe", "options", "said"),
    [
        (
            "finetune",
            ["--label=a,b", "--label-weights", "1", ".nan"],
            "[1.0, nan], give one finite",
        ),
        (
            "finetune",
            ["--label=a,b", "--label-weights", ".inf", "1"],
            "[inf, 1.0], give one finite",
        ),
        ("finetune", ["--label=a,b", "--label-weights", "0", "0"], "[0.0, 0.0], give one finite"),
        ("pretrain_adapter", ["--codebook.refit_at=[0, .nan, 0.5]"], "[0.0, nan, 0.5], must be"),
    ],
)
def test_one_of_several_numbers_is_enough(
    recipe: str, options: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (found,) = [one for one in FOUND if one.name == recipe]
    with pytest.raises(SystemExit):
        parse(found.options, options, prog="x")
    assert f": found {said}" in capsys.readouterr().err
