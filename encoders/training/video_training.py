"""The training loop of `fifth-video`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from encoders.haar import GROUP_FRAMES
from encoders.picture_metrics import psnr
from encoders.training.crops import Crops
from encoders.training.picture_loss import picture_loss
from encoders.training.run_state import RunState, stored_step
from encoders.training.schedule import Schedule
from encoders.training.transform_start import start_from_transform
from encoders.video_network import VideoNetwork, VideoShape

SAVE_EVERY = 200
START_CROPS = 600
LARGEST_GRADIENT = 1.0
LINEAR_SHARE = 0.1
STILLS_EVERY = 8
"""Every so many steps a batch is of stills, and every third has all stages."""
BETAS = (0.9, 0.98)


@dataclass(frozen=True)
class VideoTraining:
    """What a run's course depends on, beside its clips and the number of steps."""

    shape: VideoShape = field(default_factory=VideoShape)
    edge: int = 128
    batch: int = 2
    seed: int = 0
    rate: float = 1e-3
    clips_sha256: str = ""
    """Of the clips, so that a run is not taken up again with others."""


@dataclass(frozen=True)
class Progress:
    """What is told of a run now and then."""

    step: int
    steps: int
    loss: float
    """Mean since the last time."""
    held_out_db: tuple[float, ...] = ()
    """PSNR of held-out chunks after each number of stages; empty where it was not measured."""


def train_video_network(
    training: VideoTraining,
    clips: list[Tensor],
    held_out: list[Tensor],
    steps: int,
    state_path: Path,
    device: torch.device,
    tell: Callable[[Progress], None],
    show: Callable[[int, VideoNetwork], None] = lambda step, network: None,
    every: int = 50,
    score_every: int = 400,
) -> VideoNetwork:
    """Train, or go on with a run that was stopped, and return the network with its averaged weights.

    On one thread of one kind of processor the result depends on the arguments alone, however often the run
    was stopped. A finished run may be given more steps: it goes on from where its decay began.

    Args:
        training: see there.
        clips: uint8 [T, 3, H, W] to train on.
        held_out: uint8 [8, 3, H, W] to score on.
        steps: in all.
        state_path: where the run keeps its state; `.plateau` beside it where the decay began.
        device: where to compute.
        tell: hears of progress.
        show: gets the averaged network at each scoring.
        every: steps between two calls of `tell`.
        score_every: steps between two scorings.
    """
    schedule = Schedule(steps, training.rate)
    torch.manual_seed(training.seed)
    network = VideoNetwork(training.shape)
    crops = Crops(clips, training.edge, training.batch, training.seed)
    optimizer = torch.optim.AdamW(_groups(network.to(device)), lr=training.rate, betas=BETAS, weight_decay=0)
    plateau_path = state_path.with_name(state_path.name + ".plateau")
    start = _start_of(schedule, state_path, plateau_path)
    if start is None:
        start_from_transform(network.cpu(), _start_crops(crops))
        network.to(device)
    state = RunState(network, optimizer, asdict(training))
    if start is not None:
        state.load(start)
        if start == plateau_path:  # its decay, which is not this run's, must not be taken for this run's
            state.save(state_path)
            plateau_path.unlink()
    lost, counted = 0.0, 0
    while state.step < steps:
        if state.step == schedule.decay_from:
            state.save(plateau_path)
        if state.step % score_every == 0:
            averaged = averaged_network(state)
            tell(Progress(state.step, steps, lost / max(1, counted), score(averaged, held_out, device)))
            show(state.step, averaged)
        lost, counted = lost + _step(state, crops, schedule, device), counted + 1
        if state.step % every == 0:
            tell(Progress(state.step, steps, lost / counted))
            lost, counted = 0.0, 0
        if state.step % SAVE_EVERY == 0:
            state.save(state_path)
    state.save(state_path)
    averaged = averaged_network(state)
    tell(Progress(state.step, steps, lost / max(1, counted), score(averaged, held_out, device)))
    show(state.step, averaged)
    return averaged


def _start_of(schedule: Schedule, state_path: Path, plateau_path: Path) -> Path | None:
    """Return the state to go on from: the latest one whose course is also that of this schedule."""
    latest, plateau = stored_step(state_path), stored_step(plateau_path)
    if latest < 0:
        return None
    decay_began = plateau if 0 <= plateau <= latest else latest
    same_end = (latest <= schedule.decay_from and decay_began == latest) or decay_began == schedule.decay_from
    if same_end and latest <= schedule.steps:
        return state_path
    return plateau_path if 0 <= plateau <= schedule.decay_from else None


def _step(state: RunState, crops: Crops, schedule: Schedule, device: torch.device) -> float:
    step = state.step
    network = state.network
    assert isinstance(network, VideoNetwork)
    wanted = crops.at(step).to(device)
    stages = 1 if step % 3 else network.shape.stages
    if step % STILLS_EVERY == STILLS_EVERY - 1:
        wanted = wanted[:, :1].expand(-1, GROUP_FRAMES, -1, -1, -1)
    for group in state.optimizer.param_groups:
        group["lr"] = schedule.rate_at(step) * group["share"]
    state.optimizer.zero_grad(set_to_none=True)
    loss = picture_loss(wanted, network(wanted, stages))
    loss.backward()  # type: ignore[no-untyped-call]
    torch.nn.utils.clip_grad_norm_(state.network.parameters(), LARGEST_GRADIENT)
    state.optimizer.step()
    state.step += 1
    state.average()
    return float(loss.detach())


def _groups(network: VideoNetwork) -> list[dict[str, object]]:
    """Return the parameters: what the transform has set moves more slowly than what starts from nothing."""
    decoder = network.decoder
    linear = [*network.encoder.linear.parameters(), *network.encoder.said.parameters()]
    for part in (decoder.linear, decoder.hear_around, decoder.from_around, decoder.still):
        linear += part.parameters()
    known = {id(parameter) for parameter in linear}
    others = [parameter for parameter in network.parameters() if id(parameter) not in known]
    return [{"params": others, "share": 1.0}, {"params": linear, "share": LINEAR_SHARE}]


def _start_crops(crops: Crops) -> Iterator[Tensor]:
    """Yield crops of steps that no run comes to, for the transform that training starts from."""
    for index in range(-(-START_CROPS // crops.batch)):
        yield crops.at(-1 - index)


def averaged_network(state: RunState) -> VideoNetwork:
    """Return a network with the running mean of the weights."""
    assert isinstance(state.network, VideoNetwork)
    network = VideoNetwork(state.network.shape).to(next(state.network.parameters()).device)
    network.load_state_dict(state.averages)
    return network.eval()


def score(network: VideoNetwork, chunks: Iterable[Tensor], device: torch.device) -> tuple[float, ...]:
    """Return the mean PSNR in dB over frames, after each number of stages."""
    sums, count = [0.0] * network.shape.stages, 0
    with torch.no_grad():
        for chunk in chunks:
            places = network.places(
                chunk.to(device)[None].to(torch.float32) / 127.5 - 1, network.shape.stages
            )
            for stage in range(network.shape.stages):
                back = as_uint8(network.frames(places[..., : stage + 1, :])[0]).cpu()
                sums[stage] += float(psnr(back, chunk).mean())
            count += 1
    return tuple(total / count for total in sums) if count else ()


def as_uint8(frames: Tensor) -> Tensor:
    """Turn frames in [-1, 1] into bytes."""
    return ((frames + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
