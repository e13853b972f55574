"""What FFmpeg's decoders are told before they begin: one thread, and no picture larger than memory."""

from __future__ import annotations

from typing import Any

MOST_PIXELS = 1 << 26
"""8192 x 8192. A picture that claims to be larger is taken for damage; decoders keep up to 17 of them."""
OPTIONS = {"max_pixels": str(MOST_PIXELS)}


def prepare(context: Any) -> None:
    """Set a codec context that is not open yet."""
    context.thread_count = 1
    if context.type == "video":
        context.options = {**context.options, **OPTIONS}
