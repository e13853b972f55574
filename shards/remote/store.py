"""One place elsewhere (a bucket, a host, a folder of one), asked through fsspec until it answers.

Every question is asked again with growing, random pauses where the place is throttling, breaks off or is
silent: a bounded number of times, then it is `CannotFetch`. What does not get better by asking is not asked
again. Credentials and endpoints are fsspec's own matter (environment, `~/.config/fsspec`, `storage_options`).
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, NamedTuple, TypeVar

from shards.errors import CannotFetch, MissingPackage
from shards.remote.options import RemoteOptions

_FINAL = (FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError, FileExistsError)
"""What does not get better by asking again."""
_WAYS_ON = "Check address, credentials (storage_options) and network, then go on where you were."
_IDENTITY = ("ETag", "etag", "generation", "VersionId", "Last-Modified", "LastModified", "updated", "mtime")
"""What the different places call that by which an object can be told from another one of the same name."""

Result = TypeVar("Result")
Ask = Callable[[Any, str], Result]
"""Given fsspec's file system and the root in it."""


class Facts(NamedTuple):
    """What a place says of an object."""

    size_bytes: int
    identity: str
    """Changes when the object does; of places that tell nothing else, only the size."""
    has_ranges: bool
    """Whether parts of it can be asked for."""


