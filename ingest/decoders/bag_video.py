"""Compressed video in bags: one message is one packet of H.264, HEVC, VP9 or AV1.

A picture's time is its message's. Decoding begins at a keyframe. Pictures that build on a lost message are
left out, and said, until the next keyframe: H.264 by its frame numbers, HEVC by its decoder; VP9 and AV1
do not tell. Most encoders of such topics give pictures in the order in which they are shown (no B-frames), as
`foxglove.CompressedVideo` demands; of others, the messages' times must be those of showing (`shown_order`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from fractions import Fraction
from typing import Any

import av

from ingest.decoders.av_conversion import Converter
from ingest.decoders.av_errors import DECODING_ERRORS, words_of
from ingest.decoders.av_limits import prepare
from ingest.decoders.av_pictures import AvPicture
from ingest.decoders.h264_numbers import FrameNumbers
from ingest.decoders.promised import as_promised
from ingest.decoders.video_keyframes import codec_named, packet_facts
from ingest.errors import CannotDecode
from ingest.recording import Packet
from ingest.timing import NS

NANOSECONDS = Fraction(1, NS)
DECODERS = {"av1": ("libdav1d", "av1")}
"""FFmpeg's decoders where the one of the codec's own name is not the one to take."""


def video_in(message: Any) -> bytes:
    """Return the packet in a message.

    Raises:
        CannotDecode: there is none.
    """
    with as_promised("a video message"):
        return bytes(memoryview(message.data))


def codec_of(message: Any) -> str:
    """Return which codec a message says that it holds; empty for one that we do not read."""
    return codec_named(str(message.format if hasattr(message, "format") else message.encoding))


def format_of(message: Any) -> str:
    """Return what a message itself calls its codec."""
    return str(message.format if hasattr(message, "format") else message.encoding)


class BagVideo:
    """Decoder of one compressed video topic.

    Args:
        codec: one of `video_keyframes.CODECS`.
        parameters: the stream's first parameter sets, for keyframes that come without.
        deserialize: turns bytes into messages; raises `CannotDecode`.
    """

    def __init__(self, codec: str, parameters: bytes, deserialize: Callable[[Any], Any]) -> None:
        self._codec = codec
        self._parameters = parameters
        self._deserialize = deserialize
        self._converter = Converter()
        self._context: Any = None
        self._waiting: list[int] = []
        """Times of the packets whose pictures have not come yet."""
        self._ready: list[AvPicture] = []
        self._since_ns = 0
        """Time of the keyframe with which decoding began; pictures shown before it are not ours to give."""
        self._latest_ns: int | None = None
        self._numbers = FrameNumbers()
        self._broken = False
        """Whether a message before the latest one is lost, and no keyframe has come since."""

    def decode(self, packet: Packet) -> list[AvPicture]:
        """See `Decoder`. What was decoded before an error comes with the next call."""
        data = video_in(self._deserialize(packet.data))
        facts = packet_facts(self._codec, data)
        if self._context is None:
            if not facts.keyframe:
                raise CannotDecode("video before its first keyframe can't be decoded")
            self._context, self._since_ns = _opened(self._codec), packet.time_ns
            if not facts.parameters:
                data = self._parameters + data
        self._check_order(data, facts.keyframe)
        coded = av.Packet(data)
        coded.pts, coded.time_base = packet.time_ns, NANOSECONDS
        if packet.time_ns >= self._since_ns:
            self._waiting.append(packet.time_ns)
        self._take(coded)
        return self._given()

    def _check_order(self, data: bytes, keyframe: bool) -> None:
        if self._codec == "h264" and not self._numbers.follows(data):
            self._broken = True
        self._broken = self._broken and not keyframe
        if self._broken:
            raise CannotDecode("a message before it is lost: it can't be decoded until the next keyframe")

    def flush(self) -> list[AvPicture]:
        """See `Decoder`."""
        try:
            if self._context is not None:
                self._take(None)
                if self._waiting:
                    lost, self._waiting = len(self._waiting), []
                    raise CannotDecode(f"{lost} pictures at the end do not decode")
        finally:
            self._context = None
        return self._given()

    def _given(self) -> list[AvPicture]:
        given, self._ready = self._ready, []
        return given

    def _take(self, coded: Any) -> None:
        """Decode; what comes is ready.

        Raises:
            CannotDecode: the packet is damaged, or pictures before the one that came are missing.
        """
        try:
            frames = self._context.decode(coded)
        except EOFError:
            return
        except DECODING_ERRORS as error:
            if coded is not None and coded.pts in self._waiting:
                self._waiting.remove(coded.pts)
            raise CannotDecode(f"a packet of {self._codec} does not decode ({words_of(error)})") from error
        missing = 0
        for frame in frames:
            if self._latest_ns is not None and frame.pts <= self._latest_ns:
                missing += 1  # shown before one that came before: not the order that is promised
                continue
            self._latest_ns = frame.pts
            earlier = sum(time_ns < frame.pts for time_ns in self._waiting)
            self._waiting = [time_ns for time_ns in self._waiting if time_ns > frame.pts]
            missing += earlier
            self._ready.append(AvPicture(frame.pts, frame, self._converter))
        if missing:
            raise CannotDecode(
                f"{missing} pictures do not decode: what they build on is lost, or they are out of order"
            )


def first_frame(codec: str, data: bytes) -> Any:
    """Decode a keyframe by itself and return the frame.

    Raises:
        CannotDecode: it does not decode.
    """
    context = _opened(codec)
    try:
        frames = [*context.decode(av.Packet(data)), *context.decode(None)]
    except DECODING_ERRORS as error:
        raise CannotDecode(f"its first {codec} keyframe does not decode ({words_of(error)})") from error
    if not frames:
        raise CannotDecode(f"its first {codec} keyframe gives no picture")
    return frames[0]


def shown_order(codec: str, packets: Sequence[bytes]) -> list[int]:
    """Decode packets, the first of which is a keyframe, and return their numbers in the order in which their
    pictures are shown; those that do not decode are left out.
    """
    context = _opened(codec)
    order: list[int] = []
    for number, data in enumerate(packets):
        coded = av.Packet(data)
        coded.pts, coded.time_base = number, NANOSECONDS
        with suppress(*DECODING_ERRORS):
            order += [frame.pts for frame in context.decode(coded)]
    with suppress(*DECODING_ERRORS):
        order += [frame.pts for frame in context.decode(None)]
    return order


def _opened(codec: str) -> Any:
    for name in DECODERS.get(codec, (codec,)):
        if name in av.codecs_available:
            context = av.CodecContext.create(name, "r")
            prepare(context)
            return context
    raise CannotDecode(f"this build of FFmpeg has no decoder for {codec}")
