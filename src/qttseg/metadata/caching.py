"""Where things are kept that could be made or fetched again."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder() -> Path:
    """Return `$QTTSEG_CACHE`, or `~/.cache/qttseg`."""
    home = os.environ.get("QTTSEG_CACHE")
    return Path(home) if home else Path("~/.cache/qttseg").expanduser()
