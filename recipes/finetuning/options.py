# SPDX-License-Identifier: Apache-2.0
"""Options of ``finetune``."""

import math
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from voxadapt.backbones import OpenLayers, Tuning
from voxadapt.recipes.corpora.protocols import find_protocol
from voxadapt.recipes.finetuning.groups import (
    BottleneckOptions,
    FinetuneOptimizerOptions,
    HeadOptions,
    SpecAugmentOptions,
)
from voxadapt.recipes.finetuning.lora_option import parse_lora
from voxadapt.recipes.pretraining.options import AdapterSize
from voxadapt.recipes.running.options import (
    FINETUNE_OUT,
    CorpusOptions,
    check_batch_seconds,
    require,
)

__all__ = [
    "BottleneckOptions",
    "FinetuneOptimizerOptions",
    "FinetuneOptions",
    "HeadOptions",
    "SpecAugmentOptions",
    "tuning_of",
]


@dataclass
class FinetuneOptions(CorpusOptions):
    """Fine-tune an adapter, a pooler and a linear layer on labelled speech.

    The backbone stays frozen and its frames are cached; where layers of it are trained too
    (`--lora`, `--unfreeze-top`), the frames below those layers are. The epoch is chosen on the
    validation part (speaker-disjoint where speakers are known), the model saved and loaded back,
    and only then the test part is scored, once.

    Args:
        pool: How frames become one vector: statistical attentive pooling (`sap`), `mean`,
            multi-head `attentive` average pooling, or multi-head `qkv` pooling.
        adapter: A pretraining run's folder (or a hub id), `random` for an adapter that was not
            pretrained, `bottleneck` for a small residual one (Houlsby et al. 2019) that starts as
            if there were none, or `none`. Left out, the adapter of runs/pretrain is taken where
            there is one that fits the backbone, else `random`.
        lora: Train low-rank updates of the encoder's attention (LoRA), in all layers that are run:
            `r=8` or `r=8,alpha=16,dropout=0.05`; alpha is twice r and dropout 0 where left out.
        unfreeze_top: Train this many of the encoder's top layers, counted down from `--layer`.
        out: The run's folder: model/, metrics.json, predictions.jsonl, report.html.
        task: `classification` of labels, or `regression` of dimensional labels such as arousal and
            valence, whose loss and score is the concordance correlation coefficient (CCC).
        label: Column to learn, or several with commas between: `emotion,speaker` trains one linear
            layer for each, and the first decides which epoch is kept; `arousal,valence,dominance`
            are the dimensions of a regression.
        label_weights: Weight of each label column's loss in their average; 1 where left out.
        class_weights: `balanced` lets the loss of a clip count by the inverse frequency of its
            class in the training part.
        sampling: Which clips an epoch trains on: all, each once (`natural`), or as many in total
            with every class of the first label column alike often (`balanced`), so that clips of a
            rare class come several times and clips of a common one not in every epoch.
        mixup: Trains on mixtures of two clips, with shares drawn from Beta(MIXUP, MIXUP)
            (arXiv 1710.09412); 0 does not. 0.2 is usual.
        patience: Stop when the score on the validation part (UA, or CCC) has not risen for this
            many epochs. Left out, all epochs are run.
        seed: Seed of everything random.
        seeds: Number of runs, with seeds counted up from --seed; the results are their mean.
        protocol: What is tested. `official`: the parts of the `split` column. `kfold`: each fold of
            the `fold` column. `leave-one-session-out`: each value of the `session` column.
            `leave-one-speaker-out`: each speaker. `speaker-disjoint-kfold`: speakers drawn into
            --num-folds folds. `speaker-disjoint-random`: a fifth of the speakers.
            `stratified-random`: a fifth of each label's clips. Left out: `kfold` with --fold, else
            `official` where there is a `split` column, else a random one.
        fold: Fold to test on, of a protocol that has folds: a value of the `fold` or `session`
            column, a speaker, or a number; `all` runs every fold. Also written --folds.
        num_folds: Folds of `speaker-disjoint-kfold`.
        split_seed: Seed of all parts that are drawn, whatever the --seed. Left out, test and
            validation are drawn anew for each seed, and folds by --seed.
        jobs: Runs side by side, each in a process of its own, where there are several folds or
            seeds. They share out the threads, unless OMP_NUM_THREADS is set.
        test_data: Manifests of other corpora to test on as well, once, at the end.
        test_split: Part of them to test on: `train`, `valid` or `test` of the `split` column, or
            `all`.
        label_map: YAML file, `their label: our label` a line, `null` to leave its clips out; for
            --test-data. A section with the name of a manifest is for that corpus, also for --data.
        epochs: Passes over the training part.
        batch_seconds: Seconds of audio, padding included, that one optimiser step sees, over all
            processes.
        passes: Forward passes that a step's clips are dealt out over, to save memory; changes
            nothing but what dropout draws.
        precision: `bf16` computes in half precision where the machine has it.
        resume: Go on with the run in --out.
        allow_speaker_overlap: Accept speakers that stand in more than one part, and so recordings
            that do under two names; the results say so.
        validation: What a validation part is cut from train by: whole speakers (`speaker`), or a
            share of each `label`, where test shares its speakers with train as well: with few
            speakers, those held back would be the ones that test asks for.
        adapter_dropout: Dropout inside the adapter while fine-tuning.
        adapter_statistics: Mean and deviation to which a pretrained adapter standardises frames:
            those of this `corpus`, its training part, so that another room or microphone does not
            move all of it; or those of `pretraining`.
        refit: Once the epoch is chosen, train again from the start on the training and validation
            part together, for as many epochs, and test that model: no labelled clip is left unused,
            for about twice the time.
        max_epochs: Stop after this many epochs, as if interrupted; --resume goes on. 0 computes
            the frames and trains nothing.
        report_clips: Test clips whose recording and spectrogram stand in report.html, under what
            the pooler listened to; 0 keeps all recordings out of the run's folder.
        licence: Licence to state in the model's card.
        report_map: Lay the test clips out in report.html as a map (t-SNE, some seconds).
    """

    aliases: ClassVar[dict[str, list[str]]] = {"fold": ["--folds"]}
    one_manifest: ClassVar[bool] = True

    pool: Literal["sap", "mean", "attentive", "qkv"] = "sap"
    adapter: str | None = None
    lora: str | None = None
    unfreeze_top: int | None = None
    out: str = FINETUNE_OUT
    task: Literal["classification", "regression"] = "classification"
    label: str = "label"
    label_weights: list[float] = field(default_factory=list)
    class_weights: Literal["none", "balanced"] = "none"
    sampling: Literal["natural", "balanced"] = "natural"
    mixup: float = 0.0
    patience: int | None = None
    seed: int = 0
    seeds: int = 1
    protocol: str | None = None
    fold: str | None = None
    num_folds: int = 5
    split_seed: int | None = None
    jobs: int = 1
    test_data: list[str] = field(default_factory=list)
    test_split: Literal["all", "train", "valid", "test"] = "all"
    label_map: str | None = None
    epochs: int = 30
    batch_seconds: float = 40.0
    passes: int = 1
    precision: Literal["fp32", "bf16"] = "fp32"
    resume: bool = False
    allow_speaker_overlap: bool = False
    validation: Literal["speaker", "label"] = "speaker"
    adapter_dropout: float = 0.1
    adapter_statistics: Literal["corpus", "pretraining"] = "corpus"
    refit: bool = False
    max_epochs: int | None = None
    report_clips: int = 12
    report_map: bool = True
    licence: str = "unknown"
    head: HeadOptions = field(default_factory=HeadOptions)
    spec_augment: SpecAugmentOptions = field(default_factory=SpecAugmentOptions)
    optimizer: FinetuneOptimizerOptions = field(default_factory=FinetuneOptimizerOptions)
    size: AdapterSize = field(default_factory=AdapterSize)
    bottleneck: BottleneckOptions = field(default_factory=BottleneckOptions)

    def __post_init__(self) -> None:
        for name in ("epochs", "seeds", "passes", "jobs"):
            require(getattr(self, name) >= 1, f"--{name}", getattr(self, name), "at least 1")
        require(self.num_folds >= 2, "--num-folds", self.num_folds, "at least 2")
        require(self.report_clips >= 0, "--report-clips", self.report_clips, "0 or more")
        if self.protocol is not None:
            try:
                find_protocol(self.protocol)
            except ValueError as error:
                raise ValueError(f"--protocol: {error}") from None
        check_batch_seconds(self.batch_seconds)
        most = self.max_epochs
        require(most is None or most >= 0, "--max-epochs", most, "0 or more")
        dropout = self.adapter_dropout
        require(0 <= dropout < 1, "--adapter-dropout", dropout, "at least 0 and below 1")
        self._check_tuning()
        self._check_balance()
        if self.one_manifest and len(self.data) > 1:
            raise ValueError(
                f"--data: found {len(self.data)} manifests; finetune takes one. Join them into one "
                "file with a split or fold column"
            )

    def _check_balance(self) -> None:
        mixes = 0 <= self.mixup < math.inf
        require(mixes, "--mixup", self.mixup, "a finite number of 0 or more")
        patience = self.patience
        require(patience is None or patience >= 1, "--patience", patience, "1 or more")
        columns, weights = len(self.label.split(",")), self.label_weights
        usable = all(0 <= weight < math.inf for weight in weights) and any(weights)
        if weights and not (usable and len(weights) == columns):
            raise ValueError(
                f"--label-weights: found {weights}, give one finite number of 0 or more for each "
                f"of the {columns} columns of --label, not all 0"
            )
        balanced = [
            f"--{name} balanced"
            for name, value in (("class-weights", self.class_weights), ("sampling", self.sampling))
            if value == "balanced"
        ]
        if len(balanced) == 2:
            raise ValueError(
                f"{' and '.join(balanced)}: found both; each makes all classes count the same, and "
                "both together would favour rare ones. Leave one out"
            )
        if balanced and self.task == "regression":
            raise ValueError(f"{balanced[0]}: a regression has no classes; leave it out")

    def _check_tuning(self) -> None:
        top = self.unfreeze_top
        require(top is None or top >= 1, "--unfreeze-top", top, "at least 1")
        if self.lora is not None and top is not None:
            raise ValueError(
                "--lora and --unfreeze-top: found both; the layers are either trained whole or by "
                "LoRA. Leave one out"
            )
        if tuning_of(self) is not None and self.backbone == "fbank":
            raise ValueError(
                f"{'--unfreeze-top' if self.lora is None else '--lora'}: the backbone is fbank, a "
                "filterbank, which has no layers to train; name an encoder with --backbone"
            )


def tuning_of(options: FinetuneOptions) -> Tuning | None:
    """What of the encoder trains; None where all of it is frozen.

    Raises:
        ValueError: The text of ``--lora`` cannot be read.
    """
    if options.lora is not None:
        return parse_lora(options.lora)
    return None if options.unfreeze_top is None else OpenLayers(options.unfreeze_top)
