"""A point in time that travels into the training loop and is looked at after each step."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self


class DeadlineReached(Exception):  # noqa: N818 (a signal to stop, not an error)
    """Work stopped because its deadline passed; the last finished state is intact."""


@dataclass(frozen=True, kw_only=True)
class Deadline:
    """A moment on an injected clock.

    Attributes:
        at: The moment, in the clock's seconds.
        clock: Returns now, in seconds, never falling.
    """

    at: float
    clock: Callable[[], float] = time.monotonic

    @classmethod
    def after(cls, seconds: float, clock: Callable[[], float] = time.monotonic) -> Self:
        """Return the deadline `seconds` from now."""
        return cls(at=clock() + seconds, clock=clock)

    @property
    def remaining(self) -> float:
        """Seconds left; negative once passed."""
        return self.at - self.clock()

    @property
    def expired(self) -> bool:
        """Whether the moment has passed."""
        return self.remaining <= 0

    def check(self) -> None:
        """Raise `DeadlineReached` once the moment has passed."""
        if self.expired:
            raise DeadlineReached(f"the deadline passed {-self.remaining:.2f} s ago")


NEVER = Deadline(at=math.inf)
