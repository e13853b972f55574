"""`opus` and `h264`: streams that other decoders read, chunk by chunk, the same every time."""

from __future__ import annotations

import io
from fractions import Fraction
from typing import Any

import av
import numpy as np
import pytest
import torch

from encoders import Encoder, TokenArray, WrongInput, WrongSetting, WrongSpec, encoder_for, load_encoder
from encoders.launch import encode_clip, reconstruct_clip


def tone(seconds: float, hertz: float = 440, rate: int = 48_000) -> torch.Tensor:
    n = np.arange(int(seconds * rate))
    return torch.from_numpy((0.4 * np.sin(2 * np.pi * hertz * n / rate)).astype(np.float32)[None])


def ramp(frames: int, height: int = 48, width: int = 64) -> torch.Tensor:
    """A gradient that moves by 2 pixels a frame: uint8 [T, 3, H, W]."""
    x = np.arange(width)[None, :] * 3 + np.arange(height)[:, None]
    clip = np.stack([np.stack([x + 2 * t, 200 - x, x // 2 + 30]) for t in range(frames)])
    return torch.from_numpy(clip.clip(0, 255).astype(np.uint8))


def signal_to_noise(clean: torch.Tensor, made: torch.Tensor) -> float:
    return float(10 * torch.log10(clean.square().sum() / (clean - made).square().sum()))


def test_opus_packets_are_of_equal_length_and_in_time() -> None:
    """51 packets a second of the bytes that the bit rate says; what comes back lies where it was."""
    encoder = load_encoder("opus", bit_rate=64_000)
    tokens = encode_clip(encoder, tone(2.5))
    assert tokens.offsets is not None
    assert np.diff(tokens.offsets).tolist() == [160] * 153
    back = reconstruct_clip(encoder, tokens.tokens, tokens.valid, tokens.offsets)
    assert back.shape == (1, 120_000)
    assert signal_to_noise(tone(2.5), back) > 25


def test_another_decoder_reads_the_packets() -> None:
    """The packets of a chunk, put into an Ogg file, are Opus to whoever reads it, with the tone in it."""
    encoder = load_encoder("opus", bit_rate=48_000)
    tokens = encode_clip(encoder, tone(1))
    assert tokens.offsets is not None
    data = tokens.tokens.tobytes()
    context = av.CodecContext.create("opus", "r")  # FFmpeg's own decoder, not libopus
    context.sample_rate, context.layout = 48_000, "mono"
    samples = np.concatenate(
        [
            frame.to_ndarray()[0]
            for start, stop in zip(tokens.offsets[:-1], tokens.offsets[1:], strict=True)
            for frame in context.decode(av.Packet(data[start:stop]))
        ]
    )
    spectrum = np.abs(np.fft.rfft(samples[4800:28_800]))
    assert abs(int(spectrum.argmax()) * 2 - 440) <= 2


def test_opus_counts_what_it_can_not_hold() -> None:
    """NaN is silence; it and samples beyond 1 are counted."""
    encoder = load_encoder("opus")
    sound = tone(0.5)
    sound[0, 5], sound[0, 6] = float("nan"), 1.5
    assert encode_clip(encoder, sound).saturated == 2


def test_h264_groups_are_closed_and_make_one_stream() -> None:
    """Each group decodes by itself, and all of a clip, one after the other, play in any player."""
    encoder = load_encoder("h264", size=[48, 64], frames=4, crf=10)
    clip = ramp(12)
    tokens = encode_clip(encoder, clip)
    assert tokens.offsets is not None
    assert len(tokens.offsets) == 4
    back = reconstruct_clip(encoder, tokens.tokens, tokens.valid, tokens.offsets)
    error = (back.to(torch.float64) - clip.to(torch.float64)).square().mean()
    assert 10 * torch.log10(255**2 / error) > 38
    last = encoder.reconstruct(
        TokenArray(
            torch.from_numpy(tokens.tokens[tokens.offsets[2] :]),
            torch.tensor([0, tokens.offsets[3] - tokens.offsets[2]]),
        )
    )
    assert torch.equal(last[0], back[8:])
    with av.open(io.BytesIO(tokens.tokens.tobytes()), "r", format="h264") as container:
        frames = list(container.decode(video=0))
    assert len(frames) == 12
    assert [index for index, frame in enumerate(frames) if frame.key_frame] == [0, 4, 8]


def test_a_lower_crf_is_closer() -> None:
    """More bytes, smaller errors."""
    sizes, errors = [], []
    for crf in (10, 25, 40):
        encoder = load_encoder("h264", size=[48, 64], frames=4, crf=crf)
        tokens = encode_clip(encoder, ramp(4))
        back = reconstruct_clip(encoder, tokens.tokens, tokens.valid, tokens.offsets)
        sizes.append(tokens.tokens.size)
        errors.append(float((back.to(torch.float64) - ramp(4).to(torch.float64)).square().mean()))
    assert sizes == sorted(sizes, reverse=True)
    assert errors == sorted(errors)


@pytest.mark.parametrize("name", ["opus", "h264"])
def test_another_library_may_read_but_not_write(name: str) -> None:
    """Bytes of another version are read; adding to them is refused, with what to install."""
    spec = load_encoder(name).spec
    stored = spec.to_json() | {"settings": dict(spec.settings) | {"library": "av 3.2.1, libavcodec 1.2.3"}}
    other: Encoder = encoder_for(stored)
    clip = tone(0.1) if name == "opus" else ramp(1, 256, 256)
    tokens = encode_clip(load_encoder(name), clip)
    reconstruct_clip(other, tokens.tokens, tokens.valid, tokens.offsets)
    with pytest.raises(WrongSpec, match=r"made with 'av 3.2.1, .*install av==3.2.1 to go on"):
        encode_clip(other, clip)


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("opus", {"bit_rate": 500}, "bit_rate from 6000 to 256000, got 500"),
        ("h264", {"crf": 60}, "crf from 0 to 51, got 60"),
        ("h264", {"frames": 0}, "groups of 1 to 256 frames, got frames=0"),
        ("h264", {"preset": "best"}, "preset must be one of ultrafast, .*, got 'best'"),
    ],
)
def test_settings_have_limits(name: str, settings: dict[str, Any], message: str) -> None:
    """A setting that the codec does not have is refused with what it has."""
    with pytest.raises(WrongSetting, match=message):
        load_encoder(name, **settings)


def test_damage_is_refused() -> None:
    """A group cut short, or packets that are none, raise with the step."""
    encoder = load_encoder("h264", size=[48, 64], frames=4)
    tokens = encode_clip(encoder, ramp(4))
    with pytest.raises(WrongInput, match=r"step 0 is (no H.264 stream|\d frames)"):
        reconstruct_clip(encoder, tokens.tokens[:40], 4, np.array([0, 40]))
    sound = load_encoder("opus")
    with pytest.raises(WrongInput, match=r"step \d is no Opus packet"):
        reconstruct_clip(sound, np.empty(0, np.uint8), 1, np.zeros(52, np.int64))
    with pytest.raises(WrongInput, match="5 steps are not whole chunks of opus"):
        reconstruct_clip(sound, np.empty(0, np.uint8), 1, np.zeros(6, np.int64))
    assert Fraction(1) == sound.spec.input.rate / 48_000  # type: ignore[operator]
