"""Virtual environments for packages whose pins differ from ours, so that they cannot live in this one."""

from __future__ import annotations

import hashlib
import os
import subprocess
import venv
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from qttseg.errors import BenchmarkError, NotSetUpError
from qttseg.metadata.caching import cache_folder


@dataclass(frozen=True, kw_only=True)
class Environment:
    """A virtual environment with a foreign package in it, or the place for one.

    It lies in `$QTTSEG_NAME` (its name in capitals), or in the cache folder.

    Attributes:
        name: What `qttseg bench setup` calls it, and the folder beside this one where its half of us lies.
        first: Packages that are installed before the lock's, with what they want on this machine: a torch for GPUs wants
            packages that the lock has not.
        gigabytes: What it takes on disk.
    """

    name: str
    first: tuple[str, ...]
    gigabytes: float

    @property
    def lock(self) -> Path:
        """File with every package at the version that worked (Python 3.11)."""
        return Path(__file__).parents[1] / self.name / "lock.txt"

    @property
    def folder(self) -> Path:
        """Where it lies."""
        own = os.environ.get(f"QTTSEG_{self.name.upper()}")
        return Path(own) if own else cache_folder() / self.name

    @property
    def python(self) -> Path:
        """Its interpreter."""
        return self.folder / "bin" / "python"

    @property
    def is_there(self) -> bool:
        """Whether it is complete, and made from the lock as it is now."""
        return self._seal.is_file() and self._seal.read_text(encoding="ascii") == self._digest()

    def check(self) -> None:
        """Do nothing if the environment is complete.

        Raises:
            NotSetUpError: it is not, or was made from another lock.
        """
        if not self.is_there:
            raise NotSetUpError(
                f"there is no complete {self.name} in {self.folder}; run `qttseg bench setup {self.name}`"
            )

    def set_up(self, *, say: Callable[[str], None] = lambda step: None) -> None:  # noqa: ARG005
        """Make the environment from the lock; one that is complete is left as it is.

        Raises:
            BenchmarkError: pip cannot install it; the message has pip's last words.
        """
        if self.is_there:
            return
        say(f"making a virtual environment in {self.folder}")
        venv.create(self.folder, clear=True, with_pip=True)
        say(f"installing {' and '.join(self.first)}")
        self._pip("--constraint", str(self.lock), *self.first)
        say(f"installing {self.name}, {self.gigabytes:g} GB in all")
        self._pip("--no-deps", "--requirement", str(self.lock))
        self._seal.write_text(self._digest(), encoding="ascii")

    @property
    def _seal(self) -> Path:
        """Written last, so that an environment without it is an unfinished one."""
        return self.folder / "complete"

    def _digest(self) -> str:
        return hashlib.sha256(self.lock.read_bytes()).hexdigest()

    def _pip(self, *words: str) -> None:
        command: Sequence[str] = [str(self.python), "-m", "pip", "install", "--quiet", "--no-input", *words]
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 (our own words)
        if done.returncode:
            last = "; ".join(line for line in done.stderr.splitlines() if line.startswith("ERROR"))
            raise BenchmarkError(
                f"{self.name} cannot be installed into {self.folder}: {last or done.stderr[-500:]}. Look at network, "
                f"disk space ({self.gigabytes:g} GB) and the version of Python (the lock is for 3.11), then run the "
                "same command again"
            )


AUTOGLUON = Environment(name="autogluon", first=("torch", "torchvision"), gigabytes=2.3)
QUICKTUNETOOL = Environment(name="quicktunetool", first=("torch",), gigabytes=1.3)
