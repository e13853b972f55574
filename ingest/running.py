"""The tasks of a run, to their end: tried again where a worker ended, without the recordings that end it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from ingest.engine.local import Outcome
from ingest.failure_share import FailureShare
from ingest.jobs import Doing, Jobs
from ingest.listening import Listener
from ingest.output_trouble import stop_without_output
from ingest.plan_head import plan_head
from ingest.quarantine import CHANGED, changed, culprits, quarantine_lines, reason
from ingest.run import Choice, Run

MOST_TRIES = 2
NOBODYS_FAULT = ("EncoderLost", "RecordingTouched")
"""Errors after which a task is tried again."""


@dataclass
class Tasks:
    """Runs the tasks of a share that are not done yet; what grows with their number is on disk."""

    doing: Doing
    choice: Choice
    share: tuple[int, int]
    listener: Listener
    run: Run
    failures: FailureShare = field(init=False)

    def __post_init__(self) -> None:
        self.failures = FailureShare(self.choice.max_failure_share)

    def run_all(self) -> None:
        """Run them, those of what was found at fault again without it."""
        state = self.doing.state
        state.mark_done(self.doing.folder.iter_tasks_done())
        figures = state.figures(self.share)
        self.run.tasks_before = figures["done"]
        self.listener.planned(figures["tasks"] - figures["done"], figures["length_ns"], figures["done_ns"])
        numbers: Iterable[int] = state.pending(self.share)
        count = figures["tasks"] - figures["done"]
        while count and not self.run.stopped_by:
            ended = self._run(numbers, count)
            if self.run.stopped_by:
                return
            if self.doing.adds_to:  # what was good enough for the dataset is not set apart here
                for outcome in ended:
                    self._not_done(outcome)
                return
            numbers = self._without_culprits(ended)
            count = len(numbers)

    def _run(self, numbers: Iterable[int], count: int) -> list[Outcome]:
        """Run tasks, trying those again whose process ended; return those that ended it again."""
        jobs = Jobs(self.doing, self.listener, self.run.unfinished, count)
        ended: list[Outcome] = []
        tries: dict[int, int] = {}
        while True:
            again: list[int] = []
            for outcome in self.doing.engine.run(jobs.of(numbers)):
                number = _number(outcome)
                self.run.peak_rss_bytes = max(self.run.peak_rss_bytes, outcome.peak_rss_bytes)
                if outcome.kind == "done":
                    self._done(outcome)
                    if self.run.stopped_by:
                        return []
                    continue
                tries[number] = tries.get(number, 0) + 1
                stop_without_output(self.doing.folder, outcome)
                lost = outcome.ended_its_worker or outcome.result["type"] in NOBODYS_FAULT
                if lost and tries[number] < MOST_TRIES:
                    self.listener.task_failed(number, outcome.kind, outcome.result["error"], again=True)
                    self.listener.say(f"task {number}: {outcome.result['error']}; it is tried again")
                    again.append(number)
                elif _has_culprits(outcome):
                    ended.append(outcome)
                else:
                    self._not_done(outcome)
            if not again:
                return ended
            numbers = again

    def _done(self, outcome: Outcome) -> None:
        result = outcome.result
        self.run.tasks_run += 1
        self.run.failures += result["failures"]
        number = _number(outcome)
        if result["asked_again"] and not self.run.asked_again:
            cause = result["asked_again_cause"]
            self.listener.say(f"a store had to be asked again ({cause}); this is said once")
        self.run.asked_again += result["asked_again"]
        self.listener.task_ended({**result, "task": number, "seconds": outcome.seconds})
        if self.choice.strict and result["failures"]:
            self.run.stopped_by = f"at the first failure (--strict): {result['first_failure']}"
            return
        self.failures.count_task(result)
        self._judge()

    def _judge(self) -> None:
        if self.failures.verdict:
            self.run.stopped_by = f"{self.failures.verdict}; what is done is kept, and running again goes on"

    def _not_done(self, outcome: Outcome) -> None:
        """Say that a task could not be done; the next run tries it again."""
        number = _number(outcome)
        cause = f"task {number} ({_names(outcome)}): {outcome.result['error']}"
        self.run.unfinished.append(cause)
        self.listener.say(f"not done: {cause}")
        self.listener.task_failed(number, outcome.kind, _whole_words(outcome), again=False)

    def _without_culprits(self, ended: Sequence[Outcome]) -> list[int]:
        """Find recordings that end their process, set them apart, and return the tasks without them."""
        new: list[int] = []
        for outcome in sorted(ended, key=_number):  # in order: the same faults make the same plan
            found = self._at_fault(outcome)
            if not found:  # no recording alone does it: no one is to blame
                self._not_done(outcome)
                continue
            number = _number(outcome)
            self.listener.task_failed(number, outcome.kind, outcome.result["error"], again=True)
            new.append(self._set_apart(number, found))
        return new

    def _at_fault(self, outcome: Outcome) -> dict[int, str]:
        """Return which recordings of a task, by their place in it, kept it from being done, and why."""
        engine, argument = self.doing.engine, outcome.job.argument
        if outcome.ended_its_worker or outcome.is_unforeseen:
            return {place: reason(how) for place, how in culprits(engine, argument)}
        return dict.fromkeys(changed(engine, argument), CHANGED)

    def _set_apart(self, number: int, found: Mapping[int, str]) -> int:
        """Write a plan part that takes clips out of a task; return the number of the task in its place."""
        doing, state = self.doing, self.doing.state
        with doing.folder.plan_turn():  # beside other parts, which may have added to the plan
            state.catch_up()
            task, new = state.task(number), state.next_task
            lines = list(quarantine_lines(task, new, found, state.planned, doing.configuration.clip_ns))
            doing.folder.write_plan_part([plan_head(doing.folder.next_part(), doing.configuration), *lines])
            state.catch_up()
        for line in lines[:-1]:
            self.listener.quarantined(line)
            self.listener.say(f"{line['recording']}: {line['cause']}; --retry-failed tries it again")
            self.run.failures += 1
            self.failures.count(line["id"], failed=True)
        self._judge()
        return new


def _has_culprits(outcome: Outcome) -> bool:
    """Tell whether a task was not done for the sake of some of its recordings."""
    return outcome.ended_its_worker or outcome.is_unforeseen or outcome.result["type"] == "RecordingChanged"


def _number(outcome: Outcome) -> int:
    return int(outcome.job.argument["task"])


def _names(outcome: Outcome) -> str:
    names = list(dict.fromkeys(entry["name"] for entry in outcome.job.argument["entries"]))
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _whole_words(outcome: Outcome) -> str:
    return str(outcome.result.get("traceback", outcome.result["error"]))
