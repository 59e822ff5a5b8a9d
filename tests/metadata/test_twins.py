from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from qttseg.metadata.datasets import Dataset, Sample
from qttseg.metadata.quality_page import page_of
from qttseg.metadata.store import CurveStore
from qttseg.metadata.twins import twins_in


@dataclass(frozen=True)
class Relabelled:
    """The same images with other masks."""

    dataset: Dataset

    def load(self, index: int) -> Sample:
        sample = self.dataset[index]
        return replace(sample, mask=np.ascontiguousarray(sample.mask[:, ::-1]))


def test_a_dataset_is_known_again_by_content_and_by_looks(discs, tmp_path: Path) -> None:
    dataset, store = discs(2), CurveStore(tmp_path / "curves")
    assert twins_in(store, dataset.identity) == ()
    for name, other in (("same", dataset), ("relabelled", replace(dataset, source=Relabelled(dataset)))):
        store.add_dataset(name, other.fingerprint, {})
        assert other.identity.sketch
        store.add_sketch(other.fingerprint, other.identity.sketch)
    store.add_dataset("without a sketch", "0" * 16, {})
    twins = twins_in(store, replace(dataset, name="mine").identity)
    assert {(twin.name, twin.share, twin.store) for twin in twins} == {
        (name, 1.0, str(tmp_path / "curves")) for name in ("same", "relabelled")
    }
    assert "<h2>Counts as the same dataset</h2>" in (page := page_of(dataset, twins))
    assert "relabelled" in page
    assert "Counts as the same dataset" not in page_of(dataset)
