"""Damaged bags: everything before the damage comes, the rest is told, and nothing else is raised."""

from __future__ import annotations

import re
import sqlite3
import zlib
from collections.abc import Sequence
from contextlib import closing, suppress
from io import BytesIO
from pathlib import Path
from struct import pack

import lz4.frame
import pytest
from backports import zstd
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from made_bags import START_NS
from made_bags import open_bag as make_bag
from rosbags.rosbag1 import Writer as Writer1

from ingest.errors import CannotDecode, CannotOpen
from ingest.recording import Incident, Recording
from ingest.sources.bag import open_bag
from ingest.sources.bag_files import open_storage
from ingest.sources.bag_storage import MAX_NS, MIN_NS

COUNT = 60
TEXTS = [f"message {k:04d}" * 5 for k in range(COUNT)]


class Bags(dict[str, bytes]):
    """Files by kind, with a short name for where a test's arguments are shown."""

    def __repr__(self) -> str:
        return "bags"


@pytest.fixture(scope="module")
def bags(tmp_path_factory: pytest.TempPathFactory) -> Bags:
    """Sixty numbers on two topics, in chunks of about ten, in every kind of file."""
    folder = tmp_path_factory.mktemp("damage")
    whole = Bags({"mcap": made_mcap(""), "mcapzstd": made_mcap("zstd"), "mcaplz4": made_mcap("lz4")})
    for ending, compression in (("bag", ""), ("bag", "lz4"), ("bag", "bz2"), ("db3", "")):
        path = folder / f"whole_{compression}.{ending}"
        with make_bag(path, compression=compression) as bag:
            if isinstance(bag.writer, Writer1):
                bag.writer.chunk_threshold = 800
            for k in range(COUNT):
                bag.write(f"/{'ab'[k % 2]}", "std_msgs/msg/String", START_NS + k, data=TEXTS[k])
        whole[f"{ending}{compression}"] = path.read_bytes()
    return whole


# A small writer of MCAP, since that of rosbags has neither checksums nor small chunks.
# Source: the MCAP format specification, as in `ingest/sources/mcap.py`.


def text(value: str) -> bytes:
    return pack("<I", len(value)) + value.encode()


def record(op: int, content: bytes) -> bytes:
    return pack("<BQ", op, len(content)) + content


def message(channel: int, k: int) -> bytes:
    body = TEXTS[k].encode() + b"\0"
    return record(5, pack("<HIQQ", channel, k, START_NS + k, 0) + b"\0\1\0\0" + pack("<I", len(body)) + body)


DEFINITIONS = [
    record(3, pack("<H", 1) + text("std_msgs/msg/String") + text("ros2msg") + text("string data")),
    *(
        record(4, pack("<HH", 7 + n, 1) + text("/ab"[:1] + "ab"[n]) + text("cdr") + pack("<I", 0))
        for n in (0, 1)
    ),
]


