"""The procedural suites, drawn on demand: thirteen datasets by the names of the paper's, three for prompt learning."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from qttseg.metadata.datasets import Dataset, Sample

if TYPE_CHECKING:
    import numpy as np

    from qttseg.metadata.procedural.drawing import Drawing

    Draw = Callable[[np.random.Generator, np.random.Generator], Drawing]

VERSION = 1
"""Enters every seed; rises when a drawing changes."""

IMAGES = 200
PREFIX = "procedural-"


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What is drawn and how it is labelled.

    Attributes:
        room: Module below this package that holds the drawing function.
        function: The drawing function; it takes the group's and the item's random generator.
        classes: Foreground classes by rising class id.
        group_size: Images that share an appearance (a video, a patient, a place); 1 where each stands for itself.
    """

    room: str
    function: str
    classes: tuple[str, ...]
    group_size: int = 1

    def load(self) -> Draw:
        """Return the drawing function; scipy and Pillow are imported only here."""
        from importlib import import_module

        draw: Draw = getattr(import_module(f"qttseg.metadata.procedural.{self.room}"), self.function)
        return draw


RECIPES = {
    "polyp": Recipe(room="endoscopy", function="polyp", classes=("polyp",), group_size=8),
    "lesion": Recipe(room="surfaces", function="lesion", classes=("lesion",)),
    "leaf": Recipe(room="surfaces", function="leaf", classes=("diseased spot",), group_size=5),
    "covid": Recipe(room="radiology", function="covid", classes=("infiltration",), group_size=10),
    "eyes": Recipe(room="surfaces", function="eyes", classes=("vessel",)),
    "fiber": Recipe(room="surfaces", function="fiber", classes=("fibre",), group_size=20),
    "cardiac": Recipe(room="radiology", function="cardiac", classes=("ventricle",), group_size=10),
    "chest": Recipe(room="radiology", function="chest", classes=("lung",)),
    "US": Recipe(
        room="radiology",
        function="ultrasound",
        classes=("liver", "kidney", "gallbladder", "vessel", "bone"),
        group_size=10,
    ),
    "human_parsing": Recipe(
        room="people",
        function="human_parsing",
        classes=("hair", "skin", "upper clothes", "trousers", "skirt", "shoes", "bag"),
    ),
    "golf": Recipe(
        room="landscapes", function="golf", classes=("fairway", "green", "tee", "bunker", "water"), group_size=10
    ),
    "terrain": Recipe(room="landscapes", function="terrain", classes=("sky", "grass", "track", "rock"), group_size=10),
    "cholec": Recipe(
        room="endoscopy",
        function="cholec",
        classes=("abdominal wall", "liver", "gallbladder", "fat", "grasper", "hook"),
        group_size=12,
    ),
    "faces": Recipe(room="portraits", function="faces", classes=("skin", "hair", "eyes", "nose", "mouth")),
    "banners": Recipe(room="streets", function="banners", classes=("banner",)),
    "plates": Recipe(room="streets", function="plates", classes=("number plate",)),
}

NAMES = tuple(PREFIX + name for name in RECIPES)

SUITES = {
    "procedural13": NAMES[:13],
    "procedural4": tuple(PREFIX + name for name in ("polyp", "leaf", "chest", "golf")),
    "prompt-learning": NAMES[13:],
}
"""The paper's thirteen in its order, four of them, and the tasks of the paper on prompt learning (arXiv 2403.09199)."""


@dataclass(frozen=True, kw_only=True)
class ProceduralSource:
    """Draws the items of one recipe; the same index gives the same pixels."""

    name: str

    def load(self, index: int) -> Sample:
        """Draw the item at `index`."""
        recipe = RECIPES[self.name]
        look, item = (self._generator(*place) for place in ((0, index // recipe.group_size), (1, index)))
        image, mask = recipe.load()(look, item)
        return Sample(image=image, mask=mask, name=_stem(index))

    def _generator(self, *place: int) -> np.random.Generator:
        from numpy.random import default_rng

        return default_rng((VERSION, zlib.crc32(self.name.encode()), *place))

    def stamp(self) -> str:
        """Return the name with a hash of the code that draws."""
        code = hashlib.sha256()
        for file in sorted(Path(__file__).parent.glob("*.py")):
            code.update(file.read_bytes())
        return f"{PREFIX}{self.name} {VERSION} {IMAGES} {code.hexdigest()}"


def procedural_dataset(name: str) -> Dataset:
    """Return the dataset of this name, one of `NAMES`."""
    short = name.removeprefix(PREFIX)
    recipe = RECIPES[short]
    grouped = recipe.group_size > 1
    return Dataset(
        name=name,
        task="binary" if len(recipe.classes) == 1 else "multiclass",
        classes=("background", *recipe.classes),
        names=tuple(_stem(index) for index in range(IMAGES)),
        groups=tuple(f"{index // recipe.group_size:03d}" for index in range(IMAGES)) if grouped else None,
        source=ProceduralSource(name=short),
    )


def _stem(index: int) -> str:
    return f"{index:04d}"
