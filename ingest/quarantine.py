"""Recordings that end the process that reads them: found one by one, set apart with the reason.

A decoder that crashes, hangs or takes all memory ends its worker, not the run. What it was at is tried
again; if that ends the same way, every recording of it is tried alone, in a process of its own. Those that
end theirs again go into quarantine: a plan line says which clips and why, and another replaces the task by
the same one without them. So do those on which our code raises what nobody foresaw. `--retry-failed` lets
them out.

A recording that has changed since it was planned is set apart in the same way: what was planned of it is not
to be had any more, and the others of its task are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ingest.engine.local import Engine, Job, Outcome

Line = dict[str, Any]
CHANGED = (
    "it has changed since it was planned: what it held then is lost; the next run takes what it holds now"
)


def reason(outcome: Outcome) -> str:
    """Say why a recording is in quarantine; the words of a plan line, so without process ids and times."""
    if outcome.is_unforeseen:
        what = f"{outcome.result['type']}: {outcome.result['error']}"
        return f"in quarantine: reading it failed in a way that was not foreseen ({what:.300})"
    return f"in quarantine: reading it ended the process that did, twice ({outcome.result['error']})"


def examined_alone(engine: Engine, job: Job) -> Outcome:
    """Look at a recording again, in a process of its own, after looking at it ended a worker.

    Returns:
        What the examination says; if it ends its process again, a recording whose `cause` is the quarantine;
        if not even its content can be read, the outcome of that.
    """
    with engine.alone() as alone:
        outcome = next(iter(alone.run([job])))
        if not (outcome.ended_its_worker or outcome.is_unforeseen):
            return outcome
        identified = next(iter(alone.run([Job("ingest.examining:identify", job.argument)])))
    if identified.kind != "done":
        return Outcome(job, identified.kind, identified.result)
    return Outcome(job, "done", {**identified.result, "cause": reason(outcome)})


def fitted_without_culprits(engine: Engine, job: Job) -> Outcome:
    """Fit a layout again after that ended a worker, without the recordings that end a process alone."""

    def of(sample: list[Line]) -> Job:
        return Job(job.function, {**job.argument, "sample": sample})

    with engine.alone() as alone:
        kept = [entry for entry in job.argument["sample"] if not _ends(alone, of([entry]))]
        return next(iter(alone.run([of(kept)])))


def culprits(engine: Engine, task: Mapping[str, Any]) -> Iterator[tuple[int, Outcome]]:
    """Try every recording of a task alone, and yield the places of those that end their process, with how.

    Args:
        engine: whose workers the task ended.
        task: the argument of the task's job.
    """
    with engine.alone() as alone:
        jobs = [Job("ingest.task:rehearse", {**task, "entries": [entry]}) for entry in task["entries"]]
        for place, outcome in enumerate(alone.run(jobs, in_order=True)):
            if outcome.ended_its_worker or outcome.is_unforeseen:
                yield place, outcome


def changed(engine: Engine, task: Mapping[str, Any]) -> Iterator[int]:
    """Yield the places of a task's recordings that are not what was planned any more.

    Args:
        engine: on which the task was run.
        task: the argument of the task's job.
    """
    with engine.alone() as alone:
        outcome = next(iter(alone.run([Job("ingest.unchanged:find_changed", dict(task))])))
    yield from outcome.result.get("places", ())


def quarantine_lines(
    task: Line, number: int, found: Mapping[int, str], recording_of: Callable[[str], Line], clip_ns: int
) -> Iterator[Line]:
    """Yield the plan lines that set clips apart, and the task without them in place of the old one.

    Args:
        task: the line of the task that ended its workers.
        number: of the new task.
        found: place in the task's clips to the reason.
        recording_of: content id to the recording's plan line.
        clip_ns: length of a clip.
    """
    for place, words in sorted(found.items()):
        entry = task["clips"][place]
        recording = recording_of(entry["id"])
        start_ns = recording["origin_ns"] + entry["first"] * clip_ns
        yield {
            "kind": "quarantine",
            **entry,
            "recording": recording["recording"],
            "layout": task["layout"],
            "start_ns": start_ns,
            "stop_ns": min(start_ns + entry["count"] * clip_ns, recording["stop_ns"]),
            "cause": words,
        }
    clips = [entry for place, entry in enumerate(task["clips"]) if place not in found]
    yield {
        "kind": "task",
        "layout": task["layout"],
        "clips": clips,
        "supersedes": [task["task"]],
        "task": number,
    }


def _ends(engine: Engine, job: Job) -> bool:
    outcome = next(iter(engine.run([job])))
    return outcome.ended_its_worker or outcome.is_unforeseen
