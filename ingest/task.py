"""One task: the clips of some recordings become one shard and one record, in a worker.

Everything a task does follows from its argument; it may be killed anywhere and done again.
"""

from __future__ import annotations

import contextlib
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from encoders import ClipEncoder, ClipTokens, Encoder, TokenSpec, kept_encoder_for, kept_probe
from encoders.launcher import Launches
from ingest.clips import Wish, merge_incidents, read_clips, windows_of
from ingest.configuration import Configuration
from ingest.encoder_client import EncoderLink
from ingest.encoder_slots import has_fixed_rows
from ingest.engine.local import Progress
from ingest.errors import CannotOpen, IngestError
from ingest.layouts import check_probe, select, source_of
from ingest.opening import open_recording
from ingest.planning import incident_line
from ingest.recording import Incident, Recording, Track
from ingest.remote_files import asked_again, place_of, unharmed
from ingest.sampling.clip import ClipMedia, DepthClip, PictureClip, SignalClip, SoundClip, TextClip, Window
from ingest.sampling.frames import is_range_image
from ingest.unchanged import Content, Reading
from shards import DatasetFolder, ShardWriter, open_dataset, recording_number, sample_key, shard_name
from shards.dataset_files import folder_of

Tag = tuple[str, int, str]
"""Content id, clip number, track name: which clip's track an encoder is working on."""

PROGRESS_SECONDS = 0.2


@dataclass(frozen=True)
class Entry:
    """One recording's share of a task."""

    name: str
    content: str
    kind: str
    paths: tuple[Path, ...]
    sidecars: tuple[Path, ...]
    episode: int | None
    recording: Recording
    first: int
    count: int

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Entry:
        """Read an entry of a task's argument."""
        return cls(
            name=data["name"],
            content=data["id"],
            kind=data["kind"],
            paths=tuple(place_of(path) for path in data["paths"]),
            sidecars=tuple(place_of(path) for path in data["sidecars"]),
            episode=data["episode"],
            recording=Recording.from_json(data["info"]),
            first=data["first"],
            count=data["count"],
        )

    @property
    def known(self) -> Content:
        """The content that was planned."""
        return Content(self.name, self.content, (*self.paths, *self.sidecars), self.episode)


@dataclass
class _Clip:
    """A clip that is being put together."""

    entry: Entry
    window: Window
    missing: set[str]
    members: dict[str, Any] = field(default_factory=dict)
    tracks: dict[str, dict[str, Any]] = field(default_factory=dict)
    tokens: dict[str, int] = field(default_factory=dict)
    has_content: bool = False


