"""Make a small folder of recordings to try Fifth on: `python examples/make_recordings.py FOLDER`.

FOLDER/videos/balls.mp4        H.264 and stereo AAC: every bounce is a note
FOLDER/videos/sea.mkv          H.264 at 29.97 fps without sound; sea.srt has its subtitles
FOLDER/videos/interrupted.mp4  the first half of a recording that was never finished: broken on purpose
FOLDER/robots/arm_1.mcap       ROS 2: camera, joint states, IMU, microphone and instructions of an arm
FOLDER/robots/arm_2.bag        ROS 1: the same arm moving in another way
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from rosbags.rosbag1 import Writer as Rosbag1Writer
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin
from rosbags.rosbag2 import Writer as Rosbag2Writer
from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore
from scenes import SAMPLE_RATE, Arm, BouncingBalls, SunsetSea

START_NS = 1_750_000_000_000_000_000
"""When the robot recordings begin (Unix time)."""
MICROPHONE_RATE = 16_000
AUDIO_TYPES = {
    "audio_common_msgs/msg/AudioData": "uint8[] data\n",
    "audio_common_msgs/msg/AudioInfo": (
        "uint8 channels\nuint32 sample_rate\nstring sample_format\nuint32 bitrate\nstring coding_format\n"
    ),
}
"""Definitions of the ROS package audio_common; the bag carries them with it."""


def write_video(
    path: Path,
    draw: Callable[[float], np.ndarray],
    seconds: float,
    fps: Fraction,
    sound: np.ndarray | None = None,
) -> None:
    """Write the pictures that `draw(time)` gives, and float32 [2, N] of sound if there is any."""
    height, width = draw(0).shape[:2]
    with av.open(str(path), "w", options={"fflags": "+bitexact"}) as file:
        # x264 with its macroblock tree does not always write the same bytes.
        video = file.add_stream("libx264", rate=fps, options={"crf": "20", "x264-params": "mbtree=0"})
        assert isinstance(video, av.VideoStream)
        video.width, video.height, video.pix_fmt = width, height, "yuv420p"
        video.codec_context.thread_count = 1
        video.codec_context.gop_size = 48
        audio = file.add_stream("aac", rate=SAMPLE_RATE, layout="stereo") if sound is not None else None
        for k in range(int(seconds * fps)):
            frame = av.VideoFrame.from_ndarray(draw(float(k / fps)), format="rgb24")
            frame.pts, frame.time_base = k, 1 / fps
            file.mux(video.encode(frame))
            if sound is not None and isinstance(audio, av.AudioStream):
                first, stop = (round(n * SAMPLE_RATE / fps) for n in (k, k + 1))
                file.mux(audio.encode(_audio_frame(sound, first, stop)))
        file.mux(video.encode(None))
        if isinstance(audio, av.AudioStream):
            file.mux(audio.encode(None))


def _audio_frame(sound: np.ndarray, first: int, stop: int) -> av.AudioFrame:
    part = np.ascontiguousarray(sound[:, first:stop])
    frame = av.AudioFrame.from_ndarray(part, format="fltp", layout="stereo")
    frame.sample_rate, frame.pts, frame.time_base = SAMPLE_RATE, first, Fraction(1, SAMPLE_RATE)
    return frame


Message = tuple[int, str, str, Any]
"""Time of logging in ns, topic, type, message."""


def arm_messages(arm: Arm, store: Typestore, instructions: tuple[str, ...]) -> Iterator[Message]:
    """Yield everything that the arm's computer would have recorded, topic by topic."""
    types = store.types
    ros1 = any(name == "seq" for name, _ in store.fielddefs["std_msgs/msg/Header"][1])

    def header(seconds: float, frame: str) -> tuple[int, Any]:
        """Return a stamp in ns and the header with it."""
        stamp_ns = START_NS + round(seconds * 1e9)
        stamp = types["builtin_interfaces/msg/Time"](
            sec=stamp_ns // 1_000_000_000, nanosec=stamp_ns % 1_000_000_000
        )
        fields = {"seq": 0} if ros1 else {}
        return stamp_ns, types["std_msgs/msg/Header"](**fields, stamp=stamp, frame_id=frame)

    for k in range(round(arm.seconds * 15)):
        stamp_ns, head = header(k / 15, "camera")
        _, jpeg = cv2.imencode(".jpg", arm.picture(k / 15)[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, 90])
        picture = types["sensor_msgs/msg/CompressedImage"](header=head, format="jpeg", data=jpeg.ravel())
        # A picture reaches the recorder some milliseconds after it was taken: its header knows when.
        yield stamp_ns + 12_000_000, "/camera/image/compressed", "sensor_msgs/msg/CompressedImage", picture

    for k in range(round(arm.seconds * 50)):
        stamp_ns, head = header(k / 50, "")
        joints = types["sensor_msgs/msg/JointState"](
            header=head,
            name=["shoulder", "elbow"],
            position=arm.angles(k / 50),
            velocity=arm.speeds(k / 50),
            effort=np.zeros(0),
        )
        yield stamp_ns + 1_000_000, "/joint_states", "sensor_msgs/msg/JointState", joints

    for k in range(round(arm.seconds * 100)):
        stamp_ns, head = header(k / 100, "forearm")
        yield stamp_ns + 1_000_000, "/imu", "sensor_msgs/msg/Imu", _imu(types, head, arm, k / 100)

    info = types["audio_common_msgs/msg/AudioInfo"](
        channels=1, sample_rate=MICROPHONE_RATE, sample_format="S16LE", bitrate=0, coding_format="wave"
    )
    yield START_NS, "/audio_info", "audio_common_msgs/msg/AudioInfo", info
    samples = np.round(arm.motor_sound(MICROPHONE_RATE) * 32767).astype("<i2")
    step = MICROPHONE_RATE // 10
    for first in range(0, len(samples), step):
        data = np.frombuffer(samples[first : first + step].tobytes(), np.uint8)
        sound = types["audio_common_msgs/msg/AudioData"](data=data)
        yield START_NS + first * 1_000_000_000 // MICROPHONE_RATE, "/audio", (
            "audio_common_msgs/msg/AudioData"
        ), sound  # fmt: skip

    for k, instruction in enumerate(instructions):
        time_ns = START_NS + round(k * arm.seconds / len(instructions) * 1e9)
        yield time_ns, "/instruction", "std_msgs/msg/String", types["std_msgs/msg/String"](data=instruction)


