"""The processes that encode for all workers, one per GPU: workers decode, these launch (`encoder_server`).

Tokens depend on nothing but their row, so neither these processes nor who else is at work shows in the bytes.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
from multiprocessing.connection import Connection
from typing import Any, Literal

import torch

from ingest.configuration import Configuration
from ingest.encoder_client import abstract
from ingest.engine.local import ONE_THREAD, module_path
from ingest.errors import EncoderLost, WrongUse

EncodeIn = Literal["auto", "worker", "process"]

SHARED_BYTES = 1 << 30
"""Memory that all workers together share with the encoder processes, for each track's encoder."""

PROCESS = "from ingest.encoder_server import serve; serve()"
ANSWER_SECONDS = 120


class EncoderProcess:
    """The parent's hold on an encoder process. Use it as a context manager.

    Args:
        device: `cpu`, `cuda:0` …: where it encodes.
    """

    def __init__(self, device: str) -> None:
        self.device = device
        self.address = ""
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> EncoderProcess:
        self.ensure()
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    @property
    def runs(self) -> bool:
        """Whether the process is there."""
        return self._process is not None and self._process.poll() is None

    def close(self) -> None:
        """End it at once; what workers asked of it is lost."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def ensure(self) -> bool:
        """Start the process if it does not run; say whether it had to be started."""
        if self.runs:
            return False
        self.address = f"fifth-{os.getpid()}-{secrets.token_hex(8)}"
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(abstract(self.address))
            listener.listen(1024)
            environment = {
                **os.environ,
                **dict.fromkeys(ONE_THREAD, "1"),
                "PYTHONPATH": module_path(),
            }
            arguments = [str(listener.fileno()), str(os.getpid()), self.device]
            before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
            try:
                self._process = subprocess.Popen(  # noqa: S603
                    [sys.executable, "-P", "-c", PROCESS, *arguments],
                    env=environment, stdin=subprocess.DEVNULL, pass_fds=[listener.fileno()],
                )  # fmt: skip
            finally:
                signal.pthread_sigmask(signal.SIG_SETMASK, before)
        return True

    def figures(self) -> dict[str, Any]:
        """Return what it did so far: `launches`, `rows`, `padded_rows`, `busy_seconds`, `waiting_seconds`."""
        with socket.socket(socket.AF_UNIX) as ours:
            ours.connect(abstract(self.address))
            with Connection(os.dup(ours.fileno())) as connection:
                connection.send_bytes(b'{"figures": true}')
                if not connection.poll(ANSWER_SECONDS):
                    raise EncoderLost(f"the encoder process did not answer for {ANSWER_SECONDS} s")
                figures: dict[str, Any] = json.loads(connection.recv_bytes())
        return figures


def devices_for(encode_in: EncodeIn, device: str, configuration: Configuration) -> list[str]:
    """Return the devices that get an encoder process: none where the workers encode.

    Frames that the GPU's own decoder made lie in a worker's share of the GPU, so that worker encodes them.
    """
    if encode_in == "worker" or (encode_in == "auto" and not device.startswith("cuda")):
        return []
    if configuration.data["decoder"] == "nvdec":
        if encode_in == "process":
            raise WrongUse("--decoder nvdec encodes in its workers: --encode-in must be auto or worker")
        return []
    if device != "cuda":
        return [device]
    return [f"cuda:{number}" for number in range(torch.cuda.device_count())]


class EncoderProcesses:
    """The encoder processes of a run: tasks are dealt to them by turns, and one that died is started anew."""

    def __init__(self, devices: list[str], workers: int) -> None:
        self._processes = [EncoderProcess(device) for device in devices]
        self._slot_bytes = SHARED_BYTES // max(1, workers)

    def __enter__(self) -> EncoderProcesses:
        return self

    def __exit__(self, *exc: object) -> None:
        for process in self._processes:
            process.close()

    def for_task(self, number: int) -> dict[str, Any]:
        """Return what a task must be told of the process that encodes for it."""
        if not self._processes:
            return {"encoder_process": "", "slot_bytes": 0}
        process = self._processes[number % len(self._processes)]
        process.ensure()
        return {"encoder_process": process.address, "slot_bytes": self._slot_bytes}

    def figures(self) -> list[dict[str, Any]]:
        """Return what each did; nothing of one that was never needed, or has ended."""
        figures = []
        for process in self._processes:
            with contextlib.suppress(EncoderLost, OSError):  # it is told of, no more: the work is done
                figures += [process.figures()] if process.runs else []
        return figures
