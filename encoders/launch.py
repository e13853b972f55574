"""From clips of any length to launches of one fixed shape, and back.

    clip A  [chunk|chunk|chu..]      clip B  [chunk|chunk]          .. = padding
    launch 1  [A0|A1|A2|B0]          launch 2  [B1|pad|pad|pad]

A clip is padded to a multiple of the encoder's chunk (the last frame repeated, silence, invalid rows) and
cut into rows; rows of many clips fill a launch; a clip comes out when its last row has been encoded.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import numpy as np
import torch
from torch import Tensor

from encoders.encoder import Encoder
from encoders.errors import NotFitted, WrongInput
from encoders.launcher import Launched, Launcher, Launches
from encoders.spec import INVALID_AS_NAN, SIZED, InputSpec, TokenSpec
from encoders.tokens import ClipTokens, TokenArray

Tag = TypeVar("Tag", bound=Hashable)


class ClipEncoder(Generic[Tag]):
    """Encodes many clips, filling every launch with rows of as many of them as it takes.

    Clips come out in the order in which they went in. Held at any time: one launch (on a GPU three), and
    the tokens of clips that wait for their last rows or for a clip before them.

    Args:
        encoder: an encoder of this process, or a way to one elsewhere.

    Raises:
        NotFitted: the encoder must be fitted first.
    """

    def __init__(self, encoder: Encoder | Launches) -> None:
        if not encoder.spec.is_fitted:
            raise NotFitted(
                f"{encoder.spec.encoder} must be fitted before it encodes: call .fit(samples) first"
            )
        self.spec = encoder.spec
        self._launcher: Launches = encoder if isinstance(encoder, Launches) else Launcher(encoder)
        self._launch: Tensor | None = None
        self._filled = 0
        self._waiting: deque[_Waiting[Tag]] = deque()
        self._segments: list[_Segment[Tag]] = []
        self._under_way: deque[list[_Segment[Tag]]] = deque()

    def add(self, tag: Tag, media: Tensor) -> list[tuple[Tag, ClipTokens]]:
        """Take one clip, and return the clips that are now complete, with their tags.

        Args:
            tag: whatever the caller knows the clip by.
            media: pictures uint8 [T, 3, H, W]; depth float32 [T, H, W]; sound float32 [C, N]; signals
                float32 [T, D]. Any length, also none. It is copied, and may be changed afterwards.

        Raises:
            WrongInput: the clip does not fit the encoder; the message gives the nearest that does.
        """
        check_clip(self.spec, media)
        rows = rows_of(media, self.spec.input)
        clip = _Waiting(tag, clip_length(media, self.spec.input), len(rows))
        self._waiting.append(clip)
        most_rows = self._launcher.most_rows
        taken = 0
        while taken < len(rows):
            count = min(len(rows) - taken, most_rows - self._filled)
            part = rows[taken : taken + count]
            self._segments.append((clip, count))
            taken += count
            if count == most_rows and self._launcher.takes_directly(part):
                self._encode(part.contiguous(), count)
                continue
            if self._launch is None:
                self._launch = self._launcher.buffer(part.device)
            self._launch[self._filled : self._filled + count] = part
            self._filled += count
            if self._filled == most_rows:
                self._encode(self._launch, most_rows)
        return self._complete()

    def flush(self) -> list[tuple[Tag, ClipTokens]]:
        """Encode what waits in a launch that is not full, and return the rest of the clips."""
        if self._launch is not None:
            self._encode(self._launch, self._filled)
        while self._under_way:
            self._take(wait=True)
        return self._complete()

    def _encode(self, launch: Tensor, row_count: int) -> None:
        self._launcher.start(launch, row_count)
        self._under_way.append(self._segments)
        self._segments, self._filled, self._launch = [], 0, None
        while self._take(wait=len(self._under_way) > self._launcher.most_under_way):
            pass

    def _take(self, wait: bool) -> bool:
        """Hand the tokens of the oldest launch to their clips, if it is done."""
        launched = self._launcher.finished(wait)
        if launched is None:
            return False
        steps = self.spec.steps_per_chunk
        start = 0
        for clip, count in self._under_way.popleft():
            clip.take(launched, start, start + count, steps)
            start += count
        return True

    def _complete(self) -> list[tuple[Tag, ClipTokens]]:
        done = []
        while self._waiting and not self._waiting[0].rows_missing:
            clip = self._waiting.popleft()
            done.append((clip.tag, self._joined(clip)))
        return done

    def _joined(self, clip: _Waiting[Tag]) -> ClipTokens:
        spec = self.spec
        dtype = np.dtype(spec.dtype)
        empty = np.empty((0,) if spec.is_ragged else (0, *spec.shape), dtype)
        tokens = np.concatenate([empty, *clip.pieces])
        offsets = None
        if spec.is_ragged:
            offsets = np.cumsum(np.concatenate([np.zeros(1, np.int64), *clip.sizes]), dtype=np.int64)
        return ClipTokens(tokens, clip.valid, offsets, clip.saturated)


@dataclass(eq=False)
class _Waiting(Generic[Tag]):
    """A clip whose rows are not all encoded yet."""

    tag: Tag
    valid: int
    rows_missing: int
    pieces: list[np.ndarray] = field(default_factory=list)
    sizes: list[np.ndarray] = field(default_factory=list)
    saturated: int = 0

    def take(self, launched: Launched, start: int, stop: int, steps: int) -> None:
        """Take the tokens of rows start to stop of a launch, `steps` time steps each."""
        data, offsets = launched.data, launched.offsets
        if offsets is None:
            self.pieces.append(data[start:stop].reshape((stop - start) * steps, *data.shape[2:]))
        else:
            edges = offsets[start * steps : stop * steps + 1]
            self.pieces.append(data[edges[0] : edges[-1]])
            self.sizes.append(np.diff(edges))
        if launched.saturated is not None:
            self.saturated += int(launched.saturated[start:stop].sum())
        self.rows_missing -= stop - start


_Segment = tuple[_Waiting[Tag], int]
"""A clip and how many rows of a launch are its."""


def encode_clip(encoder: Encoder, media: Tensor) -> ClipTokens:
    """Encode one clip by itself; the tokens are the same as among others."""
    launches: ClipEncoder[int] = ClipEncoder(encoder)
    return [*launches.add(0, media), *launches.flush()][0][1]


def reconstruct_clip(
    encoder: Encoder, tokens: np.ndarray, valid: int | None = None, offsets: np.ndarray | None = None
) -> Tensor:
    """Turn the stored tokens of one clip back into media on the CPU, without what was padding.

    Args:
        encoder: the one that made them: `encoder_for(stored spec)`.
        tokens: [T', ...] codes or features; [N] of ragged ones and bytes.
        valid: frames, samples or rows of the clip; None: padding stays.
        offsets: int64 [T' + 1] of ragged codes and bytes.

    Returns:
        Pictures uint8 [T, 3, H, W], depth float32 [T, H, W], sound float32 [C, N], or signals float32 [T, D].

    Raises:
        WrongInput: the tokens are not whole chunks of this encoder, codes are out of range, or it makes
            embeddings.
    """
    spec = encoder.spec
    if not spec.reconstructs:
        raise WrongInput(f"{spec.encoder} makes embeddings: no media come back from them")
    step_count = len(tokens) if offsets is None else len(offsets) - 1
    if (offsets is not None) != spec.is_ragged:
        wanted = "must be given" if spec.is_ragged else "are none of its"
        raise WrongInput(f"{spec.encoder} makes {spec.kind} of axes {spec.axes}: offsets {wanted}")
    if step_count % spec.steps_per_chunk:
        raise WrongInput(
            f"{step_count} steps are not whole chunks of {spec.encoder}: "
            f"the length must be a multiple of {spec.steps_per_chunk}"
        )
    # chunks that have a context hang together: the clip is one row then
    row_steps = step_count if spec.input.context else spec.steps_per_chunk
    parts = [
        encoder.reconstruct(_launch_of(tokens, offsets, start, stop, row_steps)).cpu()
        for start, stop in _launch_spans(step_count, row_steps * spec.input.launch_batch)
    ]
    media = _joined_rows(parts, spec.input)
    length = clip_length(media, spec.input)
    if valid is not None and valid > length:
        raise WrongInput(
            f"{step_count} steps of {spec.encoder} are {length} items, fewer than the {valid} valid ones"
        )
    return media.narrow(_time_axis(spec.input), 0, length if valid is None else valid)


def _launch_spans(step_count: int, steps_per_launch: int) -> list[tuple[int, int]]:
    starts = range(0, step_count, max(1, steps_per_launch))
    return [(start, min(start + steps_per_launch, step_count)) for start in starts]


def _launch_of(
    tokens: np.ndarray, offsets: np.ndarray | None, start: int, stop: int, steps: int
) -> TokenArray:
    if offsets is not None:
        edges = np.asarray(offsets[start : stop + 1], np.int64)
        data = np.ascontiguousarray(tokens[edges[0] : edges[-1]])
        return TokenArray(torch.from_numpy(data.copy()), torch.from_numpy(edges - edges[0]))
    rows = np.array(tokens[start:stop]).reshape(-1, steps, *tokens.shape[1:])
    return TokenArray(torch.from_numpy(rows))


def _joined_rows(parts: list[Tensor], spec: InputSpec) -> Tensor:
    if not parts:
        shape = (spec.channels, 0) if spec.medium == "sound" else (0, *spec.launch_shape[2:])
        return torch.zeros(shape, dtype=getattr(torch, spec.dtype))
    media = torch.cat(parts)
    if spec.medium == "sound":
        return media.transpose(0, 1).reshape(spec.channels, -1)
    return media.reshape(-1, *media.shape[2:])


def clip_length(media: Tensor, spec: InputSpec) -> int:
    """Return how many frames, samples or rows a clip has."""
    return int(media.shape[_time_axis(spec)])


def rows_of(media: Tensor, spec: InputSpec) -> Tensor:
    """Pad a clip and cut it into launch rows [rows, ...]; a view of the padded clip, not for writing.

    Row i is the items [i * chunk - context, (i + 1) * chunk). No row for an empty clip.
    """
    axis = _time_axis(spec)
    length = media.shape[axis]
    missing = -length % spec.chunk
    if missing or (spec.context and length):
        media = torch.cat([*_before(media, spec), media, *_after(media, spec, missing)], dim=axis)
    if not length:
        shape = spec.launch_shape[1:]
        return media.new_zeros((0, *shape))
    # unfold puts the window last: [.., rows, .., window] -> [rows, .., window at the axis of time, ..]
    windows = media.unfold(axis, spec.context + spec.chunk, spec.chunk)
    return windows.movedim(axis, 0).movedim(-1, axis + 1)


def _before(media: Tensor, spec: InputSpec) -> list[Tensor]:
    return [_blank(media, spec, spec.context)] if spec.context else []


def _after(media: Tensor, spec: InputSpec, count: int) -> list[Tensor]:
    if not count:
        return []
    if spec.medium in SIZED:
        return [media[-1:].expand(count, *media.shape[1:])]
    return [_blank(media, spec, count)]


def _blank(media: Tensor, spec: InputSpec, count: int) -> Tensor:
    shape = list(media.shape)
    shape[_time_axis(spec)] = count
    return media.new_full(shape, float("nan") if spec.medium in INVALID_AS_NAN else 0)


def _time_axis(spec: InputSpec) -> int:
    return 1 if spec.medium == "sound" else 0


def check_clip(token_spec: TokenSpec, media: Tensor) -> None:
    """Raise unless the clip has the encoder's dtype and, but for its length, the encoder's shape."""
    spec, name = token_spec.input, token_spec.encoder
    wanted: list[int | str] = list(spec.launch_shape[1:])
    axis = _time_axis(spec)
    wanted[axis] = spec.clip_axes[axis]
    dtype = str(media.dtype).removeprefix("torch.")
    fits = media.ndim == len(wanted) and dtype == spec.dtype
    fits = fits and all(i == axis or media.shape[i] == size for i, size in enumerate(wanted))
    if not fits:
        text = ", ".join(str(size) for size in wanted)
        raise WrongInput(f"{name} takes clips of {spec.dtype} [{text}], got {dtype} {list(media.shape)}")
