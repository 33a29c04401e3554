# SPDX-License-Identifier: Apache-2.0
"""``compare``: runs side by side, and what keeps them from being compared."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from voxadapt.recipes.scoring.compare_output import markdown_table

Run = Callable[..., Any]
LABELS = ["hum", "noise", "tone"]


def read(path: Path | str) -> Any:
    return json.loads(Path(path).read_text(encoding="utf-8"))


def write_run(
    folder: str,
    wrong: int,
    *,
    clips: int = 30,
    seeds: int = 1,
    speakers: int = 6,
    label: Callable[[int], str] = lambda clip: LABELS[clip % 3],
    **metrics: Any,
) -> None:
    """Write what `compare` reads of a run: the first ``wrong`` clips are wrong."""
    out = Path(folder)
    out.mkdir(parents=True)
    lines = [
        {
            "id": f"c{clip}",
            "label": label(clip),
            "predicted": label(clip) if clip >= wrong else LABELS[(clip + 1) % 3],
            "speaker": f"s{clip % speakers}",
            "seed": seed,
        }
        for seed in range(seeds)
        for clip in range(clips)
    ]
    (out / "predictions.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    found = {
        "ua": 0.5,
        "protocol": "split-column",
        "protocol_name": "official-v1",
        "split_fingerprint": "f",
        "speaker_overlap": False,
        "parameters_trained": 1234,
        "seconds": 5.0,
        "seed": 0,
        "fold": None,
    }
    if seeds > 1:
        runs = [{"seed": seed, "fold": None, "split_fingerprint": "f"} for seed in range(seeds)]
        found |= {"runs": runs, "std_over_seeds": {"ua": 0.02, "wa": 0.01, "macro_f1": 0.03}}
    (out / "metrics.json").write_text(json.dumps(found | metrics))


def test_runs_of_finetune_are_compared(
    run_cli: Run, finetuned: Path, finetune_options: list[str]
) -> None:
    options = [*finetune_options, "--adapter=none", "--epochs=1", "--report-clips=0", "--seeds=2"]
    assert run_cli("finetune", *options, "--out=seeds").code == 0
    ran = run_cli("compare", finetuned, "seeds", "--json=c.json", "--picture=c.png")
    assert ran.code == 0, ran.err
    found = read("c.json")
    assert (found["clips"], found["unit"], found["warnings"]) == (6, "clip", [])
    one, two = found["runs"]
    assert one["ua"] == pytest.approx(read(finetuned / "metrics.json")["ua"])
    assert (one["seeds"], two["seeds"]) == (1, 2)
    assert two["wa"] == pytest.approx(read("seeds/metrics.json")["wa"])
    assert two["test_fingerprint"] == one["test_fingerprint"]
    assert two["test_fingerprint"] == read(finetuned / "metrics.json")["test_fingerprint"]
    assert two["test_fingerprint"] == read("seeds/metrics.json")["test_fingerprint"]
    assert Path("c.png").read_bytes().startswith(b"\x89PNG")
    assert "6 clips that all runs have tested" in ran.out


def test_the_table_and_all_pairs(run_cli: Run) -> None:
    write_run("first", 6)
    write_run("same", 6)
    write_run("better", 0, seeds=5, seconds=4000.0)
    ran = run_cli("compare", "first", "same", "better", "--json=c.json", "--picture=c.svg")
    assert ran.code == 0, ran.err
    found = read("c.json")
    assert found["unit"] == "speaker"
    pairs = [(entry["other"], entry["run"]) for entry in found["differences"]]
    assert pairs == [("first", "same"), ("first", "better"), ("same", "better")]
    assert found["differences"][0]["ua"]["difference"] == 0
    gain = found["differences"][1]["ua"]
    assert gain["difference"] == pytest.approx(0.2)
    assert gain["interval"] == pytest.approx([0.2, 0.2])  # each speaker has one clip wrong
    rows = [[cell.strip() for cell in line.split("|")] for line in ran.out.splitlines()]
    table = {row[1]: row for row in rows if len(row) == 10}
    assert table["better"][2] == "100.00 ± 2.00"
    # Speakers that are all alike: the exact interval of a share of six.
    assert table["first"][2:4] == ["80.00", "32.87 to 99.13"]
    assert table["better"][6:9] == ["5 × 1", "1,234", "4,000"]
    assert any("+20.00 (+20.00 to +20.00" in line for line in ran.out.splitlines())
    assert "<svg" in Path("c.svg").read_text()


def test_what_makes_a_comparison_less_than_fair_is_said(run_cli: Run) -> None:
    write_run("a", 3)
    write_run("b", 3, clips=24, split_fingerprint="g", speaker_overlap=True)
    ran = run_cli("compare", "a", "b", "--json=c.json")
    assert ran.code == 0, ran.err
    warnings = " ".join(read("c.json")["warnings"])
    assert "the test parts differ (clips: a 30, b 24); scores are of the 24 clips" in warnings
    assert "training or validation parts differ" in warnings
    assert "also trained on: b" in warnings
    assert "warning: the test parts differ" in ran.err
    write_run("c", 3, protocol_name="kfold-v1")
    warnings = run_cli("compare", "a", "c").err
    assert "protocols differ (a official-v1, c kfold-v1)" in warnings


def test_what_cannot_be_compared_is_refused(run_cli: Run, finetuned: Path) -> None:
    write_run("a", 3)
    write_run("relabelled", 3, label=lambda clip: LABELS[0 if clip == 5 else clip % 3])
    ran = run_cli("compare", "a", "relabelled")
    assert ran.code == 2
    assert "1 clips have other labels in relabelled than in a, as 'c5'" in ran.err
    ran = run_cli("compare", "a", finetuned)
    assert ran.code == 2
    assert "have no test clip in common" in ran.err
    shutil.copytree("a", "no-predictions")
    Path("no-predictions/predictions.jsonl").unlink()
    ran = run_cli("compare", "a", "no-predictions")
    assert ran.code == 2
    assert f"{Path('no-predictions/predictions.jsonl')}: is missing" in ran.err
    assert "Traceback" not in ran.err
    ran = run_cli("compare", "a", "nowhere")
    assert ran.code == 2
    assert "nowhere: has no metrics.json" in ran.err


def test_options_are_checked_and_nothing_is_overwritten(run_cli: Run) -> None:
    write_run("a", 3)
    write_run("b", 4)
    for given, told in (
        (["a"], "found 1 run, must be two or more"),
        (["a", "b", "a"], "found a twice"),
        (["a", "b", "--samples=5"], "--samples: found 5"),
        (["a", "b", "--picture=c.xyz"], "cannot be drawn as 'xyz'"),
        (["a", "b", "--json=a/metrics.json"], "is there already; nothing was overwritten"),
        (["a", "b", "--json=a/metrics.json/c"], "--json a/metrics.json/c: the folder"),
        (["a", "b", "--picture=a/metrics.json/c.png"], "--picture a/metrics.json/c.png: the fol"),
    ):
        ran = run_cli("compare", *given)
        assert ran.code == 2, given
        assert told in ran.err


def test_regressions_are_refused(run_cli: Run) -> None:
    write_run("a", 3)
    write_run("b", 3, task="regression")
    ran = run_cli("compare", "a", "b")
    assert ran.code == 2
    assert "b: is a regression" in ran.err


def test_a_markdown_table_is_aligned() -> None:
    assert markdown_table([["a", "long"], ["wider", "b"]]).splitlines() == [
        "| a     | long |",
        "|-------|------|",
        "| wider | b    |",
    ]
