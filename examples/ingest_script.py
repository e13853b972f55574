"""An ingestion of your own: `python examples/ingest_script.py RECORDING... FOLDER`.

Writes one shard with the pictures of the recordings, two-second clips at 4 frames a second, and leaves
out clips in which nothing moves. The point is the shape of it: each step is a function of `ingest`,
`encoders` or `shards` that can be used alone, and your own code stands between them.

    open_recording -> probe -> read_clips -> (your code) -> ClipEncoder -> ShardWriter
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import torch

from encoders import ClipEncoder, ClipTokens, Encoder, default_encoder, load_encoder
from ingest import Incident, PictureClip, Sampling, Window, Wish, open_recording, read_clips, windows_of
from shards import ShardWriter, recording_number, sample_key

CLIP_NS = 2_000_000_000
SAMPLING = Sampling(fps=Fraction(4), size=256, fit="crop")
LEAST_MOTION = 0.5
"""Mean difference of neighbouring frames, in steps of 1/255, below which a clip is left out."""


def picture_clips(path: Path) -> Iterator[tuple[int, Window, PictureClip]]:
    """Yield the clips of a recording's first picture track, with the recording's origin in ns."""

    def lost(incident: Incident) -> None:
        print(f"{path}: {incident.cause}", file=sys.stderr)

    with open_recording(path) as source:
        recording = source.probe()
        tracks = [track for track in recording.tracks if track.medium == "pictures"]
        if not tracks:
            print(f"{path}: no pictures", file=sys.stderr)
            return
        length_ns = recording.stop_ns - recording.origin_ns
        windows = windows_of(recording, CLIP_NS, 0, -(-length_ns // CLIP_NS))
        for window, _, clip in read_clips(source, [Wish("video", tracks[0])], windows, SAMPLING, lost):
            if isinstance(clip, PictureClip) and clip.valid:
                yield recording.origin_ns, window, clip


def motion(clip: PictureClip) -> float:
    """Return the mean difference of neighbouring frames."""
    if clip.valid < 2:
        return 0.0
    return float(np.abs(np.diff(clip.frames.astype(np.int16), axis=0)).mean())


def layout_for(encoder: Encoder) -> dict[str, Any]:
    """Return what all samples of the shard have in common; it also says how to decode the tokens."""
    spec = encoder.spec.to_json()
    return {
        "name": "moving",
        "members": [
            {"name": "json"},
            {"name": "video.tokens.npy", "dtype": spec["dtype"], "shape": [None, *spec["shape"]]},
            {"name": "video.times.npy", "dtype": "int64", "shape": [None]},
        ],
        "tracks": [
            {"name": "video", "medium": "pictures", "spec": spec, "columns": [], "rate": "4", "details": {}}
        ],
    }


def add_sample(
    writer: ShardWriter,
    path: Path,
    content: str,
    origin_ns: int,
    window: Window,
    times: Any,
    tokens: ClipTokens,
) -> None:
    """Write one clip's tokens, and from where they are."""
    number = recording_number(content)
    provenance = {
        "recording": path.name,
        "id": content,
        "start_ns": window.start_ns,
        "stop_ns": window.stop_ns,
        "tracks": {"video": {"valid": tokens.valid}},
    }
    writer.add(
        sample_key(number, window.start_ns - origin_ns),
        {"json": provenance, "video.tokens.npy": tokens.tokens, "video.times.npy": times},
        recording_id=number,
        start_ns=window.start_ns,
        stop_ns=window.stop_ns,
        tokens={"video": tokens.tokens.size},
        valid={"video": tokens.valid},
    )


def main() -> None:
    """Shard the recordings that the command line names."""
    if len(sys.argv) < 3:
        sys.exit("usage: python examples/ingest_script.py RECORDING... FOLDER")
    *recordings, folder = [Path(word) for word in sys.argv[1:]]
    folder.mkdir(parents=True, exist_ok=True)
    encoder = load_encoder(default_encoder("pictures"))
    clips = ClipEncoder[int](encoder)
    still = 0
    with ShardWriter(folder, "moving-000000", layout_for(encoder)) as writer:
        for path in recordings:
            with path.open("rb") as file:
                content = hashlib.file_digest(file, "sha256").hexdigest()
            waiting: dict[int, tuple[int, Window, np.ndarray]] = {}
            done: list[tuple[int, ClipTokens]] = []
            for origin_ns, window, clip in picture_clips(path):
                if motion(clip) < LEAST_MOTION:
                    still += 1
                    continue
                waiting[window.index] = (origin_ns, window, clip.times_ns)
                done += clips.add(window.index, torch.from_numpy(clip.frames).permute(0, 3, 1, 2))
            for index, tokens in [*done, *clips.flush()]:
                add_sample(writer, path, content, *waiting[index], tokens)
        figures = writer.close()
    if figures is None:
        sys.exit(f"nothing moves in these recordings ({still} clips): no shard was written")
    size = f"{figures.bytes / 1e6:.2f} MB"
    print(f"{folder / figures.name}.tar: {figures.samples} clips, {size}; {still} still ones left out")


if __name__ == "__main__":
    main()
