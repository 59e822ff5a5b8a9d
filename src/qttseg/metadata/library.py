"""The user's library: datasets that were added under a name, one folder each in the folder format."""

from __future__ import annotations

import os
import shutil
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from qttseg.errors import DatasetError
from qttseg.metadata.aside import appearing, hidden_beside, sweep

LONGEST_NAME = 100
_FORBIDDEN = frozenset('/\\,:*?"<>|')


def data_home() -> Path:
    """Return the folder of the library: `$QTTSEG_DATA`, or `~/.local/share/qttseg/datasets`."""
    home = os.environ.get("QTTSEG_DATA")
    return Path(home or "~/.local/share/qttseg/datasets").expanduser()


def library() -> dict[str, Path]:
    """Return the folders of all datasets of the library by their names, in the order of these.

    Raises:
        DatasetError: the library cannot be listed.
    """
    home = data_home()
    try:
        return {
            folder.name: folder
            for folder in (sorted(home.iterdir()) if home.exists() else ())
            if not folder.name.startswith(".") and folder.is_dir()
        }
    except OSError as error:
        raise DatasetError(
            f"the library {home} cannot be listed: {error.strerror}; mend it or set $QTTSEG_DATA"
        ) from error


def library_folder(name: str) -> Path | None:
    """Return the folder of the dataset `name` of the library, None where there is none."""
    name = unicodedata.normalize("NFC", name)
    folder = data_home() / name
    return folder if _mistake(name) is None and folder.is_dir() else None


def free_name(name: str) -> str:
    """Return `name` as the library writes it (Unicode NFC).

    Raises:
        DatasetError: it is no name that commands could take, or means something already.
    """
    from qttseg.metadata.datasets import fixed_names

    name = unicodedata.normalize("NFC", name)
    mistake = _mistake(name)
    if mistake is not None:
        raise DatasetError(f"{name!r} cannot name a dataset: {mistake}")
    if name in fixed_names():
        raise DatasetError(f"{name!r} is a dataset or suite that qttseg or a plug-in brings; choose another name")
    if library_folder(name) is not None:
        raise DatasetError(
            f"there is a dataset {name!r} in {data_home()} already; choose another name, "
            f"or run qttseg datasets remove {name} first"
        )
    return name


@contextmanager
def installing(name: str) -> Iterator[Path]:
    """Give a folder to fill with `images/`, `masks/` and `dataset.json`; it becomes the dataset `name` of the library.

    It appears when the block ends, whole, or not at all if the block fails.

    Raises:
        DatasetError: the name is taken (another process may have been quicker) or no name, or the disk refuses.
    """
    name = free_name(name)
    sweep(data_home())
    with appearing(data_home() / name) as folder:
        yield folder


def remove(name: str) -> Path:
    """Delete the dataset `name` of the library, which is gone at once, and return where it was.

    Images that were added as links stay where they are.

    Raises:
        DatasetError: the library holds no such dataset, or the disk refuses.
    """
    folder = library_folder(name)
    if folder is None:
        raise DatasetError(
            f"there is no dataset {name!r} in {data_home()}; it holds {', '.join(library()) or 'nothing'}"
        )
    aside = hidden_beside(folder)
    try:
        folder.rename(aside)
        if aside.is_symlink():
            aside.unlink()
    except OSError as error:
        raise DatasetError(f"{folder} cannot be removed: {error}; mend its permissions") from error
    shutil.rmtree(aside, ignore_errors=True)  # what stays behind is swept when the next dataset is added
    return folder


def _mistake(name: str) -> str | None:
    """Return why `name` cannot be one."""
    if not name or len(name) > LONGEST_NAME or len(name.encode(errors="replace")) > 2 * LONGEST_NAME:
        return f"give 1 to {LONGEST_NAME} characters"
    if name[0] in ".-~" or name != name.strip():
        return "it must not start with a dot, a minus or a tilde, nor begin or end with a blank"
    strange = sorted({char for char in name if char in _FORBIDDEN or unicodedata.category(char) in ("Cc", "Cs", "Zl")})
    return f"it holds {' '.join(map(repr, strange))}" if strange else None
