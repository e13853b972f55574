"""Inside the encoder process: rows of many workers become launches, and tokens go back.

    worker 1  --rows in shared memory-->  [queue per encoder] --launches of one shape--> GPU
    worker 2  --rows in shared memory-->        |
    worker n  <--tokens in shared memory--------+

Rows of many workers, clips and files fill one launch; a launch that isn't full is started only when its
encoder has nothing else under way. What crosses the border is JSON and arrays of a known shape.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from typing import Any

import torch

from encoders import Encoder, EncodersError, kept_encoder_for, kept_probe
from encoders.launcher import Launched, Launcher
from ingest.encoder_slots import SlotRing, slots_from_json
from ingest.engine.local import die_with_parent


def serve() -> None:
    """Encode for whoever connects, until the parent dies: the whole life of an encoder process."""
    torch.set_num_threads(1)
    listener = socket.socket(fileno=int(sys.argv[1]))
    die_with_parent(int(sys.argv[2]))
    Server(listener, sys.argv[3]).run()


@dataclass(eq=False)
class _Client:
    """One worker."""

    socket: socket.socket
    connection: Connection
    slots: dict[int, SlotRing] = field(default_factory=dict)
    stations: dict[int, _Station] = field(default_factory=dict)
    gone: bool = False

    def tell(self, message: dict[str, Any]) -> None:
        try:
            self.connection.send_bytes(json.dumps(message).encode())
        except OSError:
            self.gone = True


@dataclass(eq=False)
class _Request:
    """A slot that a worker handed over."""

    client: _Client
    encoder: int
    slot: int
    rows: int
    started: int = 0
    done: int = 0


@dataclass(eq=False)
class _Station:
    """One encoder, what waits for it, and whose rows are in its launches under way."""

    launcher: Launcher
    queue: deque[_Request] = field(default_factory=deque)
    under_way: deque[list[tuple[_Request, int, int]]] = field(default_factory=deque)

    @property
    def waiting_rows(self) -> int:
        return sum(request.rows - request.started for request in self.queue)


class Server:
    """Takes rows from workers, fills launches, gives tokens back. One thread."""

    def __init__(self, listener: socket.socket, device: str) -> None:
        self._listener, self._device = listener, device
        self._clients: dict[int, _Client] = {}
        self._stations: dict[str, _Station] = {}
        self._launches = self._rows = self._padded_rows = 0
        self._busy_s = self._waiting_s = 0.0

    def run(self) -> None:
        """Serve for ever."""
        while True:
            self.step()

    def step(self) -> None:
        """Hear what workers have to say, start what can be started, give back what is done."""
        idle = not any(station.queue or station.under_way for station in self._stations.values())
        begun = time.monotonic()
        self._listen(timeout=None if idle else 0)
        if idle and self._launches:
            self._waiting_s += time.monotonic() - begun
        begun = time.monotonic()
        started = [self._start(station) for station in self._stations.values()]
        for station in self._stations.values():
            self._finish(station, wait=not any(started))
        if not idle:
            self._busy_s += time.monotonic() - begun

    def _listen(self, timeout: float | None) -> None:
        for ready in wait([self._listener, *self._clients], timeout):
            if ready is self._listener:
                accepted, _ = self._listener.accept()
                if not _is_ours(accepted):
                    accepted.close()
                    continue
                self._clients[accepted.fileno()] = _Client(accepted, Connection(os.dup(accepted.fileno())))
                continue
            client = self._clients[ready]  # type: ignore[index]
            try:
                self._hear(client, json.loads(client.connection.recv_bytes()))
            except (EOFError, OSError, ValueError, LookupError, TypeError):  # gone, or it speaks nonsense
                client.gone = True
            if client.gone:
                self._clients.pop(ready)  # type: ignore[arg-type]
                client.connection.close()
                client.socket.close()

    def _hear(self, client: _Client, message: dict[str, Any]) -> None:
        if "figures" in message:
            client.tell(self._figures())
        elif "spec" in message:
            self._prepare(client, message)
        else:
            number = message["encoder"]
            request = _Request(client, number, message["slot"], message["rows"])
            client.stations[number].queue.append(request)

    def _prepare(self, client: _Client, message: dict[str, Any]) -> None:
        _, descriptors, _, _ = socket.recv_fds(client.socket, 1, 1)
        number = message["encoder"]
        slots = slots_from_json(message, descriptors[0])
        slots.close_descriptor()
        identity = json.dumps(slots.spec.to_json(), sort_keys=True)
        try:
            if identity not in self._stations:
                encoder: Encoder = kept_encoder_for(slots.spec, self._device)
                self._stations[identity] = _Station(Launcher(encoder))
            seen = kept_probe(slots.spec, self._device)
        except (EncodersError, RuntimeError) as error:
            client.tell({"encoder": number, "error": str(error)})
            return
        client.slots[number], client.stations[number] = slots, self._stations[identity]
        client.tell({"encoder": number, "ready": True, "probe": seen})

    def _start(self, station: _Station) -> bool:
        """Start a launch if it is full, or if nothing else is under way; say whether."""
        launcher = station.launcher
        while station.queue and station.queue[0].client.gone:
            station.queue.popleft()
        if not station.queue or len(station.under_way) > launcher.most_under_way:
            return False
        if station.waiting_rows < launcher.most_rows and station.under_way:
            return False
        batch = launcher.buffer(torch.device("cpu"))
        segments, filled = [], 0
        for request, start, stop in _next_rows(station.queue, launcher.most_rows):
            rows = request.client.slots[request.encoder].batch(request.slot)[start:stop]
            batch[filled : filled + len(rows)] = rows
            segments.append((request, start, stop))
            filled += len(rows)
        try:
            launcher.start(batch, filled)
        except (EncodersError, RuntimeError) as error:
            for request, _, _ in segments:
                request.client.tell({"encoder": request.encoder, "error": str(error)})
            return True
        station.under_way.append(segments)
        self._launches += 1
        self._rows += filled
        self._padded_rows += launcher.most_rows - filled
        return True

    def _finish(self, station: _Station, wait: bool) -> None:
        while station.under_way:
            full = len(station.under_way) > station.launcher.most_under_way
            launched = station.launcher.finished(wait or full)
            if launched is None:
                return
            _give_back(launched, station.under_way.popleft())
            wait = False

    def _figures(self) -> dict[str, Any]:
        return {
            "device": self._device,
            "launches": self._launches,
            "rows": self._rows,
            "padded_rows": self._padded_rows,
            "busy_seconds": round(self._busy_s, 3),
            "waiting_seconds": round(self._waiting_s, 3),
        }


def _next_rows(queue: deque[_Request], most: int) -> Iterator[tuple[_Request, int, int]]:
    """Yield the rows of requests, in their order, that go into the next launch."""
    while queue and most:
        request = queue[0]
        start, stop = request.started, min(request.rows, request.started + most)
        request.started = stop
        most -= stop - start
        if stop == request.rows:
            queue.popleft()
        yield request, start, stop


def _give_back(launched: Launched, segments: list[tuple[_Request, int, int]]) -> None:
    """Write tokens where the workers look for them, and tell those whose slot is complete."""
    taken = 0
    for request, start, stop in segments:
        slots = request.client.slots[request.encoder]
        rows = slice(taken, taken + stop - start)
        slots.tokens(request.slot)[start:stop] = launched.data[rows]
        slots.saturated(request.slot)[start:stop] = (
            0 if launched.saturated is None else launched.saturated[rows]
        )
        taken += stop - start
        request.done += stop - start
        if request.done == request.rows:
            request.client.tell({"encoder": request.encoder, "slot": request.slot})


def _is_ours(accepted: socket.socket) -> bool:
    """Say whether who connects belongs to this user: abstract addresses have no permissions of their own."""
    credentials = accepted.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    return int.from_bytes(credentials[4:8], sys.byteorder) == os.getuid()
