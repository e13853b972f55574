"""What planning and `fifth probe` learn of one recording, in a worker."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from ingest.content_id import content_id
from ingest.discovery import Candidate
from ingest.engine.local import Progress
from ingest.errors import CannotOpen
from ingest.opening import open_recording
from ingest.remote_files import place_of, unharmed
from ingest.unchanged import Content, Reading, stamps_of


def examination_of(
    candidate: Candidate, known_id: str, audio_formats: dict[str, str], decoder: str = "av", threads: int = 1
) -> dict[str, Any]:
    """Return the argument that makes `examine` look at a candidate.

    Args:
        candidate: what to look at.
        known_id: the content id that this name had before; equal content is not read again.
        audio_formats: see `open_recording`.
        decoder: which one reads the pictures of video files, where it is exact.
        threads: see `open_recording`.
    """
    return {
        "name": candidate.name,
        "kind": candidate.kind,
        "paths": [str(path) for path in candidate.paths],
        "sidecars": [str(path) for path in candidate.sidecars],
        "episode": candidate.episode,
        "known_id": known_id,
        "audio_formats": audio_formats,
        "decoder": decoder,
        "threads": threads,
    }


def identify(argument: dict[str, Any], progress: Progress) -> dict[str, Any]:
    """Say which content a recording has, without looking into it.

    Returns:
        `name`, `id`, `size_bytes`, and `known`: whether the content is the known one.
    """
    paths, sidecars = _places(argument)
    with unharmed([*paths, *sidecars]):
        return _identified(argument, [*paths, *sidecars])


def _places(argument: dict[str, Any]) -> tuple[list[Path], list[Path]]:
    return [place_of(path) for path in argument["paths"]], [place_of(path) for path in argument["sidecars"]]


def _identified(argument: dict[str, Any], files: list[Path]) -> dict[str, Any]:
    content = content_id(files, argument["episode"])
    return {
        "name": argument["name"],
        "id": content,
        "size_bytes": sum(path.stat().st_size for path in files),
        "known": content == argument["known_id"],
    }


def examine(argument: dict[str, Any], progress: Progress) -> dict[str, Any]:
    """Read a recording once and say what it is.

    Returns:
        What `identify` says; if the content is not the known one `info` (the recording's JSON) or `cause`
        (why it can't be opened).

    Raises:
        RecordingChanged, RecordingTouched: somebody wrote to it meanwhile.
    """
    paths, sidecars = _places(argument)
    files = (*paths, *sidecars)
    with unharmed(files, lambda: progress({"media_ns": 0, "clips": 0})):
        before, begun_ns = stamps_of(files), time.time_ns()
        found = _examined(argument, paths, sidecars)
        if not found["known"]:
            content = Content(argument["name"], found["id"], files, argument["episode"])
            Reading(content, before, begun_ns).check()
        return found


def _examined(argument: dict[str, Any], paths: list[Path], sidecars: list[Path]) -> dict[str, Any]:
    found = _identified(argument, [*paths, *sidecars])
    if found["known"]:
        return found
    episode = argument["episode"]
    try:
        formats = argument["audio_formats"]
        with open_recording(
            paths, sidecars=sidecars, audio_formats=formats, episode=episode, threads=argument["threads"]
        ) as source:
            recording = source.probe()
        if argument["kind"] == "media":
            from ingest.decoder_trial import with_decoder

            recording = with_decoder(recording, paths[0], argument["decoder"])
        return {**found, "info": recording.to_json()}
    except CannotOpen as error:
        return {**found, "cause": str(error)}
