"""Very long recordings made in seconds: one stretch is encoded and its packets are repeated."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
from made_bags import START_NS, open_bag
from made_cards import draw_card
from made_sound import add_sound_stream, encode_sound, tone
from made_video import BITEXACT, DETERMINISTIC

CYCLE_SECONDS = 10
LONG_PITCH_HZ = 500
"""500 Hz is a whole number of periods in 1024 samples at 8 kHz: repeated packets sound unbroken."""


@dataclass(frozen=True)
class LongCard:
    """A long video whose cards count seconds modulo ten."""

    path: Path
    seconds: int
    fps: int

    def number_at(self, frame: int) -> int:
        """Return the number on the card of this frame."""
        return frame // self.fps % CYCLE_SECONDS


def long_card(
    path: Path, hours: float, *, fps: int = 24, width: int = 128, height: int = 96, sound: bool = True
) -> LongCard:
    """Write a video of many hours: about 15 MB and half a second of work an hour, at 24 fps.

    Args:
        path: any container for H.264 and AAC.
        hours: rounded to whole cycles of ten seconds, at least one.
        sound: also a mono tone of `LONG_PITCH_HZ` at 8 kHz.
    """
    cycles = max(1, round(hours * 3600 / CYCLE_SECONDS))
    with av.open(str(path), "w", options=BITEXACT) as container:
        video = container.add_stream("libx264", rate=fps, options=DETERMINISTIC["libx264"])
        assert isinstance(video, av.VideoStream)
        video.width, video.height, video.pix_fmt = width, height, "yuv420p"
        video.codec_context.thread_count = 1
        video.codec_context.gop_size = fps * CYCLE_SECONDS  # every cycle begins with a keyframe
        video.codec_context.max_b_frames = 2
        audio = add_sound_stream(container, "aac", 8000, 1) if sound else None
        pictures = _encode_cycle(video, fps, width, height)
        voice = _encode_steady_tone(audio) if audio else None
        sound_frames = 0
        for cycle in range(cycles):
            first_frame = cycle * fps * CYCLE_SECONDS
            for data, pts, dts, keyframe in pictures:
                container.mux(_packet(video, data, first_frame + pts, first_frame + dts, 1, fps, keyframe))
            while audio is not None and voice and sound_frames * 1024 < (cycle + 1) * CYCLE_SECONDS * 8000:
                stamp = sound_frames * 1024
                container.mux(_packet(audio, voice, stamp, stamp, 1024, 8000, True))
                sound_frames += 1
    return LongCard(path, cycles * CYCLE_SECONDS, fps)


def long_bag(path: Path, size_mb: int, *, hz: int = 10, width: int = 640, height: int = 480) -> int:
    """Write a bag of raw rgb8 pictures of about this size, with an IMU at ten times the rate.

    Returns:
        The number of pictures; picture k is card `k % 10`, header times `START_NS + k / hz`.
    """
    cards = [draw_card(k, width, height).ravel() for k in range(10)]
    count = max(1, size_mb * 1_000_000 // (width * height * 3))
    with open_bag(path) as bag:
        for k in range(count * 10):
            stamp_ns = START_NS + k * 100_000_000 // hz
            header = bag.header(stamp_ns)
            velocity = {"x": k / (10 * hz), "y": 0, "z": 0}
            bag.write("/imu", "sensor_msgs/msg/Imu", stamp_ns, header=header, angular_velocity=velocity)
            if k % 10 == 0:
                bag.write(
                    "/camera/image_raw", "sensor_msgs/msg/Image", stamp_ns, header=header, height=height,
                    width=width, encoding="rgb8", step=width * 3, data=cards[k // 10 % 10],
                )  # fmt: skip
    return count


Encoded = tuple[bytes, int, int, bool]
"""Data, pts, dts, keyframe; stamps in ticks of one frame."""


def _encode_cycle(stream: av.VideoStream, fps: int, width: int, height: int) -> list[Encoded]:
    packets = []
    for k in range(fps * CYCLE_SECONDS):
        frame = av.VideoFrame.from_ndarray(draw_card(k // fps, width, height), format="rgb24")
        frame.pts, frame.time_base = k, Fraction(1, fps)
        packets += stream.encode(frame)
    packets += stream.encode(None)
    return [
        (bytes(packet), int(packet.pts or 0), int(packet.dts or 0), packet.is_keyframe) for packet in packets
    ]


def _encode_steady_tone(stream: av.AudioStream) -> bytes:
    """Return one AAC packet from the middle of a tone, where the encoder has settled."""
    packets = encode_sound(stream, tone(LONG_PITCH_HZ, 4, sample_rate=8000), 8000)
    return bytes(packets[len(packets) // 2])


def _packet(
    stream: av.stream.Stream, data: bytes, pts: int, dts: int, duration: int, rate: int, keyframe: bool
) -> av.Packet[Any]:
    packet = av.Packet(data)
    packet.stream, packet.time_base = stream, Fraction(1, rate)
    packet.pts, packet.dts, packet.duration, packet.is_keyframe = pts, dts, duration, keyframe
    return packet
