"""Folders that appear whole or not at all: filled beside their place, then renamed."""

from __future__ import annotations

import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from qttseg.errors import DatasetError, QttSegError


def check_free(target: Path, *, refusal: type[QttSegError] = DatasetError) -> None:
    """Check that `target` can be made.

    Raises:
        QttSegError: as `refusal`; it exists and is no empty folder.
    """
    if target.is_symlink() or target.is_file() or (target.is_dir() and any(target.iterdir())):
        raise refusal(f"{target} exists and is not empty; choose another name, or move it away")


@contextmanager
def appearing(target: Path, *, refusal: type[QttSegError] = DatasetError) -> Iterator[Path]:
    """Give an empty folder to fill, which becomes `target` in one step when the block ends, and vanishes if it fails.

    The folder lies beside `target`, so in the same file system. Of two processes that make the same `target` one wins.
    While the block runs, the folder is locked (`flock`); see `sweep`.

    Args:
        target: What is to appear; there may be an empty folder of that name.
        refusal: The error to raise.

    Raises:
        QttSegError: as `refusal`; `target` exists, or the disk is full or refuses. Nothing is left behind then.
    """
    target = target.absolute()
    check_free(target, refusal=refusal)
    aside = hidden_beside(target)
    lock = None
    try:
        aside.mkdir(parents=True)
        lock = _lock(aside)
        yield aside
        aside.rename(target)
    except OSError as error:
        if target.exists() and aside.exists():
            raise refusal(f"{target} was made by another process meanwhile; nothing was changed") from error
        raise refusal(
            f"{target} cannot be written: {error}; nothing was left behind. Make room or mend the permissions"
        ) from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)
        if lock is not None:
            os.close(lock)


def hidden_beside(target: Path) -> Path:
    """Return a path beside `target` that nobody else uses and no listing shows."""
    return target.with_name(f".{target.name[:40]}.{secrets.token_hex(4)}")


def sweep(parent: Path) -> None:
    """Delete the hidden folders in `parent` that killed processes left behind: those that nobody locks."""
    for folder in parent.glob(".*"):
        if not re.fullmatch(r"\..+\.[0-9a-f]{8}", folder.name):
            continue
        with suppress(OSError):
            lock = _lock(folder)
            try:
                shutil.rmtree(folder)
            finally:
                os.close(lock)


def _lock(folder: Path) -> int:
    """Return the open descriptor of a folder that is locked until it is closed or the process ends.

    Raises:
        OSError: another process holds the lock.
    """
    import fcntl

    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor
