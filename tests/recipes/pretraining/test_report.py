# SPDX-License-Identifier: Apache-2.0
"""The page that a pretraining run leaves."""

import json
import math
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from voxadapt.adapters import AdapterPretrainer, CollapseThresholds, ObjectivesConfig
from voxadapt.recipes.pretraining import report as pretraining_report
from voxadapt.recipes.pretraining.curves import (
    objective_curves,
    schedule_curves,
    thin,
    without_remainders,
)
from voxadapt.recipes.pretraining.options import PretrainOptions
from voxadapt.recipes.pretraining.report import (
    PretrainingRecord,
    build_report,
    describe_run,
    leave_records,
    report_illness,
    signs_of_illness,
    verdict,
)
from voxadapt.recipes.pretraining.state import PretrainingRun
from voxadapt.recipes.running.command_line import UsageError

MakeRun = Callable[..., PretrainingRun]
OBJECTIVES = ("mask_prediction", "frame_distillation", "utterance_distillation", "local_attributes")


class Strict(HTMLParser):
    """Refuses a page whose elements are not closed in order; keeps what a chart says."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.lines: list[str] = []
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "polyline":
            self.lines.append(str(dict(attrs)["points"]))
        if tag != "meta":
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def make_step(step: int, steps: int) -> dict[str, float]:
    share = step / steps
    entry: dict[str, float] = dict.fromkeys(OBJECTIVES, 4.0 - 2.0 * share)
    entry |= {"step": float(step), "loss": 5.0 - share, "gradient_norm": 1.0}
    entry |= {"student_std": 0.9, "teacher_std": 0.8}
    entry |= {"student_effective_rank": 20.0, "teacher_effective_rank": 15.0}
    entry |= {"prototype_perplexity": 90.0, "attribute_perplexity": 80.0}
    entry |= {"target_entropy": 3.0, "target_sharpness": 0.4, "hidden_share": 0.5}
    return {**entry, "learning_rate": 1e-3 * share, "teacher_decay": 0.996 + 0.004 * share}


def make_log(steps: int = 300) -> list[dict[str, float]]:
    """A healthy run with three fits of the codebook, every tenth step logged."""
    log: list[dict[str, float]] = []
    for step in range(0, steps, 10):
        if step in (0, steps // 3, 2 * steps // 3):
            fit = {"step": float(step), "codebook_inertia": 30.25, "codebook_perplexity": 110.5}
            log.append(fit | ({"codebook_kept_ids": 0.83} if step == 2 * steps // 3 else {}))
        log.append(make_step(step, steps))
    return log


def test_the_teachers_temperature_is_drawn_where_it_changes() -> None:
    log, optimizer = make_log(), make_options().optimizer
    for entry in log:
        entry["teacher_temperature"] = 0.05
    assert "temperature" not in schedule_curves(log, optimizer)
    log[0]["teacher_temperature"] = 0.04
    assert "Teacher’s temperature" in schedule_curves(log, optimizer)


def make_options() -> PretrainOptions:
    """Options of which no default matters."""
    return PretrainOptions(
        objectives=ObjectivesConfig(
            mask_prediction=2.0,
            reconstruction=0.0,
            denoising=0.0,
            frame_distillation=0.25,
            utterance_distillation=0.25,
            local_attributes=0.5,
            prototypes=128,
            attributes=128,
        ),
        collapse=CollapseThresholds(std=0.05, effective_rank=2.0, perplexity=2.0, sharpness=0.01),
    )


def make_record(log: list[dict[str, float]], **changes: Any) -> PretrainingRecord:
    fields = {"name": "run", "options": make_options(), "facts": {"Audio": "1.50 h in 9 clips"}}
    steps = round(log[-1]["step"]) + 1 if log else 0
    fields |= {"steps": steps, "planned": max(1, steps), "finished": True}
    return PretrainingRecord(**{**fields, "log": log, **changes})


def plain(page: str) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", page).split())


def test_a_healthy_run_says_so_and_shows_every_curve() -> None:
    page = build_report(make_record(make_log()))
    parsed = Strict(page)
    assert ">Healthy</h1>" in page
    # Loss, objectives, std and rank of two, prototypes, entropy, attributes, learning rate, decay,
    # gradient.
    assert len(parsed.lines) == 1 + 4 + 2 * 2 + 3 + 3
    assert page.count("stops the run") == 2 * 5  # in the key of each monitor, and at its line
    told = plain(page)
    for number in ("stops the run: 0.05", "stops the run: 2.000", "stops the run: 4.804"):
        assert number in page
    assert "chance, ln 128" in told
    assert "1.50 h in 9 clips" in told
    # The fits: kind of frames, step, inertia, perplexity, kept ids.
    assert "1 the input 0 30.25 110.5 –" in told
    assert "3 the teacher 200 30.25 110.5 83.0" in told
    assert "codebook refitted" in told


def test_shares_of_kept_ids_are_drawn_where_there_are_several() -> None:
    log = make_log()
    page = build_report(make_record(log))
    assert "Frames that kept their id at a refit" not in page
    fit = {"step": 250.0, "codebook_inertia": 30.0, "codebook_perplexity": 99.0}
    page = build_report(make_record([*log, {**fit, "codebook_kept_ids": 0.91}]))
    assert re.search(r"Frames that kept their id at a refit, step 250: 91.0.%", page)


def test_the_page_can_load_nothing_and_escapes_what_it_is_given() -> None:
    page = build_report(make_record(make_log(), name="<script>", stopped="<b>ill</b>"))
    Strict(page)
    assert "<script" not in page
    assert "<b>ill" not in page
    assert not re.search(r"(src|href)=", page)


def test_curves_of_a_long_run_are_means_of_stretches() -> None:
    log = [{"step": float(step), "loss": float(step % 2)} for step in range(1000)]
    steps, (values,) = thin(log, ["loss"])
    assert len(steps) == len(values) <= 120
    assert steps[-1] == 999
    assert values[:-1] == pytest.approx([0.5] * (len(values) - 1), abs=0.1)
    assert max(Strict(build_report(make_record(make_log(50_000)))).lines, key=len).count(",") <= 120


def test_values_that_are_missing_or_not_finite_are_left_out() -> None:
    log = make_log()
    log[5]["teacher_std"] = math.nan
    steps, values = thin(log, ["student_std", "teacher_std"])
    assert len(steps) == 29
    assert all(map(math.isfinite, [*values[0], *values[1]]))
    Strict(build_report(make_record(log)))


@pytest.mark.parametrize("log", [[], make_log()[:1], make_log()[:2]])
def test_a_run_that_ended_early_has_a_page_too(log: list[dict[str, float]]) -> None:
    page = build_report(make_record(log, finished=False, stopped="the loss is not finite"))
    Strict(page)
    assert "Stopped" in page
    assert "The loss is not finite" in page
    Strict(build_report(make_record(log, finished=False)))


def test_thresholds_that_are_switched_off_are_not_drawn() -> None:
    options = make_options()
    for name in ("std", "effective_rank", "perplexity", "sharpness"):
        object.__setattr__(options.collapse, name, -1.0)
    assert "stops the run" not in build_report(make_record(make_log(), options=options))


def test_an_objective_that_is_off_has_no_curve() -> None:
    options = make_options()
    object.__setattr__(options.objectives, "local_attributes", 0.0)
    log = [
        {name: value for name, value in entry.items() if "attribute" not in name}
        for entry in make_log()
        if "loss" in entry
    ]
    told = plain(build_report(make_record(log, options=options)))
    assert "Local attributes, weight" not in told
    assert "None was fitted." in told


def test_a_run_that_was_interrupted_says_how_to_go_on() -> None:
    title, notice = verdict(make_record(make_log(), finished=False))
    assert title == "Healthy so far, not finished"
    assert "The same command with --resume goes on from here." in notice
    assert "--resume" not in verdict(make_record(make_log()))[1]
    assert verdict(make_record([], finished=False))[0] == "Not begun"


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("teacher_std", 0.07, "Teacher std came down to 0.07 at step 290; a run is stopped below"),
        ("student_effective_rank", 3.0, "Student effective rank came down to 3 at step 290"),
        ("target_sharpness", 0.015, "Target sharpness came down to 0.015"),
    ],
)
def test_what_came_near_collapse_is_told(name: str, value: float, told: str) -> None:
    log = make_log()
    log[-1][name] = value
    (sign,) = signs_of_illness(make_record(log))
    assert sign.startswith(told)
    title, notice = verdict(make_record(log))
    assert title == "Finished, but something looked ill"
    assert sign in notice
    log[1][name], log[-1][name] = value, 100.0  # at the random start it means nothing
    assert signs_of_illness(make_record(log)) == []


@pytest.mark.parametrize(
    ("planned", "step", "told"), [(300, 10, 1), (3_000, 10, 0), (3_000, 70, 1), (50_000, 90, 0)]
)
def test_an_unfinished_run_is_judged_by_what_is_planned(planned: int, step: int, told: int) -> None:
    """At the random start of a long run, which is not judged there, values are often low."""
    log = make_log(300)
    (entry,) = [entry for entry in log if entry["step"] == step and "loss" in entry]
    entry["teacher_std"] = 0.07
    record = make_record(log, finished=False, planned=planned)
    assert len(signs_of_illness(record)) == told
    title = "Something looks ill" if told else "Healthy so far, not finished"
    assert verdict(record)[0] == title


def test_the_hundredth_step_is_judged_as_the_run_judges_it() -> None:
    log = make_log(300)
    (entry,) = [entry for entry in log if entry["step"] == 100 and "loss" in entry]
    entry["teacher_std"] = 0.07
    assert len(signs_of_illness(make_record(log, planned=50_000, finished=False))) == 1


def test_the_remainder_of_an_epoch_is_no_end() -> None:
    """Few frames use few attributes, which would look as though the codebook had died."""
    log = [entry | {"frames": 3000.0} if "loss" in entry else entry for entry in make_log()]
    log[-1] |= {"frames": 340.0, "attribute_perplexity": 17.0, "local_attributes": 4.8}
    rest = without_remainders(log)
    assert rest == log[:-1]
    assert without_remainders(make_log()) == make_log()
    assert signs_of_illness(make_record(log)) == []
    assert objective_curves(rest, make_options().objectives) in build_report(make_record(log))


def test_what_a_run_is_not_judged_by_is_not_told() -> None:
    log = make_log()
    for few in ({"frames": 60.0, "clips": 5.0}, {"frames": 900.0, "clips": 1.0}):
        log[-1] |= {"teacher_std": 0.01, **few}
        assert signs_of_illness(make_record(log)) == []
    log[-1] |= {"frames": 900.0, "clips": 5.0}
    assert len(signs_of_illness(make_record(log))) == 1
    only_few = [entry | {"clips": 1.0, "frames": 900.0} for entry in log]
    assert signs_of_illness(make_record(only_few)) == []
    for entry in only_few[-10:]:
        entry["teacher_std"] = 0.01
    assert len(signs_of_illness(make_record(only_few))) == 1


def test_attributes_that_were_not_learnt_are_told() -> None:
    log = make_log()
    for entry in log:
        if "loss" in entry:
            entry["local_attributes"] = 4.8
    (sign,) = signs_of_illness(make_record(log))
    assert "their loss ends at 4.80, and guessing gives 4.85" in sign
    assert signs_of_illness(make_record(log, finished=False)) == []


def test_a_codebook_that_is_hardly_used_or_changes_its_ids_is_told() -> None:
    log = make_log()
    last = [entry for entry in log if "codebook_inertia" in entry][-1]
    last |= {"codebook_perplexity": 20.0, "codebook_kept_ids": 0.31}
    kept, used = signs_of_illness(make_record(log))
    assert re.search(r"refit at step 200 left only 31.0.% of the frames their id", kept)
    assert "at step 200 spreads over 20 of 128 attributes" in used


def test_a_run_leaves_its_log_and_page(make_run: MakeRun) -> None:
    run = make_run(epochs=10, **{"objectives.mask_prediction": 2.0})
    run.progress.log = [*make_log()[:3], {"step": 30.0, "loss": 1.0, "teacher_std": math.nan}]
    run.progress.step = 31
    leave_records(run, finished=True)
    log = json.loads((run.out / "log.json").read_text())
    assert log[:3] == run.progress.log[:3]
    assert log[3]["teacher_std"] is None
    page = (run.out / "report.html").read_text(encoding="utf-8")
    Strict(page)
    told = plain(page)
    assert "0.00 h in 5 clips" in told
    assert "31 steps; 0 of 10 epochs" in told
    assert "2 layers, 8 wide" in told
    assert "mask prediction 2" in told
    assert sorted(path.name for path in run.out.iterdir()) == ["log.json", "report.html"]


def test_objectives_that_the_frames_cannot_have_are_not_told(make_run: MakeRun) -> None:
    run = make_run()
    assert ", prosody 1, hidden prosody 1" in objectives_told(run)
    run.pretrainer = AdapterPretrainer(
        run.pretrainer.student.adapter, run.options.objectives, bands=None
    )
    assert run.options.objectives.prosody
    assert "denoising 1" in objectives_told(run)
    assert "prosody" not in objectives_told(run)


def objectives_told(run: PretrainingRun) -> str:
    return describe_run(run, finished=True).facts["Objectives by weight"]


def test_what_is_planned_of_an_unfinished_run_is_all_its_epochs(make_run: MakeRun) -> None:
    # 47 frames of five clips, 16 frames or so a step.
    run = make_run(epochs=10, batch_seconds=0.32)
    run.progress.step = 2
    steps = sum(len(run.plan_epoch(epoch)) for epoch in range(10))
    assert steps >= 20
    assert describe_run(run, finished=False).planned == pytest.approx(steps, abs=10)
    assert describe_run(run, finished=True).planned == 2


def test_a_full_disk_keeps_the_old_page(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    run = make_run()
    leave_records(run, finished=False)
    before = (run.out / "report.html").read_bytes()

    def refuse(path: Path, write: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pretraining_report, "write_aside", refuse)
    with pytest.raises(UsageError, match=r"log and report cannot be written .*No space.*--resume"):
        leave_records(run, finished=True)
    assert (run.out / "report.html").read_bytes() == before
    report_illness(run, "collapsed")  # does not hide why the run was stopped
    assert "No space left" in caplog.text
