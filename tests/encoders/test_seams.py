"""Seams between blocks: what is learned mends them, and nothing else."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from encoders.seams import Seams, mended_columns, pictures_of, planes_of, sides
from encoders.training.seams_fit import fit_seams


def stepped(count: int, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Slopes [count, 2, 3, 48, 64], and the same with each block of class 1 too bright or dark."""
    random = torch.Generator().manual_seed(seed)
    y, x = torch.meshgrid(torch.arange(48.0), torch.arange(64.0), indexing="ij")
    slopes = torch.rand(count, 2, 1, 3, 1, 1, generator=random) * 2 - 1
    wanted = (128 + slopes[:, 0] * x + slopes[:, 1] * y).expand(-1, 2, -1, -1, -1)
    classes = torch.randint(2, (count, 3, 4), generator=random)
    errors = 10 * torch.randn(count, 3, 4, generator=random) * classes
    found = wanted + errors.repeat_interleave(16, 1).repeat_interleave(16, 2)[:, None, None]
    return found, wanted, classes


def test_planes_are_light_and_colours_and_come_back() -> None:
    """Grey has light alone, and the way back is exact."""
    pictures = torch.rand(2, 3, 3, 16, 32) * 255
    assert torch.allclose(pictures_of(planes_of(pictures)), pictures, atol=1e-3)
    grey = planes_of(torch.full((1, 1, 3, 16, 16), 200.0))
    assert torch.allclose(grey[:, 1:], torch.zeros(1, 2, 1, 16, 16), atol=1e-4)


def test_sides_see_the_lines_across_a_seam() -> None:
    """Own pixels go inwards from the seam, the neighbour's away from it, on the left as on the right."""
    planes = torch.arange(64.0).expand(1, 3, 1, 32, 64)
    left, right = sides(planes, torch.zeros(1, 2, 4, dtype=torch.int64), torch.ones(1))
    assert left.own[0, 0, 2, 0, 0, 0, :3].tolist() == [32, 33, 34]
    assert left.neighbour[0, 0, 2, 0, 0, 0, :3].tolist() == [31, 30, 29]
    assert right.own[0, 0, 2, 0, 0, 0, :3].tolist() == [47, 46, 45]
    assert right.neighbour[0, 0, 2, 0, 0, 0, :3].tolist() == [48, 49, 50]
    assert left.inner.tolist() == [False, True, True, True]
    assert right.inner.tolist() == [True, True, True, False]


def test_what_was_learned_mends_seams() -> None:
    """On other pictures of the same kind most of the error goes, and blocks that are right hardly change."""
    seams = fit_seams([stepped(8, seed) for seed in range(6)], classes=2)
    assert float(seams.noise[1]) > 10 * float(seams.noise[0])
    found, wanted, classes = stepped(8, seed=99)
    before, after = ((part - wanted).square().mean((1, 2)) for part in (found, seams.mended(found, classes)))
    wrong = classes.repeat_interleave(16, 1).repeat_interleave(16, 2) == 1
    assert float(after[wrong].mean()) < 0.6 * float(before[wrong].mean())
    assert float(after[~wrong].mean()) < 0.05 * float(before[wrong].mean())


@pytest.mark.parametrize("size", [(16, 16), (16, 48), (48, 16)])
def test_a_border_of_the_picture_is_no_seam(size: tuple[int, int]) -> None:
    """With weights that would shift every pixel beside a seam, those at the border stay."""
    planes = torch.rand(1, 3, 1, *size)
    weights = torch.ones(2, 1, 8, 8)
    classes = torch.zeros(1, size[0] // 16, size[1] // 16, dtype=torch.int64)
    after = mended_columns(planes, classes, torch.ones(1), weights)
    assert torch.equal(after[..., :8], planes[..., :8])
    assert torch.equal(after[..., -8:], planes[..., -8:])
    assert torch.equal(after, planes) == (size[1] == 16)


def test_other_chunks_change_nothing() -> None:
    """A chunk is mended the same by itself and among others."""
    seams = fit_seams([stepped(4)], classes=2)
    found, _, classes = stepped(3, seed=5)
    alone = Seams(seams.weights, seams.noise).mended(found[1:2], classes[1:2])
    assert torch.allclose(seams.mended(found, classes)[1:2], alone, atol=1e-3)
