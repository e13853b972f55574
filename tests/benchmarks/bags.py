"""How fast robot recordings are read, beside the readers that people use, in one run on the same files.

    python tests/benchmarks/bags.py [--rounds 5] [--folder DIR] [--out bags.json] [--peers SITE_PACKAGES]

    signals    an IMU at 200 Hz, MCAP: `rosbags` AnyReader with deserialisation; `mcap` with
               `mcap-ros2-support` (where installed); the page-cache read rate of the same file
    pictures   raw 640 x 480 pictures, MCAP without compression and with zstd chunks (unpacked in up to four
               threads): `rosbags`, the same limit, and decompression alone; of every picture a byte of each
               page is looked at
    jpegs      720p pictures to 256 x 256: OpenCV's full decode and area resize

Rounds take turns between the readers, so that a busy machine is busy for all. The median counts.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

sys.path[:0] = [str(Path(__file__).parents[2]), str(Path(__file__).parents[1] / "made_media")]

import cv2  # noqa: E402
from made_bags import START_NS, jpeg, open_bag  # noqa: E402
from made_cards import draw_card  # noqa: E402
from rosbags.highlevel import AnyReader  # noqa: E402

from ingest.opening import open_recording  # noqa: E402
from ingest.recording import Rows  # noqa: E402

cv2.setNumThreads(1)
IMU, IMAGE, JPEG = "sensor_msgs/msg/Imu", "sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"
MESSAGES, PICTURES, PHOTOS = 60_000, 300, 60


def write_signals(path: Path) -> Path:
    """Write an IMU whose every value changes."""
    with open_bag(path) as bag:
        example = bytearray(bag.serialize(IMU, header=bag.header(START_NS, "imu_link")))
        for k in range(MESSAGES):
            stamp_ns = START_NS + k * 5_000_000
            example[4:8] = (stamp_ns // 10**9).to_bytes(4, "little")
            example[8:12] = (stamp_ns % 10**9).to_bytes(4, "little")
            example[-72:] = np.random.default_rng(k).random(9).tobytes()
            bag.write_raw("/imu", IMU, stamp_ns, bytes(example))
    return path


def write_pictures(path: Path, compression: str = "") -> Path:
    """Write raw pictures of test cards on noise."""
    noise = np.random.default_rng(0).integers(0, 8, (480, 640, 3), np.uint8)
    target = path if not compression else path.with_suffix("")
    with open_bag(target, compression=compression) as bag:
        for k in range(PICTURES):
            stamp_ns = START_NS + k * 33_333_333
            fields = {"height": 480, "width": 640, "encoding": "rgb8", "step": 1920}
            data = (draw_card(k, 640, 480) // 2 + noise).ravel()
            bag.write("/camera", IMAGE, stamp_ns, header=bag.header(stamp_ns), data=data, **fields)
    return target if not compression else next(target.glob("*.mcap"))


def write_photos(path: Path) -> Path:
    """Write 720p JPEGs of a smooth scene with texture."""
    x, y = np.meshgrid(np.linspace(0, 6, 1280), np.linspace(0, 4, 720))
    with open_bag(path) as bag:
        for k in range(PHOTOS):
            scene = np.stack([np.sin(x * y + k), np.cos(3 * x + k), np.sin(9 * y) * np.cos(7 * x)], axis=2)
            data = np.frombuffer(jpeg(((scene + 1) * 120).astype(np.uint8)), np.uint8)
            stamp_ns = START_NS + k * 33_333_333
            bag.write("/camera", JPEG, stamp_ns, header=bag.header(stamp_ns), format="jpeg", data=data)
    return path


def page_cache(path: Path) -> int:
    """Read a file's bytes and do nothing."""
    count = 0
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            count += len(block)
    return count


def with_rosbags(path: Path) -> int:
    """Deserialise every message."""
    count = 0
    with AnyReader([path]) as reader:
        for connection, _, raw in reader.messages():
            message: Any = reader.deserialize(raw, connection.msgtype)
            if connection.msgtype == IMAGE:
                touch(message.data)
            count += 1
    return count


def with_mcap(path: Path) -> int:
    """Deserialise every message with the packages of the format's authors."""
    from mcap.reader import make_reader
    from mcap_ros2.decoder import DecoderFactory

    with path.open("rb") as file:
        reader = make_reader(file, decoder_factories=[DecoderFactory()])
        count = 0
        for decoded in reader.iter_decoded_messages():
            count += 1
            if hasattr(decoded.decoded_message, "step"):
                touch(np.frombuffer(decoded.decoded_message.data, np.uint8))
        return count


def with_fifth(path: Path) -> Callable[[Path], int]:
    """Return what reads a recording's only track; planning was done before, as for a worker."""
    threads = min(4, os.cpu_count() or 1)
    with open_recording(path) as source:
        recording = source.probe()

    def read(path: Path) -> int:
        (track,) = recording.tracks
        count = 0
        with open_recording(path, threads=threads) as source:
            decoder = source.decoder(track)
            for packet in source.read([track], recording.origin_ns, recording.stop_ns, print):
                for item in decoder.decode(packet):
                    count += _taken(item)
            return count + sum(_taken(item) for item in decoder.flush())

    return read


