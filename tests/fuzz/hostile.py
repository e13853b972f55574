"""Inputs made to do harm: bombs, deep nesting, huge sizes, statements and templates that lead elsewhere."""

from __future__ import annotations

import json
import sqlite3
import struct
import tempfile
import zlib
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from made_bags import open_bag
from made_mcap import McapMaker, as_json
from seeds import START_NS, Seed, folder_as_seed, lerobot_seeds, write_group

Make = Callable[[], Seed]
GIB = 1 << 30


def video_inputs() -> list[Make]:
    """Return what makes hostile videos."""
    return [
        *(lambda depth=depth: {"nested.mp4": _nested_boxes(depth)} for depth in (50, 1000, 20_000)),
        *(
            lambda r=rate, c=channels: {"a.avi": _raw_avi(r, c)}
            for rate, channels in ((60_000, 60_000), (16_384, 16_384))
        ),
        lambda: {"big.avi": _avi_of(b"MJPG", huge_jpeg(65_500, 65_500), 65_500, 65_500)},
        lambda: {"big.avi": _avi_of(b"MPNG", huge_png(30_000, 30_000), 30_000, 30_000)},
        lambda: {"y.y4m": b"YUV4MPEG2 W100000 H100000 F25:1 Ip A1:1 C420jpeg\nFRAME\n" + bytes(1000)},
        lambda: {
            "list.m3u8": b"#EXTM3U\n#EXTINF:1\n/etc/passwd\n",
            "list.mp4": b"#EXTM3U\nfile:///etc/passwd\n",
        },
        lambda: {"c.mp4": b"ffconcat version 1.0\nfile ../../canary/secret\n"},
        lambda: {
            "x.ivf": b"DKIF\0\0\x20\0VP80" + struct.pack("<HHIIII", 65535, 65535, 30, 1, 9, 0) + bytes(64)
        },
    ]


def sound_inputs() -> list[Make]:
    """Return what makes hostile sound files."""
    shapes = (
        (1, 1, 8),
        (2**31 - 1, 1, 8),
        (8000, 65_535, 8),
        (0, 1, 16),
        (1, 8, 32),
        (44_100, 2, 0),
        (100, 1, 8),
    )
    return [partial(_wave_input, shape) for shape in shapes]


def _wave_input(shape: tuple[int, int, int]) -> Seed:
    return {"odd.wav": wave(*shape)}


def wave(rate: int, channels: int, bits: int, body: bytes = bytes(100_000)) -> bytes:
    """Return a WAVE file whose header says what it likes."""
    block = max(1, channels * bits // 8) % 65_536
    head = struct.pack("<HHIIHH", 1, channels, rate, rate * block % 2**32, block, bits)
    inner = b"WAVEfmt " + struct.pack("<I", 16) + head + b"data" + struct.pack("<I", len(body)) + body
    return b"RIFF" + struct.pack("<I", len(inner)) + inner


def _nested_boxes(depth: int) -> bytes:
    inner = b""
    for _ in range(depth):
        inner = struct.pack(">I", 8 + len(inner)) + b"moov" + inner if depth <= 1000 else inner
    if depth > 1000:
        inner = b"".join(struct.pack(">I", 8 * (depth - k)) + b"udta" for k in range(depth))
    return struct.pack(">I", 20) + b"ftypisom" + bytes(4) + b"isom" + inner


def _avi_of(codec: bytes, packet: bytes, width: int, height: int) -> bytes:
    """Return an AVI with one packet."""
    main = struct.pack("<14I", 40_000, 0, 0, 0x10, 1, 0, 1, 0, width, height, 0, 0, 0, 0)
    stream = b"vids" + codec + struct.pack("<IHHIIIIIIIIhhhh", 0, 0, 0, 0, 1, 25, 0, 1, 0, 0, 0, 0, 0, 0, 0)
    bitmap = struct.pack("<IiiHH4sIiiII", 40, width, height, 1, 24, codec, 0, 0, 0, 0, 0)

    def chunk(name: bytes, data: bytes) -> bytes:
        return name + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2)

    def group(name: bytes, data: bytes) -> bytes:
        return chunk(b"LIST", name + data)

    header = group(
        b"hdrl", chunk(b"avih", main) + group(b"strl", chunk(b"strh", stream) + chunk(b"strf", bitmap))
    )
    return chunk(b"RIFF", b"AVI " + header + group(b"movi", chunk(b"00dc", packet)))