class _Task:
    """Puts clips together from encoded tracks and writes them in order."""

    def __init__(self, argument: Mapping[str, Any], link: EncoderLink | None, progress: Progress) -> None:
        self.argument = argument
        self.configuration = Configuration(argument["configuration"])
        self.layout = argument["layout"]
        self.members = {member["name"] for member in self.layout["members"]}
        self.entries = [Entry.from_json(entry) for entry in argument["entries"]]
        self.encoders = {
            track["name"]: ClipEncoder[Tag](_way_to(track, argument["device"], link))
            for track in self.layout["tracks"]
            if track["spec"]
        }
        self.wanted = _samples_of(argument["adds_to"]) if argument.get("adds_to") else None
        """The samples that the dataset has which this adds to; None: all clips with content."""
        self.queue: deque[_Clip] = deque()
        self.clips: dict[tuple[str, int], _Clip] = {}
        self.samples: dict[str, int] = {}
        self.seconds_ns: dict[str, int] = {}
        self.without_content = 0
        self.saturated: dict[str, int] = {}
        self.incidents: list[tuple[Entry, Incident]] = []
        self._progress = progress
        self._told = time.monotonic()
        self._untold_ns = 0
        self._untold_clips = 0
        self.told_ns = 0
        """Media that was encoded so far."""

    def run(self, writer: ShardWriter | None) -> None:
        """Read, encode and write everything; without a writer, write nothing."""
        for entry in self.entries:
            met: list[Incident] = []
            known = {(i.track, i.cause) for i in entry.recording.incidents}
            for tag, media in self._read(entry, met):
                for done, tokens in self._encode(tag, media):
                    self._place(done, tokens)
                self._write_complete(writer)
            fresh = [incident for incident in met if (incident.track, incident.cause) not in known]
            self.incidents += [(entry, incident) for incident in merge_incidents(fresh)]
        for encoder in self.encoders.values():
            for done, tokens in encoder.flush():
                self._place(done, tokens)
        self._write_complete(writer)
        assert not self.queue, "every clip has all its tracks by now"
        if self.wanted:
            raise IngestError(
                f"{len(self.wanted)} samples of the dataset are no clips of these recordings any more: was "
                "it made by another version?"
            )
        self._tell(0, 0, now=True)

    def _read(self, entry: Entry, met: list[Incident]) -> Iterator[tuple[Tag, ClipMedia]]:
        chosen = select(entry.recording, self.configuration)
        wishes = chosen.wishes
        tracks = {wish.name: source_of(wish) for wish in wishes}
        windows = windows_of(entry.recording, self.configuration.clip_ns, entry.first, entry.count)
        self._expect(entry, windows, wishes)
        sampling = self.configuration.sampling(entry.kind)
        formats = dict(self.configuration.data["audio_formats"])
        with open_recording(
            entry.paths,
            sidecars=entry.sidecars,
            audio_formats=formats,
            episode=entry.episode,
            threads=self.argument["threads"],
        ) as source:
            reading = read_clips(source, wishes, windows, sampling, met.append, chosen.reference)
            for window, name, media in reading:
                clip = self.clips[entry.content, window.index]
                clip.tracks[name] = self._provenance(entry, window, tracks[name], media)
                clip.has_content = clip.has_content or has_content(media, tracks[name])
                yield (entry.content, window.index, name), media

    def _expect(self, entry: Entry, windows: list[Window], wishes: tuple[Wish, ...]) -> None:
        for window in windows:
            clip = _Clip(entry, window, {wish.name for wish in wishes})
            self.clips[entry.content, window.index] = clip
            self.queue.append(clip)

    def _encode(self, tag: Tag, media: ClipMedia) -> list[tuple[Tag, ClipTokens | None]]:
        clip, name = self.clips[tag[:2]], tag[2]
        if isinstance(media, TextClip):
            clip.members[f"{name}.txt"] = "".join(f"{_one_line(cue.text)}\n" for cue in media.cues)
            spans = [(cue.start_ns, cue.stop_ns) for cue in media.cues]
            clip.members[f"{name}.times.npy"] = np.array(spans, np.int64).reshape(-1, 2)
            return [(tag, None)]
        if isinstance(media, PictureClip):
            clip.members[f"{name}.times.npy"] = media.times_ns
            tensor = torch.as_tensor(media.frames).permute(0, 3, 1, 2)
        elif isinstance(media, DepthClip):
            clip.members[f"{name}.times.npy"] = media.times_ns
            tensor = torch.from_numpy(media.frames)
        elif isinstance(media, SoundClip):
            tensor = torch.from_numpy(media.samples)
        else:
            values = media.values if media.valid else media.values[:0]
            if f"{name}.values.npy" in self.members:
                clip.members[f"{name}.values.npy"] = np.ascontiguousarray(values)
            if media.times_ns is not None:
                clip.members[f"{name}.times.npy"] = media.times_ns[: len(values)]
            tensor = torch.from_numpy(np.ascontiguousarray(values))
        return [*self.encoders[name].add(tag, tensor)]

    def _place(self, tag: Tag, tokens: ClipTokens | None) -> None:
        clip, name = self.clips[tag[:2]], tag[2]
        if tokens is not None and f"{name}.features.npy" in self.members:
            clip.members[f"{name}.features.npy"] = tokens.tokens
        elif tokens is not None:
            clip.members[f"{name}.tokens.npy"] = tokens.tokens
            if tokens.offsets is not None:
                clip.members[f"{name}.offsets.npy"] = tokens.offsets
            clip.tokens[name] = int(tokens.tokens.size)
        if tokens is not None and tokens.saturated:
            self.saturated[name] = self.saturated.get(name, 0) + tokens.saturated
        clip.missing.discard(name)

    def _write_complete(self, writer: ShardWriter | None) -> None:
        while self.queue and not self.queue[0].missing:
            clip = self.queue.popleft()
            del self.clips[clip.entry.content, clip.window.index]
            self._tell(clip.window.length_ns, 1)
            if not (clip.has_content if self.wanted is None else self._is_wanted(clip)):
                self.without_content += 1
                continue
            if writer is not None:
                self._write(writer, clip)

    def _is_wanted(self, clip: _Clip) -> bool:
        """Tell whether the dataset that this adds to has the clip as its next sample."""
        assert self.wanted is not None
        sample = (recording_number(clip.entry.content), clip.window.start_ns)
        if not self.wanted or self.wanted[0] != sample:
            return False
        self.wanted.popleft()
        return True

    def _write(self, writer: ShardWriter, clip: _Clip) -> None:
        entry, window = clip.entry, clip.window
        number = recording_number(entry.content)
        clip.members["json"] = {
            "recording": entry.name,
            "id": entry.content,
            "start_ns": window.start_ns,
            "stop_ns": window.stop_ns,
            "tracks": clip.tracks,
        }
        names = [track["name"] for track in self.layout["tracks"]]
        writer.add(
            sample_key(number, window.start_ns - entry.recording.origin_ns),
            clip.members,
            recording_id=number,
            start_ns=window.start_ns,
            stop_ns=window.stop_ns,
            tokens={name: clip.tokens.get(name, 0) for name in names},
            valid={name: clip.tracks[name]["valid"] for name in names},
        )
        self.samples[entry.content] = self.samples.get(entry.content, 0) + 1
        self.seconds_ns[entry.content] = self.seconds_ns.get(entry.content, 0) + window.length_ns

    def _provenance(self, entry: Entry, window: Window, track: Track, media: ClipMedia) -> dict[str, Any]:
        """Say where a track's share of a clip is from; the same keys for all tracks of a medium."""
        common: dict[str, Any] = {"valid": media.valid, "topic": track.topic, "codec": track.codec}
        if isinstance(media, TextClip):
            return common
        common["grid_start_ns"] = window.start_ns
        if isinstance(media, PictureClip):
            return common | {
                "source_width": track.width,
                "source_height": track.height,
                "pixel_format": track.pixel_format,
                "sample_aspect": track.sample_aspect,
                "rotation": track.rotation,
                "mirrored": track.mirrored,
                **seen_as(track),
                "fit": self.configuration.fit_for(entry.kind),
            }
        if isinstance(media, DepthClip):
            return common | {
                "source_width": track.width,
                "source_height": track.height,
                "pixel_format": track.pixel_format,
                "rule": track.details["depth_rule"],
                "frame": track.details.get("frame", ""),
                "fit": "" if is_range_image(track) else self.configuration.fit_for(entry.kind),
                **media.counts._asdict(),
            }
        if isinstance(media, SoundClip):
            return common | {"source_rate": track.sample_rate, "source_channels": track.channels}
        clock = track.clock.choice if track.clock else "file"
        return common | {"clock": clock, "max_age_ns": track.max_age_ns}

    def is_alive(self) -> None:
        """Tell that something came in, though no clip is done."""
        self._tell(0, 0)

    def _tell(self, length_ns: int, clips: int, now: bool = False) -> None:
        self.told_ns += length_ns
        self._untold_ns += length_ns
        self._untold_clips += clips
        if now or time.monotonic() - self._told > PROGRESS_SECONDS:
            self._progress({"media_ns": self._untold_ns, "clips": self._untold_clips})
            self._told, self._untold_ns, self._untold_clips = time.monotonic(), 0, 0

    def _clips_planned(self) -> dict[str, int]:
        """Return content id to clips; a bag with idle stretches has several entries."""
        clips: dict[str, int] = {}
        for entry in self.entries:
            clips[entry.content] = clips.get(entry.content, 0) + entry.count
        return clips

    def record(self, figures: Mapping[str, Any] | None) -> dict[str, Any]:
        """Return the task's record; see the format in `shards`."""
        lines = [incident_line(e.name, e.content, incident) for e, incident in self.incidents]
        of_kind = {
            kind: [{k: v for k, v in line.items() if k != "kind"} for line in lines if line["kind"] == kind]
            for kind in ("failure", "note")
        }
        return {
            "task": self.argument["task"],
            "part": self.argument["part"],
            "layout": self.layout["name"],
            "shard": figures,
            "recordings": [
                {
                    "id": content,
                    "clips": clips,
                    "samples": self.samples.get(content, 0),
                    "seconds_ns": self.seconds_ns.get(content, 0),
                }
                for content, clips in self._clips_planned().items()
            ],
            "failures": of_kind["failure"],
            "notes": of_kind["note"],
            "counts": {"clips_without_content": self.without_content, "saturated": self.saturated},
        }


