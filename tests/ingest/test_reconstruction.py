"""Tokens back to files: mp4, wav, csv and txt that open again with the right length, size, rate and sound."""

from __future__ import annotations

import csv
import os
import wave
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_cards import draw_card, read_card
from made_sound import clicks, heard_clicks, tone
from video_made import read_window

from ingest.errors import WrongUse
from ingest.reconstruction import Reconstructed, write_reconstruction
from ingest.sources.video_file import VideoFile
from ingest.timing import NS


def pictures(
    times_ns: list[int] | None = None, count: int = 16, rate: Fraction = Fraction(8), size: int = 128
) -> Reconstructed:
    """Cards 0, 1, 2 …, of which the fourth flashes."""
    count = len(times_ns) if times_ns is not None else count
    cards = [draw_card(k, size, size, flash=k == 4).transpose(2, 0, 1) for k in range(count)]
    frames = np.array(cards, np.uint8).reshape(-1, 3, size, size)
    times = None if times_ns is None else np.array(times_ns, np.int64)
    return Reconstructed("video", "pictures", frames, rate, times_ns=times)


def sound(samples: np.ndarray, rate: int = 16_000) -> Reconstructed:
    return Reconstructed("audio", "sound", samples, Fraction(rate))


def signal(
    values: np.ndarray, times_ns: np.ndarray | None = None, rate: Fraction | None = None
) -> Reconstructed:
    columns = tuple("xyz"[: values.shape[1]])
    return Reconstructed("imu", "signal", values.astype(np.float32), rate, columns, times_ns)


def reopened(path: Path) -> tuple[list[tuple[int, int | None]], np.ndarray, int, int]:
    """Return time and card of every picture, the sound, its rate, and the recording's stop."""
    with VideoFile(path) as source:
        recording = source.probe()
        assert recording.incidents == ()
        window = read_window(source, recording.tracks, 0, recording.stop_ns)
    shown = [(p.time_ns, read_card(p.rgb(p.width, p.height))) for p in window["video"].pictures]
    if "audio" not in window:
        return shown, np.zeros(0), 0, recording.stop_ns
    rate = recording.track("audio").sample_rate
    return shown, window["audio"].heard(0, recording.stop_ns, rate), rate, recording.stop_ns


@pytest.mark.parametrize("rate", [Fraction(8), Fraction(30), Fraction(30000, 1001), Fraction(1, 2)])
def test_an_mp4_has_its_frames_at_their_rate_and_is_as_long_as_the_clip(
    tmp_path: Path, rate: Fraction
) -> None:
    """Frame k at k / rate, and one step after the last one it ends."""
    [path] = write_reconstruction({"video": pictures(count=9, rate=rate)}, tmp_path / "x.mp4")
    shown, _, _, stop_ns = reopened(path)
    assert [card for _, card in shown] == list(range(9))
    assert [time for time, _ in shown] == pytest.approx([int(k * NS / rate) for k in range(9)], abs=100_000)
    assert stop_ns == pytest.approx(9 * NS / rate, abs=100_000)


def test_picture_and_sound_belong_together(tmp_path: Path) -> None:
    """A flash at 0.5 s and a click at 0.5 s, two seconds of both; priming samples are accounted for."""
    heard = sound(clicks([0.5], 2, sample_rate=16_000))
    [path] = write_reconstruction({"audio": heard, "video": pictures()}, tmp_path / "x.mp4")
    shown, samples, rate, stop_ns = reopened(path)
    assert rate == 16_000
    assert heard_clicks(samples, rate) == pytest.approx([0.5], abs=0.002)
    assert shown[4][0] == NS // 2
    assert stop_ns == pytest.approx(2 * NS, abs=70_000_000)  # AAC ends with a whole frame


def test_colours_come_back(tmp_path: Path) -> None:
    """The matrix by which the file was written stands in it, whatever its size."""
    colour = np.array([200, 60, 90], np.uint8)
    for size in (96, 720):
        frames = np.broadcast_to(colour[:, None, None], (2, 3, size, size))
        media = Reconstructed("video", "pictures", np.ascontiguousarray(frames), Fraction(8))
        [path] = write_reconstruction({"video": media}, tmp_path / f"{size}.mp4")
        with VideoFile(path) as source:
            recording = source.probe()
            seen = read_window(source, recording.tracks, 0, NS)["video"].pictures[0].rgb(32, 32)
        assert np.abs(seen.astype(int) - colour).max() <= 3


