"""`fifth-video`: its parts against plain twins, its promises, and its weights."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from encoders import WrongInput, WrongSetting, encode_clip, load_encoder, reconstruct_clip
from encoders.training.video_books import BooksShape
from encoders.training.video_training import VideoTraining, train_video_model
from encoders.video_model import VideoModel, about_model, model_tensors
from encoders.weight_files import write_weights

TINY = VideoTraining(BooksShape((3, 2), 24, 96, (3, 2), 16, 48, crops=10, rounds=1, seam_crops=8), edge=64)


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


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> VideoModel:
    """Small books and seams, fitted to made clips."""
    state = tmp_path_factory.mktemp("training") / "tiny.state"
    return train_video_model(TINY, list(clips(6)), state)


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Small products on a machine that others use, too, are many times faster on one thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def weights(model: VideoModel, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A weights file of the small network."""
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    write_weights(path, model_tensors(model), about_model())
    return str(path)


def test_codes_are_dealt_to_cells_and_gathered_again(model: VideoModel) -> None:
    """A block's eight codes lie in its own 2 x 2 cells of both groups."""
    coder = model.coders["video"]
    codes = torch.arange(2 * 3 * 8 * 2).reshape(1, 2, 3, 8, 2)
    cells = coder._dealt(codes)
    assert cells.shape == (1, 2, 4, 6, 2)
    assert torch.equal(cells[0, 1, 2:4, 4:6, 0].flatten(), codes[0, 1, 2, 4:, 0])
    assert torch.equal(coder._gathered(cells), codes)


def test_every_stage_brings_pictures_closer(model: VideoModel) -> None:
    """What comes back is close, and closer with every stage, in both modes; mended seams help."""
    seen = clips(6)
    for mode, frames in (("video", seen), ("image", seen[:, :1])):
        real = frames.to(torch.float32)
        none = (real - real.mean()).square().mean()
        codes = model.codes(mode, frames, 2)
        coder = model.coders[mode]
        for made in (coder.pictures, coder.frames):
            errors = [float((made(codes[..., :stages]) - real).square().mean()) for stages in (1, 2)]
            assert errors[0] < none / 10
            assert errors[1] < errors[0]
        assert float((coder.frames(codes) - real).square().mean()) < errors[0]


@pytest.mark.parametrize("colour", [(0, 0, 0), (255, 255, 255), (255, 0, 0), (0, 0, 255), (30, 200, 90)])
def test_what_is_flat_comes_back_flat(colour: tuple[int, int, int]) -> None:
    """No pattern on black, white or pure colours, and no other colour: with the weights of the package."""
    clip = torch.tensor(colour, dtype=torch.uint8)[:, None, None].expand(8, 3, 64, 64).contiguous()
    encoder = load_encoder("fifth-video", size=64)
    made = encode_clip(encoder, clip)
    back = reconstruct_clip(encoder, made.tokens, made.valid).to(torch.int16)
    assert int((back - clip).abs().max()) <= 12
    assert float(back.to(torch.float32).std((0, 2, 3)).max()) < 1.5


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


def test_what_it_cannot_do_is_refused(model: VideoModel, weights: str, tmp_path: Path) -> None:
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
    write_weights(other, {"a": torch.ones(1)}, {"encoder": "fifth-video", "shape": "{}"})
    with pytest.raises(WrongSetting, match="revision 1 of fifth-video, this version has 2: train them again"):
        load_encoder("fifth-video", weights=str(other))
    tensors, about = model_tensors(model), about_model()
    write_weights(other, {name: tensors[name] for name in tensors if "levels" not in name}, about)
    with pytest.raises(WrongSetting, match="do not fit"):
        load_encoder("fifth-video", weights=str(other))
    fuller = tensors | {"video.0.levels": torch.full_like(tensors["video.0.levels"], 200)}
    write_weights(other, fuller, about)
    with pytest.raises(WrongSetting, match="do not fit"):
        load_encoder("fifth-video", weights=str(other))
