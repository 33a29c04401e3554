# SPDX-License-Identifier: Apache-2.0
"""The ``voxadapt`` command: one name for every recipe."""

import difflib
import importlib
import sys
from collections.abc import Sequence

COMMANDS = {
    "demo": "the whole way on a small corpus made on the spot",
    "init_data": "make a manifest out of class folders, a table, file names, or a known corpus",
    "check_data": "find what is wrong with a corpus before training on it",
    "extract_features": "compute an encoder's frames, for the cache or as .npy files",
    "pretrain_adapter": "pretrain an adapter on unlabelled speech",
    "finetune": "fine-tune adapter, pooler and classifier on labelled speech",
    "report": "the page of a finished run again, for example without recordings",
    "sweep_layers": "which layer of an encoder serves best, and with which pooler",
    "merge": "fold a fine-tuned encoder's LoRA into its weights",
    "score": "metrics of a trained model on a manifest",
    "compare": "runs side by side, with paired differences",
    "cross_corpus": "train on each of several corpora, test on all",
    "serve": "a page and an HTTP endpoint for a trained model",
    "predict": "labels and probabilities for audio files",
    "export": "a trained model as an ONNX file that needs no torch",
    "push": "upload a finished run to the Hugging Face hub, with its model card",
    "timeline": "labels over time in long recordings: segments, a label track, a picture",
}


def usage() -> str:
    """The text of ``voxadapt --help``."""
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {text}" for name, text in COMMANDS.items()]
    return "\n".join(
        [
            "usage: voxadapt COMMAND [OPTIONS]",
            "",
            "Adapter-based transfer learning on speech.",
            "",
            "commands:",
            *lines,
            "",
            "`voxadapt COMMAND --help` tells each one's options.",
        ]
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run a recipe by its name; returns the exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not arguments or arguments[0] in ("-h", "--help"):
        print(usage())
        return 0 if arguments else 2
    if arguments[0] == "--version":
        from voxadapt import __version__

        print(__version__)
        return 0
    name = arguments[0].replace("-", "_")
    if name not in COMMANDS:
        close = difflib.get_close_matches(name, COMMANDS, n=1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        print(
            f"voxadapt: error: there is no command {arguments[0]!r}.{hint} Commands: "
            f"{', '.join(COMMANDS)}",
            file=sys.stderr,
        )
        return 2
    # Imported here: torch takes seconds, and `voxadapt --help` should not.
    recipe = importlib.import_module(f"voxadapt.recipes.{name}")
    command_line = importlib.import_module("voxadapt.recipes.running.command_line")
    return int(command_line.run_command(recipe.main, arguments[1:]))


if __name__ == "__main__":
    sys.exit(main())
