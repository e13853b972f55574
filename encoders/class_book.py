"""A code that adapts: each block is said by the class that says it best.

A class has a basis of its own (the principal components of its blocks), and for each component the levels
that it is rounded to; many for what varies much, none for what hardly varies. All levels of a class together
fill the block's codes of 16 bits. A block's class is found by trying all; it stands in the first code.

A book is fitted in real numbers. In use it is one of whole numbers (`whole_book`), in float64, small enough
that every product and sum is exact: all devices find the same codes.

Sources: classified transform coding, W. H. Chen and C. H. Smith, IEEE Trans. Commun. 25 (1977), 1285;
mixtures of principal components, R. D. Dony and S. Haykin, IEEE Trans. Image Process. 4 (1995), 1358.
How a book is fitted: `encoders.training.class_book_fit`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

MEANS = 3
"""The first coefficients are a block's means. Every basis keeps them as they are."""
CODE_SIZE = 1 << 16
AT_ONCE = 256
"""Blocks that are tried together: what they need stays in a processor's caches."""
CANDIDATES = 6
"""Classes that are tried in full."""
NAMES = ("bases", "levels", "holders", "words")
UNIT = 4
"""Of whole-number coefficients, in one."""
BASIS_UNIT = 1 << 12
"""Of whole-number bases. |c| < 2^18 and so |sum| < 2^31 for blocks of bytes."""