def test_an_odd_size_is_written_too(tmp_path: Path) -> None:
    """Half-resolution chroma needs even sides: odd ones get whole chroma."""
    [path] = write_reconstruction({"video": pictures(count=3, size=127)}, tmp_path / "x.mp4")
    with VideoFile(path) as source:
        track = source.probe().track("video")
    assert (track.width, track.height, track.item_count) == (127, 127, 3)
    assert [card for _, card in reopened(path)[0]] == [0, 1, 2]


@pytest.mark.parametrize(
    ("times_ms", "steps"),
    [
        ([0, 125, 250], [0, 1, 2]),  # as on the grid
        ([-30, 110, 240], [0, 1, 2]),  # a camera's own times: each was on at the step after it
        ([-400, -400, -400, 300], [0, 1, 2, 3]),  # a picture from before the clip, shown three times
        ([500, 625], [4, 5]),  # nothing for half a second: no camera yet
        ([0, 0, 500], [0, 1, 4]),  # a gap in the middle
        ([126, 130], [2, 3]),  # two pictures within one step can't both be shown in it
    ],
)
def test_frames_are_shown_when_they_were_sampled(
    tmp_path: Path, times_ms: list[int], steps: list[int]
) -> None:
    """On the clip's grid of 8 a second."""
    media = pictures([ms * 1_000_000 for ms in times_ms])
    [path] = write_reconstruction({"video": media}, tmp_path / "x.mp4")
    shown, _, _, stop_ns = reopened(path)
    assert [time for time, _ in shown] == [step * NS // 8 for step in steps]
    assert [card for _, card in shown] == list(range(len(steps)))
    assert stop_ns == (steps[-1] + 1) * NS // 8


def test_a_wave_file_is_16_bit_at_its_rate(tmp_path: Path) -> None:
    """Rounded to the nearest level, clipped at the ends, channels side by side."""
    samples = np.stack([tone(440, 0.5, sample_rate=16_000)[0], np.full(8000, 1.5, np.float32)])
    [path] = write_reconstruction({"audio": sound(samples)}, tmp_path / "x.wav")
    with wave.open(str(path)) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (2, 2, 16_000)
        levels = np.frombuffer(file.readframes(8000), "<i2").reshape(-1, 2)
    assert levels.shape == (8000, 2)
    assert np.abs(levels[:, 0] / 32767 - samples[0]).max() <= 0.5 / 32767 + 1e-7
    assert (levels[:, 1] == 32767).all()


@given(
    st.lists(st.tuples(st.integers(-(10**15), 10**18), st.floats(width=32, allow_infinity=False)), max_size=5)
)
def test_numbers_in_a_csv_are_exact(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[int, float]]
) -> None:
    """Every float32 and every nanosecond comes back; invalid is empty."""
    values = np.array([value for _, value in rows], np.float32)[:, None]
    if not len(values):
        return
    times = np.array([time for time, _ in rows], np.int64)
    out = tmp_path_factory.mktemp("csv") / "x.csv"
    write_reconstruction({"imu": signal(values, times)}, out)
    with out.open(newline="", encoding="utf-8") as file:
        header, *lines = csv.reader(file)
    assert header == ["seconds", "x"]
    assert [int(Fraction(line[0]) * NS) for line in lines] == times.tolist()
    back = np.array([np.float32(line[1]) if line[1] else np.float32(np.nan) for line in lines])
    assert np.array_equal(back, values[:, 0], equal_nan=True)


def test_a_csv_on_a_grid_has_the_grids_times(tmp_path: Path) -> None:
    """Steps round up: 3 a second are 0, 333 333 334 and 666 666 667 ns."""
    media = signal(np.array([[1, np.nan], [2, 3], [4, 5]]), rate=Fraction(3))
    [path] = write_reconstruction({"imu": media}, tmp_path / "x.csv")
    assert path.read_text().splitlines() == [
        "seconds,x,y", "0.000000000,1,", "0.333333334,2,3", "0.666666667,4,5",
    ]  # fmt: skip


