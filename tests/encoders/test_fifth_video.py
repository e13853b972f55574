"""`fifth-video`: its parts against plain twins, its promises, and its weights."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from json import dumps
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from encoders import WrongInput, WrongSetting, encode_clip, load_encoder, reconstruct_clip
from encoders.haar import _on as haar_of_device
from encoders.haar import forward_haar, haar_matrix, inverse_haar
from encoders.training.transform_start import principal_components, start_from_transform
from encoders.video_network import VideoNetwork, VideoShape, blocks_of, cells_of
from encoders.weight_files import write_weights

TINY = VideoShape(
    levels=(6, 4, 3), encoder_width=16, encoder_blocks=2, decoder_width=16, decoder_blocks=2, around=8
)


GOLDEN_CODES = [
    32385, 32471, 54030, 10830, 32422, 10830, 32385, 32471, 32467, 32467, 32467, 32467, 10822, 36796,
    32467, 32467, 32385, 32471, 53993, 32479, 10703, 32480, 32385, 32472, 32467, 32467, 32468, 28138,
    32468, 36796, 32467, 32467, 32385, 32471, 53993, 54120, 10666, 54121, 32385, 32471, 32467, 32467,
    49783, 28138, 54112, 32467, 32467, 32467, 32385, 32470, 32385, 32470, 32386, 32469, 32386, 32506,
    32467, 32467, 32467, 32467, 32466, 32466, 32466, 32468, 32466, 32466, 32466, 10821, 32466, 32466,
    32467, 32467, 32430, 33466, 32467, 16594, 32467, 33429, 32393, 10896, 32947, 32504, 32465, 32467,
    32467, 54112, 32948, 10858, 32393, 55666, 32430, 12301, 32502, 48747, 32356, 14781, 32466, 32467,
    32467, 10822, 10341, 54075, 32467, 32466, 32467, 33429, 32505, 15558, 33021, 52558, 32430, 32985,
    32467, 32467, 32468, 32468, 32467, 32468, 32467, 32466, 32467, 32948, 32502, 32948, 32469, 32950,
    32429, 32987,
]  # fmt: skip


def clips(count: int, seed: int = 0, edge: int = 64) -> Tensor:
    """Soft blobs of colour that move: uint8 [count, 8, 3, edge, edge]."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[0:edge, 0:edge]
    made = np.empty((count, 8, 3, edge, edge))
    for clip in made:
        level, colours = random.uniform(60, 190, (3, 1, 1)), random.uniform(-60, 60, (3, 3, 1, 1))
        places, speeds = random.uniform(0, edge, (3, 2)), random.uniform(-3, 3, (3, 2))
        for index, frame in enumerate(clip):
            frame[:] = level
            for colour, place, speed in zip(colours, places, speeds, strict=True):
                top, left = place + speed * index
                frame += colour * np.exp(-((y - top) ** 2 + (x - left) ** 2) / 200)
    return torch.from_numpy(made.clip(0, 255).astype(np.uint8))


