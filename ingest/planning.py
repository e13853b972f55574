"""Planning: recordings in, plan lines out. What goes where is decided here, once, by nobody else.

A part of the plan is written in one go: recordings in the order they were found, then new layouts
(with what was fitted), then tasks. Tasks are cut in that order: long recordings are split by time, short
ones are grouped, so that a shard has about the bytes or the hours that were asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain

from ingest.about import about
from ingest.clips import Wish
from ingest.configuration import Configuration
from ingest.content_id import full_hash
from ingest.discovery import Candidate, Walk
from ingest.engine.local import Engine, Job, Outcome
from ingest.errors import IngestError
from ingest.examining import examination_of
from ingest.fitting import FitSample, fit_job
from ingest.layouts import check_probe, estimated_bytes, identity, layout_key, layout_of, select, slug
from ingest.occupancy import left_out_clips, occupied_clips
from ingest.on_disk import Spool
from ingest.places import Places
from ingest.plan_state import Line, PlanState
from ingest.quarantine import examined_alone, fitted_without_culprits
from ingest.recording import Incident, Recording


@dataclass
class _Bucket:
    """The task of one layout that is being filled."""

    layout: Line
    clips: list[Line] = field(default_factory=list)
    size_bytes: int = 0
    length_ns: int = 0


@dataclass
class Planning:
    """One planning: from candidates to the lines of a new plan part.

    Args:
        state: what was planned before.
        configuration: of the dataset.
        engine: examines recordings.
        on_examined: called with each recording's name when it was looked at.
        retry: content ids of recordings to make again.
        replace: whether new content at a known name drops the old one's samples.
    """

    state: PlanState
    configuration: Configuration
    engine: Engine
    on_examined: Callable[[str], None] = lambda _: None
    retry: frozenset[str] = frozenset()
    replace: bool = False
    recordings_new: int = 0
    warnings: list[str] = field(default_factory=list)
    unfinished: list[str] = field(default_factory=list)
    """Recordings that could not be looked at, with the cause."""
    _identities: dict[str, str] = field(default_factory=dict)
    _new_layouts: dict[str, Line] = field(default_factory=dict)
    _fit_samples: dict[str, FitSample] = field(default_factory=dict)
    _buckets: dict[str, _Bucket] = field(default_factory=dict)
    _tasks: Spool = field(default_factory=Spool)
    _dropped: set[str] = field(default_factory=set)

    def lines(self, candidates: Iterator[Candidate], walk: Walk) -> Iterator[Line]:
        """Yield the part's lines, without its first; nothing where nothing is new."""
        seen = Places()
        for candidate, found in self._examined(candidates):
            self.on_examined(candidate.name)
            yield from self._recording(candidate, found, seen)
        for name, cause in walk.failures:
            yield from self._told_once(name, Incident("failure", cause))
        for name, cause in walk.notes:
            yield from self._told_once(name, Incident("note", f"passed over: {cause}"))
        if self.recordings_new:
            for reason, count in sorted(walk.passed_over.items()):
                if count:
                    yield {"kind": "passed_over", "reason": reason, "count": count}
        for key in list(self._buckets):
            self._close(key)
        yield from self._fitted_layouts()
        yield from self._numbered(chain(self._redone_tasks(), self._tasks))

    def _examined(self, candidates: Iterator[Candidate]) -> Iterator[tuple[Candidate, Line]]:
        under_way: list[Candidate] = []

        def jobs() -> Iterator[Job]:
            for candidate in candidates:
                known = self.state.id_of(candidate.name)
                if known in self.retry and (self.state.recording(known) or {}).get("status") == "failed":
                    known = ""
                under_way.append(candidate)
                formats = dict(self.configuration.data["audio_formats"])
                decoder = self.configuration.data["decoder"]
                yield Job("ingest.examining:examine", examination_of(candidate, known, formats, decoder))

        for outcome in self.engine.run(jobs(), in_order=True):
            candidate = under_way.pop(0)
            if outcome.ended_its_worker or outcome.is_unforeseen:
                outcome = examined_alone(self.engine, outcome.job)
            if outcome.kind == "done":
                yield candidate, outcome.result
            else:
                self.unfinished.append(_why_not_examined(outcome))

    def _recording(self, candidate: Candidate, found: Line, seen: Places) -> Iterator[Line]:
        """Plan one recording; `seen` holds by content what this planning has planned."""
        if found["known"]:
            return
        name, content = candidate.name, found["id"]
        base = {"kind": "recording", "recording": name, "size_bytes": found["size_bytes"], "replaces": []}
        times = {"origin_ns": 0, "stop_ns": 0, "clips": 0}
        empty = {"duplicate_of": "", "layout": "", **times, "about": {}, "info": {}}
        earlier = self.state.recording(content)
        if earlier is not None and content not in self.retry:
            other = seen.get(content)
            if other is not None and full_hash(candidate.files) != full_hash(other.files):
                found = {**found, "id": full_hash(candidate.files)}
                content, earlier = found["id"], self.state.recording(found["id"])
            if earlier is not None:
                yield from self._duplicate(name, content, earlier, {**base, **empty})
                return
        old = self.state.id_of(name)
        if old and old != content:
            yield from self._changed(name, old, content)
            if self.replace:
                self._dropped.add(old)
                base["replaces"] = [old]
        self.recordings_new += 1
        seen.put(content, candidate)
        if "cause" in found:
            line = {**base, **empty, "id": content, "status": "failed"}
            incidents = [Incident("failure", found["cause"])]
        else:
            line, incidents = self._planned(candidate, content, found["info"], {**base, **empty})
        self.state.learn(line)
        yield line
        yield from (incident_line(name, content, incident) for incident in incidents)

    def _duplicate(self, name: str, content: str, earlier: Line, base: Line) -> Iterator[Line]:
        """List a recording whose content is there already, under another name."""
        if self.state.id_of(name) == content:
            return
        self.recordings_new += 1
        line = {**base, "id": content, "status": "duplicate", "duplicate_of": earlier["recording"]}
        self.state.learn(line)
        yield line
        cause = f"the same content as {earlier['recording']}: not sharded again"
        yield incident_line(name, content, Incident("note", cause))

    def _changed(self, name: str, old: str, content: str) -> Iterator[Line]:
        done = "its samples are dropped" if self.replace else "its samples stay (--replace would drop them)"
        cause = f"other content than before ({old[:16]}) under this name: a new recording; {done}"
        self.warnings.append(f"{name}: {cause}")
        yield incident_line(name, content, Incident("note", cause))

    def _planned(
        self, candidate: Candidate, content: str, info: Line, base: Line
    ) -> tuple[Line, list[Incident]]:
        """Give a recording its layout and its clips their tasks."""
        recording = Recording.from_json(info)
        chosen = select(recording, self.configuration)
        incidents = [*recording.incidents, *chosen.incidents]
        line = {
            **base,
            "id": content,
            "origin_ns": recording.origin_ns,
            "stop_ns": recording.stop_ns,
            "about": about(recording),
            "info": info,
        }
        if not chosen.wishes:
            failed = any(incident.severity == "failure" for incident in incidents)
            if not failed:
                why = (
                    "no track that the encoders and --tracks/--map take" if recording.tracks else "no tracks"
                )
                incidents.append(Incident("note", f"{why}: nothing to shard"))
            return {**line, "status": "failed" if failed else "empty"}, incidents
        key = self._layout(chosen.wishes)
        layout = self.state.layouts[key]
        occupied = occupied_clips(recording, self.configuration.clip_ns)
        if (told := left_out_clips(recording, self.configuration.clip_ns, occupied)) is not None:
            incidents.append(told)
        if key in self._new_layouts:
            self._fit_samples.setdefault(key, FitSample()).offer(candidate, recording)
        for first, count in occupied:
            self._cut(key, layout, content, recording, first, count)
        clips = sum(count for _, count in occupied)
        return {**line, "status": "planned", "layout": layout["name"], "clips": clips}, incidents

    def _layout(self, wishes: Sequence[Wish]) -> str:
        """Return the identity of these tracks' layout, which is a new one where nobody has had it."""
        told = layout_key(wishes, self.configuration)
        if told not in self._identities:
            layout = layout_of(wishes, self.configuration)
            key = self._identities[told] = identity(layout)
            if key not in self.state.layouts:
                taken = {known["name"] for known in self.state.layouts.values()}
                layout["name"] = slug(layout, key, taken)
                self.state.layouts[key] = self._new_layouts[key] = layout
        return self._identities[told]

    def _cut(
        self, key: str, layout: Line, content: str, recording: Recording, first: int, count: int
    ) -> None:
        """Hand a recording's clips to tasks, opening new ones as they fill up."""
        data = self.configuration.data
        clip_ns = self.configuration.clip_ns
        # as long as the recording is, but no longer than a clip
        length_ns = min(clip_ns, recording.stop_ns - recording.origin_ns)
        clip_bytes = estimated_bytes(layout, length_ns)
        stop = first + count
        while first < stop:
            bucket = self._buckets.setdefault(key, _Bucket(layout))
            room = min(
                (data["shard_bytes"] - bucket.size_bytes) // clip_bytes,
                (data["shard_ns"] - bucket.length_ns) // length_ns,
            )
            if room < 1 and bucket.clips:
                self._close(key)
                continue
            taken = min(stop - first, max(1, room))
            bucket.clips.append({"id": content, "first": first, "count": taken})
            bucket.size_bytes += taken * clip_bytes
            bucket.length_ns += taken * length_ns
            first += taken

    def _close(self, key: str) -> None:
        bucket = self._buckets.pop(key)
        self._tasks.append({"kind": "task", "layout": bucket.layout["name"], "clips": bucket.clips})

    def _fitted_layouts(self) -> Iterator[Line]:
        """Fit what must be fitted, one job per new layout."""
        new = list(self._new_layouts.items())
        jobs = (fit_job(layout, self._fit_samples[key], self.configuration) for key, layout in new)
        for (_, layout), outcome in zip(new, self.engine.run(jobs, in_order=True), strict=True):
            if outcome.ended_its_worker or outcome.is_unforeseen:
                outcome = fitted_without_culprits(self.engine, outcome.job)
            if outcome.kind != "done":
                raise IngestError(f"fitting layout {layout['name']}: {outcome.result['error']}")
            for track in layout["tracks"]:
                track["spec"] = outcome.result["specs"].get(track["name"], track["spec"])
                if track["name"] in outcome.result["probes"]:
                    track["details"] = {"probe": outcome.result["probes"][track["name"]]}
                    self._check_probe(track)
            yield {"kind": "layout", "layout": layout}

    def _check_probe(self, track: Line) -> None:
        """Raise where the same encoder gave other tokens when an earlier layout was planned."""
        known = (
            other["details"]["probe"]
            for key, layout in self.state.layouts.items()
            if key not in self._new_layouts
            for other in layout["tracks"]
            if other["spec"] == track["spec"] and "probe" in other["details"]
        )
        check_probe(track, planned=next(known, ""))

    def _redone_tasks(self) -> Iterator[Line]:
        """Repeat the tasks that hold recordings to retry; leave out recordings that are replaced."""
        concerned = self.retry | self._dropped
        for task in self.state.tasks() if concerned else ():
            if any(entry["id"] in concerned for entry in task["clips"]):
                clips = [entry for entry in task["clips"] if entry["id"] not in self._dropped]
                old = [task["task"]]
                yield {"kind": "task", "layout": task["layout"], "clips": clips, "supersedes": old}
        for (content, first, count), line in self.state.quarantined.items():
            if content in self.retry:
                clips = [{"id": content, "first": first, "count": count}]
                yield {"kind": "task", "layout": line["layout"], "clips": clips}

    def _numbered(self, tasks: Iterable[Line]) -> Iterator[Line]:
        for task in tasks:
            yield {**task, "task": self.state.next_task}
            self.state.next_task += 1

    def _told_once(self, name: str, incident: Incident) -> Iterator[Line]:
        """Say something of a file or folder that is no recording, unless an earlier part has."""
        if (name, incident.cause) not in self.state.told:
            self.state.told.add((name, incident.cause))
            yield incident_line(name, "", incident)


def _why_not_examined(outcome: Outcome) -> str:
    """Say why a recording could not be looked at: the machine's fault, so that it is tried again."""
    name, error = outcome.job.argument["name"], outcome.result["error"]
    return f"{name}: {error}; the next run tries it again (--exclude leaves it out)"


def incident_line(name: str, content: str, incident: Incident) -> Line:
    """Return the plan's or record's line for an incident."""
    return {
        "kind": incident.severity,
        "recording": name,
        "id": content,
        "track": incident.track,
        "start_ns": incident.start_ns,
        "stop_ns": incident.stop_ns,
        "cause": incident.cause,
    }
