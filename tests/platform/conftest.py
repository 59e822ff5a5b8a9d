from collections.abc import Callable

import pytest

from qttseg.metadata.configurations import Configuration
from qttseg.metadata.protocol import Protocol
from qttseg.metadata.runs import LearningCurve, Outcome, Run
from qttseg.platform.executors import Work
from qttseg.platform.queue import Pack

MakeRun = Callable[..., Run]


@pytest.fixture
def make_run() -> MakeRun:
    def make(dataset: str = "polyp", **configuration: float | str) -> Run:
        return Run(
            dataset=dataset,
            dataset_fingerprint=f"content-of-{dataset}",
            configuration=Configuration(configuration),
            space="paper-v1",
            protocol=Protocol(),
            backbone="sam-nano",
            backbone_fingerprint="weights",
        )

    return make


@pytest.fixture
def one_by_one() -> Callable[[Callable[[Run], LearningCurve]], Callable[[], Work]]:
    """Make work of packs from what is done with each run."""

    def make(do: Callable[[Run], LearningCurve]) -> Callable[[], Work]:
        def work(pack: Pack) -> list[LearningCurve]:
            return [do(run) for run in pack]

        return lambda: work

    return make


@pytest.fixture
def completing() -> Callable[[], Work]:
    """Make work that completes every run at once."""

    def work(pack: Pack) -> list[LearningCurve]:
        return [LearningCurve(run=run, outcome=Outcome.COMPLETED) for run in pack]

    return lambda: work
