"""The figures of the paper on prompt learning, to print beside ours (arXiv 2403.09199)."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

FIGURES: Mapping[str, Mapping[str, float]] = MappingProxyType(
    {
        "faces": MappingProxyType({"sam": 0.3505, "sam-f": 0.3183, "plm+pmm": 0.7167}),
        "banners": MappingProxyType({"sam": 0.3027, "plm+pmm": 0.9733}),
    }
)
"""Mean IoU in [0, 1] by task and method, prompted by one point: what the paper's summary gives of its tables."""

_NAMESAKES = {
    "procedural-faces": "faces",
    "celebamask_hq": "faces",
    "faces": "faces",
    "procedural-banners": "banners",
    "banners": "banners",
}


def counterpart(task: str) -> str | None:
    """Return the paper's task that stands beside `task`, or None. The images are never the same; captions say so."""
    return _NAMESAKES.get(task)
