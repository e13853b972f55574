"""Errors of `ingest`.

    IngestError                 anything this package raises on purpose
    ├── WrongUse                a value the user gave cannot work (exit code 2)
    │   └── ConfigurationChanged  the dataset was made with other settings
    ├── CannotOpen              a recording that cannot be read at all
    ├── CannotDecode            one packet or message that does not decode
    ├── EncoderLost             the process that encodes for the workers has ended
    ├── RecordingChanged        a recording is not the one that was planned any more
    ├── RecordingTouched        a recording was written to while it was read, and is what it was again
    └── ProbeDiffers            this machine's encoder gives other tokens than the dataset's

`FileNotFoundError`, `PermissionError` and other `OSError`s pass through as they are: they speak
of the machine, not of the recording.
"""


class IngestError(Exception):
    """Anything this package raises on purpose."""


class WrongUse(IngestError):
    """A value the user gave cannot work. The message says which, and what would."""


class ConfigurationChanged(WrongUse):
    """The dataset folder was made with other settings. The message shows the difference."""


class CannotOpen(IngestError):
    """A recording cannot be read at all. The message is the cause, without the path."""


class CannotDecode(IngestError):
    """One packet or message does not decode. The message is the cause, without the path."""


class EncoderLost(IngestError):
    """The process that encodes for the workers has ended. What was asked of it can be asked again."""


class RecordingChanged(IngestError):
    """A recording is not the one that was planned any more."""


class RecordingTouched(IngestError):
    """A recording was written to while it was read, and is what it was again: it can be read again."""


class ProbeDiffers(IngestError):
    """An encoder gives other tokens here than where the dataset was planned: nothing may be written."""
