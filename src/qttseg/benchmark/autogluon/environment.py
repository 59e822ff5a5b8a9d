"""AutoGluon's own virtual environment: its pins of ray and transformers differ from ours, so it cannot live in this one."""

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

LOCK = Path(__file__).with_name("lock.txt")
"""Every package at the version that worked (Python 3.11)."""


@dataclass(frozen=True, kw_only=True)
class AutoGluonEnvironment:
    """A virtual environment with AutoGluon in it, or the place for one.

    Attributes:
        folder: Where it lies.
    """

    folder: Path

    @property
    def python(self) -> Path:
        """Its interpreter."""
        return self.folder / "bin" / "python"

    def check(self) -> None:
        """Do nothing if the environment is complete.

        Raises:
            NotSetUpError: it is not, or was made from another lock.
        """
        if not self._seal.is_file() or self._seal.read_text(encoding="ascii") != _digest():
            raise NotSetUpError(f"there is no complete AutoGluon in {self.folder}; run `qttseg bench setup autogluon`")

    def set_up(self, *, say: Callable[[str], None] = lambda step: None) -> None:  # noqa: ARG005
        """Make the environment from the lock: 2.3 GB and some minutes; one that is complete is left as it is.

        Raises:
            BenchmarkError: pip cannot install it; the message has pip's last words.
        """
        try:
            self.check()
        except NotSetUpError:
            say(f"making a virtual environment in {self.folder}")
            venv.create(self.folder, clear=True, with_pip=True)
            # A torch for GPUs wants packages that the lock has not, as others do beside another torch.
            say("installing torch")
            self._pip("--constraint", str(LOCK), "torch", "torchvision")
            say("installing AutoGluon, 2.3 GB in all")
            self._pip("--no-deps", "--requirement", str(LOCK))
            self._seal.write_text(_digest(), encoding="ascii")

    @property
    def _seal(self) -> Path:
        """Written last, so that an environment without it is an unfinished one."""
        return self.folder / "complete"

    def _pip(self, *words: str) -> None:
        command: Sequence[str] = [str(self.python), "-m", "pip", "install", "--quiet", "--no-input", *words]
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 (our own words)
        if done.returncode:
            last = "; ".join(line for line in done.stderr.splitlines() if line.startswith("ERROR"))
            raise BenchmarkError(
                f"AutoGluon cannot be installed into {self.folder}: {last or done.stderr[-500:]}. Look at network, disk "
                "space (3 GB) and the version of Python (the lock is for 3.11), then run the same command again"
            )


def autogluon_environment() -> AutoGluonEnvironment:
    """Return the environment in `$QTTSEG_AUTOGLUON`, or `autogluon` in the cache folder."""
    folder = os.environ.get("QTTSEG_AUTOGLUON")
    return AutoGluonEnvironment(folder=Path(folder) if folder else cache_folder() / "autogluon")


def _digest() -> str:
    return hashlib.sha256(LOCK.read_bytes()).hexdigest()
