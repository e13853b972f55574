"""From clips to launches: padding, context, filling, and that nothing is kept longer than needed."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

import encoders
from encoders import ClipEncoder, Encoder, InputSpec, NotFitted, TokenArray, TokenSpec, WrongInput
from encoders.encoder import check_launch
from encoders.launch import encode_clip, reconstruct_clip, rows_of
from encoders.launcher import Launched, Launcher


class Echo:
    """An encoder in memory: its tokens are the chunk itself, and it remembers every launch."""

    def __init__(self, batch: int, chunk: int, context: int) -> None:
        self.device = torch.device("cpu")
        self.launches: list[Tensor] = []
        self.spec = TokenSpec(
            encoder="echo",
            revision=1,
            kind="codes",
            dtype="uint8",
            axes="T",
            shape=(),
            strides=(1,),
            steps_per_chunk=chunk,
            codebook_sizes=(256,),
            input=InputSpec("sound", "float32", (0, 255), "BCN", 1, batch, chunk, context, rate=Fraction(10)),
        )

    def encode(self, batch: Tensor) -> TokenArray:
        check_launch(self, batch)
        self.launches.append(batch.clone())
        chunk = batch[:, 0, self.spec.input.context :]
        return TokenArray(chunk.to(torch.uint8), saturated=(chunk == 255).sum(1))

    def reconstruct(self, tokens: TokenArray) -> Tensor:
        return tokens.data.to(torch.float32).unsqueeze(1)

    def fit(self, samples: Iterable[np.ndarray]) -> Echo:
        return self


def counting(length: int, first: int = 1) -> Tensor:
    return torch.arange(first, first + length, dtype=torch.float32)[None]


@given(st.integers(0, 30), st.integers(1, 5), st.integers(0, 7))
def test_rows_are_windows_of_the_padded_clip(length: int, chunk: int, context: int) -> None:
    """Row i is the items from context before chunk i to its end; what is missing is silence."""
    spec = InputSpec("sound", "float32", None, "BCN", 1, 1, chunk, context)
    clip = counting(length)
    rows = rows_of(clip, spec)
    assert len(rows) == -(-length // chunk)
    at = {i: float(value) for i, value in enumerate(clip[0])}
    for index, row in enumerate(rows):
        wanted = [at.get(i, 0.0) for i in range(index * chunk - context, (index + 1) * chunk)]
        assert row[0].tolist() == wanted


def test_pictures_repeat_the_last_frame() -> None:
    """A clip of 3 frames for chunks of 4 ends in its last frame twice; context before it is black."""
    spec = InputSpec("pictures", "uint8", (0, 255), "BTCHW", 3, 1, chunk=4, context=1, size=(1, 1))
    clip = torch.tensor([5, 6, 7], dtype=torch.uint8)[:, None, None, None].expand(3, 3, 1, 1)
    assert rows_of(clip, spec)[:, :, 0, 0, 0].tolist() == [[0, 5, 6, 7, 7]]


def test_signals_are_padded_with_invalid_rows() -> None:
    """What a signal lacks for a whole chunk is NaN."""
    spec = InputSpec("signal", "float32", None, "BTD", 2, 1, chunk=2)
    rows = rows_of(torch.ones(3, 2), spec)
    assert rows.shape == (2, 2, 2)
    assert torch.isnan(rows[1, 1]).all()
    assert not torch.isnan(rows[1, 0]).any()


@given(st.lists(st.integers(0, 12), max_size=8), st.integers(1, 4), st.integers(1, 3), st.integers(0, 2))
def test_launches_are_full_and_few(lengths: list[int], batch: int, chunk: int, context: int) -> None:
    """As many launches as the rows need; only the last is padded; every clip comes back whole."""
    encoder = Echo(batch, chunk, context)
    launches: ClipEncoder[int] = ClipEncoder(encoder)
    clips = [counting(length, first=1 + 20 * tag) for tag, length in enumerate(lengths)]
    done = [item for tag, clip in enumerate(clips) for item in launches.add(tag, clip)]
    assert len(encoder.launches) == sum(-(-length // chunk) for length in lengths) // batch
    done += launches.flush()
    rows = sum(-(-length // chunk) for length in lengths)
    assert len(encoder.launches) == -(-rows // batch)
    assert [tag for tag, _ in done] == list(range(len(lengths)))
    for (_, tokens), clip in zip(done, clips, strict=True):
        assert tokens.tokens[: tokens.valid].tolist() == clip[0].tolist()
        assert not tokens.tokens[tokens.valid :].any()


def test_a_clip_comes_out_with_its_last_row() -> None:
    """A clip is handed over as soon as its rows are encoded, and not before one that came earlier."""
    launches: ClipEncoder[str] = ClipEncoder(Echo(batch=2, chunk=1, context=0))
    assert launches.add("one", counting(1)) == []
    assert [tag for tag, _ in launches.add("two", counting(2))] == ["one"]
    assert launches.add("none", counting(0)) == []
    assert [tag for tag, _ in launches.add("three", counting(1))] == ["two", "none", "three"]
    assert launches.flush() == []


def test_an_empty_clip_needs_no_launch() -> None:
    """Clips without media come out at once when nothing is before them."""
    encoder = Echo(batch=2, chunk=4, context=1)
    tokens = encode_clip(encoder, counting(0))
    assert (tokens.steps, tokens.valid, str(tokens.tokens.dtype)) == (0, 0, "uint8")
    assert encoder.launches == []
    assert reconstruct_clip(encoder, tokens.tokens, 0).shape == (1, 0)


def test_what_saturates_is_counted_per_clip() -> None:
    """Values of one clip are not counted for another that shares its launch."""
    launches: ClipEncoder[str] = ClipEncoder(Echo(batch=4, chunk=1, context=0))
    done = (
        launches.add("clean", counting(2))
        + launches.add("loud", torch.full((1, 3), 255.0))
        + launches.flush()
    )
    assert [(tag, tokens.saturated) for tag, tokens in done] == [("clean", 0), ("loud", 3)]


def test_a_clip_may_be_changed_after_it_was_added() -> None:
    """What waits for a full launch is a copy."""
    launches: ClipEncoder[int] = ClipEncoder(Echo(batch=8, chunk=1, context=0))
    clip = counting(3)
    launches.add(0, clip)
    clip.zero_()
    assert launches.flush()[0][1].tokens.tolist() == [1, 2, 3]


def test_tokens_that_are_no_whole_chunks_are_refused() -> None:
    """A length that no clip could have had is refused with the multiple."""
    encoder = Echo(batch=1, chunk=4, context=0)
    with pytest.raises(WrongInput, match=r"5 steps are not whole chunks of echo: .* a multiple of 4"):
        reconstruct_clip(encoder, np.zeros(5, np.uint8))
    with pytest.raises(WrongInput, match="echo makes codes of axes T: offsets are none of its"):
        reconstruct_clip(encoder, np.zeros(4, np.uint8), offsets=np.array([0, 4]))


def test_without_a_valid_length_padding_stays() -> None:
    """Tokens whose length is not known come back whole."""
    encoder = Echo(batch=2, chunk=4, context=0)
    tokens = encode_clip(encoder, counting(5)).tokens
    assert reconstruct_clip(encoder, tokens)[0].tolist() == [1, 2, 3, 4, 5, 0, 0, 0]
    assert reconstruct_clip(encoder, tokens, 5)[0].tolist() == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("name", encoders.encoder_names("signal"))
def test_what_must_be_fitted_is_asked_for(name: str) -> None:
    """An encoder that was not fitted neither encodes nor reconstructs, and says what to do."""
    encoder = encoders.load_encoder(name)
    assert not encoder.spec.is_fitted
    with pytest.raises(
        NotFitted, match=rf"{name} must be fitted before it encodes: call .fit\(samples\) first"
    ):
        ClipEncoder(encoder)
    with pytest.raises(NotFitted, match="must be fitted before it encodes"):
        encoder.encode(torch.zeros(encoder.spec.input.launch_shape))
    with pytest.raises(NotFitted, match="must be fitted before it reconstructs"):
        encoder.reconstruct(TokenArray(torch.zeros((1, 1, 0), dtype=torch.uint8)))


class Late(Launcher):
    """A launcher like a GPU's: up to two launches are under way, and a launch is done when the next came."""

    def __init__(self, encoder: Encoder) -> None:
        super().__init__(encoder)
        self.most_under_way = 2
        self.started: list[tuple[Tensor, int]] = []

    def takes_directly(self, batch: Tensor) -> bool:
        return False

    def start(self, batch: Tensor, row_count: int) -> None:
        self.started.append((batch, row_count))
        assert self.under_way <= self.most_under_way

    @property
    def under_way(self) -> int:
        return len(self.started)

    def finished(self, wait: bool = False) -> Launched | None:
        if not self.started or not (wait or self.under_way > 1):
            return None
        # read as late as a GPU may read it: a buffer that was filled anew would show here
        super().start(*self.started.pop(0))
        return super().finished(wait=True)


@given(st.lists(st.integers(0, 12), max_size=8), st.integers(1, 4), st.integers(1, 3), st.integers(0, 2))
def test_launches_under_way_do_not_mix(lengths: list[int], batch: int, chunk: int, context: int) -> None:
    """Where launches end late, the same tokens come out in the same order, and no buffer is reused early."""
    clips = [counting(length, first=1 + 20 * tag) for tag, length in enumerate(lengths)]
    done = []
    launches: ClipEncoder[int] = ClipEncoder(Late(Echo(batch, chunk, context)))
    for tag, clip in enumerate(clips):
        done += launches.add(tag, clip)
    done += launches.flush()
    assert [tag for tag, _ in done] == list(range(len(lengths)))
    for (_, tokens), clip in zip(done, clips, strict=True):
        assert tokens.tokens[: tokens.valid].tolist() == clip[0].tolist()
