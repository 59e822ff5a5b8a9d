"""Files that appear whole or not at all, on a local disk or any filesystem that pyarrow or fsspec knows."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
from pyarrow import fs

from qttseg.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Iterator

_ABANDONED_AFTER = 3600.0
"""Seconds after which a file written aside can only be what a killed writer left behind."""


class Folder:
    """A folder whose files are written aside, synced and renamed, so that no reader ever sees a torn one.

    Args:
        uri: A path, or a URI such as `s3://bucket/prefix`, `gs://bucket/prefix` or `memory://name`.

    Raises:
        StoreError: nothing installed can open the URI.
    """

    def __init__(self, uri: str | Path) -> None:
        self.uri = str(uri)
        self._filesystem, self._root = _open_filesystem(self.uri)
        self._is_local = isinstance(self._filesystem, fs.LocalFileSystem)

    def files(self, folder: str, suffix: str) -> dict[str, int]:
        """Return the sizes in bytes of the visible files of a sub-folder by their names, which sort by age."""
        return {
            f"{folder}/{info.base_name}": info.size
            for info in self._listed(folder)
            if info.base_name.endswith(suffix) and not info.base_name.startswith(".")
        }

    def open(self, name: str) -> pa.NativeFile:
        """Open a file for reading.

        Raises:
            FileNotFoundError: there is none of that name.
        """
        return self._filesystem.open_input_file(self._path(name))

    def write(self, name: str, content: bytes | pa.Buffer) -> None:
        """Write a file, replacing one of that name in a single step.

        Raises:
            StoreError: the disk is full or refuses; nothing has changed then.
        """
        folder, base = name.rpartition("/")[::2]
        final = self._path(name)
        aside = self._path(f"{folder}/.{base}.{secrets.token_hex(4)}")
        try:
            self._filesystem.create_dir(self._path(folder), recursive=True)
            with self._filesystem.open_output_stream(aside) as stream:
                stream.write(content)
            self._sync(aside)
            self._filesystem.move(aside, final)
            self._sync(self._path(folder))
        except (OSError, pa.ArrowException) as error:
            with suppress(OSError):
                self._filesystem.delete_file(aside)
            raise StoreError(
                f"cannot write {name} below {self.uri}: {error}. Nothing was changed; "
                "free some disk space or mend the permissions and run again"
            ) from error

    def delete(self, name: str) -> None:
        """Delete a file; one that is gone already is no error."""
        with suppress(FileNotFoundError):
            self._filesystem.delete_file(self._path(name))

    def sweep(self, folder: str, *, clock: Callable[[], float] = time.time) -> None:
        """Delete what writers that were killed an hour or longer ago left behind in a sub-folder."""
        for info in self._listed(folder):
            # Object stores show no unfinished files and may know no modification time.
            if info.base_name.startswith(".") and info.mtime and clock() - info.mtime.timestamp() > _ABANDONED_AFTER:
                self.delete(f"{folder}/{info.base_name}")

    def _listed(self, folder: str) -> Iterator[fs.FileInfo]:
        try:
            found = self._filesystem.get_file_info(fs.FileSelector(self._path(folder), allow_not_found=True))
        except OSError as error:
            raise StoreError(
                f"cannot list {folder} below {self.uri}: {error}; check the address and the access"
            ) from error
        return iter(sorted((info for info in found if info.is_file), key=lambda info: str(info.base_name)))

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}".rstrip("/")

    def _sync(self, path: str) -> None:
        """Make a local file, or the names in a local folder, survive a power cut."""
        if not self._is_local:
            return
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _open_filesystem(uri: str) -> tuple[fs.FileSystem, str]:
    if "://" not in uri:
        return fs.LocalFileSystem(), Path(uri).expanduser().absolute().as_posix()
    try:
        filesystem, root = fs.FileSystem.from_uri(uri)
    except pa.ArrowInvalid:
        try:
            filesystem, root = fs.FileSystem.from_uri(f"fsspec+{uri}")
        except (pa.ArrowException, ImportError, ValueError, OSError) as error:
            raise StoreError(
                f"cannot open {uri}: {error}; give a path or a URI that pyarrow or fsspec can open"
            ) from error
    except OSError as error:
        raise StoreError(f"cannot open {uri}: {error}; check the address and the credentials") from error
    return filesystem, root.rstrip("/")
