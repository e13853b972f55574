"""A small GPT for packed rows: 0.9 million parameters, whatever the size of the vocabulary.

An id is written with two digits, `256 * high + low`: the model first says the high digit, then, knowing
it, the low one. So 131,000 ids need tables for 513 + 256 digits and not for 131,000. It uses the rows
as `TokenStream.packed` gives them: attention never crosses from one clip to another.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

BASE = 256
PAD = 0
TEMPERATURE = 0.5
"""Below 1: what is likely is drawn more often than the model says."""


class Block(nn.Module):
    """Causal attention and a feed-forward layer, each behind a norm and added to what came in."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2))
        self.to_qkv = nn.Linear(width, 3 * width, bias=False)
        self.from_heads = nn.Linear(width, width, bias=False)
        self.feed = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(
        self, x: Tensor, mask: Tensor | None, turn: Tensor, memory: list[Tensor] | None = None
    ) -> Tensor:
        """Return [B, T, width].

        Args:
            x: [B, T, width].
            mask: bool [B, 1, T, T], True where a place may look; None: everywhere.
            turn: complex [B, 1, T, width / heads / 2], by which queries and keys are turned (RoPE).
            memory: keys and values of the places before; those of these places are added to it.
        """
        batch, time, width = x.shape
        qkv = self.to_qkv(self.norms[0](x)).view(batch, time, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        query, key, value = _turned(qkv[0], turn), _turned(qkv[1], turn), qkv[2]
        if memory is not None:
            if memory:
                key, value = torch.cat([memory[0], key], 2), torch.cat([memory[1], value], 2)
            memory[:] = [key, value]
        seen = functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        x = x + self.from_heads(seen.transpose(1, 2).reshape(batch, time, width))
        fed: Tensor = x + self.feed(self.norms[1](x))
        return fed


def _turned(x: Tensor, turn: Tensor) -> Tensor:
    pairs = torch.view_as_complex(x.float().reshape(*x.shape[:-1], -1, 2))
    return torch.view_as_real(pairs * turn).flatten(-2).type_as(x)


class SmallGpt(nn.Module):
    """Predicts the next id of packed rows."""

    def __init__(self, ids: int, width: int = 128, depth: int = 4, heads: int = 4) -> None:
        """Make a model.

        Args:
            ids: size of the vocabulary.
            width: of a place; a multiple of 2 * heads.
            depth: number of blocks.
            heads: per block.
        """
        super().__init__()
        high_digits = -(-ids // BASE)
        self.high, self.low = nn.Embedding(high_digits, width), nn.Embedding(BASE, width)
        self.knowing_high = nn.Embedding(high_digits, width)
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        self.say_high, self.say_low = nn.Linear(width, high_digits), nn.Linear(width, BASE)
        steps = torch.arange(width // heads // 2)
        self.register_buffer("frequencies", 10_000.0 ** (-steps / len(steps)), persistent=False)

    def forward(self, ids: Tensor, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Return the sum of -log p over all ids that follow one of their own clip, and how many there are."""
        known, wanted = self.known(ids, positions)[:, :-1], ids[:, 1:]
        counts = (wanted != PAD) & (positions[:, 1:] != 0)
        known, wanted = known[counts], wanted[counts]
        high, low = wanted // BASE, wanted % BASE
        nats = functional.cross_entropy(self.say_high(known), high, reduction="sum")
        nats = nats + functional.cross_entropy(
            self.say_low(known + self.knowing_high(high)), low, reduction="sum"
        )
        return nats, counts.sum()

    def known(self, ids: Tensor, positions: Tensor) -> Tensor:
        """Return what is known at each place of the id behind it: [B, T, width].

        Args:
            ids: int64 [B, T].
            positions: int64 [B, T], 0 where a clip begins.
        """
        clips = (positions == 0).cumsum(1)
        mask = (clips[:, None, :, None] == clips[:, None, None, :]).tril()
        x, turn = self._enter(ids, positions)
        for block in self.blocks:
            x = block(x, mask, turn)
        found: Tensor = self.norm(x)
        return found

    def _enter(self, ids: Tensor, positions: Tensor) -> tuple[Tensor, Tensor]:
        angles = positions[:, None, :, None] * self.get_buffer("frequencies")
        return self.high(ids // BASE) + self.low(ids % BASE), torch.polar(torch.ones_like(angles), angles)

    @torch.no_grad()
    def go_on(self, ids: Tensor, first: int, memories: list[list[Tensor]], window: int) -> Tensor:
        """Return what is known of the id behind the last of `ids`: [width].

        Args:
            ids: int64 [T] that follow those already in the memories; more than one only at the start.
            first: position of the first of them.
            memories: one list per block, empty at the start.
            window: how many places are remembered.
        """
        positions = torch.arange(first, first + len(ids))[None]
        mask = torch.ones(len(ids), len(ids), dtype=torch.bool).tril() if len(ids) > 1 else None
        x, turn = self._enter(ids[None], positions)
        for block, memory in zip(self.blocks, memories, strict=True):
            x = block(x, mask, turn, memory)
            memory[:] = [part[:, :, 1 - window :] for part in memory]
        known: Tensor = self.norm(x)[0, -1]
        return known

    @torch.no_grad()
    def choose(self, known: Tensor, allowed: range, generator: torch.Generator) -> int:
        """Draw the next id from those that are allowed.

        Args:
            known: [width], of the last place.
            allowed: which ids may come.
            generator: of the chance.
        """
        first, last = allowed.start, allowed.stop - 1
        high = _draw(self.say_high(known), first // BASE, last // BASE, generator)
        low_from = first % BASE if high == first // BASE else 0
        low_to = last % BASE if high == last // BASE else BASE - 1
        knowing = known + self.knowing_high.weight[high]
        return high * BASE + _draw(self.say_low(knowing), low_from, low_to, generator)


def _draw(logits: Tensor, first: int, last: int, generator: torch.Generator) -> int:
    chances = (logits[first : last + 1] / TEMPERATURE).softmax(0)
    return first + int(torch.multinomial(chances, 1, generator=generator))
