"""Mel spectrograms: Whisper's and Kaldi's, and the encoder `logmel`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tiny_models
import torch

import encoders
from encoders import WrongInput, WrongSetting
from encoders.launch import encode_clip, reconstruct_clip
from encoders.mel import HOP, WINDOW, kaldi_mel, mel_power, slaney_filters, whisper_mel


def chirp(samples: int) -> torch.Tensor:
    """A chirp over noise, float32 [1, N]."""
    n = np.arange(samples)
    noise = np.random.default_rng(5).normal(0, 0.01, samples)
    return torch.from_numpy((0.4 * np.sin(2e-3 * n + 1e-6 * n**2) + noise).astype(np.float32)[None])


@pytest.mark.parametrize("bands", [80, 128])
def test_the_filters_are_whispers(media: Path, bands: int) -> None:
    """Our filter bank is the one that Whisper ships, to float32."""
    path = media.parent / "weights" / "whisper" / "mel_filters.npz"
    if not path.is_file():
        pytest.skip("no weights/whisper/mel_filters.npz beside the media")
    with np.load(path, allow_pickle=False) as banks:
        assert np.allclose(slaney_filters(bands), banks[f"mel_{bands}"], rtol=0, atol=1e-8)


def test_whispers_spectrogram_is_the_librarys() -> None:
    """What Whisper is given is what the extractor of transformers gives it."""
    extractor = tiny_models.transformers().WhisperFeatureExtractor(feature_size=80)
    sound = chirp(40_000)
    wanted = extractor(sound[0].numpy(), sampling_rate=16_000, return_tensors="np")["input_features"][0]
    window = torch.nn.functional.pad(sound, (0, 480_000 - 40_000))
    assert np.allclose(whisper_mel(window, 80)[0].numpy(), wanted, atol=1e-5)


def test_kaldis_filter_bank_is_the_librarys() -> None:
    """Our fbank is that of the extractor of SeamlessM4T, which follows Kaldi."""
    extractor = tiny_models.transformers().SeamlessM4TFeatureExtractor()
    sound = chirp(16_000)
    wanted = extractor._extract_fbank_features(sound[0].numpy())
    assert np.allclose(kaldi_mel(sound, 80)[0].numpy(), wanted, atol=1e-2)


def test_logmel_frames_are_their_definition() -> None:
    """Frame t is the logarithm of the mel power of samples [160 t - 240, 160 t + 160), silence before."""
    encoder = encoders.load_encoder("logmel", bands=40)
    sound = chirp(24_000)
    made = encode_clip(encoder, sound)
    assert made.tokens.shape == (200, 40)
    assert made.tokens.dtype == np.float16
    padded = torch.nn.functional.pad(sound, (WINDOW - HOP, 8_000))
    for frame in (0, 1, 99, 100, 149):
        power = mel_power(padded[:, frame * HOP : frame * HOP + WINDOW], 40)
        wanted = (power.clamp(min=1e-10).log10() + 4) / 4
        assert np.allclose(made.tokens[frame], wanted[0].numpy(), atol=2e-3)


def test_logmel_keeps_the_contract() -> None:
    """Frames don't hear what comes later, a spec rebuilds the encoder, and no sound comes back."""
    encoder = encoders.load_encoder("logmel")
    sound = chirp(40_000)
    whole, part = encode_clip(encoder, sound), encode_clip(encoder, sound[:, :16_000])
    assert np.array_equal(whole.tokens[:100], part.tokens)
    again = encoders.encoder_for(encoder.spec)
    assert np.array_equal(encode_clip(again, sound).tokens, whole.tokens)
    with pytest.raises(WrongInput, match="no media come back"):
        reconstruct_clip(encoder, whole.tokens, whole.valid)
    with pytest.raises(WrongSetting, match="bands must be one of"):
        encoders.load_encoder("logmel", bands=81)
