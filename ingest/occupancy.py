"""Which clips of a bag can hold anything: a robot that was idle for days makes no work.

Only bags have such holes. In a file a picture is shown until the next one, however long that takes.
"""

from __future__ import annotations

from ingest.recording import Recording, Track
from ingest.timing import ceil_div, clip_count, merge_spans


def occupied_clips(recording: Recording, clip_ns: int) -> list[tuple[int, int]]:
    """Return ranges (first, count) of the clips in which some track has, or may have, an item.

    What is merely held on from before does not count, as in `ingest.task.has_content`.
    """
    count = clip_count(recording.origin_ns, recording.stop_ns, clip_ns)
    if any(track.clock is None for track in recording.tracks):
        return [(0, count)] if count else []
    spans = merge_spans([span for track in recording.tracks for span in occupied_spans(track)])
    ranges: list[tuple[int, int]] = []
    for start_ns, stop_ns in spans:
        first = max(0, (start_ns - recording.origin_ns) // clip_ns)
        stop = min(count, ceil_div(stop_ns - recording.origin_ns, clip_ns))
        if ranges and first <= ranges[-1][1]:
            ranges[-1] = (ranges[-1][0], max(stop, ranges[-1][1]))
        elif stop > first:
            ranges.append((first, stop))
    return [(first, stop - first) for first, stop in ranges]


def occupied_spans(track: Track) -> list[tuple[int, int]]:
    """Return the spans between a track's gaps, each as long as its last item stays valid."""
    if track.medium == "text" and track.item_count == 1:
        return [(track.start_ns, track.start_ns + 1)]  # it is shown to the end, but said only once
    spans = []
    start_ns = track.start_ns
    for gap_start_ns, gap_stop_ns in track.gaps:
        spans.append((start_ns, min(gap_start_ns + max(1, track.max_age_ns), gap_stop_ns)))
        start_ns = gap_stop_ns
    spans.append((start_ns, max(track.stop_ns, start_ns + 1)))
    return spans