def made_mcap(
    compression: str = "",
    *,
    profile: str = "ros2",
    chunked: bool = True,
    indexes: bool = True,
    summary: bool = True,
    schemas: bool = True,
) -> bytes:
    """Return sixty messages on two channels, in chunks of ten with checksums.

    Args:
        compression: of the chunks.
        profile: of the file.
        chunked: or else the messages lie in the file itself.
        indexes: whether a message index follows each chunk.
        summary: whether there is one at the end.
        schemas: whether it repeats the schemas.
    """
    pack_chunk = {"": bytes, "zstd": zstd.compress, "lz4": lz4.frame.compress}[compression]
    out = b"\x89MCAP0\r\n" + record(1, text(profile) + text("test"))
    found = []
    if not chunked:
        out += b"".join(DEFINITIONS) + b"".join(message(7 + k % 2, k) for k in range(COUNT))
    for first in range(0, COUNT if chunked else 0, 10):
        numbers = range(first, first + 10)
        inside = b"".join(DEFINITIONS if first == 0 else []) + b"".join(
            message(7 + k % 2, k) for k in numbers
        )
        packed = pack_chunk(inside)
        span = pack("<QQ", START_NS + first, START_NS + first + 9)
        sizes = pack("<QI", len(inside), zlib.crc32(inside))
        chunk = record(6, span + sizes + text(compression) + pack("<Q", len(packed)) + packed)
        index = [
            record(7, pack("<HI", 7 + n, 80) + b"".join(pack("<QQ", START_NS + k, 0) for k in numbers[n::2]))
            for n in ((0, 1) if indexes else ())
        ]
        places = b"".join(
            pack("<HQ", channel, len(out) + len(chunk) + n * 95)
            for n, channel in enumerate((7, 8))
            if indexes
        )
        found.append(
            record(
                8,
                span
                + pack("<QQ", len(out), len(chunk))
                + pack("<I", len(places))
                + places
                + pack("<Q", sum(map(len, index)))
                + text(compression)
                + pack("<QQ", len(packed), len(inside)),
            )
        )
        out += chunk + b"".join(index)
    out += record(15, bytes(4))
    start = len(out) if summary else 0
    if summary:
        counts = pack("<QHIIIIQQI", COUNT, 1, 2, 0, 0, len(found), START_NS, START_NS + COUNT - 1, 0)
        out += b"".join(DEFINITIONS if schemas else DEFINITIONS[1:]) + b"".join(found) + record(11, counts)
    return out + record(2, pack("<QQI", start, 0, 0)) + b"\x89MCAP0\r\n"


def messages_of(path: Path) -> tuple[list[int], list[Incident]]:
    """Return the offsets of all messages that come, and what is reported."""
    reported: list[Incident] = []
    storage = open_storage(path)
    try:
        found = [
            log_ns - START_NS
            for _, log_ns, _ in storage.messages(
                range(len(storage.channels)), MIN_NS, MAX_NS, reported.append
            )
        ]
    finally:
        storage.close()
    return found, [*storage.incidents, *reported]


def probed(path: Path) -> Recording:
    with open_bag([path]) as source:
        recording = source.probe()
        for track in recording.tracks:
            decoder = source.decoder(track)
            for packet in source.read([track], recording.origin_ns, recording.stop_ns, lambda incident: None):
                with suppress(CannotDecode):
                    list(decoder.decode(packet))
            list(decoder.flush())
    return recording


def whole_before(data: bytes, cut: int) -> int:
    """Return how many messages lie whole, uncompressed, before a place in the file."""
    return max(
        (k + 1 for k in range(COUNT) if 0 <= data.find(b"message %04d" % k * 5) <= cut - 61), default=0
    )


@pytest.mark.parametrize("kind", ["bag", "mcap"])
def test_a_cut_file_gives_what_is_before(bags: Bags, tmp_path: Path, kind: str) -> None:
    """Wherever an uncompressed file is cut, every message that lies whole before the cut comes."""
    data = bags[kind]
    path = tmp_path / f"cut.{kind}"
    for cut in range(0, len(data), 31):
        path.write_bytes(data[:cut])
        try:
            found, incidents = messages_of(path)
        except CannotOpen:
            assert cut < 30
            continue
        expected = list(range(whole_before(data, cut)))
        assert found[: len(expected)] == expected
        assert len(found) <= len(expected) + 1
        assert incidents, f"a file cut at {cut} is taken for whole"
        if len(found) % 10:  # the chunks hold ten; between two the file just ends
            assert incidents[-1].severity == "failure"


@pytest.mark.parametrize("kind", ["baglz4", "bagbz2", "mcapzstd", "mcaplz4"])
def test_a_cut_compressed_file_gives_a_beginning(bags: Bags, tmp_path: Path, kind: str) -> None:
    """Wherever a file is cut, what comes are its first messages; the longer, the more."""
    data = bags[kind]
    path = tmp_path / "cut"
    before = 0
    for cut in range(0, len(data), 97):
        path.write_bytes(data[:cut])
        try:
            found, _ = messages_of(path)
        except CannotOpen:
            continue
        assert found == list(range(len(found)))
        assert len(found) >= before
        before = len(found)
    assert before >= COUNT // 2


