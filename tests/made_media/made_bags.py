"""Bags whose answer is known, written by the `rosbags` writers.

`open_bag` writes any message to any kind of bag; `write_ramp_bag` writes a small robot whose every
value follows from the time, so that a test can say what must come back at any moment.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any, Literal

import av
import numpy as np
from made_cards import draw_card
from made_sound import tone
from rosbags.interfaces import Connection, Nodetype, Qos
from rosbags.rosbag1 import Writer as Writer1
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin
from rosbags.rosbag2 import Writer as Writer2
from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

START_NS = 1_700_000_000_000_000_000
"""When the made bags begin, in Unix time."""
LOG_DELAY_NS = 5_000_000
"""How much later a message is logged than its header says."""

Storage = Literal["mcap", "sqlite3"]

AUDIO_TYPES = {
    "audio_common_msgs/msg/AudioData": "uint8[] data\n",
    "audio_common_msgs/msg/AudioDataStamped": "std_msgs/Header header\naudio_common_msgs/AudioData audio\n",
    "audio_common_msgs/msg/AudioInfo": (
        "uint8 channels\nuint32 sample_rate\nstring sample_format\nuint32 bitrate\nstring coding_format\n"
    ),
}
"""Message definitions of the ROS package audio_common, which no type store knows."""


@cache
def typestore(ros: Literal[1, 2]) -> Typestore:
    """Return the types of ROS 1 Noetic or ROS 2 Humble, and those for sound."""
    store = get_typestore(Stores.ROS1_NOETIC if ros == 1 else Stores.ROS2_HUMBLE)
    for name, definition in AUDIO_TYPES.items():
        store.register(get_types_from_msg(definition, name))
    return store


class BagMaker:
    """Writes messages given as plain values; what is not given is zero, empty or False."""

    def __init__(self, writer: Writer1 | Writer2, ros: Literal[1, 2]) -> None:
        self.writer = writer
        self.ros = ros
        self.store = typestore(ros)
        self.connections: dict[str, Connection] = {}

    def header(self, stamp_ns: int, frame_id: str = "") -> dict[str, Any]:
        """Return the value of a `std_msgs/Header`."""
        stamp = {"sec": stamp_ns // 1_000_000_000, "nanosec": stamp_ns % 1_000_000_000}
        return {"stamp": stamp, "frame_id": frame_id}

    def make(self, msgtype: str, **values: Any) -> object:
        """Make a message; nested messages are given as dicts, arrays as sequences."""
        _, fields = self.store.fielddefs[msgtype]
        unknown = values.keys() - {name for name, _ in fields}
        if unknown:
            raise ValueError(f"{msgtype} has no field {', '.join(sorted(unknown))}")
        made = {name: self._value(description, values.get(name)) for name, description in fields}
        return self.store.types[msgtype](**made)

    def _value(self, description: Any, value: Any) -> Any:
        kind, inner = description
        if kind == Nodetype.BASE:
            name = inner[0]
            if name in ("string", "wstring"):
                return "" if value is None else str(value)
            return (bool if name == "bool" else float if "float" in name else int)(value or 0)
        if kind == Nodetype.NAME:
            return self.make(inner, **(value or {}))
        (element_kind, element), size = inner
        if element_kind == Nodetype.BASE and element[0] not in ("string", "wstring"):
            dtype = {"bool": "bool", "octet": "uint8", "byte": "uint8", "char": "uint8"}.get(
                element[0], element[0]
            )
            filled = np.zeros(size if kind == Nodetype.ARRAY else 0, dtype)
            return filled if value is None else np.ascontiguousarray(value, dtype)
        if value is None:
            value = [None] * (size if kind == Nodetype.ARRAY else 0)
        return [self._value((element_kind, element), item) for item in value]

    def add_topic(self, topic: str, msgtype: str, *, latched: bool = False, qos: Sequence[Qos] = ()) -> None:
        """Declare a topic; `write` does it by itself for topics without special wishes."""
        if isinstance(self.writer, Writer1):
            self.connections[topic] = self.writer.add_connection(
                topic, msgtype, typestore=self.store, latching=1 if latched else None
            )
        else:
            self.connections[topic] = self.writer.add_connection(
                topic, msgtype, typestore=self.store, offered_qos_profiles=qos
            )

    def write(self, topic: str, msgtype: str, log_ns: int, /, **values: Any) -> None:
        """Write one message of these values, logged at this time."""
        self.write_raw(topic, msgtype, log_ns, self.serialize(msgtype, **values))

    def serialize(self, msgtype: str, **values: Any) -> bytes:
        """Return the bytes of a message, as they stand in this kind of bag."""
        serialize = self.store.serialize_ros1 if self.ros == 1 else self.store.serialize_cdr
        return bytes(serialize(self.make(msgtype, **values), msgtype))

    def write_raw(self, topic: str, msgtype: str, log_ns: int, data: bytes) -> None:
        """Write one message's bytes as they are; for damaged ones, and for many equal ones."""
        if topic not in self.connections:
            self.add_topic(topic, msgtype)
        self.writer.write(self.connections[topic], log_ns, data)


