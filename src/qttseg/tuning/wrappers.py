"""Policies around a policy that take away one of its strengths: what a search is worth without it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from qttseg.tuning.policies import Policy, Standing


@dataclass(frozen=True, kw_only=True)
class CostBlind:
    """Chooses as if an epoch of every candidate took the same time.

    Which candidates still fit into the time was decided before, by what they cost.

    Attributes:
        policy: Chooses.
    """

    policy: Policy

    def choose(self, standing: Standing) -> int:
        """Return what the policy chooses where nothing tells costs apart."""
        even = np.full_like(standing.seconds, standing.seconds.mean())
        return self.policy.choose(replace(standing, seconds=even))


@dataclass(frozen=True, kw_only=True)
class ColdStart:
    """Looks at some candidates for one epoch each before the policy, which would know better, may choose.

    Attributes:
        policy: Chooses from then on.
        order: The candidates in the order in which they are looked at.
        looks: How many are.
    """

    policy: Policy
    order: Sequence[int]
    looks: int = 10

    def choose(self, standing: Standing) -> int:
        """Return the next to look at, or what the policy chooses."""
        looked = sum(bool(scores) for scores in standing.scores) + len(standing.failed)
        fresh = {index for index in standing.admitted if not standing.scores[index]}
        if looked >= self.looks or not fresh:
            return self.policy.choose(standing)
        return next(index for index in self.order if index in fresh)
