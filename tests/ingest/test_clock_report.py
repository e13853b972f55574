"""What is said of a topic's clocks: figures whose answer is known, the table, the picture."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from made_bags import START_NS, Ramp, open_bag

from ingest.cli import main
from ingest.clock_plot import BAND, INK, LEFT, RIGHT, SHADE, TITLE, TOP, WIDTH, plot_clocks, stamps_of
from ingest.clock_table import clock_table
from ingest.opening import open_recording
from ingest.recording import ClockReport, Recording
from ingest.sources.bag_clock import TopicClock
from ingest.timing import NS

MS = 1_000_000


def report_of(pairs: list[tuple[int, int]]) -> ClockReport:
    """Return the report of messages with these (log, header) stamps."""
    clock = TopicClock(lambda data: int.from_bytes(bytes(data), "little", signed=True))
    for log_ns, header_ns in pairs:
        clock.see(log_ns, header_ns.to_bytes(8, "little", signed=True))
    found = clock.result()[0].report
    assert found is not None
    return found


def test_figures_of_a_steady_topic() -> None:
    """101 messages at 10 ms whose log is 2 to 4 ms late: rate, offsets, nothing missing."""
    pairs = [(START_NS + k * 10 * MS + (2 + k % 3) * MS, START_NS + k * 10 * MS) for k in range(101)]
    report = report_of(pairs)
    assert report == ClockReport(
        rate_hz=100.0, period_p5_ns=10 * MS, period_p95_ns=10 * MS, missing=0,
        offset_p5_ns=2 * MS, offset_p95_ns=4 * MS,
    )  # fmt: skip


@given(st.sets(st.integers(1, 298), max_size=8))
def test_missing_messages_are_counted(lost: set[int]) -> None:
    """As many as were taken out of a steady topic, one by one or several together."""
    pairs = [(START_NS + k * 10 * MS, START_NS + k * 10 * MS) for k in range(300) if k not in lost]
    assert report_of(pairs).missing == len(lost)


def test_nothing_is_missing_where_there_is_no_rate() -> None:
    """Messages that come when they come are not missed."""
    times = np.cumsum(np.random.default_rng(1).exponential(50 * MS, 300)).astype(np.int64)
    assert report_of([(START_NS + int(t), START_NS + int(t)) for t in times]).missing == -1


def test_jumps_back_and_stamps_that_are_not_set() -> None:
    """Each clock's own, with the longest jump."""
    pairs = [(START_NS + k * NS, START_NS + k * NS) for k in range(20)]
    pairs[10] = START_NS + 10 * NS, START_NS + 8 * NS + 500 * MS
    pairs[15] = START_NS + 13 * NS, 0
    report = report_of(pairs)
    assert (report.log_back, report.header_back, report.header_zero) == (1, 2, 1)
    assert report.farthest_back_ns == START_NS + 14 * NS
    assert report.offset_p95_ns < 2 * NS


@pytest.fixture(scope="module")
def gap(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A topic with a header and one without; the first is silent from 4 to 6 of 10 seconds."""
    path = tmp_path_factory.mktemp("gap") / "gap.mcap"
    with open_bag(path) as bag:
        for k in range(101):
            stamp_ns = START_NS + k * 100 * MS
            if not 40 < k < 60:
                header = bag.header(stamp_ns)
                bag.write("/force", "geometry_msgs/msg/Vector3Stamped", stamp_ns + 5 * MS, header=header)
            bag.write("/mode", "std_msgs/msg/Int32", stamp_ns + 5 * MS, data=k)
    return path


def test_the_report_is_in_every_form(gap: Path) -> None:
    """In the recording as it survives JSON, in the table, in the command's JSON."""
    with open_recording(gap) as source:
        recording = source.probe()
    again = Recording.from_json(json.loads(json.dumps(recording.to_json())))
    clock = again.track("force").clock
    assert clock is not None
    assert clock.report is not None
    assert (clock.report.missing, clock.report.offset_p5_ns) == (19, 5 * MS)
    table = clock_table([track.to_json() for track in again.tracks]).splitlines()
    assert [line.split()[0] for line in table] == ["track", "force", "mode"]
    assert "5 (5 to 5)" in table[1]
    assert " 19 " in table[1]
    said = CliRunner().invoke(main, ["probe", str(gap), "--json"])
    (track, _) = json.loads(said.stdout)["recordings"][0]["tracks"]
    assert track["clock"]["report"]["missing"] == 19


def test_a_file_has_no_clock_table(card_mp4: Path) -> None:
    """Container time is one clock."""
    with open_recording(card_mp4) as source:
        assert clock_table([track.to_json() for track in source.probe().tracks]) == ""


def test_the_picture_shows_messages_where_they_are(gap: Path) -> None:
    """Ticks at both ends and none in the silence, which is shaded."""
    with open_recording(gap) as source:
        recording = source.probe()
        stamps = stamps_of(source, recording)
        picture = plot_clocks(recording, stamps, "gap")
    assert len(stamps["force"].times_ns) == 82
    assert set(stamps["force"].offsets_ns.tolist()) == {5 * MS}
    assert len(stamps["mode"].offsets_ns) == 0
    ticks = picture[TOP + TITLE + 5]
    width = WIDTH - LEFT - RIGHT
    span_ns = recording.stop_ns - recording.origin_ns
    for k in range(101):
        column = round(LEFT + k * 100 * MS / span_ns * width)
        near = ticks[max(LEFT, column - 1) : column + 2]
        assert (near == INK).all(axis=1).any() == (not 40 < k < 60)
    middle = LEFT + round(width * 5 * NS / span_ns)
    assert tuple(ticks[middle].tolist()) == SHADE
    assert picture.shape[0] > TOP + 2 * BAND


def test_plots_of_files_and_episodes_too(card_mp4: Path) -> None:
    """A video file's frames are ticks on its own clock."""
    with open_recording(card_mp4) as source:
        recording = source.probe()
        stamps = stamps_of(source, recording)
    assert len(stamps["video"].times_ns) == recording.track("video").item_count
    assert len(stamps["video"].offsets_ns) == 0


def test_plot_from_the_command_line(gap: Path, ramp_mcap: Ramp, tmp_path: Path) -> None:
    """A PNG of one recording; several are refused, and so is another ending."""
    out = tmp_path / "clocks.png"
    assert CliRunner().invoke(main, ["probe", str(gap), "--plot", str(out)]).exit_code == 0
    picture = cv2.imread(str(out))
    assert picture is not None
    assert picture.shape[1] == WIDTH
    both = CliRunner().invoke(main, ["probe", str(gap), str(ramp_mcap.path), "--plot", str(out)])
    assert (both.exit_code, "--plot draws one recording; there are 2" in both.stderr) == (2, True)
    other = CliRunner().invoke(main, ["probe", str(gap), "--plot", str(tmp_path / "clocks.pdf")])
    assert (other.exit_code, "must end in .png" in other.stderr) == (2, True)
