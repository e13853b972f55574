"""Books of classes: their codes, against a slow twin, and how they are fitted."""

from __future__ import annotations

import itertools
from functools import cache
from math import log2, prod

import pytest
import torch
from torch import Tensor

from encoders.class_book import (
    BASIS_UNIT,
    CODE_SIZE,
    MEANS,
    NAMES,
    UNIT,
    ClassBook,
    book_from,
    whole_book,
)
from encoders.training.class_book_fit import BookShape, fit_class_book
from encoders.training.levels_fit import CHOICES, best_words, deal_levels, error_with, usual_errors

SHAPE = BookShape(classes=5, components=12, codes=3)
RANGES = torch.tensor([50.0, 60.0, 70.0])


def blocks_of_two_kinds(count: int, seed: int = 0) -> Tensor:
    """Half of the blocks vary in the first coefficients, half in the last ones: float32 [count, 23]."""
    random = torch.Generator().manual_seed(seed)
    blocks = torch.randn(count, 23, generator=random)
    blocks[:, MEANS:] *= torch.linspace(20, 0.2, 20)
    blocks[::2, MEANS:] = blocks[::2, MEANS:].flip(1)
    blocks[:, :MEANS] *= 15
    return blocks


@cache
def small_book() -> ClassBook:
    """A book of five classes, as a weights file would give it."""
    return book_from(
        fit_class_book(blocks_of_two_kinds(1500), RANGES, SHAPE, rounds=2).tensors(), SHAPE.codes
    )


def plain_codes(book: ClassBook, block: Tensor) -> list[int]:
    """Try class after class, level after level: the slow twin."""
    tried = []
    for number in range(book.classes):
        latents = [*block[:MEANS].tolist(), *(book.bases[number] @ block[MEANS:]).tolist()]
        places, takes_off = [], 0.0
        for component, latent in enumerate(latents):
            words = book.words[number, component, : int(book.levels[number, component])].tolist()
            place = min(range(len(words)), key=lambda index: abs(words[index] - latent))
            places.append(place)
            takes_off += words[place] * (2 * latent - words[place])
        tried.append((-takes_off, number, places))
    _, number, places = min(tried)
    codes = [number, *([0] * (book.codes - 1))]
    steps = [book.classes, *([1] * (book.codes - 1))]
    for component, place in enumerate(places):
        holder = int(book.holders[number, component])
        codes[holder] += place * steps[holder]
        steps[holder] *= int(book.levels[number, component])
    return codes


def test_codes_are_those_of_the_plain_recipe() -> None:
    """The class with the smallest error, the nearest words, and the mixed radix in its order."""
    blocks = blocks_of_two_kinds(60, seed=1)
    found = small_book().encode(blocks)
    assert found.tolist() == [plain_codes(small_book(), block) for block in blocks]
    assert 0 <= int(found.min()) <= int(found.max()) < CODE_SIZE


def test_decoding_gives_the_words_that_were_chosen() -> None:
    """What comes back is as near as `tried` says, and what was said is said again by the same codes."""
    book, blocks = small_book(), blocks_of_two_kinds(300, seed=2)
    codes = book.encode(blocks)
    back = book.decode(codes)
    lost = (back - blocks).square().sum(1)
    assert torch.allclose(lost, blocks.square().sum(1) - book.tried(blocks)[2], rtol=1e-2, atol=2)
    assert float(lost.mean()) < float(blocks.square().sum(1).mean()) / 4


def test_any_codes_can_be_decoded() -> None:
    """Damaged codes are blocks, too: every number stands for some."""
    random = torch.Generator().manual_seed(0)
    codes = torch.randint(CODE_SIZE, (200, SHAPE.codes), generator=random)
    assert bool(small_book().decode(codes).isfinite().all())


def test_a_block_is_said_the_same_among_others() -> None:
    """Blocks are tried in pieces; each piece gives what the whole gives."""
    blocks = blocks_of_two_kinds(700, seed=3)
    book = small_book()
    assert torch.equal(torch.cat([book.encode(blocks[:256]), book.encode(blocks[256:])]), book.encode(blocks))


