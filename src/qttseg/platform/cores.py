"""Which cores a process works on, and with how many threads."""

from __future__ import annotations

import os
import sys
from collections.abc import Collection
from pathlib import Path


def limit_threads(count: int) -> None:
    """Make this process's numerical libraries, loaded or not, use so many threads."""
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = str(count)  # read by torch when it is imported
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(count)


def own_cores() -> tuple[int, ...]:
    """Return the numbers of the cores that this process may use; as many as there are where they cannot be told."""
    if hasattr(os, "sched_getaffinity"):
        return tuple(sorted(os.sched_getaffinity(0)))
    return tuple(range(os.cpu_count() or 1))


def pin(cores: Collection[int]) -> None:
    """Keep this process, its present threads and whatever it starts on these cores, where the system can."""
    if not hasattr(os, "sched_setaffinity"):
        return
    for thread in Path("/proc/self/task").iterdir():
        try:
            os.sched_setaffinity(int(thread.name), cores)
        except ProcessLookupError:  # it has ended meanwhile
            continue