def _taken(item: Any) -> int:
    if isinstance(item, Rows):
        return len(item.times_ns)
    if item.width == 1280:
        item.rgb(256, 256)
    else:
        touch(item.message.data)
    return 1


def touch(data: np.ndarray) -> int:
    """Look at a byte of every page: what is only mapped has to come, what was read is there."""
    return int(data[::4096].sum())


def photos_with_opencv(path: Path) -> int:
    """Decode in full and resize by area."""
    count = 0
    with AnyReader([path]) as reader:
        for connection, _, raw in reader.messages():
            message: Any = reader.deserialize(raw, connection.msgtype)
            picture = cv2.imdecode(message.data, cv2.IMREAD_COLOR_RGB)
            cv2.resize(picture, (256, 256), interpolation=cv2.INTER_AREA)
            count += 1
    return count


def chunks_alone(path: Path) -> int:
    """Decompress every chunk, in as many threads as Fifth, and do nothing with it."""
    from ingest.sources.mcap import Mcap

    storage = Mcap(path)
    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
        count = sum(pool.map(lambda chunk: len(storage._read(chunk).data), storage.chunks))
    storage.close()
    return count


def compare(
    readers: dict[str, Callable[[Path], int]], path: Path, items: int, rounds: int
) -> list[dict[str, Any]]:
    """Let the readers take turns; return a row for each, in items per second by the median round."""
    times: dict[str, list[float]] = {name: [] for name in readers}
    for _ in range(rounds):
        for name, read in readers.items():
            begin = time.perf_counter()
            read(path)
            times[name].append(time.perf_counter() - begin)
    first = statistics.median(next(iter(times.values())))
    return [
        {
            "reader": name,
            "per_second": round(items / statistics.median(taken), 1),
            "x_first": round(first / statistics.median(taken), 2),
            "rounds_ms": [round(1000 * one, 1) for one in taken],
        }
        for name, taken in times.items()
    ]


def main() -> None:
    """Make the files, measure, print, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--peers", type=Path, help="a site-packages folder that holds mcap-ros2-support")
    options = parser.parse_args()
    if options.peers:
        sys.path.append(str(options.peers))
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        found = measure(Path(folder), options.rounds)
    print(
        f"{found['machine']}; {', '.join(f'{name} {version}' for name, version in found['versions'].items())}"
    )
    for table in found["tables"]:
        print(f"\n{table['what']}, median of {options.rounds} rounds")
        for row in table["rows"]:
            spread = f"{min(row['rounds_ms'])} .. {max(row['rounds_ms'])} ms"
            print(f"{row['reader']:44}{row['per_second']:>14,.0f} /s {row['x_first']:>8.2f} x   {spread}")
    if options.out:
        options.out.write_text(json.dumps(found, indent=1) + "\n")


def measure(folder: Path, rounds: int) -> dict[str, Any]:
    """Return machine, versions, and a table per kind of media."""
    signals = write_signals(folder / "signals.mcap")
    pictures = write_pictures(folder / "pictures.mcap")
    packed = write_pictures(folder / "packed.mcap", "zstd")
    photos = write_photos(folder / "photos.mcap")
    peers: dict[str, Callable[[Path], int]] = {"rosbags, deserialised": with_rosbags}
    try:
        metadata.version("mcap-ros2-support")
        peers["mcap + mcap-ros2-support"] = with_mcap
    except metadata.PackageNotFoundError:
        pass
    limit = {"limit: the file's bytes, from the page cache": page_cache}
    opencv = {"OpenCV, full decode and area resize": photos_with_opencv}
    tables = [
        ("signals (an IMU)", signals, MESSAGES, peers | {"fifth": with_fifth(signals)} | limit),
        ("raw pictures, 640 x 480", pictures, PICTURES, peers | {"fifth": with_fifth(pictures)} | limit),
        (
            "raw pictures in zstd chunks", packed, PICTURES,
            peers | {"fifth": with_fifth(packed), "limit: decompression alone": chunks_alone},
        ),
        ("720p JPEGs to 256 x 256", photos, PHOTOS, opencv | {"fifth": with_fifth(photos)}),
    ]  # fmt: skip
    names = ("fifth", "rosbags", "mcap", "mcap-ros2-support", "numpy", "opencv-python-headless")
    versions = {}
    for name in names:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = "not installed"
    return {
        "machine": f"{platform.machine()}, {platform.system()}, Python {platform.python_version()}",
        "versions": versions,
        "tables": [
            {"what": what, "rows": compare(readers, path, items, rounds)}
            for what, path, items, readers in tables
        ],
    }


if __name__ == "__main__":
    main()
