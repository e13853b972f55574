"""What every encoder promises, asked of every encoder.

To add one, register it: it is found here by its name. `SETTINGS` keeps launches small, and `LEAST_QUALITY`
is what was measured on the made media, less a small margin.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from torch import Tensor

import encoders
from encoders import ClipEncoder, ClipTokens, Encoder, Medium, TokenArray, TokenSpec, WrongInput, WrongSpec
from encoders.launch import encode_clip, reconstruct_clip, rows_of
from encoders.quality import measure

HEIGHT, WIDTH = 48, 64
NAMES = [name for name in encoders.encoder_names() if name != "logmel"]
"""`logmel` makes embeddings, from which nothing comes back, and not the same ones everywhere: `test_mel`."""
SIZE = {"size": [HEIGHT, WIDTH]}
SETTINGS: dict[str, dict[str, Any]] = {"pictures": SIZE, "depth": SIZE, "sound": {}, "signal": {}}
LENGTHS = {"pictures": 5, "depth": 5, "sound": 40_000, "signal": 500}

LEAST_QUALITY = {
    "frames-dct": ("psnr_db", 23.6),
    "fifth-video": ("psnr_db", 22.3),
    "jpeg": ("psnr_db", 31.2),
    "h264": ("psnr_db", 34.6),
    "depth-log": ("largest_relative_error", 0.0041),
    "sound-mdct": ("snr_db", 33.0),
    "fifth-audio": ("snr_db", -1.0),
    "opus": ("snr_db", 2.0),
    "mulaw-256": ("snr_db", 37.8),
    "bins-255": ("normalised_rmse", 0.0062),
    "mulaw-1024": ("normalised_rmse", 0.008),
    "fast-1024": ("normalised_rmse", 0.0092),
}
GOLDEN = {
    "frames-dct": "1c9b2a51fb020fa9936169abe1517924994b478c9543f9624cab6db926b57b81",
    "fifth-video": "69a70d89c91f1172f2d35cf37af1cb39a25c0ad45a55d30ce760fc8bf4384dc1",
    "depth-log": "0a4c27f90bddefbda784fe5ab5379b01558f697fc6b5caed1c5cbf1804eb25e0",
    "sound-mdct": "3cb9cd2977d00ebfef1a95580d95034c91ed8a5185b920605ea6773be344b351",
    "mulaw-256": "0eb800608462b4131805d416ac2dd314404f5316750b7194f095ee35174a8bed",
    "bins-255": "51b366296614d4fad5be56697040dd57625959feadd670c981e82634fd15c353",
    "fast-1024": "b6d7eda48cca96c62aeec9f77d244fbf6c65a31bc29e5e25ccaf43b16074bffa",
    "mulaw-1024": "e9ba9a67c02d6e94e28e30f426a49005e571539a3dde94b03ca90ed48b2b6602",
}
"""sha256 of the made clip's tokens. Another value means another revision. Codecs are not here: their
bytes are those of the library's version."""

INEXACT = {"opus": "libopus chooses its floating-point instructions by the processor"}

NETWORKS = {"fifth-audio"}
"""Inexact too: sums of floating-point numbers depend on their order, and that on threads and processors."""

