from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import pytest

from qttseg.tuning.policies import Standing
from qttseg.tuning.wrappers import ColdStart, CostBlind


@dataclass
class Watching:
    """Takes the last admitted candidate and remembers what it was told."""

    told: list[Standing] = field(default_factory=list)

    def choose(self, standing: Standing) -> int:
        self.told.append(standing)
        return standing.admitted[-1]


@pytest.fixture
def standing() -> Standing:
    return Standing(
        scores=[[], [], [], [0.5]],
        failed=frozenset(),
        admitted=[0, 1, 2, 3],
        steps=[1] * 4,
        seconds=np.array([1.0, 2.0, 3.0, 6.0]),
        remaining=9.0,
        max_epochs=5,
    )


def test_without_costs_every_candidate_seems_to_take_the_same_time(standing):
    policy = Watching()
    assert CostBlind(policy=policy).choose(standing) == 3
    (told,) = policy.told
    assert told.seconds.tolist() == [3.0] * 4
    assert (told.admitted, told.remaining) == (standing.admitted, 9.0)


def test_a_cold_start_looks_around_before_it_listens(standing):
    policy = ColdStart(policy=Watching(), order=(2, 0, 1, 3), looks=3)
    assert policy.choose(standing) == 2
    assert policy.choose(replace(standing, scores=[[], [], [0.1], [0.5]])) == 0
    assert policy.choose(replace(standing, scores=[[0.2], [], [0.1], [0.5]])) == 3, "three have been looked at"
    failed = replace(standing, failed=frozenset({0, 2}), admitted=[1, 3])
    assert policy.choose(failed) == 3, "those that failed were looked at too"


def test_a_cold_start_with_nothing_new_left_listens(standing):
    assert ColdStart(policy=Watching(), order=(0, 1, 2, 3)).choose(replace(standing, admitted=[3])) == 3