def _imu(types: Any, head: Any, arm: Arm, time: float) -> Any:
    """Return what an IMU in the middle of the forearm measures: turned by both joints, in 1 m scale."""
    turned = float(arm.angles(time).sum())
    step = 1e-3
    (x0, y0), (x1, y1), (x2, y2) = (_forearm(arm, time + shift) for shift in (-step, 0, step))
    pull_x, pull_y = (x0 - 2 * x1 + x2) / step**2, (y0 - 2 * y1 + y2) / step**2 + 9.81
    vector, no_covariance = types["geometry_msgs/msg/Vector3"], np.zeros(9)
    return types["sensor_msgs/msg/Imu"](
        header=head,
        orientation=types["geometry_msgs/msg/Quaternion"](
            x=0.0, y=0.0, z=float(np.sin(-turned / 2)), w=float(np.cos(-turned / 2))
        ),
        orientation_covariance=no_covariance,
        angular_velocity=vector(x=0.0, y=0.0, z=-float(arm.speeds(time).sum())),
        angular_velocity_covariance=no_covariance,
        linear_acceleration=vector(
            x=pull_x * np.cos(turned) - pull_y * np.sin(turned),
            y=pull_x * np.sin(turned) + pull_y * np.cos(turned),
            z=0.0,
        ),
        linear_acceleration_covariance=no_covariance,
    )


def _forearm(arm: Arm, time: float) -> tuple[float, float]:
    """Return the middle of the forearm in metres, y up, for links of 0.4 and 0.3 m."""
    shoulder, elbow = arm.angles(time)
    x = 0.4 * np.sin(shoulder) + 0.15 * np.sin(shoulder + elbow)
    y = 0.4 * np.cos(shoulder) + 0.15 * np.cos(shoulder + elbow)
    return float(x), float(y)


