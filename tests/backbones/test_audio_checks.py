# SPDX-License-Identifier: Apache-2.0
import pickle

import pytest
import torch

from voxadapt.backbones.audio_checks import AudioError, check_content, check_rate, is_silent


def test_the_error_survives_pickling():
    error = AudioError("a.wav", "silent", "a.wav is silent.")
    copy = pickle.loads(pickle.dumps(error))
    assert (copy.path, copy.reason, str(copy)) == ("a.wav", "silent", "a.wav is silent.")


@pytest.mark.parametrize("rate", [2_000, 8_000, 192_000, 768_000])
def test_rates_of_recordings(rate):
    check_rate("it", rate)


@pytest.mark.parametrize("rate", [-1, 0, 1, 1_999, 768_001])
def test_rates_of_broken_headers(rate):
    with pytest.raises(AudioError, match="it has a sample rate") as caught:
        check_rate("it", rate)
    assert caught.value.reason == "out of range"


def test_one_step_of_16_bit_audio_is_sound_and_less_is_not():
    samples = torch.zeros(1_000)
    samples[500] = 1 / 32_768
    assert not is_silent(samples)
    check_content(samples, 16_000, "it", 0.01)
    assert is_silent(samples * 0.4)
    assert is_silent(torch.full((10,), 0.7))


def test_unscaled_16_bit_floats_pass():
    check_content(torch.tensor([0.0, 32_767.0]), 16_000, "it", 0.0)
