# SPDX-License-Identifier: Apache-2.0
"""What transformers' Auto classes know of a saved model: its config, and where its class is.

Importing this needs transformers' configuration classes only; the model's class is imported when a
model is loaded.
"""

from typing import Any

from transformers.configuration_utils import PretrainedConfig

from .classifier_names import MODEL_TYPE


class VoxadaptConfig(PretrainedConfig):
    """A saved model's ``config.json``, as transformers sees it.

    Its fields are attributes; ``id2label``, ``label2id`` and ``problem_type`` are made from what
    the model's outputs mean. Of several label columns they are those of the first.
    """

    model_type = MODEL_TYPE

    def __init__(self, **fields: Any) -> None:
        names = _output_names(fields)
        if names:
            given = fields.pop("num_labels", len(names))
            if given != len(names):
                raise ValueError(
                    f"num_labels: found {given}, but this model was trained for {len(names)}: "
                    f"{', '.join(names)}. Leave it out; for other labels, train with "
                    "`voxadapt finetune`."
                )
            fields.setdefault("id2label", dict(enumerate(names)))
            fields.setdefault("label2id", {name: number for number, name in enumerate(names)})
        if "dimensions" in fields:
            fields["problem_type"] = "regression"
        super().__init__(**fields)


class VoxadaptForAudioClassification:
    """Stands in the Auto classes for the model's class, and imports it when it is asked for.

    The real class needs all of transformers' modelling code, which must not be imported while
    transformers itself is.
    """

    config_class = VoxadaptConfig

    @classmethod
    def from_pretrained(cls, *arguments: Any, **options: Any) -> Any:
        """Load a model; see `voxadapt.transformers_model`."""
        return _model_class().from_pretrained(*arguments, **options)

    @classmethod
    def _from_config(cls, *arguments: Any, **options: Any) -> Any:
        return _model_class()._from_config(*arguments, **options)


def _model_class() -> Any:
    from .transformers_model import VoxadaptForAudioClassification as ModelClass

    return ModelClass


def _output_names(fields: dict[str, Any]) -> list[str]:
    if "dimensions" in fields:
        return list(fields["dimensions"])
    if "columns" in fields:
        return list(next(iter(fields["columns"].values())))
    return list(fields.get("labels", []))
