# SPDX-License-Identifier: Apache-2.0
import re

import pytest
import torch
from torch import nn

from voxadapt.backbones import FAMILIES, EncoderBackbone
from voxadapt.backbones.families import family_list

PREFIXES = {
    "hubert": "Hubert",
    "wav2vec2": "Wav2Vec2",
    "wavlm": "WavLM",
    "unispeech-sat": "UniSpeechSat",
    "data2vec-audio": "Data2VecAudio",
    "wav2vec2-bert": "Wav2Vec2Bert",
    "whisper": "Whisper",
}
TASKS = (
    "PreTraining",
    "CTC",
    "SequenceClassification",
    "AudioFrameClassification",
    "XVector",
    "ConditionalGeneration",
    "AudioClassification",
)
KIND_OF = {
    "hubert": "hubert-stable",
    "wav2vec2": "mms",
    "wavlm": "wavlm-group",
    "unispeech-sat": "unispeech-sat-group",
    "data2vec-audio": "data2vec",
    "wav2vec2-bert": "wav2vec2-bert",
    "whisper": "whisper",
}


def head_classes():
    """Every model of transformers with a head on one of our encoders."""
    import transformers

    for model_type, prefix in PREFIXES.items():
        for task in TASKS:
            head_class = getattr(transformers, f"{prefix}For{task}", None)
            if head_class is not None:
                yield model_type, head_class


def build(tiny_config, model_type, head_class):
    torch.manual_seed(0)
    return head_class(tiny_config(KIND_OF[model_type], use_weighted_layer_sum=True)).eval()


def head_ids():
    return [head_class.__name__ for _, head_class in head_classes()]


@pytest.fixture(params=list(head_classes()), ids=head_ids())
def with_head(request, tiny_config):
    return request.param[0], build(tiny_config, *request.param)


def test_there_are_heads_to_test():
    assert {model_type for model_type, _ in head_classes()} == set(FAMILIES)
    assert len(head_ids()) > 25


def test_what_a_head_adds_is_known_and_nothing_of_the_encoder_is(with_head):
    """A rule too few refuses good checkpoints; one too many lets damaged ones pass."""
    model_type, model = with_head
    family = FAMILIES[model_type]
    encoder_keys = {f"{prefix}{key}" for prefix, key in encoder_keys_of(model, model_type)}
    for key in model.state_dict():
        bare = key.removeprefix(f"{model.base_model_prefix}.")
        for pattern, replacement in family.key_mapping.items():
            bare = re.sub(pattern, replacement, key)
        expected = bare not in encoder_keys or bare == "masked_spec_embed"
        unexpected = any(re.match(rule, bare) for rule in family.may_be_unexpected)
        assert unexpected is expected, key
        missing = any(re.match(rule, bare) for rule in family.may_be_missing)
        assert missing is (bare == "masked_spec_embed"), key


def encoder_keys_of(model, model_type):
    bare = getattr(model, model.base_model_prefix, model)
    bare = bare.get_encoder() if model_type == "whisper" else bare
    return [("", key) for key in bare.state_dict()]


@pytest.mark.parametrize("in_memory", [False, True])
def test_a_model_with_a_head_gives_the_bare_encoder(with_head, in_memory, tmp_path):
    model_type, model = with_head
    bare = getattr(model, model.base_model_prefix, model)
    loaded = FAMILIES[model_type].load_class()(model.config)
    source = bare.get_encoder() if model_type == "whisper" else bare
    loaded.load_state_dict(source.state_dict())
    expected = EncoderBackbone.from_model(loaded).fingerprint()
    if in_memory:
        assert EncoderBackbone.from_model(model).fingerprint() == expected
    else:
        model.save_pretrained(tmp_path)
        assert EncoderBackbone.from_pretrained(str(tmp_path)).fingerprint() == expected


def test_lora_targets_are_linear_layers_of_every_layer(kind, tiny_model):
    backbone = EncoderBackbone.from_model(tiny_model(kind))
    targets = backbone.family.lora_targets
    for layer in backbone.encoder.layers:
        found = [
            name.rpartition(".")[2]
            for name, module in layer.named_modules()
            if isinstance(module, nn.Linear) and name.rpartition(".")[2] in targets
        ]
        assert sorted(found) == sorted(targets)


def test_the_list_names_each_family():
    assert len(FAMILIES) == 7
    for word in ("HuBERT", "wav2vec 2.0", "WavLM", "UniSpeech-SAT", "data2vec", "BERT", "Whisper"):
        assert word in family_list()
