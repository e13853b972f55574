"""One contract, every source: what `ingest.recording.Source` promises, on recordings made on the spot."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from fractions import Fraction
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from made_bags import Ramp

from ingest.clips import Sampling, Wish, read_clips, windows_of
from ingest.decoders.bulk import Bulk
from ingest.opening import open_recording
from ingest.recording import Cue, Incident, Packet, Recording, Rows, Sound, Source
from ingest.sampling.clip import ClipMedia, PictureClip, SignalClip, SoundClip, TextClip
from ingest.timing import NS, clip_count

FILES = ("card_mp4", "card_mkv", "card_ntsc_mp4", "card_vfr_mp4", "card_with_sound_mp4", "tone_wav")
BAGS = ("ramp_mcap", "ramp_bag", "ramp_folder")
SAMPLING = Sampling(fps=Fraction(12), size=64, signal_hz=Fraction(20))
CLIP_NS = 700_000_000


@pytest.fixture(params=[*FILES, "card_late_sound_mkv", *BAGS])
def path(request: pytest.FixtureRequest) -> Path:
    """One made recording after the other."""
    made: Path | Ramp = request.getfixturevalue(request.param)
    return made.path if isinstance(made, Ramp) else made


@pytest.fixture
def probed(path: Path) -> Recording:
    """What probing the recording found, as another machine gets it."""
    return Recording.from_json(json.loads(_probed(path)))


@cache
def _probed(path: Path) -> str:
    with open_recording(path) as source:
        return json.dumps(source.probe().to_json())


@pytest.fixture
def source(path: Path) -> Iterator[Source]:
    """The recording, opened and not yet probed."""
    with open_recording(path) as opened:
        yield opened


def packets_of(source: Source, recording: Recording, *names: str) -> list[Packet]:
    """Read everything of these tracks; nothing may be damaged."""
    told: list[Incident] = []
    tracks = [recording.track(name) for name in names]
    packets = list(source.read(tracks, recording.origin_ns, recording.stop_ns, told.append))
    assert told == []
    return packets


def stamps_of(packets: list[Packet]) -> list[int]:
    """Return the time of every item; messages of a signal may come many at once."""
    times = [p.data.times_ns.tolist() if isinstance(p.data, Bulk) else [p.time_ns] for p in packets]
    return [time for several in times for time in several]


def test_probing_says_what_json_can_hold(source: Source, probed: Recording) -> None:
    """The same each time, with nothing lost on the way through JSON."""
    assert source.probe() == probed
    assert source.probe() == probed
    assert all(incident.severity == "note" for incident in probed.incidents)


def test_tracks_are_named_and_have_a_span(probed: Recording) -> None:
    """Names are valid and unique; a track has items, and ends after it starts, within the recording."""
    names = [track.name for track in probed.tracks]
    assert names
    assert len(set(names)) == len(names)
    for track in probed.tracks:
        assert re.fullmatch("[a-z0-9_]{1,40}", track.name)
        assert track.item_count > 0
        assert probed.origin_ns <= track.start_ns < track.stop_ns <= probed.stop_ns
        assert track.item_count < 2 or track.period_ns > 0
        assert len(track.columns) == len(track.kinds)
        assert (track.medium == "signal") == bool(track.columns)
        assert (track.medium == "sound") == bool(track.sample_rate)
        assert (track.medium in ("pictures", "depth")) == bool(track.width and track.height)


def test_only_the_tracks_asked_for_are_read(source: Source, probed: Recording) -> None:
    """Each by itself gives the packets that it gives among all, none twice, none missing."""
    together = packets_of(source, probed, *(track.name for track in probed.tracks))
    for track in probed.tracks:
        alone = packets_of(source, probed, track.name)
        assert {packet.track for packet in alone} == {track.name}
        assert len(stamps_of(alone)) >= track.item_count  # a decoder may need more than what is shown
        assert stamps_of(alone) == stamps_of([packet for packet in together if packet.track == track.name])


def test_packets_decode_to_the_tracks_medium_in_order(source: Source, probed: Recording) -> None:
    """From the track's first moment on, and before its end."""
    wanted = {"sound": Sound, "signal": Rows, "text": Cue}
    for track in probed.tracks:
        decoder = source.decoder(track)
        items = [item for packet in packets_of(source, probed, track.name) for item in decoder.decode(packet)]
        items += decoder.flush()
        times: list[int] = []
        for item in items:
            if isinstance(item, Rows):
                assert item.values.shape[1] == len(track.columns)
                times += item.times_ns.tolist()
            elif isinstance(item, Sound | Cue):
                times.append(item.start_ns)
            else:
                assert track.medium == "pictures"
                assert (item.width, item.height) == (track.width, track.height)
                assert item.rgb(20, 10).shape == (10, 20, 3)  # type: ignore[union-attr]
                times.append(item.time_ns)
            assert track.medium == "pictures" or isinstance(item, wanted[track.medium])
        assert times == sorted(times)
        assert times[0] == track.start_ns
        assert times[-1] < track.stop_ns


