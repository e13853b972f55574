"""Which clips of a recording can hold anything: a robot that was idle for days makes no work, and neither
does a damaged stamp from another century.

In a file a picture is shown until the next one: for an hour at the most. In a bag, what is merely held on
from before does not count at all.
"""

from __future__ import annotations

from ingest.recording import Incident, Recording, Track
from ingest.timing import LONGEST_STILL_NS, ceil_div, clip_count, merge_spans

MOST_CLIPS = 1_000_000
"""Of one recording: 46 days in clips of 4 s. What has more is damaged."""

Ranges = list[tuple[int, int]]
"""(first, count) of clips that follow each other."""


def occupied_clips(recording: Recording, clip_ns: int) -> Ranges:
    """Return ranges (first, count) of the clips in which some track has, or may have, an item.

    What is merely held on from before does not count, as in `ingest.task.has_content`. There are at most
    `MOST_CLIPS`.
    """
    count = clip_count(recording.origin_ns, recording.stop_ns, clip_ns)
    is_file = any(track.clock is None for track in recording.tracks)
    spans = [span for track in recording.tracks for span in occupied_spans(track)]
    ranges: Ranges = []
    # between the tracks of a file nothing is cut out that is shorter than what one track may leave out
    for start_ns, stop_ns in merge_spans(spans, LONGEST_STILL_NS if is_file else 0):
        first = max(0, (start_ns - recording.origin_ns) // clip_ns)
        stop = min(count, ceil_div(stop_ns - recording.origin_ns, clip_ns))
        if ranges and first <= ranges[-1][1]:
            ranges[-1] = (ranges[-1][0], max(stop, ranges[-1][1]))
        elif stop > first:
            ranges.append((first, stop))
    return _first_of([(first, stop - first) for first, stop in ranges])


def _first_of(ranges: Ranges) -> Ranges:
    """Return the first `MOST_CLIPS` clips."""
    kept: Ranges = []
    left = MOST_CLIPS
    for first, count in ranges:
        if left:
            kept.append((first, min(count, left)))
        left -= min(count, left)
    return kept


def left_out_clips(recording: Recording, clip_ns: int, occupied: Ranges) -> Incident | None:
    """Return what is to be said of clips that are not made; None where there is nothing."""
    count = clip_count(recording.origin_ns, recording.stop_ns, clip_ns)
    made = sum(clips for _, clips in occupied)
    span = recording.origin_ns, recording.stop_ns
    if made >= MOST_CLIPS:
        days = (recording.stop_ns - recording.origin_ns) // (24 * LONGEST_STILL_NS)
        cause = f"its stamps span {days} days: what is behind the first {MOST_CLIPS} clips is left out"
        return Incident("failure", cause, "", *span)
    if made < count and any(track.clock is None for track in recording.tracks):
        hours = (count - made) * clip_ns // LONGEST_STILL_NS
        return Incident("note", f"nothing new comes for an hour or more: {hours} h are left out", "", *span)
    return None


def occupied_spans(track: Track) -> list[tuple[int, int]]:
    """Return the spans between a track's gaps, each as long as its last item stays valid."""
    is_file = track.clock is None
    if track.medium == "text" and track.item_count == 1 and not is_file:
        return [(track.start_ns, track.start_ns + 1)]  # it is shown to the end, but said only once
    valid_ns = LONGEST_STILL_NS if is_file else min(max(1, track.max_age_ns), LONGEST_STILL_NS)
    spans = []
    start_ns = track.start_ns
    for gap_start_ns, gap_stop_ns in track.gaps:
        if gap_stop_ns - gap_start_ns > (LONGEST_STILL_NS if is_file else 0):
            spans.append((start_ns, min(gap_start_ns + valid_ns, gap_stop_ns)))
            start_ns = gap_stop_ns
    spans.append((start_ns, max(track.stop_ns, start_ns + 1)))
    return spans
