# SPDX-License-Identifier: Apache-2.0
"""What a finished pretraining run leaves: the adapter's folder."""

import dataclasses
from pathlib import Path

from voxadapt.adapters import WAPTransformer
from voxadapt.adapters.saving import add_file
from voxadapt.adapters.written_aside import write_folder_aside
from voxadapt.model_card import front_matter, hub_id
from voxadapt.recipes.pretraining.options import PretrainOptions
from voxadapt.recipes.pretraining.state import PretrainingRun
from voxadapt.recipes.running.command_line import UsageError
from voxadapt.recipes.running.prepare import hours


def save_adapter(run: PretrainingRun) -> Path:
    """Save the adapter with its codebook, the backbone it belongs to, and a model card.

    The folder is there whole or not at all, whenever the process is killed.

    Returns:
        ``out/adapter``.

    Raises:
        UsageError: The disk refuses; an adapter that was there stays.
    """
    options, pretrainer = run.options, run.pretrainer
    branch = pretrainer.teacher if options.export == "teacher" else pretrainer.student
    adapter: WAPTransformer = branch.adapter
    adapter.extras = {
        "backbone": run.backbone.config(),
        "backbone_fingerprint": run.backbone.fingerprint(),
        "frame_rate": run.backbone.spec.frame_rate,
        "hours": round(hours(run.corpus.store, run.backbone.spec.frame_rate), 3),
        "clips": len(run.corpus.clips),
        "corpora": 1 if run.scales is None else len(run.scales.factors),
        "steps": run.progress.step,
        "licence": options.licence,
        "options": dataclasses.asdict(options),
    }
    folder = run.out / "adapter"
    try:
        write_folder_aside(folder, lambda aside: _write_files(aside, run, adapter))
    except OSError as error:
        raise UsageError(
            f"{folder}: cannot be written ({error}). The training is whole in the last checkpoint; "
            f"make room in {run.out}, and the same command with --resume saves the adapter"
        ) from error
    return folder


def _write_files(folder: Path, run: PretrainingRun, adapter: WAPTransformer) -> None:
    """Write the adapter's files into an empty folder."""
    from safetensors.torch import save

    options, pretrainer = run.options, run.pretrainer
    adapter.save_pretrained(folder)
    if options.objectives.local_attributes:
        from_teacher = bool(pretrainer.attributes_from_teacher)
        codebook = pretrainer.teacher_codebook if from_teacher else pretrainer.input_codebook
        content = save(
            {"centroids": codebook.centroids.cpu().contiguous()},
            metadata={"frames": "teacher" if from_teacher else "input"},
        )
        add_file(folder, "codebook.safetensors", content)
    (folder / "README.md").write_text(model_card(adapter, options), encoding="utf-8")


def model_card(adapter: WAPTransformer, options: PretrainOptions) -> str:
    """Model card of the adapter, in the hub's Markdown."""
    extras, size = adapter.extras, adapter.config
    # Of a folder its name only: where it lay says nothing on another machine.
    encoder = hub_id(extras["backbone"]) or Path(options.backbone).name
    layer = "" if options.backbone == "fbank" else f", layer {options.layer}"
    number = extras["corpora"]
    corpora = f"; {number} corpora, each standardised on its own" if number > 1 else ""
    return f"""{front_matter(options.licence, hub_id(extras["backbone"]), ["speech", "adapter"])}
# WAP-Transformer adapter for {encoder}

Pretrained without labels on {extras["hours"]} h of speech ({extras["clips"]} clips,
{extras["steps"]} steps, seed {options.seed}){corpora}.

- frames: `{encoder}`{layer}, {extras["frame_rate"]:g} a second
- size: {size.layers} layers, {size.width} wide
- licence: {options.licence}

```python
from voxadapt.adapters import WAPTransformer
from voxadapt.backbones import backbone_from_config, pad_waveforms, read_audio

adapter = WAPTransformer.from_pretrained("THIS_FOLDER")
backbone = backbone_from_config(adapter.extras["backbone"])
frames, padding_mask = backbone(*pad_waveforms([read_audio("a.wav"), read_audio("b.wav")]))
real = frames[~padding_mask]  # better: those of your whole training part
adapter.standardize.set_statistics(real.mean(dim=0), real.std(dim=0))
enriched = adapter(frames, padding_mask)  # [B, T, {size.input_size}] -> [B, T, {size.width}]
```
"""
