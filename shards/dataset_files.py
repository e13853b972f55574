"""Where a dataset's files are: in a local folder, or elsewhere and brought here when asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Protocol

from shards.folder import DatasetFolder
from shards.regular_file import open_regular

if TYPE_CHECKING:
    from shards.remote.options import RemoteOptions


class Files(Protocol):
    """A dataset's files, by their names in it (`shards/video-000000.tar`)."""

    @property
    def folder(self) -> Path:
        """Where the files are, or come to be."""

    def path(self, name: str) -> Path:
        """Return the local path of a file. One from elsewhere is brought here first.

        Raises:
            FileNotFoundError: there is no such file.
        """

    def open(self, name: str) -> BinaryIO:
        """Return a file, opened for reading. It stays while it is open or mapped."""

    def expect(self, names: Sequence[str]) -> None:
        """Learn which files will be asked for next, most urgent first. May do nothing."""


@dataclass(frozen=True)
class LocalFiles:
    """A dataset in a local folder."""

    folder: Path

    def path(self, name: str) -> Path:
        """Return where the file is."""
        return self.folder / name

    def open(self, name: str) -> BinaryIO:
        """Open the file."""
        return open_regular(self.folder / name)

    def expect(self, names: Sequence[str]) -> None:
        """Do nothing: the files are here."""


def files_of(dataset: Path | str, remote: RemoteOptions | None = None) -> Files:
    """Return the files of a dataset, by its folder or address.

    Args:
        dataset: a folder, or an address for fsspec (`https://…`, `s3://…`, `gs://…`, `hf://…`).
        remote: how an address is read.

    Raises:
        NotADataset, DamagedDataset, CannotFetch, MissingPackage: for an address, as `RemoteFiles`.
    """
    if isinstance(dataset, str) and "://" in dataset:
        if not dataset.startswith("file://"):
            from shards.remote.files import RemoteFiles  # needs more than numpy

            return RemoteFiles(dataset, remote)
        dataset = dataset.removeprefix("file://")
    return LocalFiles(Path(dataset))


def is_address(dataset: Path | str) -> bool:
    """Tell whether this is an address of somewhere else, not a folder."""
    return isinstance(dataset, str) and "://" in dataset and not dataset.startswith("file://")


def folder_of(dataset: Path | str, remote: RemoteOptions | None = None) -> DatasetFolder:
    """Return the folder in which a dataset is made, here or on an object store.

    Args:
        dataset: a folder, or an address (`s3://…`, `gs://…`).
        remote: how the store is asked.

    Raises:
        CannotCreate: nothing can be written at such an address.
    """
    if is_address(dataset):
        from shards.remote.mirrored_folder import MirroredFolder  # needs more than numpy

        return MirroredFolder(str(dataset), remote)
    return DatasetFolder(str(dataset).removeprefix("file://"))
