"""What a score was made with."""

from __future__ import annotations

import platform
from importlib.metadata import version

from qttseg import __version__

_DECISIVE = ("torch", "segment-anything", "peft", "gpytorch", "numpy")
"""Packages whose versions can change a score."""


def decisive_versions() -> dict[str, str]:
    """Return the versions that decide a score, by package."""
    return {
        "qttseg": __version__,
        "python": platform.python_version(),
        **{name: version(name) for name in _DECISIVE},
    }
