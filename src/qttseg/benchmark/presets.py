"""Named benchmarks: how much data, time and repetition."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from qttseg.errors import BenchmarkError
from qttseg.metadata.protocol import PAPER, Protocol


@dataclass(frozen=True, kw_only=True)
class Preset:
    """What a benchmark is run with where nothing else is asked for.

    Attributes:
        protocol: The conditions.
        budgets: Seconds.
        seeds: Number of draws of training images.
    """

    protocol: Protocol
    budgets: tuple[float, ...]
    seeds: int


PRESETS: Mapping[str, Preset] = {
    "paper": Preset(protocol=PAPER, budgets=(60.0, 120.0, 180.0), seeds=5),
    "quick": Preset(protocol=Protocol(images=30, test_images=20, epochs=4), budgets=(10.0,), seeds=1),
}
"""`paper` is QTT-SEG's section 4 (100 images, five seeds, three budgets); `quick` is for a first look."""


def preset(name: str) -> Preset:
    """Return the preset of this name.

    Raises:
        BenchmarkError: there is none.
    """
    if name not in PRESETS:
        raise BenchmarkError(f"there is no protocol {name!r}; there are {', '.join(PRESETS)}")
    return PRESETS[name]
