"""Test cards: pictures that carry their frame number in blocks which survive any codec.

    +----------------------------+
    |R                          G|   corners: a red, green, blue and yellow patch
    |        +==========+        |   code: a white frame around 5 x 6 blocks, 22 bits of frame number
    |        |:##  #  #:|  o     |         and 8 bits of checksum, in the largest centred square
    |        |:#  ##   #|        |   ball: moves from frame to frame
    |B       +==========+       Y|   background: a grey gradient
    +----------------------------+

Scaling, stretching, black bars and a crop to the centred square leave the number readable; turning
or mirroring the picture does not.
"""

from __future__ import annotations

import numpy as np

ROWS, COLUMNS = 5, 6
NUMBER_BITS, CHECK_BITS = 22, 8
SMALLEST_SIDE = 64
CODE_WHITE, CODE_BLACK = 235, 16
WHITE_LEVEL = 180
"""What is at least this bright in all three channels belongs to the white frame or its blocks."""
DARK, BRIGHT = 50, 130
"""Level of the background's left edge, without and with a flash; it rises by 30 to the right."""
CORNERS = ((220, 40, 40), (40, 200, 40), (40, 60, 220), (220, 220, 40))
"""RGB of the patches: top left, top right, bottom left, bottom right."""


def draw_card(number: int, width: int, height: int, *, flash: bool = False) -> np.ndarray:
    """Draw frame `number`: uint8 [height, width, 3], RGB. A flash makes the background bright.

    Raises:
        ValueError: a side is shorter than 64 pixels, or the number does not fit 22 bits.
    """
    if min(width, height) < SMALLEST_SIDE:
        raise ValueError(
            f"a card must be at least {SMALLEST_SIDE} pixels wide and high, got {width} x {height}"
        )
    if not 0 <= number < 1 << NUMBER_BITS:
        raise ValueError(f"a card's number must be in [0, {1 << NUMBER_BITS}), got {number}")
    gradient = (BRIGHT if flash else DARK) + np.arange(width) * 30 // width
    card = np.empty((height, width, 3), np.uint8)
    card[:] = gradient[None, :, None]
    _draw_ball(card, number)
    _draw_corners(card)
    _draw_code(card, number)
    return card


def read_card(rgb: np.ndarray) -> int | None:
    """Read the frame number of a card, or return None where none can be read.

    Args:
        rgb: uint8 [height, width, 3]: scaled, stretched, padded, or cropped to the centred square.
    """
    white = rgb.min(axis=2) >= WHITE_LEVEL
    rows, columns = np.flatnonzero(white.sum(axis=1) > 2), np.flatnonzero(white.sum(axis=0) > 2)
    if len(rows) < ROWS + 2 or len(columns) < COLUMNS + 2:
        return None
    places = np.ix_(_middles(rows, ROWS + 2), _middles(columns, COLUMNS + 2))
    lit = rgb.astype(np.float64).mean(axis=2)[places] > (CODE_WHITE + CODE_BLACK) / 2
    if not np.concatenate([lit[0], lit[-1], lit[:, 0], lit[:, -1]]).all():
        return None
    code = int("".join(str(int(bit)) for bit in lit[1:-1, 1:-1].ravel()), 2)
    number, check = code >> CHECK_BITS, code & ((1 << CHECK_BITS) - 1)
    return number if check == _checksum(number) else None


def is_flash(rgb: np.ndarray) -> bool:
    """Say whether the background of a card is bright: the median of what is neither code nor colour."""
    level = rgb.astype(np.float64).mean(axis=2)
    grey = (np.ptp(rgb, axis=2) < 25) & (level > DARK - 15) & (level < WHITE_LEVEL)
    return bool(grey.any() and np.median(level[grey]) > (DARK + BRIGHT + 30) / 2)


def read_corners(rgb: np.ndarray) -> np.ndarray:
    """Return the mean colours of the four corner patches, float64 [4, 3], of an uncropped card."""
    side = min(rgb.shape[:2]) // 8
    near, far = slice(side // 4, side - side // 4), slice(-side + side // 4, -(side // 4) or None)
    places = ((near, near), (near, far), (far, near), (far, far))
    return np.array([rgb[rows, columns].reshape(-1, 3).mean(axis=0) for rows, columns in places])


def _middles(found: np.ndarray, count: int) -> np.ndarray:
    """Return the middle pixel of each of `count` equal parts of [first found, last found]."""
    start, stop = int(found[0]), int(found[-1]) + 1
    return (start + (np.arange(count) + 0.5) * (stop - start) / count).astype(np.int64)


def _checksum(number: int) -> int:
    """Mix all bits of the number into 8, so that turned, mirrored and damaged codes do not pass."""
    return ((number * 0x9E3779B1 + 0x7F4A7C15) & 0xFFFFFFFF) >> 24


def _draw_ball(card: np.ndarray, number: int) -> None:
    height, width = card.shape[:2]
    radius = min(height, width) // 10
    x, y = number * 7 % width, radius + number * 3 % (height - 2 * radius)
    rows, columns = np.ogrid[:height, :width]
    card[(rows - y) ** 2 + (columns - x) ** 2 < radius**2] = (200, 110, 30)


def _draw_corners(card: np.ndarray) -> None:
    side = min(card.shape[:2]) // 8
    near, far = slice(0, side), slice(-side, None)
    card[near, near], card[near, far], card[far, near], card[far, far] = CORNERS


def _draw_code(card: np.ndarray, number: int) -> None:
    height, width = card.shape[:2]
    code = number << CHECK_BITS | _checksum(number)
    lit = np.ones((ROWS + 2, COLUMNS + 2), bool)
    lit[1:-1, 1:-1] = np.array([bit == "1" for bit in f"{code:0{ROWS * COLUMNS}b}"]).reshape(ROWS, COLUMNS)
    block = max(min(height, width) * 6 // 10 // (COLUMNS + 2), 4)
    pixels = np.where(lit, CODE_WHITE, CODE_BLACK).astype(np.uint8).repeat(block, 0).repeat(block, 1)
    top, left = (height - len(pixels)) // 2, (width - pixels.shape[1]) // 2
    card[top : top + len(pixels), left : left + pixels.shape[1]] = pixels[..., None]