@contextmanager
def open_bag(path: Path, *, storage: Storage = "mcap", compression: str = "") -> Iterator[BagMaker]:
    """Open a bag for writing; the ending of the path says what it is.

    `.bag` is ROS 1 (compression: none, `bz2` or `lz4`). `.mcap` and `.db3` are single ROS 2 files,
    any other path is a ROS 2 folder with `metadata.yaml` (compression: none, or `zstd`: chunks of
    MCAP, messages of sqlite3, which needs `metadata.yaml` to be understood).
    """
    if path.suffix == ".bag":
        writer1 = Writer1(path)
        if compression:
            writer1.set_compression(Writer1.CompressionFormat[compression.upper()])
        with writer1:
            yield BagMaker(writer1, 1)
        return
    storage = {".mcap": "mcap", ".db3": "sqlite3"}.get(path.suffix, storage)  # type: ignore[assignment]
    single = path.suffix in (".mcap", ".db3")
    folder = path.with_suffix(".folder") if single else path
    writer2 = Writer2(folder, version=9, storage_plugin=StoragePlugin[storage.upper()])
    if compression:
        mode = CompressionMode.STORAGE if storage == "mcap" else CompressionMode.MESSAGE
        writer2.set_compression(mode, CompressionFormat[compression.upper()])
    with writer2:
        yield BagMaker(writer2, 2)
    if single:
        next(file for file in folder.iterdir() if file.suffix == path.suffix).rename(path)
        (folder / "metadata.yaml").unlink()
        folder.rmdir()


@dataclass(frozen=True)
class Ramp:
    """A small robot whose every value follows from `s`, the seconds since `start_ns` by its headers.

    | topic                         | rate       | values                                                  |
    |-------------------------------|------------|---------------------------------------------------------|
    | /imu                          | imu_hz     | angular_velocity (s, -s, 2s), acceleration (0, 0, 9.81),|
    |                               |            | orientation: turned by s x 45 degrees around z          |
    | /joint_states                 | joints_hz  | position (s, 10 - s), velocity (1, -1), effort empty    |
    | /camera/front/compressed      | camera_hz  | jpeg, card k = message k                                |
    | /camera/wrist/image_raw       | camera_hz  | rgb8, card 500 + k, 96 x 80                             |
    | /audio, /audio_info           | 38.28      | mp3 at 44.1 kHz: a tone of `pitch_hz`; no header        |
    | /mode (Int32), /words (String)| 2          | k; `word k`; no header                                  |
    """

    path: Path
    seconds: float = 4
    start_ns: int = START_NS
    log_delay_ns: int = LOG_DELAY_NS
    imu_hz: int = 100
    joints_hz: int = 50
    camera_hz: int = 10
    pitch_hz: float = 440.0
    joints: tuple[str, ...] = ("shoulder", "elbow")
    camera_size: tuple[int, int] = (160, 96)
    """Width and height."""
    tracks: frozenset[str] = field(default=frozenset({"imu", "joints", "camera", "wrist", "audio", "text"}))

    def times_ns(self, rate_hz: float) -> list[int]:
        """Return the header times of a topic of this rate."""
        return [
            self.start_ns + math.floor(k * 1_000_000_000 / rate_hz)
            for k in range(round(self.seconds * rate_hz))
        ]


def jpeg(rgb: np.ndarray) -> bytes:
    """Return uint8 [H, W, 3] RGB as a JPEG file of high quality."""
    return _picture_file(rgb, "mjpeg", "yuvj444p", {"qmin": "2", "qmax": "2"})


def png(rgb: np.ndarray) -> bytes:
    """Return uint8 [H, W, 3] RGB as a PNG file."""
    return _picture_file(rgb, "png", "rgb24", {})


def _picture_file(rgb: np.ndarray, codec: str, pixel_format: str, options: dict[str, str]) -> bytes:
    context = av.CodecContext.create(codec, "w")
    assert isinstance(context, av.VideoCodecContext)
    context.height, context.width = rgb.shape[:2]
    context.pix_fmt, context.time_base, context.options = pixel_format, Fraction(1, 25), options
    context.thread_count = 1
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(rgb), format="rgb24")
    return b"".join(bytes(packet) for packet in [*context.encode(frame), *context.encode(None)])


