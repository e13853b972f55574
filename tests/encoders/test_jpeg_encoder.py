"""`jpeg`: real JPEG files, one per frame."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from encoders import TokenArray, WrongInput, load_encoder
from encoders.launch import encode_clip, reconstruct_clip


def frames(count: int, height: int = 30, width: int = 41) -> torch.Tensor:
    y, x = np.mgrid[0:height, 0:width]
    ramp = np.stack([x * 5, y * 7, (x + y) * 3])
    return torch.from_numpy(np.stack([(ramp + 9 * i) % 256 for i in range(count)]).astype(np.uint8))


def test_each_step_is_a_file_that_any_reader_opens() -> None:
    """Between its offsets lies a whole JPEG, of the right size and with red where red was."""
    encoder = load_encoder("jpeg", size=[30, 41], quality=95, subsampling="444")
    red = torch.zeros(2, 3, 30, 41, dtype=torch.uint8)
    red[:, 0] = 200
    made = encode_clip(encoder, red)
    assert made.offsets is not None
    assert (made.offsets[0], made.offsets[-1], len(made.offsets)) == (0, len(made.tokens), 3)
    for start, stop in zip(made.offsets[:-1], made.offsets[1:], strict=True):
        file = made.tokens[start:stop]
        assert file[:2].tobytes() + file[-2:].tobytes() == b"\xff\xd8\xff\xd9"
        picture = cv2.imdecode(file, cv2.IMREAD_COLOR)
        assert picture is not None
        blue, green, red_back = picture[10, 10]
        assert max(blue, green) < 5
        assert abs(int(red_back) - 200) < 5


def test_quality_is_paid_in_bytes() -> None:
    """Higher quality: more bytes, smaller error. Full colour: more bytes."""
    clip = frames(3)
    sizes, errors = [], []
    for quality, subsampling in ((20, "420"), (75, "420"), (75, "444"), (98, "444")):
        encoder = load_encoder("jpeg", size=[30, 41], quality=quality, subsampling=subsampling)
        made = encode_clip(encoder, clip)
        back = reconstruct_clip(encoder, made.tokens, made.valid, made.offsets)
        sizes.append(made.tokens.size)
        errors.append(float((back.double() - clip.double()).square().mean()))
    assert sizes == sorted(sizes)
    assert errors == sorted(errors, reverse=True)
    assert len(set(sizes)) == 4


def test_bytes_do_not_depend_on_other_frames() -> None:
    """A frame's file is the same alone and among others."""
    encoder = load_encoder("jpeg", size=[30, 41])
    clip = frames(4)
    together = encode_clip(encoder, clip)
    assert together.offsets is not None
    alone = encode_clip(encoder, clip[2:3])
    assert together.tokens[together.offsets[2] : together.offsets[3]].tobytes() == alone.tokens.tobytes()


def test_files_of_another_size_are_refused() -> None:
    """A JPEG of other dimensions is not stretched or cut."""
    small = encode_clip(load_encoder("jpeg", size=[16, 16]), frames(1, 16, 16))
    encoder = load_encoder("jpeg", size=[30, 41])
    with pytest.raises(WrongInput, match=r"step 0 is a picture of \(16, 16\), expected \(30, 41\)"):
        reconstruct_clip(encoder, small.tokens, 1, small.offsets)
    with pytest.raises(WrongInput, match="bytes with offsets"):
        encoder.reconstruct(TokenArray(torch.zeros((1, 1), dtype=torch.uint8)))