every_encoder = pytest.mark.parametrize("name", NAMES)


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Small products on a machine that others use, too, are many times faster on one thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def pictures(frames: int, height: int = HEIGHT, width: int = WIDTH) -> Tensor:
    """A colour gradient that moves, with a patch of texture and a hard edge: uint8 [T, 3, H, W]."""
    y, x = np.mgrid[0:height, 0:width]
    texture = np.random.default_rng(7).integers(-40, 40, (height // 2, width // 2))
    clip = np.empty((frames, 3, height, width), np.int64)
    for index in range(frames):
        moved = x + 3 * index
        clip[index] = np.stack([moved * 2 % 256, y * 5 % 256, (moved + y) % 256])
        clip[index, :, : height // 2, : width // 2] = 128 + texture
        clip[index, :, height // 2 :, width // 2] = 250
    return torch.from_numpy(clip.clip(0, 255).astype(np.uint8))


def sound(samples: int, rate: int = 16_000) -> Tensor:
    """A chirp from 100 Hz up by 1 kHz a second, over a little noise: float32 [1, N], whole 1/32768ths."""
    n = np.arange(samples)
    chirp = 0.5 * np.sin(2 * np.pi * (100 * n / rate + 500 * (n / rate) ** 2))
    noise = np.random.default_rng(5).integers(-300, 300, samples) / 32768
    return torch.from_numpy((np.rint((chirp + noise) * 32768) / 32768).astype(np.float32)[None])


def signal(rows: int) -> Tensor:
    """Columns: a random walk, a constant, a switch, a walk with gaps: float32 [T, 4]."""
    steps, switch, gaps = (np.random.default_rng(seed) for seed in (1, 2, 3))
    walks = np.cumsum(steps.integers(-100, 101, (rows, 2)), axis=0) / 64
    values = np.stack([walks[:, 0], np.full(rows, 2.5), switch.integers(0, 3, rows), walks[:, 1]], axis=1)
    values[gaps.random(rows) < 0.1, 3] = np.nan
    return torch.from_numpy(values.astype(np.float32))


def depth(frames: int, height: int = HEIGHT, width: int = WIDTH) -> Tensor:
    """A wall that comes nearer, a box before it, and a border without distances: float32 [T, H, W]."""
    y, x = np.mgrid[0:height, 0:width]
    clip = np.empty((frames, height, width), np.float32)
    for index in range(frames):
        clip[index] = 8 - 0.25 * index + x / 64 + y / 128
        clip[index, height // 2 :, : width // 2] = 0.5 + index / 16
        clip[index, :, -3:] = np.nan
    return torch.from_numpy(clip)


MAKERS: dict[Medium, Callable[[int], Tensor]] = {
    "pictures": pictures,
    "depth": depth,
    "sound": sound,
    "signal": signal,
}


def clip_for(encoder: Encoder, length: int) -> Tensor:
    """Return a made clip of this many frames, samples or rows."""
    return MAKERS[encoder.spec.input.medium](length)


def noise_like(batch: Tensor, seed: int) -> Tensor:
    """Return noise that this batch could have been."""
    random = torch.Generator().manual_seed(seed)
    if batch.dtype == torch.uint8:
        return torch.randint(0, 256, batch.shape, dtype=torch.uint8, generator=random)
    return torch.rand(batch.shape, generator=random) * 2 - 1


@cache
def load(name: str, device: str = "cpu") -> Encoder:
    """Return the encoder with small launches, fitted."""
    encoder = encoders.load_encoder(name, device, **SETTINGS[encoders.medium_of(name)])
    return encoder.fit([signal(500).numpy()]) if encoder.spec.needs_fit else encoder


def made_clip(name: str) -> Tensor:
    return clip_for(load(name), LENGTHS[encoders.medium_of(name)])


def launch_of(encoder: Encoder) -> Tensor:
    """Return one launch, full of made media."""
    spec = encoder.spec.input
    rows = rows_of(clip_for(encoder, spec.chunk * 40), spec)
    return rows[torch.arange(spec.launch_batch) % len(rows)].contiguous()


def codes(result: TokenArray, steps: int) -> list[bytes]:
    """Return each row's tokens as bytes."""
    data = result.data.cpu().numpy()
    if result.offsets is None:
        return [row.tobytes() for row in data]
    edges = result.offsets.tolist()[::steps]
    return [data[start:stop].tobytes() for start, stop in pairwise(edges)]


def same_tokens(one: ClipTokens, other: ClipTokens) -> bool:
    assert (one.offsets is None) == (other.offsets is None)
    offsets = one.offsets is None or np.array_equal(one.offsets, other.offsets)  # type: ignore[arg-type]
    numbers = (one.valid, one.saturated) == (other.valid, other.saturated)
    return bool(offsets and numbers and np.array_equal(one.tokens, other.tokens))


def digest(tokens: ClipTokens) -> str:
    parts = [tokens.tokens.tobytes(), b"" if tokens.offsets is None else tokens.offsets.tobytes()]
    return hashlib.sha256(b"".join(parts)).hexdigest()


@every_encoder
def test_the_spec_survives_json(name: str) -> None:
    """A spec, written as JSON text and read back, is the same, and JSON holds what shards ask of it."""
    spec = load(name).spec
    data = json.loads(json.dumps(spec.to_json()))
    assert TokenSpec.from_json(data) == spec
    assert {"encoder", "revision", "weights_sha256", "kind", "dtype", "axes", "codebook_sizes"} <= set(data)
    assert data["encoder"] == name
    assert data["dtype"] in ("uint8", "uint16", "uint32", "float16")


@every_encoder
def test_a_stored_spec_rebuilds_the_encoder(name: str) -> None:
    """`encoder_for` makes an encoder with the same spec and the same tokens, fitted values included."""
    rebuilt = encoders.encoder_for(json.loads(json.dumps(load(name).spec.to_json())))
    assert rebuilt.spec == load(name).spec
    assert same_tokens(encode_clip(rebuilt, made_clip(name)), encode_clip(load(name), made_clip(name)))


@every_encoder
def test_another_revision_is_refused(name: str) -> None:
    """Tokens that another revision made are not taken for this one's; the message names both."""
    data = load(name).spec.to_json() | {"revision": 99}
    with pytest.raises(
        WrongSpec, match=rf"made with revision 99, this version has {load(name).spec.revision}$"
    ):
        encoders.encoder_for(data)
    with pytest.raises(WrongSpec, match="no token spec of this version"):
        encoders.encoder_for({"encoder": name})


@every_encoder
def test_only_whole_launches_are_taken(name: str) -> None:
    """A batch of another size, or of another dtype, is refused with both shapes."""
    encoder = load(name)
    launch = launch_of(encoder)
    for wrong in (launch[:-1], torch.cat([launch, launch[:1]]), launch.to(torch.float64)):
        with pytest.raises(WrongInput, match=r"takes launches of \w+ \[\d+"):
            encoder.encode(wrong)


@every_encoder
def test_tokens_are_what_the_spec_says(name: str) -> None:
    """Shape, dtype and range of the codes are the spec's."""
    encoder = load(name)
    spec = encoder.spec
    result = encoder.encode(launch_of(encoder))
    if spec.is_ragged:
        assert result.offsets is not None
        assert len(result.offsets) == spec.input.launch_batch * spec.steps_per_chunk + 1
        assert int(result.offsets[-1]) == len(result.data)
        assert str(result.data.dtype) == f"torch.{spec.dtype}"
        assert int(result.data.to(torch.int64).max()) < spec.codebook_sizes[0]
        return
    assert tuple(result.data.shape) == (spec.input.launch_batch, spec.steps_per_chunk, *spec.shape)
    assert str(result.data.dtype) == f"torch.{spec.dtype}"
    data = result.data.to(torch.int64)
    assert bool((data < torch.tensor(spec.codebook_sizes)).all())
    has_nothing = spec.input.medium in ("depth", "signal")
    lowest = torch.where(data == 0, spec.lowest_code, data) if has_nothing else data
    assert int(lowest.min()) >= spec.lowest_code


@every_encoder
def test_a_row_depends_on_itself_alone(name: str) -> None:
    """Rows in another order give the same tokens in that order; noise in all other rows changes nothing."""
    encoder = load(name)
    steps = encoder.spec.steps_per_chunk
    launch = launch_of(encoder)
    alone = codes(encoder.encode(launch), steps)
    order = torch.randperm(len(launch), generator=torch.Generator().manual_seed(1))
    assert codes(encoder.encode(launch[order].contiguous()), steps) == [alone[i] for i in order.tolist()]
    for place in (0, len(launch) // 2, len(launch) - 1):
        noisy = noise_like(launch, seed=place)
        noisy[place] = launch[place]
        assert codes(encoder.encode(noisy), steps)[place] == alone[place]


@every_encoder
def test_the_same_again(name: str) -> None:
    """A second encoder of the same settings gives the same tokens, and the launch is left as it was."""
    encoder = load(name)
    launch = launch_of(encoder)
    kept = launch.clone()
    first = codes(encoder.encode(launch), encoder.spec.steps_per_chunk)
    assert torch.equal(launch.nan_to_num(9), kept.nan_to_num(9))
    again = encoders.encoder_for(encoder.spec)
    assert codes(again.encode(launch), encoder.spec.steps_per_chunk) == first


@contextmanager
def careless() -> Iterator[None]:
    """What a program around us may have set: imprecise products, another number of threads."""
    precision, threads = torch.get_float32_matmul_precision(), torch.get_num_threads()
    torch.set_float32_matmul_precision("medium")
    torch.set_num_threads(1 if threads > 1 else 2)
    try:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            yield
    finally:
        torch.set_float32_matmul_precision(precision)
        torch.set_num_threads(threads)


@pytest.mark.parametrize("name", sorted({*NAMES} - NETWORKS))
def test_exact_means_exact(name: str) -> None:
    """Where the spec says exact, neither TF32, autocast nor the number of threads changes a token."""
    assert load(name).spec.exact_across_devices != (name in INEXACT), "then leave it out here, and say why"
    precise = encode_clip(load(name), made_clip(name))
    with careless():
        assert same_tokens(encode_clip(load(name), made_clip(name)), precise)


@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_what_is_not_exact_says_so_and_is_near(name: str) -> None:
    """A careless program around a network of ours changes at most one code in fifty."""
    assert not load(name).spec.exact_across_devices
    precise = encode_clip(load(name), made_clip(name)).tokens
    with careless():
        assert float((encode_clip(load(name), made_clip(name)).tokens != precise).mean()) <= 0.02


@pytest.mark.parametrize("name", sorted(GOLDEN))
def test_golden_tokens(name: str) -> None:
    """The made clip's tokens are the ones they always were; else the revision must be raised."""
    assert digest(encode_clip(load(name), made_clip(name))) == GOLDEN[name]


@every_encoder
@given(data=st.data())
@hypothesis_settings(max_examples=6)
def test_clips_of_any_length_in_any_company(name: str, data: st.DataObject) -> None:
    """Clips come back in order, complete, with their length, and with the tokens that each has alone."""
    encoder = load(name)
    chunk = encoder.spec.input.chunk
    most = max(3, 2 * chunk if chunk > 1 else encoder.spec.input.launch_batch * 3 // 2)
    most = min(most, 6 if encoder.spec.input.size else most)
    lengths = data.draw(st.lists(st.integers(0, most), max_size=3))
    clips = [clip_for(encoder, length) for length in [0, *lengths, 1]]
    launches: ClipEncoder[int] = ClipEncoder(encoder)
    done = [item for tag, clip in enumerate(clips) for item in launches.add(tag, clip)]
    done += launches.flush()
    assert [tag for tag, _ in done] == list(range(len(clips)))
    spec = encoder.spec
    for (_, tokens), clip in zip(done, clips, strict=True):
        length = clip.shape[1] if spec.input.medium == "sound" else len(clip)
        assert tokens.valid == length
        assert tokens.steps == -(-length // chunk) * spec.steps_per_chunk
        assert tokens.tokens.dtype == np.dtype(spec.dtype)
        assert tokens.tokens.base is None  # a clip must not keep a whole launch in memory
        assert same_tokens(tokens, encode_clip(encoder, clip))


@every_encoder
def test_later_media_change_no_earlier_chunk(name: str) -> None:
    """The tokens of a clip's first chunks are those of the clip cut off after them."""
    encoder = load(name)
    spec = encoder.spec
    whole = encode_clip(encoder, clip_for(encoder, 3 * spec.input.chunk))
    part = encode_clip(encoder, clip_for(encoder, 2 * spec.input.chunk))
    assert np.array_equal(whole.tokens[: len(part.tokens)], part.tokens)


@every_encoder
def test_reconstructed_media_fit_the_input(name: str) -> None:
    """What comes back has the clip's shape and dtype, and can be encoded again; padding is cut off."""
    encoder = load(name)
    chunk = encoder.spec.input.chunk
    for length in (0, 1, chunk, chunk + 1):
        clip = clip_for(encoder, length)
        tokens = encode_clip(encoder, clip)
        back = reconstruct_clip(encoder, tokens.tokens, tokens.valid, tokens.offsets)
        assert (back.shape, back.dtype) == (clip.shape, clip.dtype)
        encode_clip(encoder, back)


@every_encoder
def test_quality(name: str) -> None:
    """The made clip comes back as well as it always did."""
    rate = Fraction(8) if load(name).spec.input.size else Fraction(50)
    quality = measure(load(name), [made_clip(name)], rate)
    figure, least = LEAST_QUALITY[name]
    if figure.endswith(("rmse", "error")):
        assert quality.figures[figure] <= least
    else:
        assert quality.figures[figure] >= least


@every_encoder
def test_clips_of_another_shape_are_refused(name: str) -> None:
    """One more pixel, channel, column or another dtype is refused, and what waited is still encoded."""
    encoder = load(name)
    clip = made_clip(name)
    launches: ClipEncoder[str] = ClipEncoder(encoder)
    done = launches.add("good", clip)
    wider = torch.cat([clip, clip[:, :1]], dim=1) if clip.ndim == 2 else torch.cat([clip, clip[..., :1]], -1)
    taller = torch.cat([clip, clip[:1]]) if encoder.spec.input.medium == "sound" else wider
    for wrong in (taller, clip.to(torch.float64), clip[0]):
        with pytest.raises(WrongInput, match=rf"{name} takes clips of \w+ \[.*\], got"):
            launches.add("bad", wrong)
    done += launches.flush()
    assert [tag for tag, _ in done] == ["good"]
    assert same_tokens(done[0][1], encode_clip(encoder, clip))


@every_encoder
def test_codes_out_of_range_are_refused(name: str) -> None:
    """Tokens that this encoder can't have made are refused, not turned into something."""
    encoder = load(name)
    spec = encoder.spec
    if spec.is_ragged:
        edges = np.array([0, *[20] * spec.steps_per_chunk])
        with pytest.raises(WrongInput, match=r"step \d is no (JPEG|H.264|Opus)|has codes from 0 to below"):
            reconstruct_clip(encoder, np.full(20, 255, spec.dtype) * 4, 1, edges)
        return
    wrong_shape = np.zeros((spec.steps_per_chunk, *spec.shape, 2), np.uint16)
    with pytest.raises(WrongInput, match="reconstructs codes"):
        reconstruct_clip(encoder, wrong_shape)
    too_high = np.full((spec.steps_per_chunk, *spec.shape), max(spec.codebook_sizes), np.int64)
    with pytest.raises(WrongInput, match="has codes from"):
        reconstruct_clip(encoder, too_high)


@every_encoder
def test_more_valid_than_there_is_is_refused(name: str) -> None:
    """A valid length beyond the tokens is refused."""
    encoder = load(name)
    tokens = encode_clip(encoder, clip_for(encoder, 1))
    length = encoder.spec.input.chunk
    with pytest.raises(WrongInput, match=f"fewer than the {length + 1} valid ones"):
        reconstruct_clip(encoder, tokens.tokens, length + 1, tokens.offsets)


@every_encoder
@pytest.mark.gpu
def test_a_gpu_gives_the_same_tokens(name: str) -> None:
    """On a CUDA device, an exact encoder's tokens are those of the CPU, and media come back alike."""
    if not torch.cuda.is_available():
        (pytest.fail if os.environ.get("FIFTH_GPU") else pytest.skip)("no CUDA device")
    gpu = encoders.encoder_for(load(name).spec, "cuda")
    clip = made_clip(name)
    tokens = encode_clip(gpu, clip)
    assert same_tokens(tokens, encode_clip(load(name), clip))
    back = reconstruct_clip(gpu, tokens.tokens, tokens.valid, tokens.offsets)
    here = reconstruct_clip(load(name), tokens.tokens, tokens.valid, tokens.offsets)
    limit = 1 if clip.dtype == torch.uint8 else 1e-6
    assert torch.allclose(back.to(torch.float64), here.to(torch.float64), atol=limit, equal_nan=True)
