"""Runs many inputs in forked processes: what ends its process, hangs, grows or leaves its folder is caught.

The parent imports everything once. A child takes inputs until it dies or a batch is done; the input that
ended it is run once more alone, and the rest goes on in the next child.
"""

from __future__ import annotations

import contextlib
import faulthandler
import json
import os
import resource
import select
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

MIB = 1 << 20
WRITING = (
    "os.mkdir",
    "os.rename",
    "os.remove",
    "os.rmdir",
    "os.symlink",
    "os.link",
    "os.truncate",
    "os.chmod",
)
FOREIGN = (
    "socket.connect",
    "subprocess.Popen",
    "os.exec",
    "os.posix_spawn",
    "os.system",
    "os.fork",
    "import_pickle",
)
CANARY = "nothing may touch this"


_PAUSED: list[bool] = []


@contextlib.contextmanager
def unwatched() -> Iterator[None]:
    """Let the harness itself put things where none may be put."""
    _PAUSED.append(True)
    yield
    _PAUSED.clear()


@dataclass(frozen=True)
class Limits:
    """What one input may take."""

    cpu_seconds: float = 30.0
    wall_seconds: float = 300.0
    memory_bytes: int = 1 << 30
    """More than the process had before."""
    address_bytes: int = 6 << 30
    file_bytes: int = 3 << 29


@dataclass(frozen=True)
class Result:
    """What became of one input."""

    number: int
    outcome: str
    """`used`, `reported`, `unmade` (by the harness), or a defect: `crash`, `hang`, `memory`, `escape`,
    `foreign` (an error that is not ours), `silent` (neither content nor a word), `wrong` (its output).
    """
    about: str = ""
    """A defect's cause, short: equal for equal causes."""
    detail: str = ""
    seconds: float = 0.0
    grown_bytes: int = 0
    facts: dict[str, Any] = field(default_factory=dict)


Make = Callable[[int], Any]
"""Makes an input by its number."""
Run = Callable[[Any, int, Path], tuple[str, str, str]]
"""Runs an input, with its number, in a folder of its own; returns outcome, cause and detail."""


class ForkServer:
    """Runs inputs one after the other, each in a folder of its own."""

    def __init__(
        self, make: Make, run: Run, limits: Limits, batch: int = 150, scratch: Path | None = None
    ) -> None:
        self._make, self._run, self._limits, self._batch = make, run, limits, batch
        self._scratch = scratch

    def results(self, numbers: Sequence[int]) -> Iterator[Result]:
        """Yield the result of every input, in their order."""
        waiting = list(numbers)
        while waiting:
            batch = waiting[: self._batch]
            found = list(self._of_child(batch))
            last = found[-1] if found else None
            if last is not None and last.outcome in ("crash", "hang") and len(batch) > 1:
                again = list(self._of_child([last.number]))[-1]
                if again.outcome not in ("crash", "hang", "memory"):
                    again = Result(last.number, last.outcome, f"not alone: {last.about}", last.detail)
                found[-1] = again
            yield from found
            waiting = waiting[len(found) :]

    def _of_child(self, numbers: Sequence[int]) -> Iterator[Result]:
        root = Path(tempfile.mkdtemp(prefix="fuzz-", dir=self._scratch))
        trace = tempfile.TemporaryFile()  # noqa: SIM115 (the child writes to it as well)
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reading)
            code = 0
            try:
                _Child(self._make, self._run, self._limits, root, trace).work(numbers, writing)
            except BaseException:
                traceback.print_exc()
                code = 99
            os._exit(code)
        os.close(writing)
        yield from self._heard(child, reading, numbers, trace)
        trace.close()
        shutil.rmtree(root, ignore_errors=True)

    def _heard(self, child: int, reading: int, numbers: Sequence[int], trace: IO[bytes]) -> Iterator[Result]:
        ended, buffer = 0, b""
        deadline = time.monotonic() + self._limits.wall_seconds
        killed = False
        while True:
            ready, _, _ = select.select([reading], [], [], max(0.0, deadline - time.monotonic()))
            if not ready:
                os.kill(child, signal.SIGKILL)
                killed = True
                break
            data = os.read(reading, 1 << 16)
            if not data:
                break
            buffer += data
            *lines, buffer = buffer.split(b"\n")
            for line in lines:
                yield Result(**json.loads(line))
                ended += 1
                deadline = time.monotonic() + self._limits.wall_seconds
        os.close(reading)
        _, status = os.waitpid(child, 0)
        if ended < len(numbers):
            yield self._ended(numbers[ended], status, killed, trace)

    def _ended(self, number: int, status: int, killed: bool, trace: IO[bytes]) -> Result:
        trace.seek(0)
        said = trace.read().decode("utf-8", "replace")
        where = _where(said)
        if killed:
            return Result(number, "hang", f"no answer for {self._limits.wall_seconds:g} s", said)
        code = os.waitstatus_to_exitcode(status)
        if code == -signal.SIGPROF:
            return Result(number, "hang", f"more than {self._limits.cpu_seconds:g} s of CPU: {where}", said)
        if code < 0:
            return Result(number, "crash", f"{signal.strsignal(-code)}: {where}", said)
        return Result(number, "crash", f"exit code {code}: {where}", said)