@dataclass(frozen=True, eq=False)
class ClassBook:
    """K classes with C components each, for blocks of n coefficients."""

    bases: Tensor
    """[K, C - 3, n - 3], orthonormal rows times `unit`: the components that are no means."""
    levels: Tensor
    """int64 [K, C]: how many levels; 1: the component is always the same."""
    holders: Tensor
    """int64 [K, C]: which of the block's codes holds the component."""
    words: Tensor
    """[K, C, most levels], ascending: what the levels stand for; infinity where there are no more."""
    codes: int
    """Of a block."""
    unit: int = 1
    """Of the bases; more than 1: everything is whole numbers, in float64."""
    _borders: Tensor = field(init=False)
    """[K C most levels]: between each word and the next."""
    _starts: Tensor = field(init=False)
    """[K, C]: where each component's words and borders begin, when they lie in one row."""
    _steps: Tensor = field(init=False)
    _lowest: Tensor = field(init=False)
    """[K, C, 1]: the first word."""
    _highest: Tensor = field(init=False)
    """[K, C, 1]: the last one."""
    _noise: Tensor = field(init=False)
    """[K, 1]: about what rounding costs, between words as far apart as they are in the mean."""

    def __post_init__(self) -> None:
        most = self.words.shape[-1]
        following = torch.cat([self.words[..., 1:], torch.full_like(self.words[..., :1], torch.inf)], dim=-1)
        lowest = self.words[..., :1]
        highest = self.words.gather(-1, self.levels.unsqueeze(-1) - 1)
        apart = (highest - lowest)[..., 0] / (self.levels - 1).clamp(min=1)
        made = {
            "_borders": ((self.words + following) / 2).flatten(),
            "_starts": torch.arange(0, self.words.numel(), most, device=self.words.device).reshape(
                self.levels.shape
            ),
            "_steps": steps_of(self.levels, self.holders, self.codes),
            "_lowest": lowest,
            "_highest": highest,
            "_noise": self._kept_whole(apart.square() / 12).sum(1, keepdim=True),
        }
        for name, value in made.items():
            object.__setattr__(self, name, value)

    @property
    def classes(self) -> int:
        """How many classes there are."""
        return len(self.levels)

    def encode(self, blocks: Tensor) -> Tensor:
        """Turn coefficients [N, n] into codes int64 [N, codes]."""
        parts = [self._codes(*self.tried(some)) for some in torch.split(blocks, AT_ONCE)]
        return torch.cat(parts)

    def tried(self, blocks: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the class [N] with the smallest error, its levels [N, C], and what it takes off |x|² [N].

        Rounding to the words of every class would take most of the time: only the few classes that promise
        most are tried in full.
        """
        latents = self.latents(blocks)
        reached = latents.clamp(self._lowest, self._highest)
        promised = (reached * (2 * latents - reached)).sum(1) - self._noise
        numbers = torch.arange(self.classes, device=blocks.device)
        likely = self._ranked(promised, numbers[:, None]).topk(min(CANDIDATES, self.classes), dim=0).indices.T
        own = torch.arange(len(blocks), device=blocks.device)
        few = latents.permute(2, 0, 1)[own[:, None], likely]
        places = self._places(few, likely)
        said = self.words.flatten()[self._starts[likely] + places]
        takes_off = (said * (2 * few - said)).sum(-1)
        chosen = self._ranked(takes_off, likely).argmax(1)
        return likely[own, chosen], places[own, chosen], takes_off[own, chosen]

    def _ranked(self, scores: Tensor, classes: Tensor) -> Tensor:
        """Return scores of which no two are equal, so that every device orders them alike."""
        return scores * self.classes - classes if self.unit > 1 else scores

    def _kept_whole(self, values: Tensor) -> Tensor:
        return values.floor() if self.unit > 1 else values

    def _scaled(self, sums: Tensor) -> Tensor:
        """Take the bases' unit out of sums of products."""
        return sums.mul_(1 / self.unit).add_(0.5).floor_() if self.unit > 1 else sums

    def _places(self, latents: Tensor, classes: Tensor) -> Tensor:
        """Return the nearest words' numbers, by halving: int64, shaped like the latents [N, M, C]."""
        starts, places = self._starts[classes], torch.zeros_like(latents, dtype=torch.int64)
        step = 1 << (self.words.shape[-1] - 1).bit_length() >> 1
        while step:
            tried = places + step
            inside = tried < self.words.shape[-1]
            border = self._borders[(starts + tried - 1).where(inside, 0)]
            places = torch.where(inside & (latents > border), tried, places)
            step >>= 1
        return places

    def latents(self, blocks: Tensor) -> Tensor:
        """Return the components of coefficients [N, n] in all classes: [K, C, N]."""
        parts = self._scaled(self.bases.flatten(0, 1) @ blocks[:, MEANS:].T)
        means = blocks[:, :MEANS].T.expand(self.classes, -1, -1)
        return torch.cat([means, parts.reshape(self.classes, -1, len(blocks))], dim=1)

    def classes_of(self, codes: Tensor) -> Tensor:
        """Return the classes [N] that codes [N, codes] name."""
        return codes[:, 0] % self.classes

    def decode(self, codes: Tensor) -> Tensor:
        """Turn codes int64 [N, codes] into coefficients [N, n]; no codes are refused."""
        classes = self.classes_of(codes)
        held = codes.gather(1, self.holders[classes])
        places = held // self._steps[classes] % self.levels[classes]
        said = self.words[classes].gather(2, places.unsqueeze(-1)).squeeze(-1)
        back = codes.new_empty((len(codes), MEANS + self.bases.shape[-1]), dtype=self.bases.dtype)
        back[:, :MEANS] = said[:, :MEANS]
        for number in sorted(set(classes.tolist())):
            own = torch.nonzero(classes == number)[:, 0]
            back[own, MEANS:] = self._scaled(said[own, MEANS:] @ self.bases[number])
        return back

    def _codes(self, classes: Tensor, places: Tensor, _: Tensor) -> Tensor:
        codes = places.new_zeros(len(places), self.codes)
        codes[:, 0] = classes
        return codes.scatter_add_(1, self.holders[classes], places * self._steps[classes])

    def to(self, device: torch.device) -> ClassBook:
        """Return the book on a device."""
        tensors = {name: getattr(self, name).to(device) for name in NAMES}
        return ClassBook(**tensors, codes=self.codes, unit=self.unit)

    def tensors(self) -> dict[str, Tensor]:
        """Return what a weights file holds of the book; of `words` those that there are, in one row."""
        return {
            "bases": self.bases.to(torch.float16),
            "levels": self.levels.to(torch.uint8),
            "holders": self.holders.to(torch.uint8),
            "words": self.words[_there(self.levels, self.words.shape[-1])].to(torch.float32),
        }


def book_from(tensors: Mapping[str, Tensor], codes: int) -> ClassBook:
    """Build the book that `ClassBook.tensors` describes.

    Raises:
        KeyError, ValueError, RuntimeError: it is none, or one of other codes.
    """
    bases, levels, holders, listed = (tensors[name] for name in NAMES)
    levels, holders = levels.to(torch.int64), holders.to(torch.int64)
    words = torch.full((*levels.shape, int(levels.max())), torch.inf)
    words[_there(levels, words.shape[-1])] = listed.to(torch.float32)
    if int(levels.min()) < 1 or not 0 <= int(holders.min()) <= int(holders.max()) < codes:
        raise ValueError("its levels do not fit its codes")
    if bool((steps_of(levels, holders, codes) * levels > CODE_SIZE).any()):
        raise ValueError("its levels need more than 16 bits a code")
    return ClassBook(bases.to(torch.float32), levels, holders, words, codes)


def whole_book(book: ClassBook) -> ClassBook:
    """Return the book in whole numbers, for coefficients in `UNIT`s."""
    bases = (book.bases.to(torch.float64) * BASIS_UNIT).round()
    words = (book.words.to(torch.float64) * UNIT).round()
    return ClassBook(bases, book.levels, book.holders, words, book.codes, BASIS_UNIT)


def _there(levels: Tensor, most: int) -> Tensor:
    return torch.arange(most) < levels.unsqueeze(-1)


def steps_of(levels: Tensor, holders: Tensor, codes: int) -> Tensor:
    """Return int64 [K, C]: what one level of a component adds to its code. Code 0 begins with the class."""
    filled = torch.ones(len(levels), codes, dtype=torch.int64, device=levels.device)
    filled[:, 0] = len(levels)
    steps = torch.empty_like(levels)
    for component in range(levels.shape[1]):
        holder = holders[:, component : component + 1]
        steps[:, component] = filled.gather(1, holder)[:, 0]
        filled.scatter_(1, holder, (filled.gather(1, holder) * levels[:, component : component + 1]))
    return steps
