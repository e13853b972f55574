"""Names of tracks and recordings: what may stand in a member name, and how collisions end."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable

LONGEST_TRACK_NAME = 40


def track_names(topics: Iterable[str]) -> list[str]:
    """Return one track name per topic: lower-case letters, digits and underscores, at most 40
    characters. Names that are too long or equal to another topic's end in `_` and 6 hex digits of
    the topic's sha256.

    Args:
        topics: all of one recording, each once.

    >>> track_names(["/camera/front/image_raw", "/imu"])
    ['camera_front_image_raw', 'imu']
    """
    topics = list(topics)
    plain = [re.sub(r"[^a-z0-9]+", "_", topic.lower()).strip("_") or "track" for topic in topics]
    counts = Counter(plain)
    names = []
    for topic, name in zip(topics, plain, strict=True):
        if len(name) > LONGEST_TRACK_NAME or counts[name] > 1:
            mark = hashlib.sha256(topic.encode("utf-8", "surrogatepass")).hexdigest()[:6]
            name = f"{name[: LONGEST_TRACK_NAME - 7]}_{mark}"
        names.append(name)
    return names
