# SPDX-License-Identifier: Apache-2.0
"""Options from the command line and YAML; every mistake is one message and exit code 2."""

import dataclasses
import io
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import pytest

from voxadapt.adapters import ObjectivesConfig
from voxadapt.recipes.corpora.errors import DataError
from voxadapt.recipes.finetuning.options import FinetuneOptions
from voxadapt.recipes.predict import PredictOptions
from voxadapt.recipes.pretraining.options import PretrainOptions
from voxadapt.recipes.running import command_line
from voxadapt.recipes.running.command_line import UsageError, closest_word, parse, run_command

Run = Callable[..., Any]
Rows = list[dict[str, str]]
OBJECTIVES = ObjectivesConfig().weights()


@dataclasses.dataclass
class Inner:
    """A group.

    Args:
        rate: How fast.
    """

    rate: float = 0.5

    def __post_init__(self) -> None:
        if self.rate < 0:
            raise ValueError(f"rate: found {self.rate}, must be 0 or more")


@dataclasses.dataclass
class Options:
    """What it does.

    In more words.

    Args:
        target: Where to.
        names: Which ones.
        batch_size: How many.
        kind: Which kind.
        dry: Whether to do nothing.
        layer: A number or a name.
        limit: The most, if any.
        inner: The group.
    """

    aliases: ClassVar[dict[str, list[str]]] = {"batch_size": ["--size"]}

    target: str
    names: list[str] = dataclasses.field(default_factory=list)
    batch_size: int = 4
    kind: str = "sap"
    dry: bool = False
    layer: int | str = "last"
    limit: int | None = None
    inner: Inner = dataclasses.field(default_factory=Inner)

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise ValueError(f"--batch-size: found {self.batch_size}, must be at least 1")


def read(*argv: str) -> Options:
    return parse(Options, argv, prog="x.py", positionals=("target",))


def refused(capsys: pytest.CaptureFixture[str], call: Callable[[], Any]) -> str:
    """The message of a call that exits with code 2."""
    with pytest.raises(SystemExit) as stopped:
        call()
    assert stopped.value.code == 2
    return capsys.readouterr().err


def test_defaults_and_flags_of_every_kind() -> None:
    assert read("there") == Options("there")
    argv = ["there", "--names", "1", "b", "--batch-size", "2", "--kind", "mean", "--dry"]
    read_options = read(*argv, "--layer", "3", "--limit", "7", "--inner.rate", "1e-3")
    assert read_options == Options("there", ["1", "b"], 2, "mean", True, 3, 7, Inner(0.001))
    assert read("there", "--layer", "first").layer == "first"
    assert read("there", "--dry", "--no-dry").dry is False
    assert isinstance(read("there", "--inner.rate", "1").inner, Inner)


PAGE = """Move it.

    python recipes/x.py there --dry
    accelerate launch recipes/x.py there \\
        --batch-size 8

In more words.
"""