def seen_as(track: Track) -> dict[str, Any]:
    """Say who decoded a picture track, and how its samples were understood; "" for pictures in bags, whose
    pixel format says it all.
    """
    colour = track.details.get("colour", {})
    return {
        "decoder": track.details.get("decoder", ""),
        "matrix": colour.get("matrix", ""),
        "range": colour.get("range", ""),
        "transfer": colour.get("transfer", ""),
        "interlaced": track.details.get("interlaced", False),
    }


def has_content(media: ClipMedia, track: Track) -> bool:
    """Say whether something of a track belongs to this clip.

    What is merely held on from before (a latched topic, a picture that a bag never replaced, a
    caption over everything) does not make a clip: else one message would fill days.
    """
    if not media.valid:
        return False
    if isinstance(media, TextClip):
        return any(cue.start_ns >= 0 for cue in media.cues)
    held = track.clock is not None and not track.max_age_ns
    if isinstance(media, (PictureClip, DepthClip)) and held:
        return bool((media.times_ns >= 0).any())
    if isinstance(media, SignalClip) and held:
        return media.fresh
    return True


def _one_line(text: str) -> str:
    r"""Return a cue as one line, its line breaks as `\n`, its backslashes as `\\`."""
    return text.replace("\\", "\\\\").replace("\r\n", "\n").replace("\n", "\\n")


