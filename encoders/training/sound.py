"""Training of `fifth-audio`: one step after the other, the same on every run.

What a step does follows from the seed, the step's number and the state before it, so that a run that was
cut off and goes on ends with the same weights, bit for bit, on one thread of the same kind of machine.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from encoders.sound_metrics import mel_distance
from encoders.sound_network import HOP, RATE, SoundNetwork, SoundShape
from encoders.training.sound_crops import SoundCrops
from encoders.training.sound_losses import sound_loss
from encoders.training.sound_start import start_from

WARM_UP = 50
DECAY_SHARE = 0.2
BETAS = (0.8, 0.98)
WEIGHT_DECAY = 0.01
LARGEST_GRADIENT = 1.0
AVERAGED_OVER = 300
"""Steps over which the weights that are kept are an average, roughly; fewer at the start."""
START_BATCHES = 24
SCORED_SAMPLES = 10 * RATE
USUAL_STAGES = 4

Says = Callable[[int, Mapping[str, float]], None]


@dataclass(frozen=True)
class SoundRecipe:
    """Everything that decides the weights, besides the recordings."""

    steps: int = 2000
    batch: int = 8
    hops: int = 75
    """Length of a crop in steps of 20 ms, without its context."""
    learning_rate: float = 1e-3
    seed: int = 0
    shape: SoundShape = field(default_factory=SoundShape)

    def learning_rate_at(self, step: int) -> float:
        """Return the learning rate: rising, constant, and falling to 0 over the last fifth."""
        falling = max(1, round(self.steps * DECAY_SHARE))
        return self.learning_rate * min(1.0, (step + 1) / WARM_UP, (self.steps - step) / falling)

    def to_json(self) -> dict[str, Any]:
        """Return a JSON object."""
        return asdict(self)


class SoundTraining:
    """A network being trained, and what must be kept to go on.

    Args:
        recipe: what to do.
        recordings: float32 [N] mono of 24 kHz, by name.
        device: where to compute.
    """

    def __init__(
        self, recipe: SoundRecipe, recordings: Mapping[str, np.ndarray], device: torch.device | str = "cpu"
    ) -> None:
        self.recipe = recipe
        self._device = torch.device(device)
        self.step = 0
        torch.manual_seed(recipe.seed)
        self.network = SoundNetwork(recipe.shape)
        context = recipe.shape.context_hops * HOP
        self._crops = SoundCrops(recordings, RATE, context, recipe.hops * HOP, recipe.batch, recipe.seed)
        start_from(self.network, (self._crops.at(-step - 1 & 0xFFFFFFFF) for step in range(START_BATCHES)))
        self.network.to(self._device)
        self._parameters = dict(self.network.named_parameters())
        self.averages = {name: value.detach().clone() for name, value in self._parameters.items()}
        self._optimiser = torch.optim.AdamW(
            self._parameters.values(), lr=recipe.learning_rate, betas=BETAS, weight_decay=WEIGHT_DECAY
        )

    def run(self, says: Says, until: int | None = None) -> None:
        """Take the steps up to `until`, or all that are left, telling of each."""
        while self.step < (self.recipe.steps if until is None else until):
            loss = self._advance()
            self.step += 1
            says(self.step, {"loss": loss})

    def _advance(self) -> float:
        for group in self._optimiser.param_groups:
            group["lr"] = self.recipe.learning_rate_at(self.step)
        crops = self._crops.at(self.step).to(self._device)
        wanted = crops[:, -self.recipe.hops * HOP :]
        made = self.network(crops, self._stages().to(self._device))
        loss = sound_loss(made, wanted, RATE)
        self._optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self._parameters.values(), LARGEST_GRADIENT)
        self._optimiser.step()
        kept = min(1 - 1 / AVERAGED_OVER, (1 + self.step) / (10 + self.step))
        for name, value in self._parameters.items():
            self.averages[name].lerp_(value.detach(), 1 - kept)
        return float(loss.detach())

    def _stages(self) -> Tensor:
        """Return how many quantisers each row uses: half the usual four, some all, others any number."""
        random = np.random.default_rng((self.recipe.seed, 1, self.step))
        every = self.recipe.shape.stages
        usual = min(USUAL_STAGES, every)
        drawn = random.random(self.recipe.batch)
        anything = random.integers(1, every + 1, self.recipe.batch)
        return torch.from_numpy(np.where(drawn < 0.5, usual, np.where(drawn < 0.75, every, anything)))

    def tensors(self) -> dict[str, Tensor]:
        """Return the averaged weights, as `SoundNetwork.load_state_dict` takes them."""
        return {**self.network.state_dict(), **self.averages}

    def state(self) -> dict[str, Tensor]:
        """Return everything that going on needs."""
        tensors = {f"network.{name}": value for name, value in self.network.state_dict().items()}
        tensors |= {f"average.{name}": value for name, value in self.averages.items()}
        for name, parameter in self._parameters.items():
            kept = self._optimiser.state.get(parameter, {})
            tensors |= {f"optimiser.{name}.{key}": value for key, value in kept.items()}
        return tensors | {"step": torch.tensor(self.step)}

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Go on from what `state` returned."""
        parts = {
            name.removeprefix("network."): value
            for name, value in tensors.items()
            if name.startswith("network.")
        }
        self.network.load_state_dict(parts)
        self.step = int(tensors["step"])
        for name, parameter in self._parameters.items():
            self.averages[name] = tensors[f"average.{name}"].to(self._device, copy=True)
            prefix = f"optimiser.{name}."
            kept = {
                key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)
            }
            if kept:
                places = {key: "cpu" if key == "step" else self._device for key in kept}
                self._optimiser.state[parameter] = {
                    key: value.to(places[key], copy=True) for key, value in kept.items()
                }

    @torch.no_grad()
    def score(self, held_out: Mapping[str, np.ndarray], stages: int = USUAL_STAGES) -> dict[str, float]:
        """Return how the averaged weights do on recordings that they were not trained on."""
        network = SoundNetwork(self.recipe.shape)
        network.load_state_dict(self.tensors())
        figures = [_differences(network, sound, stages) for sound in held_out.values() if len(sound) > RATE]
        return (
            {name: sum(row[name] for row in figures) / len(figures) for name in figures[0]} if figures else {}
        )


def _differences(network: SoundNetwork, sound: np.ndarray, stages: int) -> dict[str, float]:
    length = min(len(sound), SCORED_SAMPLES) // HOP * HOP
    first = (len(sound) - length) // 2
    wanted = torch.from_numpy(sound[first : first + length].astype(np.float32))[None]
    padded = torch.nn.functional.pad(wanted, (network.shape.context_hops * HOP, 0))
    made = network.samples(network.means(network.codes(network.latents(padded), stages)))
    return {"mel_l1": mel_distance(made[0], wanted[0], RATE), "loss": float(sound_loss(made, wanted, RATE))}
