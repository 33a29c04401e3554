# SPDX-License-Identifier: Apache-2.0
"""What a finished pretraining run leaves: the adapter's folder."""

import dataclasses
from pathlib import Path

from voxadapt.adapters import WAPTransformer
from voxadapt.recipes.corpora.written_aside import write_aside
from voxadapt.recipes.prepare import hours
from voxadapt.recipes.pretrain_options import PretrainOptions
from voxadapt.recipes.pretraining_state import PretrainingRun
from voxadapt.recipes.run_folder import write_json


def save_adapter(run: PretrainingRun) -> Path:
    """Save the adapter with its codebook, the backbone it belongs to, and a model card.

    Returns:
        ``out/adapter``.
    """
    from safetensors.torch import save

    options, pretrainer = run.options, run.pretrainer
    branch = pretrainer.teacher if options.export == "teacher" else pretrainer.student
    adapter: WAPTransformer = branch.adapter
    adapter.extras = {
        "backbone": run.backbone.config(),
        "backbone_fingerprint": run.backbone.fingerprint(),
        "frame_rate": run.backbone.spec.frame_rate,
        "hours": round(hours(run.corpus.store, run.backbone.spec.frame_rate), 3),
        "clips": len(run.corpus.clips),
        "steps": run.progress.step,
        "licence": options.licence,
        "options": dataclasses.asdict(options),
    }
    folder = run.out / "adapter"
    adapter.save_pretrained(folder)
    if options.objectives.local_attributes:
        from_teacher = bool(pretrainer.attributes_from_teacher)
        codebook = pretrainer.teacher_codebook if from_teacher else pretrainer.input_codebook
        content = save(
            {"centroids": codebook.centroids.cpu().contiguous()},
            metadata={"frames": "teacher" if from_teacher else "input"},
        )
        write_aside(folder / "codebook.safetensors", lambda file: file.write(content))
    (folder / "README.md").write_text(model_card(adapter, options), encoding="utf-8")
    write_json(run.out / "log.json", run.progress.log)
    return folder


def model_card(adapter: WAPTransformer, options: PretrainOptions) -> str:
    """Model card of the adapter, in the hub's Markdown."""
    extras, size = adapter.extras, adapter.config
    return f"""---
library_name: voxadapt
license: {options.licence}
tags: [speech, adapter]
---
# WAP-Transformer adapter for {options.backbone}

Pretrained without labels on {extras["hours"]} h of speech ({extras["clips"]} clips,
{extras["steps"]} steps, seed {options.seed}).

- frames: `{options.backbone}`, layer {options.layer}, {extras["frame_rate"]:g} a second
- size: {size.layers} layers, {size.width} wide
- licence: {options.licence}

```python
from voxadapt.adapters import WAPTransformer

adapter = WAPTransformer.from_pretrained("THIS_FOLDER")
enriched = adapter(frames, padding_mask)  # [B, T, {size.input_size}] -> [B, T, {size.width}]
```
"""
