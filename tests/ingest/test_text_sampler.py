"""Timed text by clip, against a loop over all cues and windows."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from ingest.recording import Cue
from ingest.sampling.clip import Window
from ingest.sampling.text import TextSampler

cues = st.lists(
    st.builds(
        lambda start, length, text: Cue(start, start + length, text),
        st.integers(-20, 60),
        st.integers(0, 30),
        st.sampled_from("abc"),
    ),
    max_size=12,
)
windows = st.lists(st.integers(-10, 50), min_size=1, max_size=8, unique=True).map(
    lambda borders: [Window(i, a, b) for i, (a, b) in enumerate(pairwise(sorted(borders)))]
)


@given(windows, cues)
def test_each_clip_has_the_cues_shown_in_it(windows: list[Window], cues: list[Cue]) -> None:
    """The twin: moment by moment. Times count from the clip's start; cues stand in order of time."""
    sampler = TextSampler(windows)
    assert [done for cue in cues for done in sampler.push(cue)] == []
    found = sampler.finish()
    assert [window for window, _ in found] == windows
    for window, clip in found:
        moments = set(range(window.start_ns, window.stop_ns))
        expected = [
            Cue(cue.start_ns - window.start_ns, cue.stop_ns - window.start_ns, cue.text)
            for cue in sorted(cues, key=lambda cue: (cue.start_ns, cue.stop_ns))
            if moments & set(range(cue.start_ns, max(cue.stop_ns, cue.start_ns + 1)))
        ]
        assert list(clip.cues) == expected
        assert clip.valid == len(expected)


def test_a_cue_ends_before_the_clip_that_begins_with_its_end() -> None:
    """Half open: shown in [2, 5), it belongs to the first clip only; a cue across belongs to both."""
    sampler = TextSampler([Window(0, 0, 5), Window(1, 5, 10)])
    sampler.push(Cue(2, 5, "first"))
    sampler.push(Cue(4, 6, "both"))
    (_, first), (_, second) = sampler.finish()
    assert first.cues == (Cue(2, 5, "first"), Cue(4, 6, "both"))
    assert second.cues == (Cue(-1, 1, "both"),)


def test_a_lost_cue_changes_nothing_else() -> None:
    """The others are as they were."""
    sampler = TextSampler([Window(0, 0, 5)])
    sampler.push(Cue(1, 2, "a"))
    sampler.lost(2)
    assert sampler.finish()[0][1].cues == (Cue(1, 2, "a"),)
