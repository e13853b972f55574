"""Several rates on one clock: each policy's answer on a ramp, joined topics, a camera's own stamps."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_bags import START_NS, open_bag
from made_cards import draw_card, read_card

from ingest.clips import Sampling, Wish, read_clips, windows_of
from ingest.configuration import Settings, resolve
from ingest.layouts import select
from ingest.opening import open_recording
from ingest.pipeline import shard_recordings
from ingest.recording import Incident, Track
from ingest.sampling.clip import ClipMedia, PictureClip, SignalClip
from ingest.sampling.resampling import resample
from ingest.timing import NS, grid_times
from ingest.track_map import Policy, TrackMap, sampled_by
from shards import open_dataset

MS = 1_000_000
FORCE_NS, CAMERA_NS, MODE_NS = 40 * MS, 110 * MS, 250 * MS
SECONDS = 4


@pytest.fixture(scope="module")
def bag(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A force of s at 25 Hz, a mode every 250 ms, a camera every 110 ms whose card k is message k."""
    path = tmp_path_factory.mktemp("rates") / "rates.mcap"
    topics = (("force", FORCE_NS), ("mode", MODE_NS), ("camera", CAMERA_NS))
    messages = [(k * step, what, k) for what, step in topics for k in range(SECONDS * NS // step)]
    with open_bag(path) as maker:
        for time_ns, what, k in sorted(messages):
            stamp_ns = START_NS + time_ns
            header = maker.header(stamp_ns)
            if what == "force":
                vector = {"x": time_ns / NS, "y": -time_ns / NS, "z": 1}
                maker.write(
                    "/force", "geometry_msgs/msg/Vector3Stamped", stamp_ns, header=header, vector=vector
                )
            elif what == "mode":
                maker.write("/mode", "std_msgs/msg/Int32", stamp_ns, data=k)
            else:
                card = draw_card(k, 96, 80).ravel()
                fields = {"height": 80, "width": 96, "encoding": "rgb8", "step": 288, "data": card}
                maker.write("/camera", "sensor_msgs/msg/Image", stamp_ns, header=header, **fields)
    return path


def clips(
    bag: Path, wishes: list[Wish], sampling: Sampling, clip_ns: int = NS, reference: Track | None = None
) -> dict[tuple[int, str], ClipMedia]:
    told: list[Incident] = []
    with open_recording(bag) as source:
        windows = windows_of(source.probe(), clip_ns, 0, 4 * NS // clip_ns)
        reading = read_clips(source, wishes, windows, sampling, told.append, reference)
        found = {(window.index, name): media for window, name, media in reading}
    assert told == []
    return found


def tracks(bag: Path) -> dict[str, Wish]:
    with open_recording(bag) as source:
        return {track.name: Wish(track.name, track) for track in source.probe().tracks}


def expected(policy: Policy, s_ns: np.ndarray) -> np.ndarray:
    """Return the closed form on the ramp: of x = s, known every 40 ms."""
    if policy == "linear":
        return s_ns / NS
    steps = s_ns // FORCE_NS if policy in ("asof", "hold") else (2 * s_ns + FORCE_NS - 1) // (2 * FORCE_NS)
    return steps * FORCE_NS / NS


@pytest.mark.parametrize("policy", ["linear", "nearest", "asof", "hold"])
def test_policies_on_a_ramp(bag: Path, policy: Policy) -> None:
    """At 90 steps a second from values at 25: exact, by the closed form."""
    track = sampled_by(tracks(bag)["force"].track, policy)
    wish = Wish("force", track, (0,), rate=Fraction(90))
    clip = clips(bag, [wish], Sampling())[1, "force"]
    assert isinstance(clip, SignalClip)
    s_ns = grid_times(NS, NS, Fraction(90))
    assert np.allclose(clip.values[:, 0], expected(policy, s_ns), atol=1e-6)


@given(
    st.lists(st.integers(0, 500), min_size=1, max_size=30, unique=True),
    st.lists(st.integers(-50, 550), min_size=1, max_size=30),
    st.integers(1, 60),
)
def test_nearest_is_what_a_search_finds(times: list[int], grid: list[int], age_ns: int) -> None:
    """Of all values the one whose time is nearest, of two the earlier; none that is too far."""
    at = np.array(sorted(times), np.int64)
    values = at.astype(np.float64)[:, None]
    asked = np.array(sorted(grid), np.int64)
    found = resample(at, values, ["nearest"], (), asked, 1, 0, age_ns)[:, 0]
    for time, value in zip(asked.tolist(), found.tolist(), strict=True):
        best = min(at.tolist(), key=lambda one: (abs(one - time), one))
        assert (np.isnan(value) and abs(best - time) > age_ns) or value == best


def test_topics_are_joined_on_one_grid(bag: Path) -> None:
    """Columns side by side, each by its own policy, at a rate of their own; both also by themselves."""
    wishes = tracks(bag)
    force, mode = wishes["force"], wishes["mode"]
    both = Wish("both", force.track, (0, 1), rate=Fraction(40), joined=(Wish("both", mode.track),))
    found = clips(bag, [both, force, mode], Sampling(signal_hz=Fraction(20)))
    joined, alone = found[2, "both"], found[2, "mode"]
    assert isinstance(joined, SignalClip)
    assert isinstance(alone, SignalClip)
    s = 2 + np.arange(40) / 40
    assert np.allclose(joined.values, np.stack([s, -s, s // 0.25], axis=1), atol=1e-6)
    assert np.array_equal(alone.values[:, 0], joined.values[::2, 2])


def test_two_rates_of_one_camera(bag: Path) -> None:
    """A camera at two rates, and each of its pictures at its own time, from one reading."""
    camera = tracks(bag)["camera"].track
    wishes = [
        Wish("slow", camera, rate=Fraction(2)), Wish("fast", camera, rate=Fraction(5)),
        Wish("each", camera, rate="native"),
    ]  # fmt: skip
    found = clips(bag, wishes, Sampling(size=80, fit="stretch"))
    for name, step_ns in (("slow", NS // 2), ("fast", NS // 5)):
        clip = found[1, name]
        assert isinstance(clip, PictureClip)
        shown = [(NS + k * step_ns) // CAMERA_NS for k in range(NS // step_ns)]
        assert [read_card(frame) for frame in clip.frames] == shown
    each = found[1, "each"]
    assert isinstance(each, PictureClip)
    assert [read_card(frame) for frame in each.frames] == list(range(10, 19))


def test_everything_at_the_cameras_own_stamps(bag: Path) -> None:
    """Signals by the closed form at each frame's stamp, as many rows as frames, clip by clip."""
    wishes = list(tracks(bag).values())
    found = clips(bag, wishes, Sampling(size=80, fit="stretch"), 700 * MS, tracks(bag)["camera"].track)
    seen = []
    for index in range(5):
        camera, force, mode = (found[index, name] for name in ("camera", "force", "mode"))
        assert isinstance(camera, PictureClip)
        assert isinstance(force, SignalClip)
        assert isinstance(mode, SignalClip)
        assert force.times_ns is not None
        assert camera.times_ns.tolist() == force.times_ns.tolist()
        s_ns = index * 700 * MS + camera.times_ns
        seen += s_ns.tolist()
        assert np.allclose(force.values[:, 0], s_ns / NS, atol=1e-6)
        assert mode.values[:, 0].tolist() == (s_ns // MODE_NS).tolist()
        assert [read_card(frame) for frame in camera.frames] == (s_ns // CAMERA_NS).tolist()
    assert seen == [k * CAMERA_NS for k in range(len(seen))]


def test_maps_and_a_reference_reach_the_dataset(bag: Path, tmp_path: Path) -> None:
    """Columns named by their topic, both topics in the provenance; every track with the camera's stamps."""
    maps = (TrackMap.parse("state=/force:vector.x+/mode"), TrackMap.parse("front=/camera"))
    settings = Settings(clip_seconds=Fraction(1), size=64, maps=maps, reference="front")
    shard_recordings([bag], tmp_path / "out", settings, workers=0)
    dataset = open_dataset(tmp_path / "out")
    (layout,) = dataset.layouts.values()
    assert layout.track("state")["columns"] == ["force.vector.x", "mode.data"]
    assert layout.track("state")["rate"] == layout.track("front")["rate"] == ""
    sample = next(dataset.samples())
    assert sample.provenance["tracks"]["state"]["topic"] == "/force + /mode"
    times = sample.arrays["front.times"]
    assert np.array_equal(times, sample.arrays["state.times"])
    assert np.allclose(sample.arrays["state.values"][:, 0], times / NS, atol=1e-6)


def test_a_recording_without_the_reference_gives_nothing_and_says_so(bag: Path) -> None:
    """The note names the option."""
    with open_recording(bag) as source:
        recording = source.probe()
    configuration, _ = resolve(Settings(reference="wrist"))
    chosen = select(recording, configuration)
    assert chosen.wishes == ()
    assert "--reference wrist: the recording has no such track" in chosen.incidents[0].cause
