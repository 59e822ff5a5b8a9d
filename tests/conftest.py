"""What several tests need: a small dataset, the embedded backbone, two threads."""

from __future__ import annotations

import os
import shutil
import tempfile

os.environ.setdefault("OMP_NUM_THREADS", "2")

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import pytest

from qttseg.metadata.configurations import Configuration
from qttseg.metadata.datasets import Dataset, Sample
from qttseg.metadata.protocol import Protocol


@pytest.fixture(autouse=True, scope="session")
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep remembered fingerprints, the default registry and the library of datasets out of the user's home."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("QTTSEG_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("QTTSEG_HOME", str(tmp_path_factory.mktemp("home")))
        patch.setenv("QTTSEG_DATA", str(tmp_path_factory.mktemp("data")))
        yield


@dataclass(frozen=True)
class Discs:
    """Bright discs (class 1) and, where asked for, dark squares (class 2) on noise."""

    classes: int

    def load(self, index: int) -> Sample:
        generator = np.random.default_rng(index)
        height, width = 72 + 8 * (index % 3), 96
        image = generator.integers(60, 120, (height, width, 3)).astype(np.uint8)
        mask = np.zeros((height, width), np.uint8)
        y, x = np.mgrid[:height, :width]
        centre = generator.uniform((24, 20), (height - 24, 50))
        disc = (y - centre[0]) ** 2 + (x - centre[1]) ** 2 < 15**2
        image[disc], mask[disc] = image[disc] + 100, 1
        if self.classes == 3:
            image[30:50, 70:90], mask[30:50, 70:90] = image[30:50, 70:90] // 3, 2
        return Sample(image=image, mask=mask, name=f"disc{index}")


@pytest.fixture
def discs() -> Callable[[int], Dataset]:
    """Make a dataset of 16 drawn images with this many classes."""

    def make(classes: int = 2) -> Dataset:
        return Dataset(
            name=f"discs{classes}",
            task="binary" if classes == 2 else "multiclass",
            classes=("background", "disc", "square")[:classes],
            names=tuple(f"disc{index}" for index in range(16)),
            source=Discs(classes),
        )

    return make


@pytest.fixture
def protocol() -> Protocol:
    """The paper's protocol on a tenth of the images and a third of the epochs."""
    return Protocol(images=10, test_images=4, epochs=3)


@pytest.fixture
def decoder_only() -> Configuration:
    return Configuration(
        {
            "lora": 0,
            "sched": "cosine",
            "lr": 1e-3,
            "weight_decay": 0.0,
            "horizontal_flip": 1,
            "vertical_flip": 0,
            "random_rotate": 0,
        }
    )


@pytest.fixture
def with_lora(decoder_only: Configuration) -> Configuration:
    return Configuration({**decoder_only, "lora": 1, "lora_rank": 4, "lora_dropout": 0.1, "random_rotate": 1})


@pytest.fixture(scope="module")
def ray_folder() -> Iterator[None]:
    """Give Ray a folder that is removed afterwards."""
    folder = tempfile.mkdtemp(prefix="ray-")  # pytest's own folders have names too long for Ray's sockets
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_TMPDIR", folder)
        yield
    shutil.rmtree(folder, ignore_errors=True)