def test_a_book_is_the_same_after_it_was_stored() -> None:
    """Half precision is taken once: what was read and is stored again is the same."""
    once = small_book().tensors()
    again = book_from(once, SHAPE.codes).tensors()
    assert all(torch.equal(once[name], again[name]) for name in once)


@pytest.mark.parametrize("codes", [1, 2])
def test_a_book_of_other_codes_is_refused(codes: int) -> None:
    """Levels must fit the codes that hold them."""
    with pytest.raises(ValueError, match="levels"):
        book_from(small_book().tensors(), codes)


def test_whole_numbers_are_whole_and_exact() -> None:
    """The book in use computes what 64-bit integers compute, and chooses almost what real numbers choose."""
    book = whole_book(small_book())
    blocks = (blocks_of_two_kinds(200, seed=4) * UNIT).round().to(torch.float64)
    latents = book.latents(blocks)
    for part in (book.bases, latents, book.tried(blocks)[2], book.decode(book.encode(blocks))):
        assert torch.equal(part, part.round())
    integers = book.bases.flatten(0, 1).to(torch.int64) @ blocks[:, MEANS:].T.to(torch.int64)
    exact = torch.div(2 * integers + BASIS_UNIT, 2 * BASIS_UNIT, rounding_mode="floor")
    assert torch.equal(latents[:, MEANS:].flatten(0, 1), exact.to(torch.float64))
    same = book.encode(blocks) == small_book().encode(blocks.to(torch.float32) / UNIT)
    assert float(same.to(torch.float32).mean()) > 0.9


def test_equal_classes_are_told_apart() -> None:
    """Of classes that say a block equally well the first is taken, on every device."""
    one = small_book()
    bases, levels, holders, words = (torch.cat([getattr(one, name)[:2]] * 2) for name in NAMES)
    book = whole_book(ClassBook(bases, levels, holders, words, one.codes))
    assert int(book.tried((blocks_of_two_kinds(100) * UNIT).round().to(torch.float64))[0].max()) < 2


def test_two_kinds_of_blocks_get_classes_of_their_own() -> None:
    """Classes beat one class of as many codes."""
    blocks = blocks_of_two_kinds(1500)
    one = fit_class_book(blocks, RANGES, BookShape(1, 12, 3), rounds=1)
    lost = [
        float((book.decode(book.encode(blocks)) - blocks).square().sum(1).mean())
        for book in (one, small_book())
    ]
    assert lost[1] < 0.8 * lost[0]


def test_best_words_are_better_than_even_ones() -> None:
    """For a normal distribution, four words lose 0.1175 of the variance (Max, 1960), and each row its own."""
    share = (torch.arange(20000, dtype=torch.float64) + 0.5) / 20000
    normal = (2**0.5 * torch.erfinv(2 * share - 1)).to(torch.float32)
    rows = torch.stack([normal, 7 * normal + 100])
    words = best_words(rows, 4)
    assert error_with(rows, words).tolist() == pytest.approx([0.1175, 49 * 0.1175], rel=0.02)
    assert words[0].tolist() == pytest.approx([-1.51, -0.453, 0.453, 1.51], abs=0.03)


def test_more_levels_lose_less() -> None:
    """Of all numbers of levels that are tried."""
    errors = usual_errors()
    assert errors[0] == pytest.approx(1, abs=1e-3)
    assert all(more < fewer for fewer, more in itertools.pairwise(errors))


def test_levels_fill_the_codes_and_never_more() -> None:
    """Strong components get more levels, weak ones none, and hardly half a bit of a code stays empty."""
    means = [[1e5 / count**2 for count in CHOICES]] * 3
    levels, holders = deal_levels([1e4 * 0.85**place for place in range(60)], means, 8, 64)
    assert sorted(levels[MEANS:], reverse=True) == pytest.approx(levels[MEANS:], abs=8)
    assert levels[MEANS] > 8
    assert levels[-1] == 1
    for code in range(8):
        filled = prod(count for count, holder in zip(levels, holders, strict=True) if holder == code)
        filled *= 64 if code == 0 else 1
        assert filled <= CODE_SIZE
        assert log2(filled) > 15.4
