"""Which AV1 packets may be left out: what is left decodes to the very same pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import av
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_video import Pictures, write_video
from video_made import SMALL, SVT_AV1, digest

from ingest.decoders.av1_references import Av1References


def packets_of(path: Path) -> tuple[bytes, list[Any]]:
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        extradata = bytes(stream.codec_context.extradata or b"")
        return extradata, [packet for packet in container.demux(stream) if packet.size]


def decoded(path: Path, left_out: set[int]) -> dict[int | None, str]:
    """Decode a file without some of its packets, by number; return stamp to digest."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        seen = {}
        for number, packet in enumerate(container.demux(stream)):
            if number not in left_out:
                for frame in stream.codec_context.decode(packet if packet.size else None):
                    seen[frame.pts] = digest(frame)
        return seen


def loose_packets(path: Path) -> set[int]:
    extradata, packets = packets_of(path)
    references = Av1References(extradata)
    answers = [references.nothing_refers_to(memoryview(packet)) for packet in packets]
    return {number for number, loose in enumerate(answers) if loose}


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.webm"])
def test_pictures_that_nothing_refers_to_can_go(name: str, tmp_path: Path) -> None:
    """A good part of a stream in layers; all others come out the same."""
    path = write_video(tmp_path / name, Pictures(**{**SMALL, "codec": "libsvtav1", "options": SVT_AV1}))
    loose = loose_packets(path)
    whole, part = decoded(path, set()), decoded(path, loose)
    assert len(loose) >= SMALL["frames"] // 8
    assert len(part) == len(whole) - len(loose)
    assert all(whole[stamp] == seen for stamp, seen in part.items())


@pytest.mark.media
@pytest.mark.parametrize("name", ["av1_video.mkv", "sample_av1.mp4"])
def test_real_files_decode_the_same_without(name: str, media: Path) -> None:
    """Other encoders, other headers."""
    path = media / "video" / name
    whole, part = decoded(path, set()), decoded(path, loose_packets(path))
    assert all(whole[stamp] == seen for stamp, seen in part.items())
    assert len(part) < len(whole)


@given(st.binary(max_size=60))
def test_noise_is_never_left_out_by_an_error(data: bytes) -> None:
    """Whatever a damaged packet holds, the answer is yes or no; without a sequence header it is no."""
    assert not Av1References(b"").nothing_refers_to(memoryview(data))
    Av1References(b"\x81" + data)