def _where(said: str) -> str:
    """Return the innermost lines of a fault's traceback that are ours or of a library."""
    lines = [line.strip() for line in said.splitlines() if line.strip().startswith("File ")]
    ours = [line for line in lines if "/ingest/" in line or "/shards/" in line or "/encoders/" in line]
    return " < ".join(dict.fromkeys([*lines[:1], *ours[:1]]))


class _Child:
    def __init__(self, make: Make, run: Run, limits: Limits, root: Path, trace: IO[bytes]) -> None:
        self._make, self._run, self._limits, self._root = make, run, limits, root
        self._escapes: list[str] = []
        self._watching = False
        self._trace = trace

    def work(self, numbers: Sequence[int], writing: int) -> None:
        limits = self._limits
        for what, most in (
            (resource.RLIMIT_AS, _status("VmSize") + limits.address_bytes),
            (resource.RLIMIT_FSIZE, limits.file_bytes),
            (resource.RLIMIT_CORE, 0),
        ):
            resource.setrlimit(what, (most, most))
        quiet = os.open(os.devnull, os.O_WRONLY)
        os.dup2(quiet, 1)
        if not os.environ.get("FUZZ_LOUD"):
            os.dup2(quiet, 2)
        faulthandler.enable(self._trace)
        signal.signal(signal.SIGPROF, signal.SIG_DFL)
        faulthandler.register(signal.SIGPROF, self._trace, all_threads=False, chain=True)
        canary = self._root / "canary"
        canary.mkdir()
        (canary / "secret").write_text(CANARY)
        os.environ["TMPDIR"] = str(self._root / "tmp")
        tempfile.tempdir = str(self._root / "tmp")
        sys.addaudithook(self._audit)
        for number in numbers:
            result = self._one(number)
            line = json.dumps(result.__dict__).encode() + b"\n"
            while line:
                line = line[os.write(writing, line) :]

    def _one(self, number: int) -> Result:
        work, tmp = self._root / "work", self._root / "tmp"
        work.mkdir()
        tmp.mkdir()
        self._escapes = []
        self._trace.seek(0)
        self._trace.truncate()
        try:
            given = self._make(number)
        except Exception:
            _remove(work)
            _remove(tmp)
            return Result(number, "unmade", _cause(), traceback.format_exc())
        Path("/proc/self/clear_refs").write_text("5")
        before, begun = _status("VmRSS"), time.process_time()
        signal.setitimer(signal.ITIMER_PROF, self._limits.cpu_seconds)
        self._watching = True
        try:
            outcome, about, detail = self._run(given, number, work)
        except MemoryError:
            outcome, about, detail = "memory", _cause(), traceback.format_exc()
        except Exception:
            outcome, about, detail = "foreign", _cause(), traceback.format_exc()
        finally:
            self._watching = False
            signal.setitimer(signal.ITIMER_PROF, 0)
        seconds, grown = time.process_time() - begun, _status("VmHWM") - before
        self._look_around()
        if self._escapes:
            outcome, about, detail = "escape", self._escapes[0], "\n".join(self._escapes)
        elif grown > self._limits.memory_bytes:
            outcome, about = "memory", about or f"took {grown >> 20} MiB"
        _remove(work)
        _remove(tmp)
        return Result(number, outcome, about[:600], detail[-8000:], round(seconds, 4), grown)

    def _audit(self, event: str, args: tuple[Any, ...]) -> None:
        if not self._watching or _PAUSED:
            return
        if event == "open":
            path, mode, flags = args
            writes = (
                bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND))
                if flags
                else False
            )
            if isinstance(path, (str, bytes)):
                text = os.fsdecode(path)
                if (writes and not self._is_inside(text)) or text.endswith("/canary/secret"):
                    self._tell(f"open {mode or flags} {self._plain(text)}")
        elif event in WRITING:
            folders = [arg for arg in args if isinstance(arg, int) and arg > 2]
            for path in args[: 2 if event in ("os.rename", "os.link") else 1]:
                if not isinstance(path, (str, bytes)):
                    continue
                text = os.fsdecode(path)
                if event == "os.remove" and folders and "/" not in text:
                    text = f"{os.path.realpath(f'/proc/self/fd/{folders[-1]}')}/{text}"
                if not self._is_inside(text):
                    self._tell(f"{event} {self._plain(text)}")
        elif event in FOREIGN or event == "pickle.find_class":
            self._tell(f"{event} {str(args)[:200]}")

    def _tell(self, what: str) -> None:
        self._watching = False
        stack = [frame for frame in traceback.extract_stack() if _is_ours(frame.filename)]
        self._escapes.append(f"{what} in {_frames(stack)}")
        self._watching = True

    def _plain(self, path: str) -> str:
        return path.replace(str(self._root), "ROOT")

    def _is_inside(self, path: str) -> bool:
        if path in (os.devnull, "/dev/shm") or path.startswith(("/proc/self/", "/dev/fd/")):
            return True
        real = os.path.realpath(path)
        return any(real.startswith(f"{self._root}/{name}") for name in ("work", "tmp")) or real == str(
            self._root
        )

    def _look_around(self) -> None:
        """Note what lies beside the folders that may be written to."""
        names = sorted(entry.name for entry in self._root.iterdir())
        if names != ["canary", "tmp", "work"]:
            self._escapes.append(f"left {names} beside its folder")
        with contextlib.suppress(OSError):
            inside = [path.read_text() for path in (self._root / "canary").iterdir()]
            if inside == [CANARY]:
                return
        self._escapes.append("the canary was changed")


def _cause() -> str:
    error = sys.exc_info()[1]
    frames = traceback.extract_tb(error.__traceback__ if error else None)
    return f"{type(error).__name__} in {_frames([f for f in frames if _is_ours(f.filename)])}"


def _is_ours(filename: str) -> bool:
    return (
        any(f"/{name}/" in filename for name in ("ingest", "shards", "encoders"))
        and "site-packages" not in filename
    )


def _frames(frames: Sequence[traceback.FrameSummary]) -> str:
    return " < ".join(
        f"{'/'.join(Path(f.filename).parts[-2:])}:{f.lineno} {f.name}" for f in list(frames)[::-1][:3]
    )


def _status(name: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    return 0


def _remove(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    if folder.exists():
        for path in folder.rglob("*"):
            with contextlib.suppress(OSError):
                path.chmod(0o700)
        shutil.rmtree(folder, ignore_errors=True)
