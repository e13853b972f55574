"""Bytes from elsewhere, through fsspec: asked for again where they do not come, checked when they do."""

from __future__ import annotations

import hashlib
import os
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, BinaryIO, TypeVar

from shards.errors import CannotFetch, DamagedDataset, MissingPackage
from shards.remote.options import RemoteOptions

_FETCHES = 3
"""How often a file is fetched that arrives damaged."""
_FINAL = (FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError)
"""What does not get better by asking again."""

Result = TypeVar("Result")


@dataclass(frozen=True)
class Expected:
    """What a file must be."""

    size_bytes: int
    sha256: str


class Transfer:
    """Reads the files of one remote folder. May be used by several threads, and by a forked process."""

    def __init__(self, url: str, options: RemoteOptions) -> None:
        """Touch nothing as yet.

        Raises:
            CannotFetch: the address has a query, to which no name can be added.
        """
        if url.startswith(("http://", "https://")) and "?" in url:
            raise CannotFetch(f"{url.partition('?')[0]}: a dataset's address must have no query (?...)")
        self.url = url.rstrip("/")
        self._options = options
        self._opened: tuple[int, Any, str] | None = None

    def whole(self, name: str) -> bytes:
        """Return a small file.

        Raises:
            FileNotFoundError: there is none.
            CannotFetch: it can't be had.
            MissingPackage: what reads such addresses is not installed.
        """
        return self._again(name, lambda fs, root: bytes(fs.cat_file(f"{root}/{name}")))

    def copy(self, name: str, expected: Expected, file: BinaryIO) -> None:
        """Write a file's bytes to `file`, from its first byte on; fetch it anew where it comes damaged.

        Raises:
            DamagedDataset: it comes damaged again and again; the message says what to do.
            FileNotFoundError, CannotFetch, MissingPackage: as in `whole`.
        """
        for _ in range(_FETCHES):
            file.seek(0)
            got = hashlib.sha256()
            for start in range(0, expected.size_bytes, self._options.part_bytes):
                stop = min(start + self._options.part_bytes, expected.size_bytes)
                part = self._part(name, start, stop)
                got.update(part)
                file.write(part)
            if got.hexdigest() == expected.sha256:
                return
        raise DamagedDataset(
            f"{self.url}/{name}: came {_FETCHES} times, and is not the file that the dataset's tables name "
            f"(sha256 {got.hexdigest()}, not {expected.sha256}); run `fifth verify` where the dataset is, "
            "and copy the file there again, or make it again"
        )

    def _part(self, name: str, start: int, stop: int) -> bytes:
        def ask(fs: Any, root: str) -> bytes:
            data: bytes = fs.cat_file(f"{root}/{name}", start=start, end=stop)
            if len(data) > stop - start:  # a server that knows no ranges sends everything
                data = data[start:stop]
            if len(data) < stop - start:
                raise OSError(f"{len(data)} bytes came, not {stop - start}")
            return data

        return self._again(name, ask)

    def _again(self, name: str, ask: Callable[[Any, str], Result]) -> Result:
        """Ask until an answer comes, with longer and longer pauses."""
        fs, root = self._filesystem()
        pause_s = self._options.first_pause_s
        for number in range(1, self._options.tries + 1):
            try:
                return ask(fs, root)
            except _FINAL:
                raise
            except Exception as error:  # each library has its own errors for a network that fails
                if number == self._options.tries:
                    cause = f"{type(error).__name__}: {error}".rstrip(": ")
                    raise CannotFetch(
                        f"{self.url}/{name}: can't be had; tried {number} times, the last time: {cause}. "
                        "Check address, credentials (storage_options) and network, then go on where you were."
                    ) from error
            time.sleep(random.uniform(0, pause_s))  # noqa: S311  # jitter, not secrecy
            pause_s = min(2 * pause_s, self._options.longest_pause_s)
        raise AssertionError("the last try returns or raises")

    def _filesystem(self) -> tuple[Any, str]:
        """Return fsspec's file system and the folder in it; one per process, for a fork can't share it."""
        if self._opened is None or self._opened[0] != os.getpid():
            self._opened = (os.getpid(), *self._open())
        return self._opened[1:]

    def _open(self) -> tuple[Any, str]:
        protocol = self.url.partition("://")[0]
        install = f"pip install 'fifth[{'gcs' if protocol in ('gs', 'gcs') else 'remote'}]'"
        try:
            import fsspec
            from fsspec.core import url_to_fs
        except ImportError as error:
            raise MissingPackage(f"{self.url}: reading it needs fsspec; {install}") from error
        try:
            fsspec.get_filesystem_class(protocol)
            options = _timeouts(protocol, self._options.timeout_s) | dict(self._options.storage_options)
            fs, root = url_to_fs(self.url, skip_instance_cache=True, **options)
        except ImportError as error:
            raise MissingPackage(f"{self.url}: {error}; {install}") from error
        except ValueError as error:
            raise CannotFetch(f"{self.url}: {error}") from error
        return fs, root.rstrip("/")

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_opened": None}


def _timeouts(protocol: str, timeout_s: float) -> dict[str, Any]:
    """Return the options that end a silent connection; trying again is ours."""
    if protocol in ("http", "https"):
        import aiohttp

        timeout = aiohttp.ClientTimeout(total=None, sock_connect=timeout_s, sock_read=timeout_s)
        return {"client_kwargs": {"timeout": timeout}}
    if protocol in ("s3", "s3a"):
        config = {"connect_timeout": timeout_s, "read_timeout": timeout_s, "retries": {"max_attempts": 1}}
        return {"config_kwargs": config}
    return {}
