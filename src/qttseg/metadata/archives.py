"""Unpacking zip and tar archives that may be damaged or hostile: nothing lands outside the folder, nothing is endless."""

from __future__ import annotations

import bz2
import gzip
import lzma
import re
import shutil
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Protocol, cast

from qttseg.errors import DatasetError

_OPENERS: tuple[tuple[bytes, Callable[..., _Readable]], ...] = (
    (b"\x1f\x8b", gzip.open),
    (b"BZh", bz2.open),
    (b"\xfd7zXZ", lzma.open),
)
_PACKED = frozenset({".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz"})
_LONGEST_HEADER = 2**20
_MOST_FOLDERS = 50
_UNREADABLE = (
    zipfile.BadZipFile,
    tarfile.TarError,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    EOFError,
    ValueError,
    NotImplementedError,  # a compression that zipfile does not know
    RuntimeError,  # an encrypted member
)


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How much may come out of an archive.

    Attributes:
        size: Bytes of all members together.
        ratio: How many times the archive's own size they may take, where that is more than `harmless`.
        harmless: Bytes that any archive may hold, however small it is.
        members: Number of files and folders.
    """

    size: int = 2**38
    ratio: int = 100
    harmless: int = 2**28
    members: int = 2_000_000


@dataclass(frozen=True, kw_only=True)
class _Member:
    """One entry: its name, its bytes, and what it is if neither a file nor a folder."""

    name: str
    size: int
    folder: bool
    strange: str | None
    content: IO[bytes] | None


class _Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...
    def close(self) -> None: ...


def is_packed(name: str) -> bool:
    """Return whether a file of this name says that it is an archive; what it is, `is_archive` tells."""
    return PurePosixPath(name).suffix.lower() in _PACKED


def is_archive(file: Path) -> bool:
    """Return whether `file` looks like a zip or tar archive by its first bytes, whatever its name."""
    try:
        return file.is_file() and (zipfile.is_zipfile(file) or tarfile.is_tarfile(file))
    except (*_UNREADABLE, OSError):
        return False


def unpack(
    archive: Path, folder: Path, *, wanted: Callable[[str], bool] = lambda _name: True, limits: Limits | None = None
) -> list[str]:
    """Write files of a zip or tar (also gz, bz2 or xz) archive into `folder`, which is made where it is missing.

    Members are written as they come; hand in an empty folder, to be dropped whole if this fails.

    Args:
        archive: The archive.
        folder: Where to write.
        wanted: Whether a member is written, by its name with `/`; what is not wanted is looked at all the same.
        limits: How much may come out of the archive, whether wanted or not.

    Returns:
        The names of all files in the archive.

    Raises:
        DatasetError: the archive is damaged, encrypted or exceeds the limits; a member has an absolute name, one with
            `..`, or is a link or device; two members have one name; or the disk refuses. The member is named.
    """
    limits = limits or Limits()
    most = min(limits.size, max(limits.harmless, limits.ratio * archive.stat().st_size))
    at, total, names = "", 0, []
    try:
        for count, member in enumerate(_members(archive, most)):
            at, total = f"its member {member.name!r} ", total + member.size
            if total > most or count >= limits.members:
                raise DatasetError(
                    f"{archive}: with {member.name!r} more comes out than {most:,} bytes or {limits.members:,} files, "
                    "as in a decompression bomb; unpack it yourself if you trust it, and add the folder"
                )
            parts = _parts(archive, member)
            if not member.folder:
                names.append("/".join(parts))
            if wanted("/".join(parts)):
                _write(member, folder.joinpath(*parts))
    except (*_UNREADABLE, OSError) as error:
        raise DatasetError(f"{archive}: {at}cannot be unpacked ({error}); get it anew, or make room") from error
    return names


def _write(member: _Member, target: Path) -> None:
    if member.folder:
        target.mkdir(parents=True, exist_ok=True)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("xb") as out:  # a second member of that name is an error
        if member.content is not None:
            shutil.copyfileobj(member.content, out, 2**20)


def _parts(archive: Path, member: _Member) -> tuple[str, ...]:
    """Return the parts of a member's name, none of which leads out of the folder."""
    path = PurePosixPath(member.name.replace("\\", "/"))
    refused = f"{archive}: the member {member.name!r} is refused:"
    if member.strange is not None:
        raise DatasetError(f"{refused} it is a {member.strange}; pack plain files and folders only")
    if path.is_absolute() or ".." in path.parts or re.match(r"[A-Za-z]:/", str(path)):
        raise DatasetError(f"{refused} it would lie outside the folder; pack relative names without '..'")
    if len(path.parts) > _MOST_FOLDERS or (not path.parts and not member.folder):
        raise DatasetError(f"{refused} its name is {len(path.parts)} folders deep; pack the dataset's folder itself")
    return path.parts


def _members(archive: Path, most: int) -> Iterator[_Member]:
    """Yield the members one after the other; each must be read before the next."""
    if zipfile.is_zipfile(archive):
        yield from _of_zip(archive)
    else:
        yield from _of_tar(archive, most)


def _of_zip(archive: Path) -> Iterator[_Member]:
    with zipfile.ZipFile(archive) as opened:
        for info in opened.infolist():
            kind = stat.S_IFMT(info.external_attr >> 16)
            strange = None if kind in (0, stat.S_IFREG, stat.S_IFDIR) else "link or device"
            name = _zip_name(info)
            if info.is_dir() or strange:
                yield _Member(name=name, size=0, folder=True, strange=strange, content=None)
            else:
                with opened.open(info) as content:
                    yield _Member(name=name, size=info.file_size, folder=False, strange=None, content=content)


def _zip_name(info: zipfile.ZipInfo) -> str:
    """Return the member's name, which many tools write as UTF-8 without saying so."""
    if info.flag_bits & 0x800:
        return info.filename
    try:
        return info.filename.encode("cp437").decode("utf-8")
    except UnicodeError:
        return info.filename


def _of_tar(archive: Path, most: int) -> Iterator[_Member]:
    with archive.open("rb") as file:
        magic = file.read(6)
    opener: Callable[..., _Readable] = next((opener for start, opener in _OPENERS if magic.startswith(start)), open)
    with (
        closing(_Fuse(opener(archive, "rb"))) as fuse,
        tarfile.open(fileobj=cast("IO[bytes]", fuse), mode="r|") as opened,
    ):
        fuse.allow(_LONGEST_HEADER)
        for info in opened:
            strange = None if info.isreg() or info.isdir() else "link or device"
            size = info.size if info.isreg() else 0
            fuse.allow(min(size, most) + _LONGEST_HEADER)
            content = opened.extractfile(info) if info.isreg() else None
            yield _Member(name=info.name, size=size, folder=info.isdir(), strange=strange, content=content)
            while content is not None and content.read(2**20):
                pass  # so that what comes next can be nothing but a header
            fuse.allow(_LONGEST_HEADER)


class _Fuse:
    """Stops a tar whose header is a bomb: hands on no more bytes than were allowed since it was last asked."""

    def __init__(self, stream: _Readable) -> None:
        self._stream = stream
        self._left = _LONGEST_HEADER

    def allow(self, size: int) -> None:
        self._left = size

    def read(self, size: int) -> bytes:
        self._left -= size
        if self._left < 0:
            raise tarfile.ReadError("a header without end")
        return self._stream.read(size)

    def close(self) -> None:
        self._stream.close()
