# SPDX-License-Identifier: Apache-2.0
"""The JSON that the endpoint sends, as its documentation describes it."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from voxadapt.outputs import LabelOutputs, Outputs
from voxadapt.prediction import Prediction


class PredictQuery(BaseModel):
    """Options of `/predict`, in the address."""

    model_config = ConfigDict(extra="forbid")

    embedding: bool = Field(False, description="Also give the pooled vector of the clip.")
    frames: bool = Field(False, description="Also give the pooler's weight of each frame.")


class TimelineQuery(BaseModel):
    """Options of `/timeline`, in the address."""

    model_config = ConfigDict(extra="forbid")

    window: float = Field(3.0, gt=0, le=60, description="Seconds that the model hears at a time.")
    hop: float = Field(1.0, ge=0.1, le=60, description="Seconds from one window to the next.")
    gate: Literal["none", "energy"] = Field(
        "none", description="Leave out what is no speech: by its energy, or not at all."
    )


class FrameAnswer(BaseModel):
    """Where the pooler listened."""

    times: list[float] = Field(description="Middle of each frame, in seconds.")
    weights: list[list[float]] = Field(
        description="For each head of the pooler, the weight of each frame; they add up to 1."
    )


class PredictAnswer(BaseModel):
    """What the model says of a clip."""

    label: str | None = Field(
        description="The most probable label; null where the model gives values."
    )
    probabilities: dict[str, float] = Field(
        description="Probability of each label, of the first column where there are several."
    )
    columns: dict[str, dict[str, float]] | None = Field(
        default=None, description="Probabilities by column, where the model knows several columns."
    )
    values: dict[str, float] | None = Field(
        default=None, description="Value of each dimension, where the model gives values."
    )
    seconds: float = Field(description="Length of the clip.")
    embedding: list[float] | None = Field(
        default=None, description="The pooled vector, where asked for."
    )
    frames: FrameAnswer | None = Field(default=None, description="Frame weights, where asked for.")


class LabelsAnswer(BaseModel):
    """What the model can say."""

    labels: list[str] = Field(description="Labels of the first column.")
    columns: dict[str, list[str]] = Field(description="Labels of each column.")
    dimensions: list[str] = Field(description="What its values are, where the model gives values.")


class LimitsAnswer(BaseModel):
    """What is allowed."""

    seconds: float = Field(description="Length of a clip.")
    timeline_seconds: float = Field(description="Length of a recording for a timeline.")
    bytes: int = Field(description="Bytes of an upload.")
    waiting: int = Field(description="Clips that may wait.")


class HealthAnswer(BaseModel):
    """Whether the server answers, and what it is."""

    status: str = Field(description="`ok`, or `stopped`, then with status 503.")
    model: str = Field(description="The folder or hub id, without its path.")
    backbone: str
    version: str = Field(description="Version of voxadapt.")
    waiting: int = Field(description="Clips that wait now.")
    answered: int = Field(description="Clips that were computed since the start.")
    batches: int = Field(description="Forward passes that they took.")
    limits: LimitsAnswer


class ErrorDetail(BaseModel):
    """Why there is no answer."""

    code: str = Field(description="For programs, such as `too_long`, `unreadable` or `busy`.")
    message: str = Field(description="What was found, what is allowed, what to do.")


class ErrorAnswer(BaseModel):
    """What is sent with any status of 400 and above."""

    error: ErrorDetail


def predict_answer(prediction: Prediction, query: PredictQuery) -> PredictAnswer:
    """Turn a prediction into what is sent; what was not asked for stays unset."""
    answer = PredictAnswer(
        label=prediction.label,
        probabilities=prediction.probabilities,
        seconds=round(prediction.seconds, 6),
    )
    if len(prediction.columns) > 1:
        answer.columns = prediction.columns
    if prediction.values:
        answer.values = prediction.values
    if query.embedding:
        answer.embedding = prediction.embedding.tolist()
    if query.frames and prediction.frame_weights is not None:
        times, weights = prediction.frame_weights.times, prediction.frame_weights.weights
        answer.frames = FrameAnswer(
            times=[round(time, 6) for time in times.tolist()], weights=weights.tolist()
        )
    return answer


def labels_answer(outputs: Outputs) -> LabelsAnswer:
    """Turn a model's outputs into what is sent."""
    if isinstance(outputs, LabelOutputs):
        columns = {name: list(labels) for name, labels in outputs.columns.items()}
        return LabelsAnswer(labels=outputs.labels, columns=columns, dimensions=[])
    return LabelsAnswer(labels=[], columns={}, dimensions=list(outputs.names))