def mp3_frames(samples: np.ndarray, sample_rate: int) -> list[bytes]:
    """Return float32 [C, N] as MP3 frames of 1152 samples each.

    The encoder puts 1105 samples of silence before the first one (and a decoder another 528 + 1).
    """
    file = io.BytesIO()
    with av.open(file, "w", format="mp3", options={"write_xing": "0", "id3v2_version": "0"}) as container:
        layout = "mono" if len(samples) == 1 else "stereo"
        stream = container.add_stream("libmp3lame", rate=sample_rate, layout=layout)
        assert isinstance(stream, av.AudioStream)
        stream.codec_context.options = {"reservoir": "0"}  # so that every frame stands for itself
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples), format="fltp", layout=layout)
        frame.sample_rate, frame.pts, frame.time_base = sample_rate, 0, Fraction(1, sample_rate)
        return [bytes(packet) for packet in [*stream.encode(frame), *stream.encode(None)]]


def write_ramp_bag(ramp: Ramp, *, storage: Storage = "mcap", compression: str = "") -> Ramp:
    """Write the bag that `ramp` describes, in the order of logging, and return `ramp`."""
    messages: list[tuple[int, str, str, dict[str, Any]]] = []
    with open_bag(ramp.path, storage=storage, compression=compression) as bag:
        for log_ns, topic, msgtype, values in sorted(
            [*messages, *_signals(ramp, bag), *_pictures(ramp, bag), *_sound(ramp), *_text(ramp)],
            key=lambda message: message[:2],
        ):
            bag.write(topic, msgtype, log_ns, **values)
    return ramp


Message = tuple[int, str, str, dict[str, Any]]
"""Log time, topic, type, values."""


def _signals(ramp: Ramp, bag: BagMaker) -> Iterator[Message]:
    for stamp_ns in ramp.times_ns(ramp.imu_hz) if "imu" in ramp.tracks else ():
        s = (stamp_ns - ramp.start_ns) / 1e9
        half = s * math.pi / 8
        yield stamp_ns + ramp.log_delay_ns, "/imu", "sensor_msgs/msg/Imu", {
            "header": bag.header(stamp_ns, "imu_link"),
            "orientation": {"x": 0, "y": 0, "z": math.sin(half), "w": math.cos(half)},
            "angular_velocity": {"x": s, "y": -s, "z": 2 * s},
            "linear_acceleration": {"x": 0, "y": 0, "z": 9.81},
        }  # fmt: skip
    for stamp_ns in ramp.times_ns(ramp.joints_hz) if "joints" in ramp.tracks else ():
        s = (stamp_ns - ramp.start_ns) / 1e9
        yield stamp_ns + ramp.log_delay_ns, "/joint_states", "sensor_msgs/msg/JointState", {
            "header": bag.header(stamp_ns),
            "name": list(ramp.joints), "position": [s, 10 - s], "velocity": [1, -1],
        }  # fmt: skip


def _pictures(ramp: Ramp, bag: BagMaker) -> Iterator[Message]:
    width, height = ramp.camera_size
    for k, stamp_ns in enumerate(ramp.times_ns(ramp.camera_hz)):
        log_ns = stamp_ns + ramp.log_delay_ns
        if "camera" in ramp.tracks:
            yield log_ns, "/camera/front/compressed", "sensor_msgs/msg/CompressedImage", {
                "header": bag.header(stamp_ns, "front"),
                "format": "jpeg",
                "data": np.frombuffer(jpeg(draw_card(k, width, height)), np.uint8),
            }  # fmt: skip
        if "wrist" in ramp.tracks:
            yield log_ns, "/camera/wrist/image_raw", "sensor_msgs/msg/Image", {
                "header": bag.header(stamp_ns, "wrist"),
                "height": 80, "width": 96, "encoding": "rgb8", "step": 96 * 3,
                "data": draw_card(500 + k, 96, 80).ravel(),
            }  # fmt: skip


def _sound(ramp: Ramp) -> Iterator[Message]:
    if "audio" not in ramp.tracks:
        return
    yield ramp.start_ns + ramp.log_delay_ns, "/audio_info", "audio_common_msgs/msg/AudioInfo", {
        "channels": 1, "sample_rate": 44_100, "bitrate": 128, "coding_format": "mp3",
    }  # fmt: skip
    for k, frame in enumerate(mp3_frames(tone(ramp.pitch_hz, ramp.seconds, sample_rate=44_100), 44_100)):
        log_ns = ramp.start_ns + ramp.log_delay_ns + k * 1152 * 1_000_000_000 // 44_100
        yield log_ns, "/audio", "audio_common_msgs/msg/AudioData", {"data": np.frombuffer(frame, np.uint8)}


def _text(ramp: Ramp) -> Iterator[Message]:
    for k, time_ns in enumerate(ramp.times_ns(2) if "text" in ramp.tracks else ()):
        yield time_ns + ramp.log_delay_ns, "/mode", "std_msgs/msg/Int32", {"data": k}
        yield time_ns + ramp.log_delay_ns, "/words", "std_msgs/msg/String", {"data": f"word {k}"}
