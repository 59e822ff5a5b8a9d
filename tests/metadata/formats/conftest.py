"""What the tests of formats draw, and how they compare."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from qttseg.metadata.datasets import Dataset

SIZE = (14, 10)
"""Width and height of all pictures that are not asked for otherwise."""


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("QTTSEG_DATA", str(tmp_path / "home"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    return tmp_path / "home"


@pytest.fixture
def picture() -> Callable[..., Path]:
    def make(path: Path, seed: int = 0, size: tuple[int, int] = SIZE) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(seed).integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)
        Image.fromarray(pixels).save(path)
        return path

    return make


@pytest.fixture
def ids() -> Callable[..., NDArray[np.uint8]]:
    def make(labels: int, seed: int = 0, *, ignored: bool = False) -> NDArray[np.uint8]:
        mask = np.random.default_rng(seed).integers(0, labels, (SIZE[1], SIZE[0]), dtype=np.uint8)
        if ignored:
            mask[0, 3:9] = 255
        return mask

    return make


@pytest.fixture
def save() -> Callable[..., None]:
    def make(mask: NDArray[np.uint8], path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(mask).save(path)

    return make


@pytest.fixture
def same() -> Callable[[Dataset, Dataset], bool]:
    def make(one: Dataset, two: Dataset) -> bool:
        masks = {sample.name: sample.mask for sample in one}
        return one.fingerprint == two.fingerprint and all(np.array_equal(masks[item.name], item.mask) for item in two)

    return make


@pytest.fixture
def tiles(picture, save, ids, tmp_path: Path) -> Callable[..., Dataset]:
    """Write five pairs in the folder format: JPEG and 16-bit images, odd names, groups."""

    def make(classes: int = 4, *, ignored: bool = False, grouped: bool = True) -> Dataset:
        root = tmp_path / "tiles"
        for index, name in enumerate(["a [1]", "b_mask", "ж.0000", "c_0000", "train"]):
            picture(root / "images" / f"{name}.jpg", index)
            save(ids(classes, index, ignored=ignored and index == 1), root / "masks" / f"{name}.png")
        (root / "images/train.jpg").unlink()
        save(np.arange(140, dtype=np.uint16).reshape(10, 14) * 300, root / "images/train.tif")
        values = {"name": "tiles", "task": "binary" if classes == 2 else "multiclass"}
        values["classes"] = ["ground", "tree", "car, parked", 'roof "old"'][:classes]
        if grouped:
            values["group_pattern"] = "^(.)"
        (root / "dataset.json").write_text(json.dumps(values))
        return Dataset.from_folders(root)

    return make
