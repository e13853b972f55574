"""The size of pictures as a setting: one number, or height and width."""

from __future__ import annotations

from collections.abc import Sequence

from encoders.errors import WrongInput

PictureSize = int | Sequence[int]


def picture_size(encoder: str, size: PictureSize, multiple: int) -> tuple[int, int]:
    """Return height and width in pixels.

    Raises:
        WrongInput: not positive, or no multiple; the message gives the nearest sizes that fit.
    """
    numbers = (size, size) if isinstance(size, int) else tuple(size)
    if len(numbers) != 2 or any(not _is_whole(number) or number < 1 for number in numbers):
        raise WrongInput(f"{encoder}: a picture size is one whole number or [height, width], got {size!r}")
    if any(number % multiple for number in numbers):
        near = " or ".join(_size_text(candidate) for candidate in nearest_sizes(numbers, multiple))
        raise WrongInput(
            f"pictures of {_size_text(numbers)} do not fit encoder {encoder!r}: "
            f"width and height must be multiples of {multiple} (nearest: {near})"
        )
    return numbers[0], numbers[1]


def _is_whole(number: object) -> bool:
    return isinstance(number, int) and not isinstance(number, bool)


def nearest_sizes(size: Sequence[int], multiple: int) -> list[tuple[int, int]]:
    """Return the next smaller and larger (height, width) of which both are multiples, the nearer first.

    >>> nearest_sizes((250, 256), 16)
    [(256, 256), (240, 256)]
    """
    smaller = tuple(max(multiple, number // multiple * multiple) for number in size)
    larger = tuple(-(-number // multiple) * multiple for number in size)
    both = sorted(
        {smaller, larger}, key=lambda found: sum(abs(a - b) for a, b in zip(found, size, strict=True))
    )
    return [(height, width) for height, width in both]


def _size_text(size: Sequence[int]) -> str:
    return f"{size[1]}x{size[0]}"
