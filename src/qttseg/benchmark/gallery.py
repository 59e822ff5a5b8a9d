"""A few test images of each dataset, their truths and every result's predictions, kept small for people to look at."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from qttseg.benchmark.results import Job
from qttseg.errors import StoreError
from qttseg.metadata.datasets import Dataset
from qttseg.metadata.files import Folder
from qttseg.tuning.previews import palette

EXAMPLES = 3
"""Test images kept of each dataset, fewer where there are fewer."""

SIDE = 256
"""Longest side of a kept picture in pixels."""

_INDEX = "examples.json"


@dataclass(frozen=True, kw_only=True)
class Example:
    """A kept test image.

    Attributes:
        place: Where it stands among the test images, and its score in `Result.image_scores`.
        name: The item's name in its dataset.
        image: The image as a JPEG file.
        truth: The true mask as a PNG file of class ids, coloured; the background is transparent.
    """

    place: int
    name: str
    image: bytes
    truth: bytes


@dataclass(frozen=True, kw_only=True)
class Gallery:
    """Pictures beside the results of one store; the same test images for every method, budget and seed.

    Attributes:
        uri: The store's folder, or its URI.
    """

    uri: str

    def keep(
        self,
        job: Job,
        dataset: Dataset,
        test: Sequence[int],
        predicted: Sequence[NDArray[np.uint8]],
    ) -> None:
        """Keep the predictions of `job` on the examples, and the examples themselves where they are not kept yet.

        Args:
            job: What was done.
            dataset: Where the test images are.
            test: Their indices, in the order of the split.
            predicted: Label maps (h × w class ids), in the same order.

        Raises:
            StoreError: the disk is full or refuses.
        """
        places = _drawn(len(test))
        if self._read(_INDEX, of=job) is None:
            self._keep_examples(job, dataset, {place: test[place] for place in places})
        for place in places:
            self._folder.write(f"{_home(job)}/{job.id}-{place}.png", _label_file(predicted[place]))

    def examples(self, job: Job) -> tuple[Example, ...]:
        """Return the examples on which `job` and all others under its conditions are shown; none where none are kept."""
        index = self._read(_INDEX, of=job)
        if index is None:
            return ()
        return tuple(
            Example(
                place=int(place),
                name=name,
                image=self._must_read(f"image-{place}.jpg", of=job),
                truth=self._must_read(f"truth-{place}.png", of=job),
            )
            for place, name in json.loads(index).items()
        )

    def prediction(self, job: Job, example: Example) -> bytes | None:
        """Return what `job` predicted for an example, a file as `Example.truth`; None where it was not kept."""
        return self._read(f"{job.id}-{example.place}.png", of=job)

    def _keep_examples(self, job: Job, dataset: Dataset, indices: dict[int, int]) -> None:
        for place, index in indices.items():
            sample = dataset[index]
            self._folder.write(f"{_home(job)}/image-{place}.jpg", _image_file(sample.image))
            self._folder.write(f"{_home(job)}/truth-{place}.png", _label_file(sample.mask))
        names = {place: dataset.names[index] for place, index in indices.items()}
        self._folder.write(f"{_home(job)}/{_INDEX}", json.dumps(names).encode())  # last: whoever sees it sees them all

    def _read(self, name: str, *, of: Job) -> bytes | None:
        try:
            with self._folder.open(f"{_home(of)}/{name}") as file:
                return bytes(file.read())
        except FileNotFoundError:
            return None

    def _must_read(self, name: str, *, of: Job) -> bytes:
        found = self._read(name, of=of)
        if found is None:
            raise StoreError(
                f"{_home(of)}/{name} below {self.uri} has gone; delete that folder, pictures come back with new results"
            )
        return found

    @cached_property
    def _folder(self) -> Folder:
        return Folder(self.uri)


def picture(file: bytes) -> Image.Image:
    """Return a kept picture; one of class ids has a palette."""
    return Image.open(BytesIO(file))


def _home(job: Job) -> str:
    """Test images depend on the dataset's content and the protocol."""
    return f"gallery/{job.dataset_fingerprint}-{job.protocol.id}"


def _drawn(count: int) -> list[int]:
    """Return the places of the examples among `count` test images: the same at every call, in rising order."""
    return sorted(np.random.default_rng(0).permutation(count)[:EXAMPLES].tolist())


def _image_file(image: NDArray[np.uint8]) -> bytes:
    return _written(Image.fromarray(image), lambda small, file: small.save(file, "JPEG", quality=80))


def _label_file(labels: NDArray[np.uint8]) -> bytes:
    coloured = Image.fromarray(labels)
    coloured.putpalette(palette().astype(np.uint8).tobytes())  # of mode P from here on, so that ids are not mixed
    return _written(coloured, lambda small, file: small.save(file, "PNG", transparency=0, optimize=True))


def _written(picture: Image.Image, save: Callable[[Image.Image, BytesIO], None]) -> bytes:
    """Return `picture` as a file, shrunk to at most `SIDE`; class ids (mode P) take the nearest pixel."""
    scale = min(1.0, SIDE / max(picture.size))
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    resampling = Image.Resampling.NEAREST if picture.mode == "P" else Image.Resampling.BOX
    file = BytesIO()
    save(picture.resize(size, resampling), file)
    return file.getvalue()
