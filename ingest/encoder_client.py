"""A worker's side of the encoder process: hands over rows in shared memory, and gets tokens back."""

from __future__ import annotations

import json
import os
import socket
from collections import deque
from multiprocessing.connection import Connection
from typing import Any

import torch
from torch import Tensor

from encoders import TokenSpec
from encoders.launcher import Launched
from ingest.encoder_slots import SlotRing, slot_rows
from ingest.errors import EncoderLost, IngestError

SLOTS = 3
"""One is filled while two are with the encoder process."""


class EncoderLink:
    """A worker's connection to an encoder process. Use it as a context manager.

    Args:
        address: where the encoder process listens.
        budget_bytes: shared memory that this worker may take for each encoder's batches; one row always fits.

    Raises:
        EncoderLost: nobody listens there (any more).
    """

    def __init__(self, address: str, budget_bytes: int) -> None:
        self._budget_bytes = budget_bytes
        self._socket = socket.socket(socket.AF_UNIX)
        try:
            self._socket.connect(abstract(address))
        except OSError as error:
            self._socket.close()
            raise EncoderLost(f"the encoder process can't be reached: {error}") from error
        self._connection = Connection(os.dup(self._socket.fileno()))
        self._answers: dict[int, deque[dict[str, Any]]] = {}

    def __enter__(self) -> EncoderLink:
        return self

    def __exit__(self, *exc: object) -> None:
        self._connection.close()
        self._socket.close()

    def encoder(self, spec: TokenSpec) -> DistantLauncher:
        """Ask for an encoder there.

        Raises:
                EncoderLost: the process has ended.
            IngestError: it can't build the encoder.
        """
        number = len(self._answers)
        slots = SlotRing(spec, slot_rows(spec, self._budget_bytes, SLOTS), SLOTS)
        self._answers[number] = deque()
        try:
            self.say({"encoder": number, "spec": spec.to_json(), "rows": slots.rows, "count": SLOTS})
            socket.send_fds(self._socket, [b"m"], [slots.descriptor])
        except OSError as error:
            raise EncoderLost(f"the encoder process has ended: {error}") from error
        finally:
            slots.close_descriptor()
        ready = self.hear(number, wait=True)
        return DistantLauncher(self, number, slots, (ready or {}).get("probe", ""))

    def say(self, message: dict[str, Any]) -> None:
        """Send a message."""
        try:
            self._connection.send_bytes(json.dumps(message).encode())
        except OSError as error:
            raise EncoderLost(f"the encoder process has ended: {error}") from error

    def hear(self, number: int, wait: bool) -> dict[str, Any] | None:
        """Return the next answer about an encoder; None where there is none yet and nobody waits."""
        while not self._answers[number]:
            if not wait and not self._connection.poll():
                return None
            try:
                message: dict[str, Any] = json.loads(self._connection.recv_bytes())
            except (EOFError, OSError) as error:
                raise EncoderLost(f"the encoder process has ended: {error or 'it closed'}") from error
            if "error" in message:
                raise IngestError(f"the encoder process: {message['error']}")
            self._answers[message["encoder"]].append(message)
        return self._answers[number].popleft()


class DistantLauncher:
    """Launches of an encoder that another process holds (`encoders.launcher.Launches`)."""

    def __init__(self, link: EncoderLink, number: int, slots: SlotRing, probe: str = "") -> None:
        self.spec = slots.spec
        self.probe = probe
        """The hash of what the encoder makes of made media there (`encoders.determinism`)."""
        self.most_rows = slots.rows
        self.most_under_way = slots.count - 1
        self._link, self._number, self._slots = link, number, slots
        self._next = 0
        self._under_way: deque[tuple[int, int]] = deque()

    def takes_directly(self, batch: Tensor) -> bool:
        """No: rows go through shared memory."""
        return False

    def buffer(self, device: torch.device) -> Tensor:
        """Return the rows of the next slot."""
        return self._slots.batch(self._next)

    def start(self, batch: Tensor, row_count: int) -> None:
        """Hand the next slot over; `batch` is what `buffer` gave."""
        self._link.say({"encoder": self._number, "slot": self._next, "rows": row_count})
        self._under_way.append((self._next, row_count))
        self._next = (self._next + 1) % self._slots.count

    def finished(self, wait: bool = False) -> Launched | None:
        """Take back the oldest slot if it is done, or `wait` until it is."""
        if not self._under_way or self._link.hear(self._number, wait) is None:
            return None
        slot, row_count = self._under_way.popleft()
        return Launched(
            self._slots.tokens(slot)[:row_count].copy(), None, self._slots.saturated(slot)[:row_count].copy()
        )


def abstract(address: str) -> str:
    """Return the socket's address: Linux's abstract names leave no file behind."""
    return f"\0{address}"
