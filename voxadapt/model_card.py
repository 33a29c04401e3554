# SPDX-License-Identifier: Apache-2.0
"""The model card: a ``README.md`` that says what a saved model is, knows and scored."""

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .card_results import model_index, results_section

CARD_FILE = "README.md"
PLACE = "THIS_FOLDER"
"""Stands in a card for where the model is, until it is uploaded."""

# Licences as the hub calls them; for another one it wants `other` and a name.
_LICENCES = {
    *("apache-2.0", "mit", "bsd-2-clause", "bsd-3-clause", "gpl-3.0", "lgpl-3.0", "agpl-3.0"),
    *("mpl-2.0", "cc0-1.0", "cc-by-3.0", "cc-by-4.0", "cc-by-sa-3.0", "cc-by-sa-4.0"),
    *("cc-by-nc-3.0", "cc-by-nc-4.0", "cc-by-nc-sa-4.0", "cc-by-nc-nd-4.0", "cc-by-nd-4.0"),
    *("odbl", "openrail", "unlicense", "unknown", "other"),
}


def front_matter(
    licence: str,
    base_model: str | None,
    tags: Sequence[str],
    **further: Any,
) -> str:
    """The YAML at the top of a card, which the hub reads.

    Args:
        licence: As the hub calls it, or in one's own words.
        base_model: Hub id of the encoder, if it has one.
        tags: Words that it is to be found by.
        **further: More fields of `huggingface_hub.ModelCardData`.
    """
    from huggingface_hub import ModelCardData

    known = licence.lower() in _LICENCES
    data = ModelCardData(
        library_name="voxadapt",
        license=licence.lower() if known else "other",
        license_name=None if known else licence,
        base_model=base_model,
        tags=list(tags),
        **further,
    )
    return f"---\n{data.to_yaml()}\n---"


def hub_id(backbone: Mapping[str, Any]) -> str | None:
    """The hub id in a backbone's config; None for the filterbank, a folder, or one in memory."""
    name = backbone.get("name_or_path")
    if not isinstance(name, str) or os.path.isdir(name) or name.count("/") > 1:
        return None
    return None if name.startswith((".", "/", "~")) else name


def classifier_card(config: Mapping[str, Any], place: str = PLACE) -> str:
    """Model card of a `SpeechClassifier`.

    Args:
        config: What its ``config.json`` holds; ``extras["results"]`` are what it scored, and
            ``extras["options"]`` how it was trained, where those are known.
        place: Folder or hub id to show in the examples.
    """
    extras, head = config.get("extras", {}), config["frame_classifier"]
    options, results = extras.get("options", {}), extras.get("results")
    data = [_data_name(name) for name in options.get("data") or []]
    named = hub_id(config["backbone"])
    tags = ["audio-classification", "speech", "voxadapt", head["pooler"]["name"]]
    further = model_index(results, "Voxadapt classifier") if results else {}
    top = front_matter(
        str(extras.get("licence", "unknown")),
        named,
        tags,
        pipeline_tag="audio-classification",
        datasets=_hub_datasets(data) or None,
        **further,
    )
    return f"""{top}
# {_title(config)}

A frozen encoder, an adapter, a pooler and a linear layer, trained with voxadapt.

{_outputs_section(config)}
## How to use

```python
from voxadapt import SpeechClassifier
model = SpeechClassifier.from_pretrained("{place}")
print(model.predict("clip.wav"))
```

It takes files of any rate and number of channels. With transformers, where `voxadapt` is installed
and imported, `pipeline("audio-classification", model="{place}")` does the same for samples at
{config["sample_rate"]:,} Hz. From a shell: `voxadapt predict {place} clip.wav`.

## What it is made of

{_parts_section(config)}
## Data and licence

- trained on: {", ".join(f"`{name}`" for name in data) or "not told"}
- licence of this model: {extras.get("licence", "unknown")}
{_encoder_licence(config)}
{results_section(results) if results else "No test results are kept with this model."}
"""


def _hub_datasets(data: Sequence[str]) -> list[str]:
    names = [name.removeprefix("hf:") for name in data if name.startswith("hf:")]
    return [re.split("[:@]", name)[0] for name in names if not os.path.isdir(name)]


def _title(config: Mapping[str, Any]) -> str:
    if "dimensions" in config:
        return f"Speech regression: {', '.join(config['dimensions'])}"
    columns = config.get("columns")
    what = f"{', '.join(columns)}" if columns else f"{len(config['labels'])} classes"
    return f"Speech classification: {what}"


def _outputs_section(config: Mapping[str, Any]) -> str:
    if "dimensions" in config:
        lines = [
            f"- `{name}` (training labels: mean {value['mean']:.3g}, standard deviation "
            f"{value['std']:.3g})"
            for name, value in config["dimensions"].items()
        ]
        return "## Values\n\n" + "\n".join(lines) + "\n"
    columns = config.get("columns") or {"label": config["labels"]}
    lines = [
        f"- {name}: {', '.join(f'`{label}`' for label in labels)}"
        for name, labels in columns.items()
    ]
    return "## Labels\n\n" + "\n".join(lines) + "\n"


def _parts_section(config: Mapping[str, Any]) -> str:
    backbone, head = config["backbone"], config["frame_classifier"]
    if backbone["type"] == "fbank":
        encoder = "log-Mel filterbank, computed; there is nothing to download"
    else:
        where = "in `backbone/`" if backbone.get("bundled") else "fetched when the model is loaded"
        encoder = (
            f"`{_encoder_name(backbone)}`, revision `{backbone.get('revision')}`, layer "
            f"{backbone['layer']}, {where}"
        )
    adapter = {
        "WAPTransformer": "WAP-Transformer (arXiv 2509.23795)",
        "BottleneckAdapter": "residual bottleneck (arXiv 1902.00751)",
        "FeatureStandardizer": "none; features are standardised",
    }[head["adapter"]["class"]]
    tuning = config.get("tuning")
    lines = [
        f"- encoder: {encoder}",
        *([f"- trained in the encoder: {tuning['method']}"] if tuning else []),
        f"- adapter: {adapter}",
        f"- pooler: {head['pooler']['name']}",
        f"- outputs: {head['classes']}",
    ]
    return "\n".join(lines) + "\n"


def _encoder_name(backbone: Mapping[str, Any]) -> str:
    """Its hub id; of a folder the last part: where it lay says nothing to others."""
    return hub_id(backbone) or Path(str(backbone["name_or_path"])).name


def _encoder_licence(config: Mapping[str, Any]) -> str:
    if config["backbone"]["type"] == "fbank":
        return ""
    licence = config.get("extras", {}).get("backbone_licence")
    return f"- licence of the encoder: {licence or 'not told by its card'}\n"


def _data_name(name: str) -> str:
    """A dataset of the hub as it is named; of a file or folder the last part."""
    return name if name.startswith("hf:") else Path(name).name
