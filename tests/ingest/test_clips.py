"""Reading clips: source, decoders and samplers together, on a source that lives in memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from ingest.clips import Sampling, Wish, merge_incidents, read_clips, windows_of
from ingest.errors import CannotDecode, CannotOpen
from ingest.geometry import Region
from ingest.recording import (
    NO_CHOICE,
    Cue,
    Decoder,
    Incident,
    MediaItem,
    Moments,
    Packet,
    Recording,
    Report,
    Rows,
    Source,
    Track,
)
from ingest.sampling.clip import ClipMedia, PictureClip, SignalClip, TextClip, Window
from ingest.timing import NS

MS = NS // 1000


class Colour:
    """A picture of one colour."""

    width, height, stop_ns = 8, 8, 0

    def __init__(self, time_ns: int) -> None:
        self.time_ns = time_ns

    def rgb(self, width: int, height: int, region: Region | None = None) -> np.ndarray:
        return np.full((height, width, 3), self.time_ns // MS % 256, np.uint8)


class Plainly:
    """A decoder that gives what a packet holds: a media item, or the error that decoding it raises."""

    def __init__(self, held_back: int = 0) -> None:
        self.held: list[MediaItem] = []
        self.held_back = held_back
        self.packets = 0

    def decode(self, packet: Packet) -> Iterator[MediaItem]:
        self.packets += 1
        if isinstance(packet.data, CannotDecode):
            raise packet.data
        self.held.append(packet.data)
        while len(self.held) > self.held_back:
            yield self.held.pop(0)

    def flush(self) -> Iterable[MediaItem]:
        if self.held and isinstance(self.held[-1], Cue) and self.held[-1].text == "damaged end":
            raise CannotDecode("the end is damaged")
        return self.held


class InMemory:
    """A source of the packets it was made with; it ignores what is asked for and gives them all."""

    def __init__(self, packets: Sequence[Packet], tracks: Sequence[Track], held_back: int = 0) -> None:
        self.packets = packets
        self.tracks = tracks
        self.decoders: dict[str, Plainly] = {}
        self.held_back = held_back
        self.asked: tuple[list[str], int, int] = ([], 0, 0)

    def probe(self) -> Recording:
        return Recording("memory", tuple(self.tracks))

    def read(
        self,
        tracks: Sequence[Track],
        start_ns: int,
        stop_ns: int,
        report: Report,
        moments: Mapping[str, Moments] = NO_CHOICE,
    ) -> Iterator[Packet]:
        self.asked = ([track.name for track in tracks], start_ns, stop_ns)
        return (packet for packet in self.packets if packet.track in self.asked[0])

    def decoder(self, track: Track) -> Decoder:
        if track.codec == "unknown":
            raise CannotOpen("no decoder for it")
        assert track.name not in self.decoders, "a track is decoded once"
        self.decoders[track.name] = Plainly(self.held_back)
        return self.decoders[track.name]

    def close(self) -> None: ...

    def __enter__(self) -> Source:
        return self

    def __exit__(self, *exc: object) -> None: ...


VIDEO = Track("video", "pictures", "#0", "raw", 0, 1000 * MS, 10, period_ns=100 * MS)
IMU = Track(
    "imu", "signal", "/imu", "made", 0, 1000 * MS, 10, period_ns=100 * MS, max_age_ns=300 * MS,
    columns=("x", "y"), kinds=("last", "last"),
)  # fmt: skip
WORDS = Track("words", "text", "/words", "made", 0, 1000 * MS, 1)
SAMPLING = Sampling(fps=Fraction(10), size=4, signal_hz=Fraction(10))


def frames(times_ms: Iterable[int], damaged: Mapping[int, str] | None = None) -> list[Packet]:
    """Return a packet of video for each of these times; damaged ones raise."""
    damaged = damaged or {}
    return [
        Packet("video", ms * MS, CannotDecode(damaged[ms]) if ms in damaged else Colour(ms * MS))
        for ms in times_ms
    ]


def clips_of(
    source: InMemory, windows: Sequence[Window], wishes: Sequence[Wish] = ()
) -> tuple[dict[tuple[int, str], ClipMedia], list[Incident]]:
    """Read clips; return them by window and name, and what was reported. Nothing may come twice."""
    told: list[Incident] = []
    found: dict[tuple[int, str], ClipMedia] = {}
    wishes = wishes or [Wish(track.name, track) for track in source.tracks]
    for window, name, media in read_clips(source, wishes, windows, SAMPLING, told.append):
        assert (window.index, name) not in found
        found[window.index, name] = media
    assert set(found) == {(window.index, wish.name) for window in windows for wish in wishes}
    return found, told


def shown(media: ClipMedia) -> list[int]:
    """Return the times of a clip's frames in ms, relative to its start."""
    assert isinstance(media, PictureClip)
    return [int(time) // MS for time in media.times_ns]


def test_every_wish_gets_every_window() -> None:
    """Also where a track has nothing to give; the source is asked for just these tracks and this span."""
    source = InMemory(frames(range(0, 1000, 100)), [VIDEO, IMU, WORDS])
    windows = windows_of(source.probe(), 300 * MS, 1, 3)
    found, told = clips_of(source, windows)
    assert source.asked == (["video", "imu", "words"], 300 * MS, 1000 * MS)
    assert shown(found[1, "video"]) == [0, 100, 200]
    assert shown(found[3, "video"]) == [0]
    assert found[2, "imu"].valid == found[2, "words"].valid == 0
    assert told == []


def test_windows_are_the_clips_of_the_recording() -> None:
    """Clip 2 of 300 ms begins at 600 ms; the last one ends with the recording."""
    recording = Recording("memory", (VIDEO,))
    assert windows_of(recording, 300 * MS, 2, 2) == [
        Window(2, 600 * MS, 900 * MS),
        Window(3, 900 * MS, 1000 * MS),
    ]
    assert windows_of(recording, 300 * MS, 2, 0) == []


def test_no_windows_read_nothing() -> None:
    """The source is not even asked."""
    source = InMemory([], [VIDEO])
    assert list(read_clips(source, [Wish("video", VIDEO)], [], SAMPLING, lambda _: None)) == []
    assert source.decoders == {}


def test_a_track_can_have_several_names() -> None:
    """Columns of one topic under two names: the topic is decoded once and sampled twice."""
    packets = [Packet("imu", 0, Rows(np.array([0]), np.array([[1.0, 2.0]])))]
    source = InMemory(packets, [IMU])
    wishes = [Wish("state", IMU, (0,)), Wish("goal", IMU, (1, 0))]
    found, _ = clips_of(source, [Window(0, 0, 100 * MS)], wishes)
    state, goal = found[0, "state"], found[0, "goal"]
    assert isinstance(state, SignalClip)
    assert isinstance(goal, SignalClip)
    assert state.values.tolist() == [[1.0]]
    assert goal.values.tolist() == [[2.0, 1.0]]
    assert source.decoders["imu"].packets == 1


def test_what_decodes_is_kept_and_the_rest_is_reported() -> None:
    """A packet that does not decode is a failure with its span; no frame stands in for it."""
    source = InMemory(frames(range(0, 1000, 100), {300: "broken"}), [VIDEO])
    found, told = clips_of(source, [Window(0, 0, 1000 * MS)])
    assert shown(found[0, "video"]) == [0, 100, 200, 400, 500, 600, 700, 800, 900]
    assert told == [Incident("failure", "broken", "video", 300 * MS, 400 * MS)]


def test_a_decoder_that_holds_frames_back_loses_only_the_broken_one() -> None:
    """The loss is told while two frames from before it are still inside."""
    source = InMemory(frames(range(0, 1000, 100), {300: "broken"}), [VIDEO], held_back=2)
    found, _ = clips_of(source, [Window(0, 0, 500 * MS), Window(1, 500 * MS, 1000 * MS)])
    assert shown(found[0, "video"]) == [0, 100, 200, 400]
    assert shown(found[1, "video"]) == [0, 100, 200, 300, 400]


def test_damage_at_the_very_end_is_a_note() -> None:
    """A tenth of a second is no loss worth an exit code."""
    track = replace(VIDEO, stop_ns=950 * MS)
    source = InMemory(frames(range(0, 1000, 50), {800: "broken", 900: "broken"}), [track])
    _, told = clips_of(source, [Window(0, 0, 950 * MS)])
    assert [(incident.severity, incident.start_ns // MS) for incident in told] == [
        ("failure", 800),
        ("note", 900),
    ]


def test_damage_outside_of_the_windows_is_not_theirs() -> None:
    """Reading begins before the windows and may end after them; what is broken there, other clips tell."""
    broken = {100: "before", 200: "reaches in", 500: "inside", 800: "after"}
    source = InMemory(frames(range(0, 1000, 100), broken), [VIDEO])
    _, told = clips_of(source, [Window(0, 250 * MS, 500 * MS), Window(1, 500 * MS, 800 * MS)])
    assert [incident.cause for incident in told] == ["reaches in", "inside"]


def test_a_track_without_a_decoder_is_lost_and_said_once() -> None:
    """The other tracks are as they would be without it."""
    source = InMemory(frames(range(0, 1000, 100)), [VIDEO, replace(IMU, codec="unknown")])
    found, told = clips_of(source, [Window(0, 0, 500 * MS), Window(1, 500 * MS, 1000 * MS)])
    assert shown(found[1, "video"]) == [0, 100, 200, 300, 400]
    assert found[0, "imu"].valid == 0
    assert told == [Incident("failure", "no decoder for it", "imu", 0, 1000 * MS)]


def test_a_decoder_that_fails_at_the_end_loses_what_it_held() -> None:
    """It is reported at the time of the last packet."""
    cues = [Packet("words", 0, Cue(0, 1, "said")), Packet("words", 500 * MS, Cue(1, 2, "damaged end"))]
    source = InMemory(cues, [WORDS], held_back=1)
    found, told = clips_of(source, [Window(0, 0, 1000 * MS)])
    text = found[0, "words"]
    assert isinstance(text, TextClip)
    assert [cue.text for cue in text.cues] == ["said"]
    assert [(incident.cause, incident.start_ns) for incident in told] == [("the end is damaged", 500 * MS)]


@pytest.mark.parametrize("at_once", [1, 2, 5])
def test_clips_do_not_depend_on_how_they_are_grouped(at_once: int) -> None:
    """One by one, in pairs or all together: the same frames and values."""
    packets = frames(range(0, 1000, 70), {280: "broken"})
    packets += [
        Packet("imu", ms * MS, Rows(np.array([ms * MS]), np.array([[ms, -ms]], np.float64)))
        for ms in range(0, 1000, 90)
    ]
    packets.sort(key=lambda packet: packet.time_ns)
    recording = Recording("memory", (VIDEO, IMU))
    found: dict[tuple[int, str], ClipMedia] = {}
    for first in range(0, 5, at_once):
        windows = windows_of(recording, 200 * MS, first, min(at_once, 5 - first))
        found |= clips_of(InMemory(packets, [VIDEO, IMU]), windows)[0]
    whole, _ = clips_of(InMemory(packets, [VIDEO, IMU]), windows_of(recording, 200 * MS, 0, 5))
    assert list(whole) != []
    for key, media in whole.items():
        other = found[key]
        if isinstance(media, PictureClip):
            assert isinstance(other, PictureClip)
            assert media.frames.tobytes() == other.frames.tobytes()
            assert media.times_ns.tolist() == other.times_ns.tolist()
        else:
            assert isinstance(media, SignalClip)
            assert isinstance(other, SignalClip)
            assert media.values.tobytes() == other.values.tobytes()


def test_neighbouring_incidents_of_one_cause_become_one() -> None:
    """Within a second; others stay apart; the order is by track, then time."""
    told = [
        Incident("failure", "broken", "video", 5 * NS, 6 * NS),
        Incident("failure", "broken", "video", 0, 1),
        Incident("failure", "broken", "video", NS, NS + 1),
        Incident("note", "broken", "video", 2, 3),
        Incident("failure", "broken", "audio", 7, 8),
        Incident("failure", "other", "video", 1, 2),
    ]
    assert merge_incidents(told) == [
        Incident("failure", "broken", "audio", 7, 8),
        Incident("failure", "broken, 2 times", "video", 0, NS + 1),
        Incident("failure", "other", "video", 1, 2),
        Incident("note", "broken", "video", 2, 3),
        Incident("failure", "broken", "video", 5 * NS, 6 * NS),
    ]
    assert merge_incidents([]) == []