class Store:
    """Asks one place. May be used by several threads, and by a forked process."""

    def __init__(self, url: str, options: RemoteOptions) -> None:
        """Touch nothing as yet."""
        self.url = url.rstrip("/")
        self.options = options
        self.asked_again = 0
        """How often a question had to be asked again so far."""
        self.last_cause = ""
        """Why, the last time."""
        self._opened: tuple[int, Any, str] | None = None

    @property
    def protocol(self) -> str:
        """What the address begins with, such as `s3`."""
        return self.url.partition("://")[0]

    def ask(self, name: str, ask: Ask[Result]) -> Result:
        """Ask until an answer comes, with longer and longer pauses.

        Args:
            name: of what is asked for, below the root; for messages.
            ask: asks once.

        Raises:
            CannotFetch: no answer came, however often it was tried.
            MissingPackage: what reads such addresses is not installed.
            FileNotFoundError, PermissionError: as they are.
        """
        fs, root = self._filesystem()
        pause_s = self.options.first_pause_s
        for number in range(1, self.options.tries + 1):
            try:
                return ask(fs, root)
            except _FINAL:
                raise
            except Exception as error:  # each library has its own errors for a network that fails
                self.last_cause = f"{type(error).__name__}: {error}".rstrip(": ")
                if number == self.options.tries:
                    raise CannotFetch(
                        f"{self.url}/{name}: can't be had; tried {number} times, the last time: "
                        f"{self.last_cause}. {_WAYS_ON}"
                    ) from error
            self.asked_again += 1
            time.sleep(random.uniform(0, pause_s))  # noqa: S311  # jitter, not secrecy
            pause_s = min(2 * pause_s, self.options.longest_pause_s)
        raise AssertionError("the last try returns or raises")

    def part(self, name: str, start: int, stop: int) -> bytes:
        """Return bytes [start, stop) of an object, which has them. Raises what `ask` does."""

        def ask(fs: Any, root: str) -> bytes:
            data: bytes = fs.cat_file(f"{root}/{name}", start=start, end=stop)
            if len(data) > stop - start:  # a server that knows no ranges sends everything
                data = data[start:stop]
            if len(data) < stop - start:
                raise OSError(f"{len(data)} bytes came, not {stop - start}")
            return data

        return self.ask(name, ask)

    def whole(self, name: str) -> bytes:
        """Return a small object. Raises what `ask` does."""
        return self.ask(name, lambda fs, root: bytes(fs.cat_file(f"{root}/{name}")))

    def remove(self, name: str) -> None:
        """Remove an object, or see that there is none. Raises what `ask` does."""
        with suppress(FileNotFoundError):
            self.ask(name, lambda fs, root: fs.rm_file(f"{root}/{name}"))

    def facts(self, name: str) -> Facts:
        """Ask what there is under a name now. Raises what `ask` does."""

        def ask(fs: Any, root: str) -> dict[str, Any]:
            fs.invalidate_cache()
            info: dict[str, Any] = fs.info(f"{root}/{name}")
            if info.get("type") == "directory":
                raise FileNotFoundError(f"no such object: {self.url}/{name}")
            return info

        info = self.ask(name, ask)
        if info.get("size") is None:
            raise CannotFetch(f"{self.url}/{name}: its server does not tell its size; copy it here first")
        told = (str(info[key]) for key in _IDENTITY if info.get(key))
        return Facts(info["size"], f"{info['size']} {next(told, '')}", info.get("partial", True))

    def listed(self, prefix: str) -> Iterator[str]:
        """Yield the names of all objects below a folder, a page at a time: nothing is kept.

        In no certain order, and a name may come twice.

        Args:
            prefix: the folder, without a slash at its end; "" is the root.
        """
        pages = self._s3_pages(prefix) if self.protocol in ("s3", "s3a") else self._folders(prefix)
        for page in pages:
            yield from page

    def _s3_pages(self, prefix: str) -> Iterator[list[str]]:
        inside = prefix + "/" if prefix else ""
        token: dict[str, str] = {}
        while True:

            def ask(fs: Any, root: str, token: dict[str, str] = token) -> Any:
                bucket, _, above = root.partition("/")
                full = f"{above}/{inside}" if above else inside
                page = fs.call_s3("list_objects_v2", Bucket=bucket, Prefix=full, MaxKeys=1000, **token)
                cut = len(above) + 1 if above else 0
                return page, [entry["Key"][cut:] for entry in page.get("Contents", [])]

            page, names = self.ask(prefix, ask)
            yield [name for name in names if not name.endswith("/")]
            if not page.get("IsTruncated"):
                return
            token = {"ContinuationToken": page["NextContinuationToken"]}

    def _folders(self, prefix: str) -> Iterator[list[str]]:
        """Yield the names in each folder: what every file system of fsspec can do."""
        waiting = [prefix]
        while waiting:
            folder = waiting.pop()

            def ask(fs: Any, root: str, folder: str = folder) -> Any:
                fs.invalidate_cache()
                place = f"{root}/{folder}".rstrip("/")
                try:
                    return fs.ls(place, detail=True), len(root.strip("/")) + 1
                except FileNotFoundError:  # a folder of an object store is there while something is in it
                    return [], 0

            entries, cut = self.ask(folder, ask)
            names: list[str] = []
            for entry in entries:
                name = entry["name"].strip("/")[cut:]
                if name and name != folder:
                    (waiting if entry["type"] == "directory" else names).append(name)
            yield names

    def _filesystem(self) -> tuple[Any, str]:
        """Return fsspec's file system and the folder in it; one per process, for a fork can't share it."""
        if self._opened is None or self._opened[0] != os.getpid():
            self._opened = (os.getpid(), *self._open())
        return self._opened[1:]

    def _open(self) -> tuple[Any, str]:
        install = f"pip install 'fifth[{'gcs' if self.protocol in ('gs', 'gcs') else 'remote'}]'"
        try:
            import fsspec
            from fsspec.core import url_to_fs
        except ImportError as error:
            raise MissingPackage(f"{self.url}: reading it needs fsspec; {install}") from error
        try:
            fsspec.get_filesystem_class(self.protocol)
            options = _timeouts(self.protocol, self.options.timeout_s) | dict(self.options.storage_options)
            fs, root = url_to_fs(self.url, skip_instance_cache=True, **options)
        except ImportError as error:
            raise MissingPackage(f"{self.url}: {error}; {install}") from error
        except ValueError as error:
            raise CannotFetch(f"{self.url}: {error}") from error
        if hasattr(fs, "retries"):  # s3fs tries again by itself, unseen
            fs.retries = 1
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
        once = {"total_max_attempts": 1}
        return {"config_kwargs": {"connect_timeout": timeout_s, "read_timeout": timeout_s, "retries": once}}
    return {}
