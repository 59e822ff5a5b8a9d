from collections.abc import Callable

import pytest

from qttseg.metadata.configurations import Configuration
from qttseg.metadata.protocol import Protocol
from qttseg.metadata.runs import Run

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