def _samples_of(place: Mapping[str, str]) -> deque[tuple[int, int]]:
    """Return recording and start of each sample of a shard, in its order."""
    rows = open_dataset(place["dataset"], joined=False).shard(place["shard"], place["layout"]).rows
    return deque(zip(rows["recording"].tolist(), rows["start_ns"].tolist(), strict=True))


def _way_to(track: Mapping[str, Any], device: str, link: EncoderLink | None) -> Encoder | Launches:
    """Return the encoder of a track: here, or in the encoder process if it makes pictures or sound.

    Raises:
        ProbeDiffers: it does not give the tokens that it gave where the dataset was planned.
    """
    spec, planned = TokenSpec.from_json(track["spec"]), track["details"].get("probe", "")
    if link is not None and has_fixed_rows(spec) and spec.input.medium != "signal":
        distant = link.encoder(spec)
        check_probe(track, planned=planned, here=distant.probe, place="the encoder process")
        return distant
    place = "cpu" if link is not None and spec.exact_across_devices else device
    check_probe(track, planned=planned, here=kept_probe(spec, place), place=place)
    return kept_encoder_for(spec, place)


def run_task(argument: dict[str, Any], progress: Progress) -> dict[str, Any]:
    """Make one shard and its record.

    Args:
        argument: `dataset`, `task`, `part`, `layout`, `entries`, `configuration`, `device`, `threads` to
            unpack chunks in, and `encoder_process`: where it listens, with `slot_bytes` to share with it;
            empty: encode here.
        progress: told of the media and clips done since it was last told.

    Returns:
        `samples`, `tokens`, `bytes`, `failures` (how many; `first_failure`), `media_ns` of the task, for the
        progress display; content ids of its `recordings`, and of those that `failed`.

    Raises:
        RecordingChanged, RecordingTouched: a recording is not, or was not, what was planned.
        IngestError: a recording is gone, or can't be opened any more.
        EncoderLost: the encoder process has ended; the task may be tried again.
        OSError: the machine's fault; the task may be tried again.
    """
    torch.set_num_threads(1)
    _limit_cv2()
    with contextlib.ExitStack() as stack:
        link = None
        if argument["encoder_process"]:
            link = stack.enter_context(EncoderLink(argument["encoder_process"], argument["slot_bytes"]))
        return _run(argument, _Task(argument, link, progress))


