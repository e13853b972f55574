"""What is damaged: small media, bags, datasets and texts, made here by code, and real ones where they are.

A seed is a folder as a mapping from names to bytes.
"""

from __future__ import annotations

import math
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).parents[1] / name) for name in ("made_media", "shards")]

import numpy as np
from made_bags import BagMaker, jpeg, open_bag, png
from made_cards import draw_card
from made_mcap import McapMaker, as_json, protobuf_classes, stamp
from made_sound import clicks, tone, write_sound
from made_video import Pictures, SoundTrack, write_video

Seed = dict[str, bytes]
START_NS = 1_700_000_000_000_000_000
LARGEST_REAL_BYTES = 160_000


def folder_as_seed(folder: Path) -> Seed:
    """Return the files below a folder."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def _made_files(make: Callable[[Path], object]) -> list[Seed]:
    """Return each file that is made in a folder as a seed of its own."""
    with tempfile.TemporaryDirectory() as folder:
        make(Path(folder))
        return [{name: data} for name, data in folder_as_seed(Path(folder)).items()]


def real_files(*patterns: str) -> list[Seed]:
    """Return real files that are small enough; none where there are no real recordings."""
    media = os.environ.get("FIFTH_MEDIA", "")
    paths = [path for pattern in patterns if media for path in sorted(Path(media).glob(pattern))]
    small = [path for path in paths if path.is_file() and 0 < path.stat().st_size <= LARGEST_REAL_BYTES]
    return [{path.name: path.read_bytes()} for path in small]


def real_folders(*names: str) -> list[Seed]:
    """Return real folders; none where there are no real recordings."""
    media = os.environ.get("FIFTH_MEDIA", "")
    folders = [Path(media) / name for name in names] if media else []
    return [
        {f"{folder.name}/{name}": data for name, data in folder_as_seed(folder).items()}
        for folder in folders
        if folder.is_dir()
    ]


# video and sound


def video_seeds() -> list[Seed]:
    """Return small videos in every container that is common."""

    def make(folder: Path) -> None:
        small = Pictures(frames=12, fps=Fraction(12), width=64, height=64, keyframe_every=4)
        beep = tone(440, 1)
        write_video(folder / "a.mp4", small, SoundTrack(beep))
        write_video(folder / "a.mkv", small, SoundTrack(beep, codec="libopus"))
        plain = Pictures(frames=12, fps=Fraction(12), width=64, height=64, codec="mpeg4", b_frames=0)
        write_video(folder / "a.avi", plain, SoundTrack(beep, codec="libmp3lame"))
        write_video(
            folder / "a.ts", Pictures(frames=12, fps=Fraction(25), width=64, height=64, codec="mpeg2video")
        )
        vp9 = Pictures(frames=8, fps=Fraction(8), width=64, height=64, codec="libvpx-vp9", b_frames=0)
        write_video(folder / "a.webm", vp9)
        write_video(
            folder / "turned.mov", Pictures(frames=6, width=64, height=96, rotation=90, fps=Fraction(6))
        )
        motion = Pictures(
            frames=6, fps=Fraction(6), width=64, height=64, codec="mjpeg", pixel_format="yuvj420p", b_frames=0
        )
        write_video(folder / "motion.mkv", motion)

    return [*_made_files(make), *real_files("video/*", "broken/*")]


def sound_seeds() -> list[Seed]:
    """Return small sound files in every container that is common."""

    def make(folder: Path) -> None:
        samples = tone(440, 0.5, channels=2)
        for ending in (".wav", ".flac", ".mp3", ".m4a", ".aac", ".ogg", ".opus", ".mkv"):
            write_sound(folder / f"tone{ending}", samples)
        write_sound(folder / "click.wav", clicks([0.1], 0.3, sample_rate=8000), sample_rate=8000)

    return [*_made_files(make), *real_files("audio/*")]


# bags


def _imu(bag: BagMaker, k: int, now: int) -> None:
    s = k / 10
    turn = {"x": 0, "y": 0, "z": math.sin(s), "w": math.cos(s)}
    bag.write("/imu", "sensor_msgs/msg/Imu", now, header=bag.header(now), orientation=turn)
    joints = {"name": ["a", "b"], "position": [s, -s], "velocity": [1, 2]}
    bag.write("/joints", "sensor_msgs/msg/JointState", now, header=bag.header(now), **joints)
    bag.write("/numbers", "std_msgs/msg/Float64MultiArray", now, data=np.arange(3.0))


def _images(bag: BagMaker, k: int, now: int) -> None:
    def image(topic: str, encoding: str, step: int, rows: int = 12) -> None:
        data = np.full(step * rows, 17 * k % 256, np.uint8)
        bag.write(
            topic, "sensor_msgs/msg/Image", now,
            header=bag.header(now), height=12, width=16, encoding=encoding, step=step, data=data,
        )  # fmt: skip

    image("/rgb", "rgb8", 48)
    image("/bayer", "bayer_rggb8", 16)
    image("/depth", "16UC1", 32)
    image("/far", "32FC1", 64)
    image("/nv12", "nv12", 16, rows=18)


def _compressed(bag: BagMaker, k: int, now: int) -> None:
    card = draw_card(k, 64, 64)
    header = bag.header(now)
    for topic, form, data in (
        ("/jpeg", "rgb8; jpeg compressed bgr8", jpeg(card)),
        ("/png", "png", png(card)),
        ("/depth/compressedDepth", "16UC1; compressedDepth png", bytes(12) + _depth_png()),
    ):
        array = np.frombuffer(data, np.uint8)
        bag.write(topic, "sensor_msgs/msg/CompressedImage", now, header=header, format=form, data=array)


def _depth_png() -> bytes:
    import cv2

    return bytes(cv2.imencode(".png", np.arange(192, dtype=np.uint16).reshape(12, 16) * 20)[1])


def _points(bag: BagMaker, k: int, now: int) -> None:
    fields = [{"name": n, "offset": 4 * i, "datatype": 7, "count": 1} for i, n in enumerate("xyz")]
    rng = np.random.default_rng(k)
    for topic, width, height in (("/cloud", 40, 1), ("/organised", 16, 4)):
        points = rng.normal(size=(width * height, 3)).astype(np.float32)
        bag.write(
            topic, "sensor_msgs/msg/PointCloud2", now, header=bag.header(now), width=width, height=height,
            fields=fields, point_step=12, row_step=12 * width, data=points.view(np.uint8).ravel(),
        )  # fmt: skip
    bag.write(
        "/old",
        "sensor_msgs/msg/PointCloud",
        now,
        header=bag.header(now),
        points=[{"x": 1.0, "y": 2.0, "z": k}],
    )


def _scans(bag: BagMaker, k: int, now: int) -> None:
    angles = {"angle_min": -1.0, "angle_max": 1.0, "angle_increment": 0.1, "range_max": 30.0}
    bag.write(
        "/scan", "sensor_msgs/msg/LaserScan", now,
        header=bag.header(now), **angles, ranges=np.full(21, 2.0 + k / 10, np.float32),
    )  # fmt: skip
    echoes = [{"echoes": [1.0, 2.0]} for _ in range(21)]
    bag.write(
        "/multi", "sensor_msgs/msg/MultiEchoLaserScan", now, header=bag.header(now), **angles, ranges=echoes
    )


def _texts(bag: BagMaker, k: int, now: int) -> None:
    move = {"header": bag.header(now, "map"), "child_frame_id": "base", "transform": {"rotation": {"w": 1.0}}}
    if bag.ros == 2:
        bag.write("/tf", "tf2_msgs/msg/TFMessage", now, transforms=[move])
    bag.write("/words", "std_msgs/msg/String", now, data=f"word {k}")
    bag.write("/camera_info", "sensor_msgs/msg/CameraInfo", now, header=bag.header(now), width=64, height=64)
    bag.write("/cmd_vel", "geometry_msgs/msg/Twist", now, linear={"x": k})
    bag.write("/fix", "sensor_msgs/msg/NavSatFix", now, header=bag.header(now), latitude=48.0 + k)


def _sounds(bag: BagMaker, k: int, now: int) -> None:
    from made_bags import mp3_frames

    if not k:
        info = {"channels": 1, "sample_rate": 44_100, "bitrate": 128, "coding_format": "mp3"}
        bag.write("/audio_info", "audio_common_msgs/msg/AudioInfo", now, **info)
        for n, frame in enumerate(mp3_frames(tone(440, 0.4, sample_rate=44_100), 44_100)):
            data = np.frombuffer(frame, np.uint8)
            bag.write("/audio", "audio_common_msgs/msg/AudioData", now + n * 26_122_449, data=data)


GROUPS: dict[str, tuple[Callable[[BagMaker, int, int], None], int]] = {
    "imu": (_imu, 12),
    "images": (_images, 4),
    "compressed": (_compressed, 3),
    "points": (_points, 3),
    "scans": (_scans, 4),
    "texts": (_texts, 5),
    "sounds": (_sounds, 1),
}


def write_group(path: Path, group: str, **how: Any) -> Path:
    """Write a bag of one group of topics."""
    write, count = GROUPS[group]
    with open_bag(path, **how) as bag:
        for k in range(count):
            write(bag, k, START_NS + k * 100_000_000)
    return path


def bag_seeds() -> list[Seed]:
    """Return small ROS 1 bags."""

    def make(folder: Path) -> None:
        for group in GROUPS:
            write_group(folder / f"{group}.bag", group)
        write_group(folder / "bz2.bag", "imu", compression="bz2")
        write_group(folder / "lz4.bag", "texts", compression="lz4")

    return [*_made_files(make), *real_files("bags/*.bag", "bags/*/*.bag", "broken_bags/*.bag")]


def mcap_seeds() -> list[Seed]:
    """Return small MCAP files, of ROS 2 and beyond."""

    def make(folder: Path) -> None:
        for group in GROUPS:
            write_group(folder / f"{group}.mcap", group)
        write_group(folder / "zstd.mcap", "imu", compression="zstd")
        _json_mcap(folder / "json.mcap")
        _protobuf_mcap(folder / "protobuf.mcap")
        _video_mcap(folder / "video.mcap")

    return [*_made_files(make), *real_files("bags/**/*.mcap", "broken_bags/**/*.mcap")]


def _json_mcap(path: Path) -> None:
    maker = McapMaker(per_chunk=4)
    state = maker.add_channel("/state", "json", "robot.State", "jsonschema", b"{}")
    picture = maker.add_channel("/camera", "json", "foxglove.CompressedImage", "jsonschema", b"{}")
    log = maker.add_channel("/log", "json", "foxglove.Log", "jsonschema", b"{}")
    import base64

    image = base64.b64encode(jpeg(draw_card(1, 64, 64))).decode()
    for k in range(6):
        now = START_NS + k * 100_000_000
        pose = {
            "pose": {"x": k / 3, "y": 1.5, "on": True},
            "joints": [{"name": "a", "at": k}],
            "stamp": stamp(now),
        }
        maker.add(state, now, as_json(pose))
        if k < 2:
            maker.add(picture, now, as_json({"timestamp": stamp(now), "format": "jpeg", "data": image}))
        maker.add(log, now, as_json({"timestamp": stamp(now), "level": 2, "message": f"said {k}"}))
    maker.write(path)


def _protobuf_mcap(path: Path) -> None:
    types = {
        "Inner": [("x", "double"), ("y", "float")],
        "State": [("a", ".robot.Inner"), ("b", "repeated int32")],
    }
    schema, classes = protobuf_classes("robot", types)
    maker = McapMaker(per_chunk=4)
    channel = maker.add_channel("/state", "protobuf", "robot.State", "protobuf", schema)
    for k in range(8):
        message = classes["State"](b=[k, 2, 3])
        message.a.x, message.a.y = k / 7, 1.0
        maker.add(channel, START_NS + k * 100_000_000, message.SerializeToString())
    maker.write(path)


def _video_mcap(path: Path) -> None:
    import av

    maker = McapMaker(per_chunk=4)
    definition = (
        "builtin_interfaces/Time timestamp\nstring frame_id\nuint8[] data\nstring format\n"
        + "=" * 80
        + "\nMSG: builtin_interfaces/Time\nint32 sec\nuint32 nanosec\n"
    )
    plain = maker.add_channel(
        "/video", "cdr", "foxglove_msgs/msg/CompressedVideo", "ros2msg", definition.encode()
    )
    context: Any = av.CodecContext.create("libx264", "w")
    context.width = context.height = 64
    context.pix_fmt, context.time_base = "yuv420p", Fraction(1, 10)
    context.max_b_frames, context.gop_size, context.thread_count = 0, 3, 1
    context.options = {"tune": "zerolatency"}
    packets = []
    for k in range(6):
        frame = av.VideoFrame.from_ndarray(draw_card(k, 64, 64), format="rgb24")
        frame.pts = k
        packets += [bytes(packet) for packet in context.encode(frame)]
    packets += [bytes(packet) for packet in context.encode(None)]
    for k, packet in enumerate(packets):
        now = START_NS + k * 100_000_000
        maker.add(plain, now, _video_message(now, packet))
    maker.write(path)


def _video_message(stamp_ns: int, data: bytes) -> bytes:
    """Return a `foxglove_msgs/CompressedVideo` as CDR."""
    out = stamp_ns.__floordiv__(10**9).to_bytes(4, "little") + (stamp_ns % 10**9).to_bytes(4, "little")
    out += (4).to_bytes(4, "little") + b"cam\0" + len(data).to_bytes(4, "little") + data
    out += bytes(-len(out) % 4) + (5).to_bytes(4, "little") + b"h264\0"
    return b"\0\1\0\0" + out


def sqlite_seeds() -> list[Seed]:
    """Return ROS 2 folders with SQLite storage and `metadata.yaml`, and single files."""
    seeds = []
    with tempfile.TemporaryDirectory() as given:
        folder = Path(given)
        for group in ("imu", "images", "texts", "points"):
            write_group(folder / group, group, storage="sqlite3")
            seeds.append({f"{group}/{name}": data for name, data in folder_as_seed(folder / group).items()})
        write_group(folder / "zstd", "imu", storage="sqlite3", compression="zstd")
        seeds.append({f"zstd/{name}": data for name, data in folder_as_seed(folder / "zstd").items()})
        single = write_group(folder / "single.db3", "scans")
        seeds.append({"single.db3": single.read_bytes()})
    return [
        *seeds,
        *real_folders("bags/rosbag2_talker_db3", "bags/nebula_ars548", "broken_bags/rosbag2_wrong_rmw_db3"),
    ]


def packed_seeds() -> list[Seed]:
    """Return bags that are packed as whole files."""
    import bz2
    import gzip
    import lzma

    import lz4.frame
    from backports import zstd

    with tempfile.TemporaryDirectory() as given:
        bag = write_group(Path(given) / "a.bag", "imu").read_bytes()
        mcap = write_group(Path(given) / "a.mcap", "texts").read_bytes()
        database = write_group(Path(given) / "a.db3", "scans").read_bytes()
    return [
        {"a.bag.gz": gzip.compress(bag, mtime=0)},
        {"a.bag.bz2": bz2.compress(bag)},
        {"a.mcap.zstd": zstd.compress(mcap)},
        {"a.mcap.xz": lzma.compress(mcap)},
        {"a.mcap.lz4": lz4.frame.compress(mcap)},
        {"a.db3.zstd": zstd.compress(database)},
        *real_files("bags/*.zstd"),
    ]


def lerobot_seeds() -> list[Seed]:
    """Return LeRobot folders in both layouts."""
    from made_lerobot import Robot, write_lerobot

    seeds = []
    for version in ("v2.1", "v3.0"):
        with tempfile.TemporaryDirectory() as given:
            root = Path(given) / "robot"
            write_lerobot(Robot(root, version, lengths=(6, 5)))
            seeds.append({f"robot/{name}": data for name, data in folder_as_seed(root).items()})
    return seeds


# datasets


@cache
def made_dataset_seed() -> Seed:
    """Return a dataset with every kind of member, of encoders that nobody has."""
    from made_dataset import write_dataset

    with tempfile.TemporaryDirectory() as given:
        write_dataset(Path(given) / "d")
        return {name: data for name, data in folder_as_seed(Path(given) / "d").items() if name != ".lock"}


@cache
def true_dataset_seed() -> Seed:
    """Return a dataset made by the main job, whose tokens lead back to media."""
    from ingest.configuration import Settings
    from ingest.pipeline import shard_recordings

    with tempfile.TemporaryDirectory() as given:
        folder = Path(given)
        (folder / "in").mkdir()
        small = Pictures(frames=12, fps=Fraction(12), width=64, height=64)
        write_video(folder / "in" / "a.mp4", small, SoundTrack(tone(440, 1)))
        write_group(folder / "in" / "b.mcap", "imu")
        write_group(folder / "in" / "c.bag", "images")
        settings = Settings(
            size=32,
            fps=Fraction(4),
            depth_size=16,
            video="auto,jpeg",
            audio="auto,opus",
            signals="auto,fast-1024",
        )
        shard_recordings([folder / "in"], folder / "d", settings, workers=0)
        return {name: data for name, data in folder_as_seed(folder / "d").items() if name != ".lock"}


# texts

MAP_TOML = """
[state]
topics = ["/joint_states:position", "/gripper:data"]
rate = 20
policy = "nearest"
max_age = 0.5

[wrist]
topics = "/wrist/image_raw"
rate = "4/1"

[cmd]
topics = ["/cmd_vel"]
policy = "hold"
"""
MAPS = (
    "action=/cmd_vel",
    "state=/joint_states:position,velocity",
    "state=/joint_states:position+/gripper:data@rate=20",
    "wrist=/wrist/image_raw@rate=4",
    "cmd=/cmd_vel@policy=hold,max_age=1/2",
)
ENCODERS = (
    "auto",
    "none",
    "jpeg@quality=80,fps=2",
    "auto,jpeg@as=small",
    "frames-dct",
    "hf:models/x@fps=1",
    "h264@crf=30",
)
AUDIO_FORMATS = ("s16le:16000:1", "mp3", "f32be:48000:2")
CONDITIONS = (
    "recording = 'a.mp4' and seconds > 3",
    "tokens.video > 100 and not (layout = 'x' or valid.audio < 3)",
    "recording like '%drive%'",
)


def lines_of(texts: tuple[str, ...]) -> Iterator[Seed]:
    """Yield each text as a seed."""
    yield from ({"text": text.encode()} for text in texts)