def make_store(stores: Stores) -> Typestore:
    """Return the message types of a ROS release, and those for sound."""
    store = get_typestore(stores)
    for name, definition in AUDIO_TYPES.items():
        store.register(get_types_from_msg(definition, name))
    return store


def write_mcap(path: Path, arm: Arm, instructions: tuple[str, ...]) -> None:
    """Write the arm's recording as a ROS 2 bag in one MCAP file."""
    store = make_store(Stores.ROS2_HUMBLE)
    folder = path.with_suffix("")
    writer = Rosbag2Writer(folder, version=9, storage_plugin=StoragePlugin.MCAP)
    writer.set_compression(CompressionMode.STORAGE, CompressionFormat.ZSTD)
    with writer:
        topics: dict[str, Any] = {}
        for log_ns, topic, msgtype, message in sorted(
            arm_messages(arm, store, instructions), key=lambda entry: entry[:2]
        ):
            if topic not in topics:
                topics[topic] = writer.add_connection(topic, msgtype, typestore=store)
            writer.write(topics[topic], log_ns, store.serialize_cdr(message, msgtype))
    (folder / f"{folder.name}.mcap").rename(path)
    (folder / "metadata.yaml").unlink()
    folder.rmdir()


def write_rosbag1(path: Path, arm: Arm, instructions: tuple[str, ...]) -> None:
    """Write the arm's recording as a ROS 1 bag."""
    store = make_store(Stores.ROS1_NOETIC)
    writer = Rosbag1Writer(path)
    writer.set_compression(Rosbag1Writer.CompressionFormat.LZ4)
    with writer:
        topics: dict[str, Any] = {}
        for log_ns, topic, msgtype, message in sorted(
            arm_messages(arm, store, instructions), key=lambda entry: entry[:2]
        ):
            if topic not in topics:
                topics[topic] = writer.add_connection(topic, msgtype, typestore=store)
            writer.write(topics[topic], log_ns, store.serialize_ros1(message, msgtype))


def make_recordings(folder: Path) -> list[Path]:
    """Make all example recordings in a new or empty folder and return their paths."""
    videos, robots = folder / "videos", folder / "robots"
    for made in (videos, robots):
        made.mkdir(parents=True, exist_ok=True)
    balls, sea = BouncingBalls(), SunsetSea()
    write_video(videos / "balls.mp4", balls.picture, balls.seconds, Fraction(24), balls.sound())
    write_video(videos / "sea.mkv", sea.picture, sea.seconds, Fraction(30000, 1001))
    (videos / "sea.srt").write_text(
        "1\n00:00:00,500 --> 00:00:02,000\nThe sun goes down.\n\n"
        "2\n00:00:02,500 --> 00:00:04,500\nThe sea does not mind.\n"
    )
    whole = (videos / "balls.mp4").read_bytes()
    (videos / "interrupted.mp4").write_bytes(whole[: len(whole) // 2])
    write_mcap(robots / "arm_1.mcap", Arm(), ("wave to the camera", "now the other side"))
    write_rosbag1(
        robots / "arm_2.bag", Arm(turns_per_second=0.2, elbow_swing=1.6), ("stretch slowly", "bow", "rest")
    )
    return sorted(path for path in folder.rglob("*") if path.is_file())


def main() -> None:
    """Make the recordings in the folder that the command line names."""
    if len(sys.argv) != 2 or sys.argv[1].startswith("-"):
        sys.exit("usage: python examples/make_recordings.py FOLDER")
    folder = Path(sys.argv[1])
    if folder.exists() and any(folder.iterdir()):
        sys.exit(f"{folder} is not empty: name a new folder, so that nothing of yours is overwritten")
    for path in make_recordings(folder):
        print(f"{path.stat().st_size / 1e6:6.2f} MB  {path}")


if __name__ == "__main__":
    main()
