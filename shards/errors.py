"""Errors of `shards`.

    ShardsError               anything this package raises on purpose
    ├── NotADataset           the folder holds no dataset
    │   └── NotFinished       it holds one whose manifest has yet to be written
    ├── CannotCreate          a dataset can't be made in this folder
    ├── DatasetLocked         another run is writing this dataset
    ├── DamagedDataset        a file of the dataset does not say what it must say
    ├── WrongLayout           a layout that can't be written
    ├── WrongSample           a sample that does not fit its layout
    ├── WrongPlan             a plan line or record that can't be written
    ├── UnknownName           no such layout, track or sample in this dataset
    ├── NothingToStream       the choice of tracks, split or windows leaves no sample
    ├── WrongState            a stream's state that belongs to another stream
    ├── WrongCondition        a condition on samples that can't be read
    ├── CannotReshard         datasets that can't be made into one
    ├── CannotFetch           a file of a remote dataset can't be had
    └── MissingPackage        an optional package is needed (also an `ImportError`)

`FileNotFoundError`, `PermissionError` and other `OSError`s (a full disk) pass through as they are.
"""


class ShardsError(Exception):
    """Anything this package raises on purpose."""


class NotADataset(ShardsError):
    """The folder holds no dataset."""


class NotFinished(NotADataset):
    """The folder holds a dataset whose manifest has yet to be written, or was outdated by a stopped run."""


class CannotCreate(ShardsError):
    """A dataset can't be made in this folder. The message says why, and what would do."""


class DatasetLocked(ShardsError):
    """Another run is writing this dataset. The message names its process."""


class DamagedDataset(ShardsError):
    """A file of the dataset does not say what it must say. The message names the file."""


class WrongLayout(ShardsError):
    """A layout that can't be written. The message says which part of it."""


class WrongSample(ShardsError):
    """A sample that does not fit its layout. Nothing of it was written; the writer is still usable."""


class WrongPlan(ShardsError):
    """A plan line or record that can't be written."""


class UnknownName(ShardsError):
    """No such layout, track or sample in this dataset. The message lists what is there."""


class NothingToStream(ShardsError):
    """The choice of tracks, split or windows leaves no sample. The message counts what was left out."""


class WrongState(ShardsError):
    """A stream's state that belongs to another stream. The message says what differs."""


class WrongCondition(ShardsError):
    """A condition on samples that can't be read. The message shows where."""


class CannotReshard(ShardsError):
    """Datasets that can't be made into one. The message says what does not agree."""


class CannotFetch(ShardsError):
    """A file of a remote dataset can't be had, however often it was tried. The message has the last cause."""


class MissingPackage(ShardsError, ImportError):
    """An optional package is needed. The message has the line that installs it."""
