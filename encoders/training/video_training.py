"""How `fifth-video` is made: part after part is fitted, and each is kept as soon as it is there."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path

from torch import Tensor

from encoders.errors import WrongSetting
from encoders.picture_metrics import psnr
from encoders.training.crops import Crops
from encoders.training.video_books import BooksShape, fit_book, fit_mode_seams, fit_zone
from encoders.video_model import MODES, BlockCoder, VideoModel, coder_from, model_tensors
from encoders.weight_files import weights_from, write_weights


@dataclass(frozen=True)
class VideoTraining:
    """What a run's course depends on, beside its clips."""

    books: BooksShape = field(default_factory=BooksShape)
    edge: int = 128
    seed: int = 0
    clips_sha256: str = ""
    """Of the clips, so that a run is not taken up again with others."""


def train_video_model(
    training: VideoTraining,
    clips: list[Tensor],
    state_path: Path,
    say: Callable[[str], None] = lambda line: None,
) -> VideoModel:
    """Fit all parts, or go on with a run that was stopped.

    On one thread of one kind of processor the result depends on the arguments alone, however often the run
    was stopped.

    Args:
        training: see there.
        clips: uint8 [T, 3, H, W] to fit to.
        state_path: where the run keeps the parts that are done.
        say: hears of progress.

    Raises:
        WrongSetting: the file has the parts of a run with other settings.
    """
    crops = Crops(clips, training.edge, 1, training.seed)
    coders = _stored(training, state_path)

    def keep(mode: str, coder: BlockCoder) -> BlockCoder:
        coders[mode] = coder
        write_weights(state_path, model_tensors(VideoModel(coders)), {"settings": _settings(training)})
        return coder

    for mode in MODES:
        coder = coders.get(mode) or keep(mode, BlockCoder(fit_zone(training.books, crops, mode), ()))
        counts = training.books.classes if mode == "video" else training.books.image_classes
        while len(coder.books) < len(counts):
            book = fit_book(training.books, crops, mode, coder, training.seed, say)
            coder = keep(mode, BlockCoder(coder.blocks, (*coder.books, book)))
        while len(coder.seams) < len(coder.books):
            stages = len(coder.seams) + 1
            seams = fit_mode_seams(training.books, crops, mode, coder, stages)
            coder = keep(mode, BlockCoder(coder.blocks, coder.books, (*coder.seams, seams)))
            say(f"seams of {mode}, {stages} of {len(counts)}")
    return VideoModel(coders)


def _settings(training: VideoTraining) -> str:
    return json.dumps(asdict(training), sort_keys=True)


def _stored(training: VideoTraining, path: Path) -> dict[str, BlockCoder]:
    """Return the coders of a run that was stopped, as far as they got."""
    if not path.is_file():
        return {}
    stored = weights_from(path)
    there, asked = json.loads(stored.about.get("settings", "{}")), json.loads(_settings(training))
    if there != asked:
        keys = [key for key in sorted({*there, *asked}) if there.get(key) != asked.get(key)]
        shown = ", ".join(f"{key} {there.get(key)!r} there, {asked.get(key)!r} now" for key in keys)
        raise WrongSetting(
            f"{path} is the state of another run ({shown}): give the same settings, or another --out"
        )
    return {mode: coder_from(stored.tensors, mode) for mode in MODES if f"{mode}.zone" in stored.tensors}


def score(model: VideoModel, chunks: Iterable[Tensor]) -> tuple[float, ...]:
    """Return the mean PSNR in dB over frames of chunks uint8 [8, 3, H, W], after each number of stages."""
    sums, count = [0.0] * model.stages, 0
    for chunk in chunks:
        codes = model.codes("video", chunk[None], model.stages)
        for stage in range(model.stages):
            sums[stage] += float(psnr(model.frames("video", codes[..., : stage + 1])[0], chunk).mean())
        count += 1
    return tuple(total / count for total in sums) if count else ()
