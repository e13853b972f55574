"""`opus`: sound as the packets of an Opus stream, 20 ms each."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor

from encoders.codec_library import check_library, codecs, installed_library
from encoders.encoder import check_launch
from encoders.errors import WrongInput, WrongSetting
from encoders.spec import InputSpec, TokenSpec
from encoders.tokens import TokenArray

RATE = 48_000
PACKET = 960
CHUNK = RATE
DELAY = 312
"""Samples that libopus comes late by at this rate (its look-ahead)."""
STEPS_PER_CHUNK = CHUNK // PACKET + 1
"""The last packet of a chunk holds what the delay has pushed out of the others."""
LAUNCH_CHUNKS = 1
"""A codec gains nothing from company."""
BIT_RATES = (6_000, 256_000)


class Opus:
    """Opus packets of 48 kHz mono, as libopus writes them at a constant bit rate; chunks of 1 s.

    A chunk is 50 packets and one more for the codec's delay of 6.5 ms, each a step of its own; at 12 kbit/s
    a packet is 30 bytes. The first byte of a packet says its mode and bandwidth (RFC 6716, section 3.1).
    `bit_rate` is in bits per second.

    The work is done on the CPU whatever the device. libopus computes in floating point and chooses its
    instructions by the processor, so that another kind of CPU, or another version (`library`), may write
    other bytes; every decoder reads them. Variable length: the vocabulary is the 256 bytes.
    """

    def __init__(self, device: torch.device, bit_rate: int = 16_000, library: str = "") -> None:
        if not BIT_RATES[0] <= bit_rate <= BIT_RATES[1] or bit_rate != int(bit_rate):
            raise WrongSetting(
                f"opus takes a bit_rate from {BIT_RATES[0]} to {BIT_RATES[1]}, got {bit_rate!r}"
            )
        self.device = device
        self._bit_rate = int(bit_rate)
        self._library = library or installed_library("opus")
        self.spec = TokenSpec(
            encoder="opus",
            revision=1,
            kind="bytes",
            dtype="uint8",
            axes="N",
            shape=(),
            strides=(0,),
            steps_per_chunk=STEPS_PER_CHUNK,
            codebook_sizes=(256,),
            exact_across_devices=False,
            settings={"bit_rate": self._bit_rate, "library": self._library},
            input=InputSpec(
                "sound", "float32", (-1.0, 1.0), "BCN", 1, LAUNCH_CHUNKS, chunk=CHUNK, rate=Fraction(RATE)
            ),
        )

    def fit(self, samples: Iterable[np.ndarray]) -> Opus:
        """Return itself: nothing is fitted."""
        return self

    def encode(self, batch: Tensor) -> TokenArray:
        """Turn [B, 1, 48000] samples into the packets of B * 51 steps. NaN becomes silence and is counted."""
        check_launch(self, batch)
        check_library("opus", self._library)
        samples = batch[:, 0].cpu().numpy()
        outside = np.isnan(samples) | (np.abs(samples) > 1)
        samples = np.nan_to_num(samples, nan=0.0).clip(-1, 1)
        packets = [packet for row in samples for packet in self._packets(row)]
        offsets = np.cumsum([0, *(len(packet) for packet in packets)], dtype=np.int64)
        data = np.frombuffer(b"".join(packets), np.uint8).copy()
        return TokenArray(
            torch.from_numpy(data), torch.from_numpy(offsets), torch.from_numpy(outside.sum(axis=1))
        )

    def reconstruct(self, tokens: TokenArray) -> Tensor:
        """Turn packets of B * 51 steps into samples [B, 1, 48000]."""
        if tokens.offsets is None or tokens.data.ndim != 1 or tokens.data.dtype != torch.uint8:
            raise WrongInput("opus reconstructs uint8 [N] bytes with offsets [steps + 1]")
        edges = tokens.offsets.tolist()
        if (len(edges) - 1) % STEPS_PER_CHUNK:
            raise WrongInput(f"opus reconstructs chunks of {STEPS_PER_CHUNK} packets, got {len(edges) - 1}")
        data = tokens.data.cpu().numpy().tobytes()
        packets = [data[start:stop] for start, stop in pairwise(edges)]
        rows = np.empty((len(packets) // STEPS_PER_CHUNK, CHUNK), np.float32)
        for index, row in enumerate(rows):
            row[:] = self._samples(packets, index * STEPS_PER_CHUNK)
        return torch.from_numpy(rows).unsqueeze(1).to(self.device)

    def _packets(self, samples: np.ndarray) -> list[bytes]:
        av = codecs("opus")
        context = av.CodecContext.create("libopus", "w")
        context.sample_rate, context.layout, context.format = RATE, "mono", "flt"
        context.bit_rate = self._bit_rate
        context.time_base = Fraction(1, RATE)
        context.options = {"vbr": "off", "application": "audio", "frame_duration": "20"}
        padded = np.pad(samples, (0, STEPS_PER_CHUNK * PACKET - CHUNK))
        packets: list[bytes] = []
        for start in range(0, len(padded), PACKET):
            frame = av.AudioFrame.from_ndarray(padded[None, start : start + PACKET], "flt", "mono")
            frame.sample_rate, frame.pts, frame.time_base = RATE, start, context.time_base
            packets += [bytes(packet) for packet in context.encode(frame)]
        packets += [bytes(packet) for packet in context.encode(None)]
        # what follows is the encoder's own padding behind the end
        return packets[:STEPS_PER_CHUNK]

    def _samples(self, packets: list[bytes], first: int) -> np.ndarray:
        av = codecs("opus")
        context = _decoder(av)
        parts = []
        for step in range(first, first + STEPS_PER_CHUNK):
            try:
                frames = context.decode(av.Packet(packets[step]))
            except (av.FFmpegError, ValueError) as error:
                raise WrongInput(f"step {step} is no Opus packet: {error}") from error
            parts += [frame.to_ndarray()[0] / np.float32(1 << 15) for frame in frames]
        made = np.concatenate(parts) if parts else np.empty(0, np.float32)
        if len(made) != STEPS_PER_CHUNK * PACKET:
            raise WrongInput(f"steps from {first} on are {len(made)} samples, not packets of 20 ms")
        return made[DELAY : DELAY + CHUNK].astype(np.float32)


def _decoder(av: Any) -> Any:
    context = av.CodecContext.create("libopus", "r")
    context.sample_rate, context.layout = RATE, "mono"
    context.format = "s16"
    return context
