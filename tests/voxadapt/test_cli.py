# SPDX-License-Identifier: Apache-2.0
"""``voxadapt COMMAND``: one name for every recipe."""

import dataclasses
import subprocess
import sys
import typing
from pathlib import Path

import pytest

import voxadapt
from voxadapt import cli
from voxadapt.recipes.check_data import CheckOptions
from voxadapt.recipes.compare import CompareOptions
from voxadapt.recipes.corpora.intake.options import InitDataOptions
from voxadapt.recipes.cross_corpus import CrossCorpusOptions
from voxadapt.recipes.demo import DemoOptions
from voxadapt.recipes.export import ExportOptions
from voxadapt.recipes.extract_features import ExtractOptions
from voxadapt.recipes.finetuning.options import FinetuneOptions
from voxadapt.recipes.merge import MergeOptions
from voxadapt.recipes.predict import PredictOptions
from voxadapt.recipes.pretraining.options import PretrainOptions
from voxadapt.recipes.push import PushOptions
from voxadapt.recipes.report import ReportOptions
from voxadapt.recipes.score import ScoreOptions
from voxadapt.recipes.serve import ServeOptions
from voxadapt.recipes.sweeping.options import SweepOptions
from voxadapt.recipes.timeline import TimelineOptions

OPTIONS: dict[str, type] = {
    "demo": DemoOptions,
    "init_data": InitDataOptions,
    "check_data": CheckOptions,
    "extract_features": ExtractOptions,
    "pretrain_adapter": PretrainOptions,
    "finetune": FinetuneOptions,
    "report": ReportOptions,
    "sweep_layers": SweepOptions,
    "merge": MergeOptions,
    "score": ScoreOptions,
    "compare": CompareOptions,
    "cross_corpus": CrossCorpusOptions,
    "predict": PredictOptions,
    "export": ExportOptions,
    "push": PushOptions,
    "timeline": TimelineOptions,
    "serve": ServeOptions,
}
POSITIONS = {
    "init_data": ("source",),
    "check_data": ("data",),
    "merge": ("run",),
    "report": ("run",),
    "score": ("run",),
    "compare": ("runs",),
    "predict": ("run", "files"),
    "export": ("run",),
    "push": ("run", "repo"),
    "timeline": ("run", "files"),
    "serve": ("run",),
}


def test_every_command_is_a_recipe_and_the_other_way_round() -> None:
    assert cli.COMMANDS.keys() == OPTIONS.keys()
    recipes = Path(__file__).resolve().parents[2] / "recipes"
    started = {
        path.stem for path in recipes.glob("*.py") if "run_command(main)" in path.read_text("utf-8")
    }
    assert started == OPTIONS.keys()


@pytest.mark.parametrize("argument", ["--help", "-h"])
def test_help_lists_the_commands(argument: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([argument]) == 0
    out = capsys.readouterr().out
    for name, what in cli.COMMANDS.items():
        assert f"{name} " in out
        assert what in out


def test_no_command_is_help_and_code_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([]) == 2
    assert "usage: voxadapt COMMAND" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("typed", "hint"),
    [("finetun", "Did you mean 'finetune'?"), ("pretrain", "'pretrain_adapter'"), ("zzz", "")],
)
def test_an_unknown_command_gets_the_closest(
    typed: str, hint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main([typed]) == 2
    err = capsys.readouterr().err
    assert f"there is no command '{typed}'" in err
    assert hint in err
    assert ("Did you mean" in err) == bool(hint)
    assert ", predict" in err


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out.strip() == voxadapt.__version__


def option_names(kind: type, positions: tuple[str, ...] = (), prefix: str = "") -> list[str]:
    names = []
    for field in dataclasses.fields(kind):
        hint = typing.get_type_hints(kind)[field.name]
        if dataclasses.is_dataclass(hint):
            names += option_names(typing.cast(type, hint), prefix=f"{field.name}.")
        elif field.name in positions:
            names.append(field.name)
        elif prefix:
            names.append(f"--{prefix}{field.name}")
        else:
            names.append("--" + field.name.replace("_", "-"))
    return names


@pytest.mark.parametrize("command", list(OPTIONS))
def test_help_of_every_command_mentions_every_option_and_says_what_it_does(
    command: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    with pytest.raises(SystemExit) as stopped:
        cli.main([command.replace("_", "-"), "--help"])
    assert stopped.value.code == 0
    out = capsys.readouterr().out
    listed = out.partition("options:")[2] + out.partition("positional arguments:")[2]
    for name in option_names(OPTIONS[command], POSITIONS.get(command, ())):
        lines = [line for line in listed.splitlines() if line.strip().startswith(name)]
        assert lines, name
        about = [*listed.partition(lines[0])[2].strip().splitlines(), ""][0]
        taught = len(lines[0].split("  ")[-1]) > 10 or len(about) > 10
        assert taught, name
    assert "--config" in out


def test_a_command_runs_its_recipe_and_gives_its_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from voxadapt.recipes import predict
    from voxadapt.recipes.running.command_line import UsageError

    given = []

    def main(argv: list[str]) -> None:
        given.append(argv)
        if len(given) > 1:
            raise UsageError("not this way")

    monkeypatch.setattr(predict, "main", main)
    assert cli.main(["predict", "run", "a.wav"]) == 0
    assert given == [["run", "a.wav"]]
    assert cli.main(["predict"]) == 2
    assert capsys.readouterr().err == "error: not this way\n"


def test_the_installed_command_is_quick_to_help(tmp_path: Path) -> None:
    code = (
        "import sys; from voxadapt.cli import main; main(['--help']); print('torch' in sys.modules)"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert ran.stdout.endswith("False\n")
