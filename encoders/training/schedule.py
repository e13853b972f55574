"""How fast training goes, and where it may be taken up again with more steps."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Schedule:
    """A warm-up, a plateau, and a decay over the last fifth.

    On the plateau nothing depends on how many steps there are in all, so a run may be made longer from there.
    """

    steps: int
    rate: float
    warm_up: int = 100

    @property
    def decay_from(self) -> int:
        """The step at which the decay begins."""
        return self.steps - self.steps // 5

    def rate_at(self, step: int) -> float:
        """Return the learning rate of a step; the last one's is nearly zero."""
        if step >= self.decay_from:
            return self.rate * (self.steps - step) / (self.steps - self.decay_from + 1)
        return self.rate * min(1.0, (step + 1) / self.warm_up)