def test_help_keeps_paragraphs_and_ends_with_the_examples(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as left:
        parse(Options, ["--help"], prog="x.py", positionals=("target",), page=PAGE)
    assert left.value.code == 0
    text = capsys.readouterr().out
    assert "What it does.\n\nIn more words.\n" in text
    assert text.endswith(
        "Examples:\n\n    python recipes/x.py there --dry\n"
        "    accelerate launch recipes/x.py there \\\n        --batch-size 8\n"
    )


def test_help_shows_the_command_that_was_started(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command_line.sys, "argv", ["/bin/voxadapt", "x", "--help"])
    with pytest.raises(SystemExit):
        parse(Options, ["--help"], prog="x.py", positionals=("target",), page=PAGE)
    text = capsys.readouterr().out
    assert text.startswith("usage: voxadapt x ")
    assert "    voxadapt x there --dry\n" in text
    assert "    accelerate launch -m voxadapt.recipes.x there" in text
    assert "recipes/" not in text
    message = refused(capsys, lambda: read("there", "--batch", "3"))
    assert message.startswith("voxadapt x: error: ")


def test_help_without_examples_does_not_announce_them(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        read("--help")
    assert "Examples" not in capsys.readouterr().out


def test_the_command_line_overrides_the_file(tmp_path: Path) -> None:
    file = tmp_path / "x.yaml"
    file.write_text("batch_size: 8\nnames: [a]\ndry: true\ninner:\n  rate: 1e-2\n")
    argv = ["there", "--config", str(file)]
    assert read(*argv) == Options("there", ["a"], 8, dry=True, inner=Inner(0.01))
    assert read(*argv, "--batch-size", "3").batch_size == 3
    assert read(*argv, "--no-dry").dry is False
    assert read(*argv, "--names", "b", "c").names == ["b", "c"]
    # Wherever the file stands.
    for named in (["--config", str(file)], [f"--config={file}"]):
        assert read("there", "--batch-size", "3", "--names", "b", *named).batch_size == 3
        assert read("--names", "b", *named, "--no-dry", "--", "there").names == ["b"]


@pytest.mark.parametrize(
    ("argv", "needles"),
    [
        (["--batch-size", "two"], ["--batch-size: found 'two', expected int"]),
        (["--batch-size", "0"], ["--batch-size: found 0, must be at least 1"]),
        (["--batch-sise", "3"], ["--batch-sise", "Did you mean 'batch-size'?"]),
        (["--batch", "3"], ["--batch", "Did you mean 'batch-size'?"]),
        (["--batch_size", "3"], ["Did you mean 'batch-size'?"]),
        (["--inner.rat", "3"], ["--inner.rat", "Did you mean 'inner.rate'?"]),
        (["--other.rate", "3"], ["--other.rate", "Did you mean 'inner.rate'?"]),
        (["--rate", "3"], ["--rate", "Did you mean 'inner.rate'?"]),
        (["--inner.rate", "fast"], ["--inner.rate: found 'fast', expected float"]),
        (["--limit", "x"], ["--limit: found x (str), expected int"]),
        (["--batch-size"], ["--batch-size", "expected one argument"]),
        (["more"], ["unrecognized arguments: more"]),
    ],
)
def test_a_mistake_on_the_command_line_is_one_message(
    argv: list[str], needles: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    message = refused(capsys, lambda: read("there", *argv))
    assert message.startswith("x.py: error: ")
    assert message.endswith("See x.py --help\n")
    assert message.count("\n") == 1
    for needle in needles:
        assert needle in message


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("batch_size: two", "--batch-size: found 'two', expected int."),
        ("names: [1]", "--names element 1: found '1', expected str."),
        ("limit: x", "--limit: found x (str), expected int."),
        ("inner: {rate: fast}", "--inner.rate: found 'fast', expected float."),
        ("inner: {rat: 1}", "there is no option 'inner.rat'. Did you mean 'rate'?"),
        ("batch_size: 0", "--batch-size: found 0, must be at least 1."),
        ("inner: {rate: -1}", "--inner.rate: found -1.0, must be 0 or more."),
        (
            "kind: ''",
            "--kind: found '', must not be empty; give a value (a variable of the shell "
            "may be unset).",
        ),
    ],
)
def test_a_mistake_in_a_file_names_the_file_and_the_option(
    written: str, said: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file = tmp_path / "x.yaml"
    file.write_text(written)
    message = refused(capsys, lambda: read("there", "--config", str(file)))
    assert message == f"x.py: error: --config {file}: {said} See x.py --help\n"


def test_a_mistake_beside_a_file_does_not_name_the_file(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file = tmp_path / "x.yaml"
    file.write_text("batch_size: 8\ninner:\n  rate: 1.0")
    message = refused(capsys, lambda: read("there", "--config", str(file), "--limit", "x"))
    assert message.startswith("x.py: error: --limit: found x")
    for typed in (["--batch-size", "0"], ["--batch-size=0"], ["--size", "0"], ["--inner.rate=-1"]):
        message = refused(capsys, lambda typed=typed: read("there", "--config", str(file), *typed))
        assert re.match(r"x\.py: error: --(batch-size: found 0|inner\.rate: found -1)", message)


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["there", "--names", ""], "--names: found [''], must not be empty"),
        (["there", "--names", "a", ""], "--names: found ['a', ''], must not be empty"),
        (["there", "--kind="], "--kind: found '', must not be empty"),
        (["there", "--kind", ""], "--kind: found '', must not be empty"),
        (
            ["there", "--config", "empty.yaml"],
            "--config empty.yaml: --kind: found '', must not be empty",
        ),
        ([""], "target: found '', must not be empty"),
    ],
)
def test_an_empty_text_is_no_value(
    argv: list[str],
    said: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("empty.yaml").write_text("kind: ''\n")
    message = refused(capsys, lambda: read(*argv))
    assert message.startswith(f"x.py: error: {said}; ")
    assert message.count("\n") == 1


def test_an_empty_path_is_not_the_present_folder(run_cli: Run, finetuned: Path) -> None:
    for recipe, given, option in (
        ("finetune", ["--data", ""], "--data"),
        ("finetune", ["--out", ""], "--out"),
        ("pretrain_adapter", ["--features", ""], "--features"),
        ("score", [finetuned, "--out", ""], "--out"),
        ("predict", [finetuned, ""], "files"),
        ("init_data", [""], "source"),
    ):
        assert_refused(run_cli(recipe, *given), [f"{option}: found ", "must not be empty"])
    assert list(Path(".").iterdir()) == []


def test_a_missing_position_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert "target" in refused(capsys, lambda: read())


def test_a_wrong_choice_gets_the_closest(capsys: pytest.CaptureFixture[str]) -> None:
    argv = ["--pool", "sapp"]
    message = refused(capsys, lambda: parse(FinetuneOptions, argv, prog="finetune.py"))
    assert "--pool: found 'sapp', allowed: 'sap', 'mean', 'attentive', 'qkv'" in message
    assert "Did you mean 'sap'?" in message


def test_closest_word_says_nothing_where_nothing_is_close() -> None:
    assert closest_word("unrecognized arguments: --zzzz", ["pool", "adapter"]) == ""
    assert closest_word("found 'pool', allowed: 'pool'", ["pool"]) == ""


def test_help_teaches_every_option(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        read("--help")
    assert stopped.value.code == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "What it does. In more words." in text
    for option, teaches in {
        "target": "Where to.",
        "--names": "Which ones.",
        "--batch-size": "How many.",
        "--dry": "Whether to do nothing.",
        "--inner.rate": "How fast.",
        "--config": "YAML",
    }.items():
        assert option in text
        assert teaches in text
    assert "default: 4" in text


@pytest.mark.parametrize("options", [PretrainOptions, FinetuneOptions])
def test_values_out_of_range_are_refused_before_anything_runs(
    options: type, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = {"--epochs": "0", "--passes": "0", "--batch-seconds": "0"}
    if options is PretrainOptions:
        wrong |= {"--log-steps": "0", "--checkpoint-steps": "0", "--masking.ratio": "1.5"}
        wrong |= {"--masking.span_length": "0", "--adapter.heads": "5"}
        wrong |= {"--objectives.prototypes": "1", "--objectives.mask_prediction": "-1"}
        wrong |= {"--codebook.refit_at": "[0.5]", "--codebook.iterations": "0"}
        wrong |= {"--codebook.sample_frames": "0", "--optimizer.ema_start": "2"}
    else:
        wrong |= {"--seeds": "0", "--adapter-dropout": "1", "--head.dropout": "1"}
        wrong |= {"--head.heads": "0", "--size.heads": "5", "--spec_augment.time_share": "2"}
        wrong |= {"--spec_augment.feature_masks": "-1", "--optimizer.averaging": "1.5"}
        wrong |= {"--optimizer.adapter_factor": "-1"}
    wrong |= {"--optimizer.learning_rate": "0", "--optimizer.clip_norm": "0"}
    wrong |= {"--optimizer.warmup": "1.5", "--optimizer.weight_decay": "-0.1"}
    for flag, value in wrong.items():
        argv = [flag, value]
        message = refused(capsys, lambda argv=argv: parse(options, argv, prog="x.py"))
        assert f"{flag}: found " in message, flag
        assert "must " in message, flag


@pytest.mark.parametrize(
    ("options", "flag", "value", "said"),
    [
        # Each group says it in its own way: by the field, by group and field, by the group.
        (FinetuneOptions, "--head.probe", "-1", "--head.probe: found -1.0, must be "),
        (FinetuneOptions, "--size.width", "190", "--size.heads: found 4, must divide width (190)"),
        (PretrainOptions, "--collapse.std", ".nan", "--collapse.std: found nan, must be "),
        (
            PretrainOptions,
            "--objectives",
            dict.fromkeys(OBJECTIVES, 0),
            "--objectives: found weigh",
        ),
    ],
)
def test_the_option_of_a_group_is_named_in_full(
    options: type, flag: str, value: Any, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = [f"{flag}={value}"]
    message = refused(capsys, lambda: parse(options, argv, prog="x.py"))
    assert message.startswith(f"x.py: error: {said}")
    assert message.count("--") == 2  # with the one before help


def test_run_command_turns_what_the_user_can_put_right_into_code_2(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(error: Exception) -> int:
        def main(argv: Any) -> None:
            raise error

        return run_command(main, [])

    assert fail(UsageError("give another folder")) == 2
    assert capsys.readouterr().err == "error: give another folder\n"
    assert fail(DataError("two problems:", ["one", "other"])) == 2
    assert capsys.readouterr().err == "error: two problems:\n  - one\n  - other\n"
    assert fail(KeyboardInterrupt()) == 130
    assert "--resume" in capsys.readouterr().err
    with pytest.raises(ZeroDivisionError):  # a fault of ours keeps its traceback
        fail(ZeroDivisionError())
    assert run_command(lambda argv: argv, []) == 0


def test_another_process_says_what_the_first_may_not_know(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    waited = []
    monkeypatch.setattr(command_line.time, "sleep", waited.append)
    monkeypatch.setenv("RANK", "1")

    def main(argv: Any) -> None:
        raise DataError("a clip of this process alone")

    assert run_command(main, []) == 2
    assert "a clip of this process alone" in capsys.readouterr().err
    assert waited == [command_line.OTHERS_WAIT]


def test_positions_are_required_lists() -> None:
    options = parse(PredictOptions, ["run", "a", "b"], prog="x", positionals=("run", "files"))
    assert (options.run, options.files) == ("run", ["a", "b"])


# Bad input, through the recipes: what is given, and what the one message must say of it.


def without(column: str) -> Callable[[Rows], Rows]:
    return lambda rows: [{k: v for k, v in row.items() if k != column} for row in rows]


def with_first(**changed: str) -> Callable[[Rows], Rows]:
    return lambda rows: [{**rows[0], **changed}, *rows[1:]]


def with_test_label(rows: Rows) -> Rows:
    return [row | ({"label": "whistle"} if row["id"] == "hum_3_0" else {}) for row in rows]


BAD_MANIFESTS: dict[str, tuple[Callable[[Rows], Rows], list[str]]] = {
    "missing column": (without("path"), ["no column 'path'", "label"]),
    "missing label": (without("label"), ["label", "speaker"]),
    "unknown split": (with_first(split="dev"), ["'dev'", "did you mean 'valid'"]),
    "label only in test": (with_test_label, ["'whistle'", "never in train"]),
    "path not there": (with_first(path="nowhere.wav"), ["nowhere.wav", "not"]),
    "two ids alike": (with_first(id="hum_0_1"), ["hum_0_1"]),
    "unreadable file": (with_first(path="broken.wav"), ["broken.wav", "unreadable"]),
    "shared speaker": (with_first(speaker="s3"), ["'s3'", "--allow-speaker-overlap"]),
}


# Pretraining needs neither labels nor splits.
LABELLED = ("missing label", "label only in test", "shared speaker")


@pytest.mark.parametrize(
    ("recipe", "case"),
    [("finetune", case) for case in BAD_MANIFESTS]
    + [("pretrain_adapter", case) for case in BAD_MANIFESTS if case not in LABELLED],
)
def test_bad_manifests_are_refused_before_training(
    recipe: str,
    case: str,
    run_cli: Run,
    write_rows: Callable[..., Path],
    corpus_rows: Rows,
    features: Path,
) -> None:
    change, needles = BAD_MANIFESTS[case]
    Path("broken.wav").write_bytes(b"RIFF no more")
    manifest = write_rows(change(corpus_rows))
    options = ["--data", manifest, "--allow-outside", "--features", features, "--out=run"]
    ran = run_cli(recipe, *options)
    assert_refused(ran, needles)
    assert not (
        Path("run").exists() and {p.name for p in Path("run").iterdir()} - {"run.json", ".lock"}
    )


def assert_refused(ran: Any, needles: list[str]) -> None:
    assert ran.code == 2, ran.err
    assert "Traceback" not in ran.err
    assert ran.err.count("error: ") == 1
    for needle in needles:
        assert needle in ran.err


BAD_OPTIONS: dict[str, tuple[list[str], list[str]]] = {
    "no manifest": (["--data", "corpsu.csv"], ["corpsu.csv", "did you mean 'corpus.csv'"]),
    "empty manifest": (["--data", "empty.csv"], ["empty.csv", "no clip"]),
    "file without a line": (["--data", "nothing.csv"], ["nothing.csv", "empty"]),
    "no such label column": (["--label", "emotion"], ["'emotion'", "label"]),
    "no such fold": (["--fold", "7"], ["'7'", "1, 2"]),
    "misspelt pooler": (["--pool", "sapp"], ["'sapp'", "Did you mean 'sap'?"]),
    "misspelt YAML key": (["--config", "typo.yaml"], ["typo.yaml", "'epoch'", "'epochs'"]),
    "wrong YAML type": (["--config", "type.yaml"], ["type.yaml", "--epochs", "'many'", "int"]),
    "no config file": (["--config", "none.yaml"], ["none.yaml", "there is no such file"]),
    "no adapter": (["--adapter", "runs/none"], ["runs/none", "no such folder"]),
    "unfinished adapter": (["--adapter", "unfinished"], ["unfinished", "finish it first"]),
    "no backbone": (["--backbone", "./nowhere"], ["./nowhere", "FOLDER"]),
    "no such layer": (["--layer", "3"], ["layer 3", "fbank"]),
    "a file as out": (["--out", "empty.csv"], ["--out empty.csv", "is a file"]),
    "a foreign folder as out": (["--out", "photos"], ["--out photos", "nothing was written"]),
    "another run as out": (["--out", "unfinished"], ["--out unfinished", "--resume"]),
}


@pytest.mark.parametrize("case", list(BAD_OPTIONS))
def test_bad_options_are_refused_and_nothing_is_written(
    case: str,
    run_cli: Run,
    write_rows: Callable[..., Path],
    corpus_rows: Rows,
    features: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    write_rows(corpus_rows, "corpus.csv")
    Path("empty.csv").write_text("path,label\n")
    Path("nothing.csv").write_text("")
    Path("typo.yaml").write_text("epoch: 3\n")
    Path("type.yaml").write_text("epochs: many\n")
    Path("photos").mkdir()
    Path("photos/run.json").write_text('{"distance": 10}')
    Path("unfinished").mkdir()
    record = {"command": "pretrain_adapter", "config": {}}
    Path("unfinished/run.json").write_text(json.dumps(record))
    Path("unfinished/checkpoint.pt").write_bytes(b"weights")
    before = {path: path.read_bytes() for path in Path(".").rglob("*") if path.is_file()}

    given, needles = BAD_OPTIONS[case]
    options = ["--data", "corpus.csv", "--allow-outside", "--features", features, "--out=run"]
    ran = run_cli("finetune", *options, *given)
    assert_refused(ran, needles)
    after = {path: path.read_bytes() for path in Path(".").rglob("*") if path.is_file()}
    assert after == before


def test_resume_with_other_options_names_them(
    run_cli: Run, finetune_options: list[str], finetuned: Path
) -> None:
    before = {path: path.stat().st_mtime_ns for path in finetuned.rglob("*")}
    options = [*finetune_options, "--adapter=random", "--out", finetuned, "--resume"]
    ran = run_cli("finetune", *options, "--optimizer.learning_rate=0.5", "--seed=3")
    assert_refused(ran, ["optimizer.learning_rate was 0.001, is 0.5", "seed was 0, is 3"])
    ran = run_cli("pretrain_adapter", "--out", finetuned, "--resume")
    assert_refused(ran, ["found a run of finetune there, not of pretrain_adapter"])
    ran = run_cli("finetune", *options[:-1])
    assert_refused(ran, ["already holds a run of finetune; nothing was overwritten", "--resume"])
    assert {path: path.stat().st_mtime_ns for path in finetuned.rglob("*")} == before


def test_a_command_started_by_path_exits_with_2_and_no_traceback(run_process: Run) -> None:
    ran = run_process("finetune", "--pool", "sapp")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith("finetune.py: error: --pool: found 'sapp'")
    assert ran.err.count("\n") == 1


@pytest.mark.parametrize(
    ("encoding", "written"),
    [("utf-8", "caf\\udce9 \xe9".encode()), ("ascii", b"caf\\udce9 \\xe9")],
)
def test_names_that_cannot_be_written_are_spelled_out(
    monkeypatch: pytest.MonkeyPatch, encoding: str, written: bytes
) -> None:
    content = io.BytesIO()
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(content, encoding, write_through=True))
    assert run_command(lambda _: sys.stdout.write("caf\udce9 \xe9")) == 0
    assert content.getvalue().strip() == written
