"""Frames by another library: what decord shows at a frame's place is what we sample at its time."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from ingest.clips import Sampling, Wish, read_clips, windows_of
from ingest.opening import open_recording
from ingest.sampling.clip import PictureClip


def test_every_sampled_frame_is_decords(card_mp4: Path) -> None:
    """At 24 fps every frame is sampled; decord's frame k, read by index, is the same picture."""
    decord = pytest.importorskip("decord", reason="decord has wheels for Linux on x86-64 only")
    theirs = decord.VideoReader(str(card_mp4)).get_batch(range(48)).asnumpy()
    with open_recording(card_mp4) as source:
        recording = source.probe()
        track = recording.track("video")
        windows = windows_of(recording, 2_000_000_000, 0, 1)
        sampling = Sampling(fps=Fraction(24), size=320, fit="pad")
        clips = list(read_clips(source, [Wish("video", track)], windows, sampling, lambda _: None))
    media = clips[0][2]
    assert isinstance(media, PictureClip)
    ours = media.frames[:, 64:256]  # the card without its padding: not scaled at all
    assert ours.shape == theirs.shape
    # another library converts the colours: levels differ a little, frames do not
    differences = np.abs(ours.astype(int) - theirs.astype(int)).mean(axis=(1, 2, 3))
    neighbours = np.abs(ours[1:].astype(int) - theirs[:-1].astype(int)).mean(axis=(1, 2, 3))
    assert differences.max() < 3
    assert neighbours.min() > differences.max()