def test_a_cut_database_gives_a_beginning(tmp_path: Path) -> None:
    """Wherever a database is cut, what comes are its first messages, every byte of them as written.

    SQLite reads the missing part of a page as zeros: those must never pass for data.
    """
    path, cut_path = tmp_path / "a.db3", tmp_path / "cut.db3"
    long = "x" * 700
    with make_bag(path) as bag:
        for k in range(300):
            bag.write("/a", "std_msgs/msg/String", START_NS + k, data=f"{k:04d}{long[: k * 10]}")
    data = path.read_bytes()
    most = 0
    for cut in range(0, len(data), 1723):
        cut_path.write_bytes(data[:cut])
        try:
            storage = open_storage(cut_path)
        except CannotOpen:
            assert most == 0
            continue
        with closing(storage):
            found = list(storage.messages([0], MIN_NS, MAX_NS, lambda incident: None))
            assert storage.incidents[0].severity == "failure"
        texts = [bytes(data)[8:-1].decode() for _, _, data in found]
        assert texts == [f"{k:04d}{long[: k * 10]}" for k in range(len(found))]
        assert len(found) > most - 80  # a page that is not whole is not trusted
        most = max(most, len(found))
    assert most > 250


@pytest.mark.parametrize("kind", ["bag", "baglz4", "bagbz2", "mcap", "mcapzstd", "db3"])
@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    changes=st.lists(st.tuples(st.integers(0, 10**6), st.binary(min_size=1, max_size=8)), max_size=3),
    cut=st.integers(0, 2 * 10**6),
)
def test_damage_raises_nothing_else(
    bags: Bags, tmp_path: Path, kind: str, changes: list[tuple[int, bytes]], cut: int
) -> None:
    """Bytes changed anywhere, and a cut: probing and reading raise nothing but CannotOpen."""
    content = bytearray(bags[kind])
    for at, noise in changes:
        begin = at * len(content) // 10**6
        content[begin : begin + len(noise)] = noise
    path = tmp_path / "x"
    path.write_bytes(content[: cut * len(content) // 10**6])
    cause = ""
    try:
        recording = probed(path)
    except CannotOpen as error:
        cause, recording = str(error) or "no words", Recording("", ())
    assert str(tmp_path) not in cause
    assert cause != "no words"
    assert Recording.from_json(recording.to_json()) == recording


@pytest.mark.parametrize("kind", ["bag", "mcap"])
def test_damage_inside_one_chunk_costs_that_chunk(bags: Bags, tmp_path: Path, kind: str) -> None:
    """With an index, what comes after a damaged chunk comes; the loss has its time span."""
    content = bytearray(bags[kind])
    at = content.find(b"message 0035") - 8
    content[at : at + 4] = b"\xff\xff\xff\x7f"  # the length of a string, or of the message
    begin = content.rfind(b"message 0034") - 50
    content[begin : begin + 40] = b"\xee" * 40
    path = tmp_path / f"x.{kind}"
    path.write_bytes(content)
    found, incidents = messages_of(path)
    assert found[:20] == list(range(20))
    assert found[-12:] == list(range(COUNT - 12, COUNT))
    (incident,) = incidents
    assert incident.severity == "failure"
    lost = sorted(set(range(COUNT)) - set(found))
    assert 1 <= len(lost) <= 25
    assert incident.start_ns <= START_NS + lost[0]
    assert START_NS + lost[-1] < incident.stop_ns


def lost_in(incidents: Sequence[Incident]) -> int:
    """Return how many messages incidents say are lost, counted or estimated."""
    return sum(
        int(number)
        for incident in incidents
        for number in re.findall(r"(\d+) messages? (?:is|are) lost", incident.cause)
    )


@pytest.mark.parametrize("kind", ["bag", "baglz4", "bagbz2", "mcap", "mcapzstd", "mcaplz4"])
@pytest.mark.parametrize("indexed", [True, False])
def test_lost_messages_are_counted(bags: Bags, tmp_path: Path, kind: str, indexed: bool) -> None:
    """Of a damaged chunk, the index that follows it says exactly how many messages are lost; with the file's
    own index or without it.
    """
    content = bags[kind] if indexed else without_index(bags[kind])
    path = tmp_path / f"x.{kind}"
    for begin, end in chunk_payloads(bags[kind])[1:-1]:
        damaged = bytearray(content)
        damaged[(begin + end) // 2 : end - 20] = b"\xee" * (end - 20 - (begin + end) // 2)
        path.write_bytes(damaged)
        found, incidents = messages_of(path)
        (loss,) = (incident for incident in incidents if incident.severity == "failure")
        assert lost_in([loss]) == COUNT - len(found) > 0
        assert "about" not in loss.cause
        assert set(range(COUNT)) - set(range(loss.start_ns - START_NS, COUNT)) <= set(found)


def chunk_payloads(content: bytes) -> list[tuple[int, int]]:
    """Return where the packed bytes of each chunk lie."""
    if content.startswith(b"#ROSBAG"):
        from ingest.sources.rosbag1 import CHUNK, MAGIC, record_at

        found, offset = [], len(MAGIC)
        while offset < len(content):
            chunk = record_at(BytesIO(content), offset, len(content))
            offset = chunk.end
            found += [(chunk.data_offset, chunk.end)] if chunk.op == CHUNK else []
        return found
    from ingest.sources.mcap import CHUNK, MAGIC, records_in

    inside = content[len(MAGIC) : -len(MAGIC)]
    names = {
        item.content: int.from_bytes(inside[item.content + 28 : item.content + 32], "little")
        for item in records_in(inside)
        if item.op == CHUNK
    }
    return [
        (item.content + 40 + names[item.content] + len(MAGIC), item.end + len(MAGIC))
        for item in records_in(inside)
        if item.op == CHUNK
    ]


def without_index(content: bytes) -> bytes:
    """Return a bag as a recorder leaves it that lost its power between two chunks."""
    if content.startswith(b"#ROSBAG"):
        head = content.find(b"index_pos=") + 10
        return content[:head] + bytes(8) + content[head + 8 :]
    return without_summary(content)


def test_losses_without_an_index_are_estimated(bags: Bags, tmp_path: Path) -> None:
    """Of a chunk whose end is missing, with what follows it, the size says about how many are lost."""
    content = bags["mcap"]
    path = tmp_path / "x.mcap"
    path.write_bytes(content[: content.find(b"message 0026")])
    found, incidents = messages_of(path)
    assert found == list(range(26))
    assert incidents[-1].cause.endswith("about 4 messages are lost, by its size")
    assert (incidents[-1].start_ns, incidents[-1].stop_ns) == (START_NS + 25, START_NS + 26)


def test_a_cut_database_says_how_much_is_missing(tmp_path: Path) -> None:
    """Of half a database about half of the messages are said to be lost; the metadata beside it is exact."""
    with make_bag(tmp_path / "run", storage="sqlite3") as bag:
        for k in range(300):
            bag.write("/a", "std_msgs/msg/String", START_NS + k, data="x" * 500)
    (path,) = (tmp_path / "run").glob("*.db3")
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with open_bag([path]) as source:
        recording = source.probe()
    found = recording.details["messages"]
    loss, remark = recording.incidents
    assert 100 < found < 160
    assert abs(lost_in([loss]) - (300 - found)) < 50
    assert "by its size" in loss.cause
    assert remark == Incident("note", f"metadata.yaml counts 300 messages, {300 - found} more than there are")


def test_a_wrong_checksum_costs_the_chunk(bags: Bags, tmp_path: Path) -> None:
    """A chunk whose checksum is wrong is not used: which of its values are wrong can't be known."""
    content = bytearray(bags["mcap"])
    content[content.find(b"message 0030") + 3] ^= 1
    path = tmp_path / "x.mcap"
    path.write_bytes(content)
    found, incidents = messages_of(path)
    assert incidents[0].cause == "a chunk's checksum is wrong: 10 messages are lost"
    lost = set(range(COUNT)) - set(found)
    assert 30 in lost
    assert len(lost) == 10


def test_a_bag_that_was_not_closed(bags: Bags, tmp_path: Path) -> None:
    """A recorder that lost its power leaves a last chunk of size 0: its messages come all the same."""
    from ingest.sources.rosbag1 import CHUNK, MAGIC, record_at

    content = bytearray(bags["bag"])
    path = tmp_path / "x.bag"
    path.write_bytes(content)
    chunks = []
    with path.open("rb") as file:
        offset = len(MAGIC)
        while offset < len(content):
            record = record_at(file, offset, len(content))
            if record.op == CHUNK:
                chunks.append(record)
            offset = record.end
    last = chunks[-1]
    content = content[: last.end - 10]  # in the middle of the last message
    content[last.data_offset - 4 : last.data_offset] = bytes(4)
    head = content.find(b"index_pos=") + 10
    content[head : head + 8] = bytes(8)
    path.write_bytes(content)
    found, incidents = messages_of(path)
    assert found == list(range(COUNT - 1))
    assert incidents[0] == Incident("note", "the bag was not closed and has no index: read from start to end")
    assert incidents[1].severity == "failure"
    assert "the file ends within a record" in incidents[1].cause
    assert incidents[1].start_ns == START_NS + COUNT - 1


def without_summary(content: bytes) -> bytes:
    """Return an MCAP file as a recorder leaves it that lost its power after its last chunk."""
    from ingest.sources.mcap import DATA_END, MAGIC, records_in

    for record in records_in(content[len(MAGIC) : -len(MAGIC)]):
        if record.op == DATA_END:
            return content[: len(MAGIC) + record.offset]
    raise AssertionError("no end of data")


def test_an_mcap_without_summary(bags: Bags, tmp_path: Path) -> None:
    """A file that just ends after its last chunk loses nothing, and a note says how it was read."""
    path = tmp_path / "x.mcap"
    path.write_bytes(without_summary(bags["mcapzstd"]))
    found, incidents = messages_of(path)
    assert found == list(range(COUNT))
    assert [incident.severity for incident in incidents] == ["note"]


def probed_times(path: Path) -> list[int]:
    """Return the offsets of all messages of all tracks, read in windows of 7 ns."""
    with open_bag([path]) as source:
        recording = source.probe()
        assert recording.incidents == ()
        times: set[int] = set()
        for start_ns in range(START_NS, START_NS + COUNT, 7):
            for packet in source.read(recording.tracks, start_ns, start_ns + 7, lambda incident: None):
                times.add(packet.time_ns - START_NS)
    return sorted(times)


@pytest.mark.parametrize("profile", ["ros2", "", "ros1", "other"])
@pytest.mark.parametrize("indexes", [True, False])
def test_an_mcap_of_any_profile(tmp_path: Path, profile: str, indexes: bool) -> None:
    """What a file's profile is called, and whether its chunks have message indexes, does not matter."""
    path = tmp_path / "x.mcap"
    path.write_bytes(made_mcap("zstd", profile=profile, indexes=indexes))
    assert probed_times(path) == list(range(COUNT))


def test_a_summary_without_schemas(tmp_path: Path) -> None:
    """A summary need not repeat the schemas: then they are found by walking the file."""
    path = tmp_path / "x.mcap"
    path.write_bytes(made_mcap(schemas=False))
    recording = probed(path)
    assert {track.codec for track in recording.tracks} == {"std_msgs/msg/String"}
    assert [incident.severity for incident in recording.incidents] == ["note"]


@pytest.mark.parametrize("summary", [True, False])
def test_an_mcap_without_chunks(tmp_path: Path, summary: bool) -> None:
    """Messages that lie in no chunk come as others do; a note says how they were found."""
    path = tmp_path / "x.mcap"
    path.write_bytes(made_mcap(chunked=False, summary=summary))
    found, incidents = messages_of(path)
    assert found == list(range(COUNT))
    cause = "the file has no chunks" if summary else "the file has no summary"
    assert incidents == [Incident("note", f"{cause}: read from start to end")]


def change_database(path: Path, statements: Sequence[str]) -> None:
    with sqlite3.connect(path) as database:
        for statement in statements:
            database.execute(statement)
    database.close()


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        ("DROP TABLE topics", "no tables 'topics' and 'messages'"),
        ("UPDATE messages SET data = 'text'", ""),
        ("UPDATE messages SET timestamp = 'text' WHERE id = 5", ""),
        ("UPDATE messages SET topic_id = 99 WHERE id = 5", ""),
        ("DROP INDEX timestamp_idx", ""),
        ("UPDATE topics SET type = 'x'", ""),
        ("UPDATE topics SET offered_qos_profiles = '{[broken'", ""),
        ("DELETE FROM message_definitions", ""),
        ("DROP TABLE message_definitions", ""),
    ],
)
def test_odd_databases(bags: Bags, tmp_path: Path, change: str, cause: str) -> None:
    """Tables that are not as they should be are refused with a cause, or read as far as they go."""
    path = tmp_path / "x.db3"
    path.write_bytes(bags["db3"])
    change_database(path, [change])
    if cause:
        with pytest.raises(CannotOpen, match=cause):
            probed(path)
        return
    recording = probed(path)
    if "data = 'text'" in change or "type = 'x'" in change:
        assert [incident.severity for incident in recording.incidents][:1] == ["failure"]
    elif "INDEX" in change or "definitions" in change or "qos" in change:
        assert sum(track.item_count for track in recording.tracks) == COUNT
        assert recording.incidents == ()
    else:
        assert sum(track.item_count for track in recording.tracks) == COUNT - 1


def test_an_index_that_is_out_of_order(bags: Bags, tmp_path: Path) -> None:
    """Stamps are not taken from it: every message is looked for, and what happened is told."""
    path = tmp_path / "x.db3"
    path.write_bytes(bags["db3"])
    change_database(
        path,
        [
            "DROP INDEX timestamp_idx",
            "CREATE INDEX timestamp_idx ON messages (timestamp DESC)",
            "PRAGMA writable_schema = ON",
            "UPDATE sqlite_master SET sql = 'CREATE INDEX timestamp_idx ON messages (timestamp ASC)' "
            "WHERE name = 'timestamp_idx'",
        ],
    )
    recording = probed(path)
    assert sum(track.item_count for track in recording.tracks) == COUNT
    assert "an index that is out of order" in recording.incidents[0].cause
    assert recording.incidents[0].severity == "failure"


def test_messages_beside_the_database_are_told(bags: Bags, tmp_path: Path) -> None:
    """Messages that a recorder left in the write-ahead log are a failure that says what to do."""
    path = tmp_path / "x.db3"
    path.write_bytes(bags["db3"])
    (tmp_path / "x.db3-wal").write_bytes(b"something")
    recording = probed(path)
    assert "PRAGMA wal_checkpoint" in recording.incidents[0].cause
    assert recording.incidents[0].severity == "failure"


def test_part_of_a_series_is_unreadable(bags: Bags, tmp_path: Path) -> None:
    """One unreadable file of a split bag costs that file, by name."""
    good, bad = tmp_path / "run_0.mcap", tmp_path / "run_1.mcap"
    good.write_bytes(bags["mcap"])
    bad.write_bytes(b"")
    with open_bag([good, bad]) as source:
        recording = source.probe()
    assert sum(track.item_count for track in recording.tracks) == COUNT
    assert recording.incidents[0] == Incident("failure", "run_1.mcap: the file is empty")
    with pytest.raises(CannotOpen, match=r"^the file is empty$"):
        open_bag([bad])


def test_hostile_lengths_take_no_memory(tmp_path: Path) -> None:
    """A chunk that claims to be huge is damage, and is refused before memory is asked for."""
    from ingest.sources.chunk_unpacking import unpack

    for compression in ("none", "bz2", "lz4", "zstd"):
        unpacked = unpack(b"xx", compression, 2**62)
        assert unpacked.data == b""
        assert "claims" in unpacked.damage


def test_bombs_stay_small() -> None:
    """However much a chunk could unpack to, no more comes than it claims to hold."""
    import bz2

    import lz4.frame
    from backports import zstd

    from ingest.sources.chunk_unpacking import Unpacked, unpack

    zeros = bytes(10_000_000)
    for compression, packed in (
        ("bz2", bz2.compress(zeros)),
        ("lz4", lz4.frame.compress(zeros)),
        ("zstd", zstd.compress(zeros)),
    ):
        assert unpack(packed, compression, len(zeros)) == Unpacked(zeros)
        assert len(unpack(packed, compression, 1000).data) == 1000