def clips_of(
    source: Source, recording: Recording, first: int, count: int
) -> dict[tuple[int, str], ClipMedia]:
    """Read clips of all tracks; nothing may be lost."""
    told: list[Incident] = []
    wishes = [Wish(track.name, track) for track in recording.tracks]
    windows = windows_of(recording, CLIP_NS, first, count)
    found = {(w.index, name): m for w, name, m in read_clips(source, wishes, windows, SAMPLING, told.append)}
    assert told == []
    return found


def assert_same_media(media: ClipMedia, other: ClipMedia) -> None:
    """Bit for bit; sound may lie a part of a sample off, since it is resampled from where reading began."""
    assert media.valid == other.valid
    if isinstance(media, PictureClip) and isinstance(other, PictureClip):
        assert media.times_ns.tolist() == other.times_ns.tolist()
        assert media.frames.tobytes() == other.frames.tobytes()
    elif isinstance(media, SignalClip) and isinstance(other, SignalClip):
        assert media.values.tobytes() == other.values.tobytes()
    elif isinstance(media, SoundClip) and isinstance(other, SoundClip):
        error = np.sqrt(np.mean((media.samples - other.samples) ** 2)) if media.valid else 0
        assert error < 0.05
    else:
        assert isinstance(media, TextClip)
        assert isinstance(other, TextClip)
        assert media.cues == other.cues


def test_a_window_read_by_itself_misses_nothing(path: Path, probed: Recording) -> None:
    """Each clip, read by a source opened for it alone, is the clip of reading everything."""
    count = clip_count(probed.origin_ns, probed.stop_ns, CLIP_NS)
    with open_recording(path) as source:
        whole = clips_of(source, probed, 0, count)
    for index in range(count):
        with open_recording(path) as source:
            alone = clips_of(source, probed, index, 1)
        assert alone
        for key, media in alone.items():
            assert_same_media(media, whole[key])


def test_windows_can_be_read_in_any_order(source: Source, probed: Recording) -> None:
    """One source, back and forth: the last clip, the first, the last again, then all."""
    last = clip_count(probed.origin_ns, probed.stop_ns, CLIP_NS) - 1
    runs = [clips_of(source, probed, *which) for which in ((last, 1), (0, 1), (last, 1), (0, last + 1))]
    for name in (track.name for track in probed.tracks):
        assert_same_media(runs[0][last, name], runs[2][last, name])
        assert_same_media(runs[0][last, name], runs[3][last, name])
        assert_same_media(runs[1][0, name], runs[3][0, name])


def test_a_reading_that_is_given_up_leaves_the_source_usable(source: Source, probed: Recording) -> None:
    """The next one begins where it should."""
    track = probed.tracks[0]
    reading = source.read([track], probed.origin_ns, probed.stop_ns, lambda _: None)
    first = next(reading)
    del reading
    assert packets_of(source, probed, track.name)[0].time_ns == first.time_ns


def test_windows_outside_of_the_recording_are_empty(source: Source, probed: Recording) -> None:
    """Nothing is decoded to be shown before the first moment; reading there is no error."""
    told: list[Incident] = []
    for start_ns in (probed.origin_ns - 10 * NS, probed.stop_ns + 10 * NS):
        for packet in source.read(probed.tracks, start_ns, start_ns + NS, told.append):
            assert packet.track in {track.name for track in probed.tracks}
    assert told == []


def test_a_source_is_closed_more_than_once(path: Path) -> None:
    """By itself, as a context manager, or both."""
    with open_recording(path) as source:
        source.probe()
        source.close()
    source.close()
