"""How the commands end: one clear line and an exit code, never a traceback for a user's mistake."""

from __future__ import annotations

import errno
import os
import signal
import sys
from collections.abc import Callable
from functools import wraps
from typing import Any, NoReturn, TypeVar

import click

FAILED, WRONG_USE, WITH_FAILURES, INTERRUPTED = 1, 2, 3, 130
Command = TypeVar("Command", bound=Callable[..., Any])


def speaks(command: Command) -> Command:
    """Turn errors into one clear line and the right exit code; never a traceback for a user's mistake."""

    @wraps(command)
    def run(*args: Any, **kwargs: Any) -> Any:
        try:
            signal.signal(signal.SIGTERM, signal.default_int_handler)  # a cluster's way to say Ctrl-C
            return command(*args, **kwargs)
        except (BrokenPipeError, click.ClickException, click.exceptions.Exit):
            raise
        except KeyboardInterrupt:
            fail("stopped; what is finished stays. Run the same command again to go on.", INTERRUPTED)
        except Exception as error:
            code = exit_code_of(error)
            if code is None:
                raise
            fail(_words(error), code)

    return run  # type: ignore[return-value]


def _words(error: Exception) -> str:
    """Return an error's message, without the number that Python puts before those of the system."""
    if isinstance(error, OSError) and error.strerror == os.strerror(errno.ENOSPC):
        return "the disk is full: make room, then run the same command again"
    if isinstance(error, OSError) and error.strerror and not error.filename:
        return error.strerror
    return str(error)


def exit_code_of(error: Exception) -> int | None:
    """Return the exit code for an error that a user can do something about; None for a bug of ours."""
    from encoders.errors import EncodersError
    from ingest.errors import IngestError, WrongUse
    from shards.errors import ShardsError

    if isinstance(error, WrongUse):
        return WRONG_USE
    if isinstance(error, (IngestError, ShardsError, EncodersError, OSError)):
        return FAILED
    return None


def fail(message: str, code: int) -> NoReturn:
    """Say what is wrong and end."""
    click.echo(f"fifth: {message}", err=True)
    sys.exit(code)
