# SPDX-License-Identifier: Apache-2.0
"""The pages' commands and Python are run, in their order, in a folder of small things."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import docs_pages as pages
import docs_world as world
import pytest

# What takes more than a few seconds.
SLOW = (
    "README.md",
    "docs/evaluation.md",
    "docs/methods.md",
    "docs/onnx.md",
    "docs/quick_start_zh.md",
    "docs/report.md",
    "docs/serving.md",
    "docs/sweep_layers.md",
)
# What a page needs beyond the package, by what it is imported as.
NEEDS = {"docs/onnx.md": ("onnx", "onnxruntime", "onnxscript")}
# Commands that are no recipe, and why they are not run. Their options are checked in test_pages.py.
NO_RECIPES = {
    r"make \w+": "installs; what it runs is run here",
    r"(python3|source|git|pip|(\.venv/bin/)?pre-commit) ": "sets a machine up",
    r"python benchmarks/": "takes minutes to hours and corpora that are not in the repository",
    r"python docs/pictures/": "takes minutes; its own test runs it on less",
    r"python examples/": "tests/examples runs each of them",
    r"python tests/recipes/browser.py": "needs Chromium; test_report_browser.py uses it",
    r"cd .*serving_picture.py": "needs Chromium; test_serve_browser.py uses it",
    r"(tensorboard|ssh|mkdocs|\.venv/bin/mkdocs|sbatch|curl|accelerate config)": "waits for a user",
}
# Recipes on what is not here: their options are parsed, in test_pages.py.
NOT_HERE = {
    r"--corpus iemocap": "its audio is given out on request; tests/corpora/intake has stand-ins",
    r"--emobox|emobox-savee": "needs EmoBox's repository; tests/corpora/intake has stand-ins",
    r"hf:": "needs a data set of the hub; tests/recipes/test_hf_data.py runs local ones",
    r"wds:": "needs shards; tests/recipes/test_wds_data.py writes and reads some",
    r"IEMOCAP_full_release|ShEMO": "given out on request; test_papers.py runs stand-ins",
    r"runs/iemocap": "follows from these",
    r"^voxadapt serve": "waits for requests; tests/recipes/test_serve.py starts one",
    r"^voxadapt push": "uploads; tests/recipes/test_push.py has a hub of its own",
    r"urdu/urdu\.csv": "a corpus that is not in the repository",
}
# Python that is not run, and why.
NOT_RUN = {r"http://127\.0\.0\.1": "asks a server; tests/recipes/test_serve.py starts one"}
DEFAULT_OUT = {
    "finetune": "runs/finetune",
    "pretrain_adapter": "runs/pretrain",
    "sweep_layers": "runs/sweep_layers",
}
# What a page's commands take for granted.
BEFORE = {
    "docs/finetuning.md": ["voxadapt pretrain_adapter --data corpus.csv --out runs/pretrain"],
    "docs/importing.md": ["voxadapt pretrain_adapter --data corpus.csv --out runs/pretrain"],
    "docs/predict.md": ["voxadapt finetune --data corpus.csv --adapter none --out runs/emotion"],
}


def run_pages() -> list[Any]:
    found = []
    for page in pages.PAGES:
        if pages.blocks(page, "bash", "python"):
            name = pages.name_of(page)
            marks = pytest.mark.slow if name in SLOW else ()
            found.append(pytest.param(page, id=name, marks=marks))
    return found


@pytest.fixture(scope="module")
def encoders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return world.write_encoders(tmp_path_factory.mktemp("encoders"))


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("page", run_pages())
def test_a_page_s_snippets_run(
    page: Path,
    encoders: dict[str, Path],
    run_recipe: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for package in NEEDS.get(pages.name_of(page), ()):
        pytest.importorskip(package)
    monkeypatch.chdir(tmp_path)
    before = BEFORE.get(pages.name_of(page), [])
    text = "\n".join([*before, page.read_text(encoding="utf-8")])
    named = set(re.findall(r"(?<![\w/.-])([a-z_]+)\.csv", text)) - {"clips", "manifest", "sweep"}
    named -= set(re.findall(r"--(?:out|fix) (\w+)\.csv", text))
    world.fill(tmp_path, named)
    for line in before:
        run(pages.Command("before", tuple(line.split())), encoders, run_recipe, tmp_path)
    for block in pages.blocks(page):
        if block.title:
            (tmp_path / block.title).write_text(block.text, encoding="utf-8")
    for block in pages.blocks(page, "bash", "python"):
        if block.language == "python":
            if any(re.search(pattern, block.text) for pattern in NOT_RUN):
                continue
            source = world.with_tiny_encoders(block.text, encoders)
            exec(compile(source, block.place, "exec"), {"__name__": "__main__"})
            continue
        for command in pages.commands_in(block):
            run(command, encoders, run_recipe, tmp_path)


def run(
    command: pages.Command,
    encoders: dict[str, Path],
    run_recipe: Callable[..., Any],
    folder: Path,
) -> None:
    line = " ".join(command.words)
    started = command.recipe()
    if started is None:
        assert any(re.match(pattern, line) for pattern in NO_RECIPES), (
            f"{command.place}: {line!r} is no recipe; say in NO_RECIPES why it is not run"
        )
        return
    name, arguments = started
    if any(re.search(pattern, line) for pattern in NOT_HERE) or arguments == ["--help"]:
        return
    make_room(command, arguments, folder)
    ran = run_recipe(name, *world.made_small(name, arguments, folder, encoders))
    # check-data ends with 1 where it finds something.
    assert ran.code in ((0, 1) if name == "check_data" else (0,)), (
        f"{command.place}: {line}\n{ran.out}\n{ran.err}"
    )


def make_room(command: pages.Command, arguments: list[str], folder: Path) -> None:
    """Remove what an alternative further up the page has written to the same place.

    Within a block commands follow one another, so there nothing is removed; but for `init-data`,
    whose ways to the same manifest stand side by side.
    """
    recipe = (command.recipe() or ("", []))[0]
    out = (
        arguments[arguments.index("--out") + 1] if "--out" in arguments else DEFAULT_OUT.get(recipe)
    )
    if recipe == "init_data":
        written = folder / (out or f"{arguments[0].rstrip('/')}/manifest.csv")
        if written.is_file():
            written.unlink()
    elif out and out.startswith("runs/") and "--resume" not in arguments:
        writer = folder / f"{out}.writer"
        if writer.is_file() and writer.read_text(encoding="utf-8") != command.place:
            shutil.rmtree(folder / out, ignore_errors=True)
        writer.parent.mkdir(parents=True, exist_ok=True)
        writer.write_text(command.place, encoding="utf-8")