def tiny_network() -> VideoNetwork:
    """A small network, started from made clips, with random numbers where training would have put some."""
    torch.manual_seed(3)
    network = VideoNetwork(TINY)
    start_from_transform(network, [clips(6).to(torch.float32) / 127.5 - 1])
    with torch.no_grad():
        for part in (*network.encoder.learned, network.decoder.out):
            part.weight.normal_(std=0.02)
        for block in (*network.encoder.blocks, *network.decoder.blocks):
            if block.other_group is not None:
                block.other_group.normal_(std=0.3)
    return network.eval()


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Small products on a machine that others use, too, are many times faster on one thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A weights file of the small network."""
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    about = {"encoder": "fifth-video", "shape": dumps(asdict(TINY))}
    write_weights(path, tiny_network().state_dict(), about)
    return str(path)


def test_the_packaged_weights_make_the_codes_they_always_made() -> None:
    """At most one code in fifty differs from those of the machine that the weights were trained on."""
    found = encode_clip(load_encoder("fifth-video", size=64), clips(1, seed=7)[0]).tokens
    assert int((found.reshape(-1) != np.array(GOLDEN_CODES, np.uint16)).sum()) <= found.size // 50


def test_the_haar_matrix_is_orthonormal() -> None:
    """Its transpose undoes it, and its first row is the mean."""
    matrix = haar_matrix(8)
    assert torch.allclose(matrix @ matrix.T, torch.eye(8), atol=1e-6)
    assert torch.allclose(matrix[0], torch.full((8,), 8**-0.5))


def plain_haar(values: np.ndarray, axis: int) -> np.ndarray:
    """Sums and differences of neighbours along an axis, then the same of the sums: the slow twin."""
    values = np.moveaxis(values, axis, 0)
    if len(values) == 1:
        return np.moveaxis(values, 0, axis)
    sums, differences = values[::2] + values[1::2], values[::2] - values[1::2]
    both = [plain_haar(sums / 2**0.5, 0), differences / 2**0.5]
    return np.moveaxis(np.concatenate(both), 0, axis)


def test_the_haar_transform_is_sums_and_differences() -> None:
    """One cell at a time, by the plain recipe, gives the same numbers, and the inverse brings frames back."""
    frames = torch.randn(2, 8, 3, 16, 24, generator=torch.Generator().manual_seed(1))
    cells = forward_haar(frames)
    assert cells.shape == (2, 2, 2, 3, 768)
    part = frames[1, 4:, 2, 8:, 16:].numpy()
    for axis in range(3):
        part = plain_haar(part, axis)
    assert np.allclose(cells[1, 1, 1, 2].reshape(3, 4, 8, 8)[2].numpy(), part, atol=1e-5)
    assert torch.allclose(inverse_haar(cells), frames, atol=1e-5)


def test_cells_and_blocks_hold_the_same() -> None:
    """A block is its 2x2 cells, row by row."""
    cells = torch.arange(2 * 4 * 6 * 5).reshape(2, 4, 6, 5)
    blocks = blocks_of(cells)
    assert torch.equal(blocks[1, 0, 2], torch.cat([cells[1, y, x] for y in (0, 1) for x in (4, 5)]))
    assert torch.equal(cells_of(blocks), cells)


def test_principal_components_are_those_of_the_covariance() -> None:
    """The subspace iteration finds what a full decomposition finds, but for signs."""
    random = torch.Generator().manual_seed(0)
    samples = torch.randn(500, 30, generator=random) * torch.linspace(5, 0.1, 30)
    found = principal_components(samples, 4)
    wanted = torch.linalg.eigh(samples.T @ samples)[1].flip(-1)[:, :4]
    assert torch.allclose((found * wanted).sum(0).abs(), torch.ones(4), atol=1e-3)


def test_the_start_is_a_transform_coder() -> None:
    """Before any training, what comes back is close, and closer with every stage, in both modes."""
    torch.manual_seed(3)
    network = VideoNetwork(TINY)
    seen = clips(6).to(torch.float32) / 127.5 - 1
    start_from_transform(network, [seen])
    with torch.no_grad():
        for frames in (seen, seen[:, :1].expand(-1, 4, -1, -1, -1)):
            none = (frames - frames.mean()).square().mean()
            errors = [
                float((network.frames(network.places(frames, stages)) - frames).square().mean())
                for stages in (1, 2)
            ]
            assert errors[0] < none / 10
            assert errors[1] < errors[0]


def test_training_sees_what_encoding_makes() -> None:
    """The pass with gradients and the one through places of levels give the same frames."""
    network = tiny_network()
    frames = clips(2, seed=1).to(torch.float32) / 127.5 - 1
    for stages in (1, 2):
        with torch.no_grad():
            apart = network.frames(network.places(frames, stages))
        assert torch.allclose(network(frames, stages), apart, atol=1e-4)


def test_training_may_follow_encoding(weights: str) -> None:
    """What an encoder keeps between calls was not made for inference alone."""
    haar_of_device.cache_clear()
    encode_clip(
        load_encoder("fifth-video", size=16, weights=weights), clips(1)[0][..., :16, :16].contiguous()
    )
    network = VideoNetwork(TINY)
    network(clips(1)[:, :, :, :16, :16].to(torch.float32) / 127.5 - 1, 1).sum().backward()
    assert network.encoder.into.weight.grad is not None


def test_a_second_stage_leaves_the_first_as_it_is(weights: str) -> None:
    """The first of two codes is the only one of one stage, so datasets of both can be compared."""
    clip = clips(1, seed=2)[0]
    one = encode_clip(load_encoder("fifth-video", size=64, weights=weights), clip)
    two = encode_clip(load_encoder("fifth-video", size=64, stages=2, weights=weights), clip)
    assert one.tokens.shape == (2, 8, 8)
    assert two.tokens.shape == (2, 8, 8, 2)
    assert np.array_equal(two.tokens[..., 0], one.tokens)


@pytest.mark.parametrize("size", [(16, 16), (48, 64), (32, 80)])
def test_any_multiple_of_16(weights: str, size: tuple[int, int]) -> None:
    """Heights and widths are free; the last frame is repeated up to a whole chunk, and cut off again."""
    encoder = load_encoder("fifth-video", size=size, weights=weights)
    clip = clips(1, edge=80)[0][:5, :, : size[0], : size[1]].contiguous()
    made = encode_clip(encoder, clip)
    assert made.tokens.shape == (2, size[0] // 8, size[1] // 8)
    full = torch.cat([clip, clip[-1:].expand(3, -1, -1, -1)])
    assert np.array_equal(encode_clip(encoder, full).tokens, made.tokens)
    assert reconstruct_clip(encoder, made.tokens, made.valid).shape == clip.shape


def test_image_mode_takes_single_frames(weights: str) -> None:
    """Each frame is a chunk of its own, a grid of codes, and comes back as one frame."""
    encoder = load_encoder("fifth-video", size=64, mode="image", weights=weights)
    clip = clips(1, seed=4)[0][:3]
    made = encode_clip(encoder, clip)
    assert made.tokens.shape == (3, 8, 8)
    for index in range(3):
        assert np.array_equal(encode_clip(encoder, clip[index : index + 1]).tokens[0], made.tokens[index])
    back = reconstruct_clip(encoder, made.tokens, made.valid).to(torch.float32)
    assert float((back - clip.to(torch.float32)).square().mean()) < float(clip.to(torch.float32).var()) / 4


def test_what_it_cannot_do_is_refused(weights: str, tmp_path: Path) -> None:
    """Sizes, stages, modes and files that do not fit are named, with what would."""
    with pytest.raises(WrongInput, match="multiples of 16"):
        load_encoder("fifth-video", size=40, weights=weights)
    with pytest.raises(WrongSetting, match="1 to 2 stages"):
        load_encoder("fifth-video", stages=3, weights=weights)
    with pytest.raises(WrongSetting, match="mode must be one of video, image"):
        load_encoder("fifth-video", mode="still", weights=weights)
    other = tmp_path / "other.safetensors"
    write_weights(other, {"a": torch.ones(1)}, {"encoder": "fifth-audio"})
    with pytest.raises(WrongSetting, match="for fifth-audio, not for fifth-video"):
        load_encoder("fifth-video", weights=str(other))
    write_weights(other, {"a": torch.ones(1)}, {"encoder": "fifth-video", "shape": dumps(asdict(TINY))})
    with pytest.raises(WrongSetting, match="do not fit"):
        load_encoder("fifth-video", weights=str(other))
