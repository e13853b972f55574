"""Where a stream is, and the state that says so: a few integers, beside what must be equal to go on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from shards.errors import WrongState
from shards.shapes import misfit
from shards.streaming.plan import differences
from shards.streaming.settings import Output, Settings
from shards.streaming.torch_bridge import Place

FORMAT = 1
_STEPS = range(2**40)
_STATE = {
    "format": range(2**31),
    "step": _STEPS,
    "row": _STEPS,
    "ranks": range(1, 2**31),
    "epoch": _STEPS,
    "taken": [range(2**60)],
    "datasets": {str: {"shards": range(2**31), "sha256": str}},
    "settings": dict,
    "output": dict,
    "worker?": [range(2**31)],
}


@dataclass(frozen=True)
class Position:
    """A place in a stream."""

    step: int
    """The next global batch; for a worker, the one after its latest."""
    row: int
    """Samples of this rank that were already given of that batch; 0 between batches."""
    taken: tuple[int, ...]
    """Units that each dataset gave in all steps before."""
    worker: Place | None = None
    """Where it is the place of one worker alone, and that worker has given something: which one."""

    def first_step(self, worker: Place) -> int:
        """Return the first step that a worker builds from here: steps are dealt in turns."""
        return self.step + (worker.number if self.worker is None else worker.count - 1)


def check_state(state: Mapping[str, Any], settings: Settings, output: Output) -> Position:
    """Return the position that a state holds.

    Raises:
        WrongState: it is no state, or that of a stream with other settings.
    """
    if what := misfit(dict(state) if isinstance(state, Mapping) else state, _STATE):
        raise WrongState(f"this is no state of a TokenStream: {what}")
    if len(state["taken"]) != len(settings.names) or set(state["datasets"]) != set(settings.names):
        raise WrongState(
            f"the state is of {', '.join(state['datasets'])}, not of {', '.join(settings.names)}"
        )
    try:
        if state["format"] != FORMAT:
            raise WrongState(
                f"the state has format {state['format']!r}; this version of Fifth reads {FORMAT}"
            )
        found = differences(settings.to_json(), state["settings"]) + differences(
            {"output": output.to_json()}, {"output": state["output"]}
        )
        if found:
            raise WrongState(f"the state is of a stream with other settings: {'; '.join(found)}")
        worker = Place(*state["worker"]) if "worker" in state else None
        taken = tuple(int(count) for count in state["taken"])
        return Position(int(state["step"]), int(state["row"]), taken, worker)
    except (KeyError, TypeError, ValueError) as error:
        raise WrongState(f"this is no state of a TokenStream: {type(error).__name__} {error}") from error