def _raw_avi(width: int, height: int) -> bytes:
    return _avi_of(bytes(4), bytes(5000), width, height)


@cache
def huge_png(width: int, height: int, depth: int = 8) -> bytes:
    """Return a PNG of zeros, small as a file."""
    packer = zlib.compressobj(9)
    row = bytes(1 + width * depth // 8)
    body = b"".join(packer.compress(row) for _ in range(min(height, 3000))) + packer.flush()

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = struct.pack(">IIBBBBB", width, height, depth, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def huge_jpeg(width: int, height: int) -> bytes:
    """Return a JPEG that claims to be large and holds next to nothing."""
    import cv2

    data = bytearray(bytes(cv2.imencode(".jpg", np.zeros((16, 16, 3), np.uint8))[1]))
    at = data.index(b"\xff\xc0")
    data[at + 5 : at + 9] = struct.pack(">HH", height % 65_536, width % 65_536)
    return bytes(data)


def huge_bmp(width: int, height: int) -> bytes:
    """Return the header of a large bitmap."""
    return (
        b"BM"
        + struct.pack("<IHHIIiiHHIIiiII", 10**6, 0, 0, 54, 40, width, height, 1, 24, 0, 0, 0, 0, 0, 0)
        + bytes(100)
    )


def huge_pnm(width: int, height: int) -> bytes:
    """Return the header of a large portable map."""
    return f"P6\n{width} {height}\n255\n".encode() + bytes(100)


def huge_tiff(width: int, height: int) -> bytes:
    """Return a TIFF that claims to be large."""
    entries = [
        (256, 4, width),
        (257, 4, height),
        (258, 3, 8),
        (259, 3, 1),
        (262, 3, 1),
        (273, 4, 200),
        (277, 3, 1),
        (278, 4, height),
        (279, 4, 100),
    ]
    body = struct.pack("<H", len(entries)) + b"".join(
        struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in entries
    )
    return b"II*\0" + struct.pack("<I", 8) + body + bytes(400)


def huge_pictures() -> list[bytes]:
    """Return pictures that claim to be large, each of another kind."""
    made = [huge_png(30_000, 30_000), huge_png(60_000, 4_000), huge_png(16_000, 16_000)]
    made += [huge_jpeg(65_500, 65_500), huge_jpeg(16_000, 16_000)]
    made += [
        make(*size)
        for make in (huge_bmp, huge_pnm, huge_tiff)
        for size in ((30_000, 30_000), (16_000, 16_000))
    ]
    made.append(
        b"RIFF"
        + struct.pack("<I", 30)
        + b"WEBPVP8L"
        + struct.pack("<I", 18)
        + b"\x2f\xff\xff\xff\xff"
        + bytes(20)
    )
    made.append(b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n-Y 30000 +X 30000\n" + bytes(100))
    made.append(b"GIF89a" + struct.pack("<HH", 65535, 65535) + bytes(50))
    return made


def _bag(name: str, write: Callable[[Any], None], **how: Any) -> Seed:
    with tempfile.TemporaryDirectory() as given:
        path = Path(given) / name
        with open_bag(path, **how) as bag:
            write(bag)
        return (
            {name: path.read_bytes()}
            if path.is_file()
            else {f"{name}/{k}": v for k, v in folder_as_seed(path).items()}
        )


def _picture_bag(name: str, data: bytes) -> Seed:
    def write(bag: Any) -> None:
        for k in range(2):
            array = np.frombuffer(data, np.uint8)
            now = START_NS + k * 10**8
            bag.write(
                "/c",
                "sensor_msgs/msg/CompressedImage",
                now,
                header=bag.header(now),
                format="jpeg",
                data=array,
            )

    return _bag(name, write)


def _cloud_bag(name: str, width: int, height: int, step: int, offset: int) -> Seed:
    def write(bag: Any) -> None:
        fields = [
            {"name": n, "offset": offset + 4 * i, "datatype": 7, "count": 1} for i, n in enumerate("xyz")
        ]
        for k in range(2):
            now = START_NS + k * 10**8
            bag.write(
                "/p", "sensor_msgs/msg/PointCloud2", now, header=bag.header(now), width=width, height=height,
                fields=fields, point_step=step, row_step=width * step % 2**32, data=np.ones(240, np.uint8),
            )  # fmt: skip

    return _bag(name, write)


def _bag_inputs(ending: str) -> list[Make]:
    def image(width: int, height: int, step: int, encoding: str) -> Make:
        def write(bag: Any) -> None:
            for k in range(2):
                now = START_NS + k * 10**8
                bag.write(
                    "/i", "sensor_msgs/msg/Image", now, header=bag.header(now), width=width, height=height,
                    step=step, encoding=encoding, data=np.zeros(600, np.uint8),
                )  # fmt: skip

        return lambda: _bag(f"image{ending}", write)

    def far_apart(bag: Any) -> None:
        for k, now in enumerate((0, START_NS, 4_200_000_000 * 10**9)):
            bag.write("/n", "std_msgs/msg/Float64", now, data=k)
            bag.write("/t", "std_msgs/msg/String", now, data="x" * (k * 10**6))

    def endless_scan(bag: Any) -> None:
        for k in range(2):
            now = START_NS + k * 10**8
            ranges = np.ones(1000, np.float32)
            bag.write(
                "/s", "sensor_msgs/msg/LaserScan", now, header=bag.header(now), angle_min=-1e30,
                angle_max=1e30, angle_increment=(1e-30, float("nan"))[k], ranges=ranges,
            )  # fmt: skip

    def not_numbers(bag: Any) -> None:
        for k, value in enumerate((float("nan"), float("inf"), -1e308, 1e308, 5e-324) * 3):
            now = START_NS + k * 10**8
            bag.write("/n", "geometry_msgs/msg/Twist", now, linear={"x": value, "y": -value})
            turn = {"x": value, "y": value, "z": 0, "w": value}
            bag.write("/q", "sensor_msgs/msg/Imu", now, header=bag.header(now), orientation=turn)
            bag.write("/v", "std_msgs/msg/Float64MultiArray", now, data=np.full(5000 * (k % 2), value))

    return [
        *(lambda p=picture: _picture_bag(f"picture{ending}", p) for picture in huge_pictures()),
        *(
            lambda c=cloud: _cloud_bag(f"cloud{ending}", *c)
            for cloud in (
                (2**31, 1, 12, 0),
                (20, 1, 0, 0),
                (2**16, 2**16, 12, 0),
                (20, 1, 12, 2**31),
                (0, 0, 12, 0),
                (1, 2**20, 0, 0),
            )
        ),
        *(
            image(*of)
            for of in (
                (100_000, 100_000, 300_000, "rgb8"),
                (2**31, 1, 0, "mono8"),
                (10, 10, 2**31, "rgb8"),
                (2, 2**30, 0, "nv12"),
                (1, 2**32 - 1, 1, "mono8"),
            )
        ),
        lambda: _bag(f"far{ending}", far_apart),
        lambda: _bag(f"scan{ending}", endless_scan),
        lambda: _bag(f"nan{ending}", not_numbers),
    ]


def bag_inputs() -> list[Make]:
    """Return what makes hostile ROS 1 bags."""
    return [
        *_bag_inputs(".bag"),
        *(lambda c=compression: {"bomb.bag": _bag_bomb(c)} for compression in ("bz2", "lz4")),
    ]


def _bag_bomb(compression: str) -> bytes:
    """Return a ROS 1 bag whose one chunk unpacks to 2 GiB."""
    packed = _bomb(compression, 2**31 - 1)

    def record(data: bytes, **fields: bytes) -> bytes:
        parts = [name.encode() + b"=" + value for name, value in fields.items()]
        header = b"".join(struct.pack("<I", len(part)) + part for part in parts)
        return struct.pack("<I", len(header)) + header + struct.pack("<I", len(data)) + data

    chunk = record(packed, op=b"\x05", compression=compression.encode(), size=struct.pack("<I", 2**31 - 1))
    zero = struct.pack("<Q", 0)
    head = record(b" " * 100, op=b"\x03", index_pos=zero, conn_count=zero[:4], chunk_count=zero[:4])
    return b"#ROSBAG V2.0\n" + head + chunk


@cache
def _bomb(packing: str, size: int) -> bytes:
    """Return zeros, packed; of `size` bytes at least."""
    import bz2
    import gzip
    import lzma

    import lz4.frame
    from backports import zstd

    block = bytes(1 << 26)
    times = -(-size // len(block))
    if packing == "bz2":
        return bytes(bz2.compress(block) * times)
    if packing == "gzip":
        return gzip.compress(block, mtime=0) * times
    if packing == "xz":
        return lzma.compress(block, preset=0) * times
    if packing == "lz4":
        context = lz4.frame.LZ4FrameCompressor(block_size=lz4.frame.BLOCKSIZE_MAX4MB)
        head = context.begin()
        return bytes(head + b"".join(context.compress(block) for _ in range(times)) + context.flush())
    packer = zstd.ZstdCompressor()
    return b"".join(packer.compress(block) for _ in range(times)) + packer.flush()


def mcap_inputs() -> list[Make]:
    """Return what makes hostile MCAP files."""

    def chunk_bomb(packing: str, size: int, said: int) -> Make:
        def make() -> Seed:
            packed = _bomb(packing, size)
            name = {"zstd": b"zstd", "lz4": b"lz4"}[packing]
            head = struct.pack("<QQQI", START_NS, START_NS + 1, said, 0) + struct.pack("<I", len(name)) + name
            content = head + struct.pack("<Q", len(packed)) + packed
            header = b"\x01" + struct.pack("<Q", 8) + bytes(8)
            return {
                "bomb.mcap": b"\x89MCAP0\r\n" + header + b"\x06" + struct.pack("<Q", len(content)) + content
            }

        return make

    def json_messages(*messages: bytes, schema: str = "robot.State") -> Make:
        def make() -> Seed:
            maker = McapMaker()
            channel = maker.add_channel("/j", "json", schema, "jsonschema", b"{}")
            for k, message in enumerate(messages * 2):
                maker.add(channel, START_NS + k * 10**8, message)
            with tempfile.TemporaryDirectory() as given:
                return {"json.mcap": maker.write(Path(given) / "a").read_bytes()}

        return make

    deep: Any = 1
    for _ in range(900):
        deep = {"a": deep}
    wide = as_json({f"c{k}": k for k in range(20_000)})
    return [
        *_bag_inputs(".mcap"),
        chunk_bomb("zstd", 2**31 - 1, 2**31 - 1),
        chunk_bomb("zstd", 2**31 - 1, 1000),
        chunk_bomb("lz4", 2**31 - 1, 2**31 - 1),
        chunk_bomb("zstd", 2**26, 2**63),
        json_messages(b"[" * 100_000),
        json_messages(as_json(deep)),
        json_messages(wide),
        json_messages(
            b'{"a": 1e999, "b": NaN, "c": -Infinity}', b'{"a": ' + b"9" * 4000 + b', "b": true, "c": "x"}'
        ),
        json_messages(b'{"__class__": 1, "__dict__": {"a": 1}, "a.b": 1, "": 2, "\\u0000": 3}'),
        json_messages(
            as_json({"timestamp": {"sec": 10**30, "nsec": -5}, "message": "x", "level": "y"}),
            schema="foxglove.Log",
        ),
        json_messages(
            as_json({"timestamp": {"sec": 1, "nsec": 0}, "data": "////", "format": 5}),
            schema="foxglove.CompressedImage",
        ),
        json_messages(
            as_json({"timestamp": "now", "data": [1, 2], "width": 1e9, "height": 1e9}),
            schema="foxglove.RawImage",
        ),
        json_messages(
            as_json({"pose": 1, "point_stride": 0, "fields": [{}], "data": ""}), schema="foxglove.PointCloud"
        ),
        json_messages(
            as_json({"ranges": "abc", "start_angle": None, "end_angle": {}}), schema="foxglove.LaserScan"
        ),
        json_messages(
            as_json({"transforms": 5, "parent_frame_id": [], "child_frame_id": 1}),
            schema="foxglove.FrameTransform",
        ),
        json_messages(
            as_json({"data": "AAAA", "format": "h264", "timestamp": 1}), schema="foxglove.CompressedVideo"
        ),
        json_messages(
            as_json({"data": "AAAA", "format": "pcm-s16", "sample_rate": 10**12, "number_of_channels": -1}),
            schema="foxglove.RawAudio",
        ),
    ]


STATEMENTS = (
    "UPDATE messages SET data = zeroblob(900000000)",
    "UPDATE messages SET data = zeroblob(100000000)",
    "UPDATE messages SET timestamp = 'now'",
    "UPDATE messages SET timestamp = 9223372036854775807 WHERE id = 2",
    "UPDATE messages SET timestamp = -9223372036854775808 WHERE id = 2",
    "UPDATE messages SET timestamp = 1e300",
    "UPDATE messages SET timestamp = NULL WHERE id = 1",
    "UPDATE messages SET data = NULL",
    "UPDATE messages SET data = 'text'",
    "UPDATE messages SET data = 17 WHERE id % 2",
    "UPDATE messages SET data = x''",
    "UPDATE messages SET topic_id = 'x'",
    "UPDATE messages SET topic_id = 99",
    "UPDATE messages SET timestamp = id * 1000000000000000",
    "UPDATE topics SET name = NULL",
    "UPDATE topics SET name = ''",
    "UPDATE topics SET name = '../../../canary/secret'",
    "UPDATE topics SET type = '../../x'",
    "UPDATE topics SET type = 'a/b/c/d'",
    "UPDATE topics SET type = x'ff00fe'",
    "UPDATE topics SET serialization_format = 'json'",
    "UPDATE topics SET serialization_format = 'protobuf'",
    "UPDATE topics SET serialization_format = NULL",
    "UPDATE topics SET offered_qos_profiles = hex(zeroblob(30000000))",
    "UPDATE topics SET id = 'x' WHERE id = 1",
    "UPDATE message_definitions SET encoded_message_definition = hex(zeroblob(1000000))",
    "UPDATE message_definitions SET encoding = 'ros2idl'",
    "UPDATE message_definitions SET encoded_message_definition = 'a[999999999] b'",
    "UPDATE message_definitions SET encoded_message_definition = 'float64[999999999] b'",
    "UPDATE schema SET ros_distro = x'ff', schema_version = 'x'",
    "DELETE FROM schema",
    "DROP TABLE schema",
    "CREATE TABLE IF NOT EXISTS schema (a INTEGER)",
    "ALTER TABLE messages RENAME COLUMN data TO value",
    "DROP INDEX timestamp_idx",
    'DROP INDEX timestamp_idx; CREATE INDEX "a""b; DROP TABLE x" ON messages (timestamp ASC)',
    "CREATE INDEX zero ON messages (abs(timestamp))",
    "INSERT INTO topics SELECT id + 1000000, name || id, type, serialization_format, '', '' FROM topics",
    "PRAGMA journal_mode = WAL; UPDATE messages SET data = data",
)
REPLACED = (
    "CREATE VIEW messages AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) "
    "SELECT i AS id, 1 AS topic_id, i AS timestamp, zeroblob(10) AS data FROM n",
    "CREATE VIEW messages AS SELECT 1 AS id, 1 AS topic_id, 1 AS timestamp, zeroblob(900000000) AS data",
    "CREATE TABLE messages (id INTEGER PRIMARY KEY, topic_id INTEGER, timestamp INTEGER, "
    "data BLOB GENERATED ALWAYS AS (zeroblob(900000000)) VIRTUAL)",
    "CREATE TABLE messages (id INTEGER PRIMARY KEY, topic_id INTEGER, "
    "timestamp INTEGER GENERATED ALWAYS AS (id + 1) VIRTUAL, data BLOB)",
    "CREATE TABLE messages (id TEXT, topic_id INTEGER, timestamp TEXT, data TEXT)",
    "CREATE VIRTUAL TABLE messages USING fts5(id, topic_id, timestamp, data)",
)


def sqlite_inputs() -> list[Make]:
    """Return what makes hostile SQLite bags and descriptions of bags."""

    def changed(script: str) -> Make:
        def make() -> Seed:
            with tempfile.TemporaryDirectory() as given:
                path = write_group(Path(given) / "a.db3", "imu")
                database = sqlite3.connect(path)
                try:
                    database.executescript(script)
                    database.commit()
                except sqlite3.Error:
                    database.rollback()
                database.close()
                return folder_as_seed(Path(given))

        return make

    def masked(view: str) -> Make:
        """Call a view a table, as the catalogue of a damaged file may."""
        to = "UPDATE sqlite_master SET type = 'table' WHERE name = 'messages'"
        return changed(f"DROP TABLE messages; {view}; PRAGMA writable_schema = ON; {to};")

    def described(yaml: str) -> Make:
        def make() -> Seed:
            with tempfile.TemporaryDirectory() as given:
                write_group(Path(given) / "a", "imu", storage="sqlite3")
                seed = {f"a/{name}": data for name, data in folder_as_seed(Path(given) / "a").items()}
                return seed | {"a/metadata.yaml": yaml.encode()}

        return make

    laughs = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
        f"{chr(98 + k)}: &{chr(98 + k)} [{', '.join([f'*{chr(97 + k)}'] * 9)}]\n" for k in range(12)
    )
    bag = "rosbag2_bagfile_information:\n  version: 5\n"
    return [
        *(changed(statement) for statement in STATEMENTS),
        *(masked(statement) for statement in REPLACED),
        *(
            changed(f"DROP TABLE messages; {statement}; INSERT INTO messages (id, topic_id) VALUES (1, 1)")
            for statement in REPLACED
        ),
        described(f"{laughs}{bag}  relative_file_paths: [*m, *l]\n"),
        described(f"{laughs}{bag}  relative_file_paths: [a_0.db3]\n  ros_distro: *m\n"),
        described(f"{bag}  relative_file_paths: {'[' * 3000}\n"),
        described(f"{bag}  relative_file_paths: [../../../canary/secret, /etc/passwd, a.db3, imu.db3]\n"),
        described(f"{bag}  relative_file_paths: [a.db3]\n  message_count: .inf\n"),
        described(f"{bag}  relative_file_paths: [a.db3]\n  message_count: {'9' * 6000}\n"),
        described(f"{bag}  relative_file_paths: !!python/object/apply:os.system [touch x]\n"),
        described(f"{bag}  relative_file_paths: {{a: b}}\n  ros_distro: [1]\n"),
        described(f"{bag}  ros_distro: '../../x'\n  relative_file_paths: [a.db3]\n"),
        described("&a [*a]\nrosbag2_bagfile_information: 1\n"),
        described(
            "rosbag2_bagfile_information: &a\n  relative_file_paths: *a\n  topics_with_message_count: *a\n"
        ),
    ]


def packed_inputs() -> list[Make]:
    """Return what makes bombs of whole files."""
    kinds = (("zstd", "zstd"), ("gzip", "gz"), ("bz2", "bz2"), ("xz", "xz"), ("lz4", "lz4"))

    def packed_twice() -> Seed:
        import gzip

        return {
            "twice.bag.gz": gzip.compress(gzip.compress(b"#ROSBAG V2.0\n" + bytes(100), mtime=0), mtime=0)
        }

    def of(packing: str, ending: str, bag: str, size: int) -> Make:
        return lambda: {f"bomb.{bag}.{ending}": _bomb(packing, size)}

    def message_bomb() -> Seed:
        from backports import zstd

        def write(bag: Any) -> None:
            for k in range(4):
                bag.write_raw("/w", "std_msgs/msg/String", START_NS + k * 10**8, zstd.compress(bytes(GIB)))

        return _bag("message.mcap", write)

    return [
        *(
            of(packing, ending, bag, size)
            for packing, ending in kinds
            for bag, size in (("mcap", 5 << 28), ("db3", 1 << 28))
        ),
        packed_twice,
        message_bomb,
    ]


def lerobot_inputs() -> list[Make]:
    """Return what makes hostile LeRobot folders."""

    def changed(**info: Any) -> Make:
        def make() -> Seed:
            seed = dict(lerobot_v2())
            name = "robot/meta/info.json"
            seed[name] = json.dumps(json.loads(seed[name]) | info).encode()
            return seed

        return make

    def rows(make_table: Callable[[Any], Any]) -> Make:
        def make() -> Seed:
            import io

            from pyarrow import parquet

            seed = dict(lerobot_v2())
            name = next(name for name in seed if name.endswith(".parquet"))
            table = make_table(parquet.read_table(io.BytesIO(seed[name])))
            out = io.BytesIO()
            parquet.write_table(table, out)
            return seed | {name: out.getvalue()}

        return make

    def column(name: str, values: Callable[[int], Any]) -> Make:
        def replaced(table: Any) -> Any:
            import pyarrow as pa

            return table.set_column(table.column_names.index(name), name, pa.array(values(len(table))))

        return rows(replaced)

    features = json.loads(lerobot_v2()["robot/meta/info.json"])["features"]
    huge = {**features, "action": {"dtype": "float32", "shape": [10**9], "names": None}}
    vast = {**features, "action": {"dtype": "float32", "shape": [10**6, 10**6], "names": None}}
    odd = {
        **features,
        "x": {"dtype": "image", "shape": [-1, "a"], "names": 5},
        "action": {"dtype": "string", "shape": []},
    }
    return [
        changed(data_path="{episode_index:99999999999}"),
        changed(data_path="{episode_chunk:0999999999d}.parquet"),
        changed(data_path="{episode_index.__class__.__mro__}"),
        changed(data_path="../../canary/secret"),
        changed(video_path="/etc/{video_key}"),
        changed(video_path="{video_key:>999999999}"),
        changed(features=huge),
        changed(features=vast),
        changed(features=odd),
        changed(features=[]),
        changed(fps=1e-300),
        changed(fps="1/0"),
        changed(fps=10**400),
        changed(fps=1e308),
        changed(chunks_size=0),
        changed(codebase_version=["v2.1"]),
        column("frame_index", lambda n: [2**62] * n),
        column("frame_index", lambda n: [None] * n),
        column("frame_index", lambda n: ["a"] * n),
        column("timestamp", lambda n: [float("nan")] * n),
        column("timestamp", lambda n: [1e300] * n),
        column("timestamp", lambda n: [1e9 * k for k in range(n)]),
        column("episode_index", lambda n: [None] * n),
        column("task_index", lambda n: [float("nan")] * n),
        column("task_index", lambda n: [[1]] * n),
        column("action", lambda n: [None] * n),
        column("action", lambda n: [[1.0] * k for k in range(n)]),
        column("action", lambda n: ["x"] * n),
        column("observation.state", lambda n: [{"bytes": b"x", "path": "/etc/passwd"}] * n),
        column("next.done", lambda n: [b"\xff"] * n),
        rows(lambda table: table.drop_columns(["timestamp"])),
        rows(lambda table: table.drop_columns(["frame_index"])),
        rows(lambda table: table.slice(0, 0)),
    ]


@cache
def lerobot_v2() -> Seed:
    """Return the folder that the others are made from."""
    return lerobot_seeds()[0]
