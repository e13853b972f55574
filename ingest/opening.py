"""Opening a recording, whatever it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from ingest.errors import CannotOpen
from ingest.recording import Source
from ingest.remote_files import place_of


def open_recording(
    paths: Path | str | Sequence[Path | str],
    *,
    sidecars: Sequence[Path | str] = (),
    audio_formats: Mapping[str, str] | None = None,
    episode: int | None = None,
    threads: int = 1,
) -> Source:
    """Open one recording.

    Args:
        paths: a video, audio or bag file, a ROS 2 bag folder, or the files of one split bag in order; files
            may be addresses: `s3://…`, `gs://…`, `https://…`.
        sidecars: text files that belong to a video or audio file.
        audio_formats: topic to format of raw sound in bags: `s16le:16000:1`.
        episode: which episode of the LeRobot dataset that the first path is, or is in.
        threads: how many unpack a bag's compressed chunks, ahead of what is read; everything else is done by
            the caller's own.

    Raises:
        CannotOpen: it can't be read; the message is the cause.
        FileNotFoundError: there is no such file.
        ValueError: no path, or several that are not the files of one bag.
    """
    from ingest.sources.bag_files import METADATA, claims_to_be_bag, group_bag_files, is_bag

    files = [place_of(path) for path in ([paths] if isinstance(paths, (str, Path)) else paths)]
    if not files:
        raise ValueError("a recording needs at least one path")
    for file in files:
        if not file.exists():
            raise FileNotFoundError(f"no such file or folder: {file}")
    if episode is not None:
        from ingest.sources.lerobot import LeRobotEpisode

        return LeRobotEpisode(files[0], episode)
    if len(files) == 1 and files[0].is_dir():
        if (files[0] / "meta" / "info.json").is_file():
            raise CannotOpen("a LeRobot dataset holds many recordings: say which, with `episode=`")
        folder = files[0]
        inside = sorted(entry.name for entry in folder.iterdir() if entry.is_file())
        groups = group_bag_files(folder, [name for name in inside if not name.startswith(".")])
        if len(groups) != 1:
            raise CannotOpen(f"the folder holds {len(groups)} recordings, not one bag: give one of its files")
        files = list(groups[0].paths)
    if files[0].name == METADATA:
        raise CannotOpen(f"a bag folder without storage files: {METADATA} names some, but none is there")
    if any(is_bag(file) or claims_to_be_bag(file) for file in files):
        from ingest.sources.bag import open_bag

        bag: Source = open_bag(files, audio_formats=audio_formats or {}, threads=threads)
        return bag
    if len(files) > 1:
        raise ValueError(f"only a bag has several files, got {', '.join(file.name for file in files)}")
    from ingest.sources.video_file import VideoFile

    return VideoFile(files[0], [place_of(sidecar) for sidecar in sidecars])
