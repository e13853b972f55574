"""What a launch costs, on encoders whose cost is known by hand."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor

from encoders import InputSpec, TokenArray, TokenSpec
from encoders.cost import cost


class Product:
    """Sound to codes by one matrix product: 2 rows of 8 samples by a 8 x 4 matrix."""

    def __init__(self) -> None:
        self.device = torch.device("cpu")
        self.matrix = torch.ones(8, 4)
        sound = InputSpec("sound", "float32", (-1, 1), "BCN", 1, launch_batch=2, chunk=8, rate=16)  # type: ignore[arg-type]
        self.spec = TokenSpec("product", 1, "codes", "uint8", "TK", (4,), (8, 1), 1, (256,), sound)

    def encode(self, batch: Tensor) -> TokenArray:
        return TokenArray(batch[:, 0] @ self.matrix)

    def reconstruct(self, tokens: TokenArray) -> Tensor:
        return tokens.data

    def fit(self, samples: Iterable[np.ndarray]) -> Product:
        return self


def test_a_matrix_product_costs_what_it_must() -> None:
    """2 x 8 by 8 x 4: 2 * 2 * 8 * 4 operations; it reads 16 and 32 numbers and writes 8."""
    found = cost(Product())
    assert found.flops == 128
    assert found.traffic_bytes == 4 * (16 + 32 + 8)
    assert found.input_bytes == 4 * 16
    assert found.seconds_of_media == 1.0
