"""Downloads of plain addresses: kept when broken off, resumed, checked."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from http import HTTPStatus
from http.client import HTTPException
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

_BLOCK = 1024 * 1024
_PATIENCE = 30.0
"""Seconds without a byte after which a server is taken for dead."""


def resume(url: str, part: Path, on_progress: Callable[[int, int], None] = lambda _done, _size: None) -> None:
    """Append to `part` what of `url` is missing; a server that does not know ranges sends all of it again.

    Args:
        url: An http(s) address that we or a recipe name.
        part: The file so far; made if need be.
        on_progress: Called with the bytes on disk and the size of the whole, 0 where it is not told.

    Raises:
        OSError: the address cannot be reached or does not speak HTTP (`URLError`, `TimeoutError`, `ConnectionError`),
            or the disk refuses; what had come is kept.
    """
    have = part.stat().st_size if part.is_file() else 0
    request = Request(url, headers={"Range": f"bytes={have}-"} if have else {})  # noqa: S310 (a fixed address)
    try:
        with urlopen(request, timeout=_PATIENCE) as answer:  # noqa: S310
            resumes = answer.status == HTTPStatus.PARTIAL_CONTENT
            size = int(answer.headers.get("Content-Length", 0)) + (have if resumes else 0)
            with part.open("ab" if resumes else "wb") as out:
                while block := answer.read(_BLOCK):
                    out.write(block)
                    on_progress(out.tell(), size)
                if out.tell() < size:
                    raise ConnectionError(
                        f"broke off after {out.tell()} of {size} bytes; call again to go on from there"
                    )
    except HTTPError as error:
        if error.code != HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            raise
        # nothing is missing
    except (HTTPException, ValueError) as error:
        raise ConnectionError(f"the server's answer is malformed: {error!r}") from error


def sha256_of(file: Path) -> str:
    """Return the SHA-256 of a file's bytes, hexadecimal."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