def rehearse(argument: dict[str, Any], progress: Progress) -> dict[str, Any]:
    """Read and encode all of a task, and write nothing: to find out which recording ends the process."""
    torch.set_num_threads(1)
    _limit_cv2()
    task = _Task({**argument, "encoder_process": ""}, None, progress)
    for entry in task.entries:
        entry.known.check()  # one that changed is not to blame for what happened to the planned one
    task.run(None)
    return {}


def _run(argument: Mapping[str, Any], task: _Task) -> dict[str, Any]:
    folder = folder_of(argument["dataset"])
    asked_before = asked_again()[0]
    files = [path for entry in task.entries for path in (*entry.paths, *entry.sidecars)]
    readings = [entry.known.check() for entry in task.entries]
    number = int(argument["task"])
    name = shard_name(task.layout["name"], number)
    with ShardWriter(folder.shards_folder, name, task.layout) as writer:
        try:
            with unharmed(files, task.is_alive):
                task.run(writer)
        except CannotOpen as error:
            _check_all(readings)
            names = ", ".join(entry.name for entry in task.entries[:3])
            raise IngestError(
                f"a recording that could be read when planned can't be now ({names}): {error}"
            ) from error
        except Exception:  # whatever it is, that somebody changed the file under us explains it
            _check_all(readings)
            raise
        _check_all(readings)
        figures = writer.close()
    record = task.record(figures.to_json() if figures else None)
    folder.write_record(number, record)
    return {
        "samples": figures.samples if figures else 0,
        "tokens": sum(figures.tokens.values()) if figures else 0,
        "bytes": figures.bytes if figures else 0,
        "failures": len(record["failures"]),
        "first_failure": _first(record["failures"]),
        "media_ns": task.told_ns,
        "recordings": [entry["id"] for entry in record["recordings"]],
        "failed": sorted({failure["id"] for failure in record["failures"]}),
        **_asked_again(asked_before, folder),
    }


def _asked_again(before: int, folder: DatasetFolder) -> dict[str, Any]:
    """Say how often stores had to be asked again in this task, and why the last time."""
    (read, cause), (written, cause_there) = asked_again(), folder.asked_again
    return {"asked_again": read - before + written, "asked_again_cause": cause_there or cause}


def _first(failures: list[dict[str, Any]]) -> str:
    return f"{failures[0]['recording']}: {failures[0]['cause']}" if failures else ""


def _check_all(readings: Sequence[Reading]) -> None:
    """Raise where a recording was written to while it was read: what was made of it belongs to nothing."""
    for reading in readings:
        reading.check()


def _limit_cv2() -> None:
    import cv2

    cv2.setNumThreads(1)
