"""Real weights, where they are: beside the media, in `weights`."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import encoders
from encoders import measure
from encoders.adapters.silero_vad import SileroVad
from encoders.launch import encode_clip


@pytest.fixture(scope="module")
def weights(media: Path) -> Path:
    folder = media.parent / "weights"
    if not folder.is_dir():
        pytest.skip("there is no folder `weights` beside the media")
    return folder


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def some_frames(path: Path, count: int, size: int) -> torch.Tensor:
    """Return frames of a video, cut to a square and scaled: uint8 [T, 3, H, W]."""
    import av
    import cv2

    frames = []
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            picture = frame.to_ndarray(format="rgb24")
            edge = min(picture.shape[:2])
            top, left = ((side - edge) // 2 for side in picture.shape[:2])
            square = picture[top : top + edge, left : left + edge]
            frames.append(cv2.resize(square, (size, size), interpolation=cv2.INTER_AREA))
            if len(frames) == count:
                break
    return torch.from_numpy(np.stack(frames)).permute(0, 3, 1, 2).contiguous()


@pytest.mark.media
@pytest.mark.slow
@pytest.mark.parametrize(("video", "least"), [("bikes.mp4", 37.0), ("carphone_pristine.mp4", 30.0)])
def test_taesd_brings_real_frames_back(media: Path, weights: Path, video: str, least: float) -> None:
    """FLUX.2's TAESD, stored as float16, gives frames back as well as it was measured to."""
    encoder = encoders.load_encoder(f"hf:{weights / 'taesd' / 'taef2_encoder.pth'}", size=128)
    assert encoder.spec.encoder == "hf:taef2"
    assert encoder.spec.shape == (32, 16, 16)
    quality = measure(encoder, [some_frames(media / "video" / video, 2, 128)], Fraction(8))
    assert quality.figures["psnr_db"] > least


THEIRS = {
    "stft_conv.weight": "stft.forward_basis_buffer",
    **{
        f"conv{number + 1}.{what}": f"encoder.{number}.reparam_conv.{what}"
        for number in range(4)
        for what in ("weight", "bias")
    },
    **{
        f"lstm_cell.{what}": f"decoder.rnn.{what}"
        for what in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    },
    "final_conv.weight": "decoder.decoder.2.weight",
    "final_conv.bias": "decoder.decoder.2.bias",
}
"""Our weights' names, and those of the authors' TorchScript."""


@pytest.mark.filterwarnings("ignore:.*torch.jit.load:DeprecationWarning")
def test_silero_is_the_authors_network(weights: Path, tmp_path: Path) -> None:
    """With the weights of the authors' TorchScript (another training than the bare ones), our network gives
    its probabilities, window by window.
    """
    script = torch.jit.load(weights / "silero_vad" / "silero_vad.jit")  # type: ignore[no-untyped-call]
    tensors = script.state_dict()
    renamed = {ours: tensors[f"_model.{theirs}"] for ours, theirs in THEIRS.items()}
    save_file(renamed, tmp_path / "silero_vad.safetensors")
    encoder = encoders.load_encoder(f"hf:{tmp_path / 'silero_vad.safetensors'}")
    assert isinstance(encoder, SileroVad)
    n = np.arange(512 * 40)
    voice = np.sin(0.05 * n) * np.sin(0.002 * n) + 0.5 * np.sin(0.11 * n) + 0.3 * np.sin(0.17 * n)
    sound = torch.from_numpy((0.3 * voice).astype(np.float32))[None]
    state = torch.zeros(2, 1, 128)
    before = torch.zeros(1, 64)
    with torch.no_grad():
        for start in range(0, sound.shape[1], 512):
            window = sound[:, start : start + 512]
            state = encoder._next(encoder._seen(torch.cat([before, window], 1)), state)
            ours, theirs = float(encoder._speech(state[0])), float(script(window, 16_000))
            assert ours == pytest.approx(theirs, abs=1e-4)
            before = window[:, -64:]


@pytest.mark.media
def test_silero_hears_speech(media: Path, weights: Path) -> None:
    """Silence is no speech, and a recording with speech has some."""
    encoder = encoders.load_encoder(f"hf:{weights / 'silero_vad' / 'silero_vad_16k.safetensors'}")
    silence = encode_clip(encoder, torch.zeros(1, 48_000))
    assert silence.tokens.max() < 0.2
    speech = encode_clip(encoder, _sound(media / "video" / "flipping_a_pancake.mkv", 4 * 16_000))
    assert speech.tokens.max() > 0.9


def _sound(path: Path, samples: int) -> torch.Tensor:
    import av

    resampler = av.AudioResampler("fltp", "mono", 16_000)
    pieces: list[np.ndarray] = []
    with av.open(str(path)) as container:
        for frame in container.decode(audio=0):
            pieces += [out.to_ndarray() for out in resampler.resample(frame)]
            if sum(piece.shape[1] for piece in pieces) >= samples:
                break
    return torch.from_numpy(np.concatenate(pieces, axis=1)[:, :samples].copy())
