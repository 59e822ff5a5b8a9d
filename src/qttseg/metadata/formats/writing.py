"""Writing the folder format: `images/`, `masks/` of 8-bit class ids, `dataset.json`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from qttseg.errors import DatasetError
from qttseg.metadata.datasets import IGNORE, Task
from qttseg.metadata.formats.items import png


class FolderWriter:
    """Fills a folder pair by pair; may be used by several threads.

    Args:
        folder: An empty folder.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._ignores = False
        for part in ("images", "masks"):
            (folder / part).mkdir()

    def write(self, name: str, image: bytes | Path, suffix: str, mask: NDArray[np.uint8]) -> None:
        """Write a pair.

        Args:
            name: The stem of both files.
            image: The bytes of the image file, or the file to link to.
            suffix: Of the image file.
            mask: Class ids `height x width`.

        Raises:
            DatasetError: there is a pair of that name.
            OSError: the disk is full or refuses.
        """
        file = self._folder / "images" / f"{name}{suffix}"
        mask_file = self._folder / "masks" / f"{name}.png"
        try:
            if isinstance(image, Path):
                file.symlink_to(image.resolve())
            else:
                with file.open("xb") as out:
                    out.write(image)
            with mask_file.open("xb") as out:
                out.write(png(mask))
        except FileExistsError as error:
            raise DatasetError(f"two images are called {name!r}, or differ in case only; rename one") from error
        self._ignores = self._ignores or bool((mask == IGNORE).any())

    def finish(
        self,
        *,
        name: str,
        task: Task,
        classes: Sequence[str],
        groups: Sequence[str] | None = None,
        names: Sequence[str] = (),
        details: Mapping[str, object] | None = None,
    ) -> None:
        """Write `dataset.json`.

        Args:
            name: What the dataset calls itself.
            task: Whether there is one foreground class or several. A mask value to be ignored is foreground to a
                binary dataset folder, so that one class with such pixels is written as a multiclass task.
            classes: Class names by class id.
            groups: Of each of `names`.
            names: The names of all pairs, in the order of `groups`.
            details: What else to keep.
        """
        values: dict[str, object] = {
            "name": name,
            "task": "multiclass" if self._ignores else task,
            "classes": list(classes),
            **({"groups": dict(zip(names, groups, strict=True))} if groups is not None else {}),
            **(details or {}),
        }
        text = json.dumps(values, indent=1, ensure_ascii=True)
        (self._folder / "dataset.json").write_text(text + "\n", encoding="utf-8")