def test_a_folder_gets_every_track_that_is_not_empty(tmp_path: Path) -> None:
    """Each under its name; a track with no frames is no reason to write nothing."""
    text = Reconstructed("text", "text", "a line\nand another\n", None)
    tracks = {
        "video": pictures([]), "audio": sound(tone(440, 0.1, sample_rate=16_000)),
        "imu": signal(np.ones((2, 3)), rate=Fraction(50)), "text": text,
        "text_2": Reconstructed("text_2", "text", "", None),
    }  # fmt: skip
    paths = write_reconstruction(tracks, tmp_path / "clip")
    assert [path.name for path in paths] == ["audio.wav", "imu.csv", "text.txt"]
    assert sorted(path.name for path in (tmp_path / "clip").iterdir()) == sorted(path.name for path in paths)
    assert (tmp_path / "clip" / "text.txt").read_text() == "a line\nand another\n"
    with pytest.raises(WrongUse, match="every track of the sample is empty"):
        write_reconstruction({"video": pictures([])}, tmp_path / "nothing")
    assert not (tmp_path / "nothing").exists()


def test_what_can_not_be_written_is_said_with_what_there_is(tmp_path: Path) -> None:
    """The ending asks for something that the sample lacks, that is empty, or that we don't write."""
    tracks = {"video": pictures([]), "audio": sound(tone(440, 0.1, sample_rate=16_000))}
    with pytest.raises(
        WrongUse, match=r"x\.mp4: pictures is empty in this sample; it has video \(pictures\), audio"
    ):
        write_reconstruction(tracks, tmp_path / "x.mp4")
    with pytest.raises(
        WrongUse, match=r"the sample has no signal; it has video \(pictures\), audio \(sound\)"
    ):
        write_reconstruction(tracks, tmp_path / "x.csv")
    with pytest.raises(WrongUse, match="the sample has no track 'imu'"):
        write_reconstruction(tracks, tmp_path / "x.wav", "imu")
    with pytest.raises(
        WrongUse, match=r"give a name that ends in \.mp4, \.npy, \.wav, \.csv or \.txt, or a folder"
    ):
        write_reconstruction(tracks, tmp_path / "x.avi")
    assert list(tmp_path.iterdir()) == []


def test_a_track_can_be_chosen_by_name(tmp_path: Path) -> None:
    """Else it is the first of its medium that is not empty."""
    first, second = signal(np.ones((1, 1)), rate=Fraction(1)), signal(np.zeros((1, 1)), rate=Fraction(1))
    tracks = {"imu": first, "odom": Reconstructed("odom", "signal", second.media, Fraction(1), ("x",))}
    [path] = write_reconstruction(tracks, tmp_path / "x.csv", "odom")
    assert path.read_text().splitlines()[1] == "0.000000000,0"
    [path] = write_reconstruction(tracks, tmp_path / "x.csv")
    assert path.read_text().splitlines()[1] == "0.000000000,1"


def test_a_place_that_can_not_be_written_to_is_the_machines_error(tmp_path: Path) -> None:
    """In Python's words, and nothing half written is left."""
    taken = tmp_path / "file"
    taken.write_text("x")
    for name in ("x.mp4", "x.wav", "x.csv"):
        tracks = {"video": pictures(count=2), "audio": sound(np.zeros((1, 10), np.float32)),
                  "imu": signal(np.ones((1, 1)), rate=Fraction(1))}  # fmt: skip
        with pytest.raises(OSError, match="file"):
            write_reconstruction(tracks, taken / name)
        if os.geteuid():  # root may write anywhere
            locked = tmp_path / "locked"
            locked.mkdir(exist_ok=True, mode=0o500)
            with pytest.raises(PermissionError):
                write_reconstruction(tracks, locked / name)
    assert taken.read_text() == "x"


def test_a_file_appears_when_it_is_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error in the middle leaves the old file as it was, and nothing beside it."""
    out = tmp_path / "x.csv"
    out.write_text("old")
    monkeypatch.setattr("ingest.reconstruction._seconds", lambda time_ns: 1 // 0)
    with pytest.raises(ZeroDivisionError):
        write_reconstruction({"imu": signal(np.ones((1, 1)), rate=Fraction(1))}, out)
    assert out.read_text() == "old"
    assert list(tmp_path.iterdir()) == [out]


def test_a_colon_in_a_name_is_no_protocol(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys have none, but people do."""
    monkeypatch.chdir(tmp_path)
    [path] = write_reconstruction({"video": pictures(count=2)}, Path("clip:1.mp4"))
    assert path.stat().st_size > 1000
