"""Recordings in: sources, decoders, clips on one clock, and the pipeline that makes datasets of them.

    with open_recording("drive.mcap") as source:            one recording
        recording = source.probe()
        for window, track, media in read_clips(source, ...):

    shard_recordings(["videos/"], "dataset/", Settings(fps=Fraction(4)))     the main job

Importing it is light: av, torch and rosbags are imported with the first name that needs them.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ingest.clips import Sampling, Wish, read_clips, windows_of
    from ingest.comparing import compare_decoders
    from ingest.configuration import Settings
    from ingest.decoder_trial import with_decoder
    from ingest.discovery import Candidate, Walk, find_recordings
    from ingest.errors import CannotDecode, CannotOpen, ConfigurationChanged, IngestError, WrongUse
    from ingest.listening import Listener
    from ingest.opening import open_recording
    from ingest.parts import Finished, Part, Scope, finish_dataset
    from ingest.pipeline import dry_run, shard_recordings
    from ingest.probing import probe_recordings
    from ingest.reconstruction import Reconstructed, reconstruct_sample, write_reconstruction
    from ingest.recording import Incident, Recording, Source, Track
    from ingest.run import Choice, Run
    from ingest.sampling.clip import PictureClip, SignalClip, SoundClip, TextClip, Window
    from ingest.track_map import TrackMap

__all__ = [
    "Candidate",
    "CannotDecode",
    "CannotOpen",
    "Choice",
    "ConfigurationChanged",
    "Finished",
    "Incident",
    "IngestError",
    "Listener",
    "Part",
    "PictureClip",
    "Reconstructed",
    "Recording",
    "Run",
    "Sampling",
    "Scope",
    "Settings",
    "SignalClip",
    "SoundClip",
    "Source",
    "TextClip",
    "Track",
    "TrackMap",
    "Walk",
    "Window",
    "Wish",
    "WrongUse",
    "compare_decoders",
    "dry_run",
    "find_recordings",
    "finish_dataset",
    "open_recording",
    "probe_recordings",
    "read_clips",
    "reconstruct_sample",
    "shard_recordings",
    "windows_of",
    "with_decoder",
    "write_reconstruction",
]

_HOMES = {
    **dict.fromkeys(("Sampling", "Wish", "read_clips", "windows_of"), "clips"),
    "Settings": "configuration",
    "compare_decoders": "comparing",
    "with_decoder": "decoder_trial",
    "TrackMap": "track_map",
    **dict.fromkeys(("Candidate", "Walk", "find_recordings"), "discovery"),
    "open_recording": "opening",
    "Listener": "listening",
    **dict.fromkeys(("Finished", "Part", "Scope", "finish_dataset"), "parts"),
    **dict.fromkeys(("dry_run", "shard_recordings"), "pipeline"),
    "probe_recordings": "probing",
    **dict.fromkeys(("Reconstructed", "reconstruct_sample", "write_reconstruction"), "reconstruction"),
    **dict.fromkeys(("Incident", "Recording", "Source", "Track"), "recording"),
    **dict.fromkeys(("Choice", "Run"), "run"),
    **dict.fromkeys(("PictureClip", "SignalClip", "SoundClip", "TextClip", "Window"), "sampling.clip"),
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'ingest' has no attribute {name!r}")
    value = getattr(import_module(f"ingest.{_HOMES.get(name, 'errors')}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
