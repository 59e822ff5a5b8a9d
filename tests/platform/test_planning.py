from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from ConfigSpace import ConfigurationSpace
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from qttseg.errors import CollectionError
from qttseg.metadata.adapters import structure_of
from qttseg.metadata.configurations import SearchSpace
from qttseg.metadata.datasets import Dataset
from qttseg.metadata.protocol import Protocol
from qttseg.metadata.runs import Run
from qttseg.metadata.store import CurveStore
from qttseg.pipelines.spaces import search_space
from qttseg.platform.planning import describe_datasets, plan_runs

DATASETS = {"polyp": "f1", "leaf": "f2", "/data/road": "f3"}
SMALL = SearchSpace(
    name="small", version=1, space=ConfigurationSpace({"a": [1, 2, 3, 4, 5, 6, 7], "b": list(range(13))})
)


def plan(
    runs: int, *, space: SearchSpace = SMALL, seed: int = 0, datasets: dict[str, str] = DATASETS
) -> tuple[Run, ...]:
    return plan_runs(
        datasets, space, Protocol(), backbone="sam-nano", backbone_fingerprint="weights", runs=runs, seed=seed
    )


@settings(max_examples=20, deadline=None)
@given(smaller=st.integers(1, 273), larger=st.integers(1, 273), seed=st.integers(0, 2**40))
def test_a_larger_plan_begins_with_the_smaller(smaller: int, larger: int, seed: int):
    smaller, larger = sorted((smaller, larger))
    both = plan(larger, seed=seed)
    assert both[:smaller] == plan(smaller, seed=seed)
    assert len({run.id for run in both}) == larger
    shares = Counter(run.dataset for run in both)
    assert max(shares.values()) - min(shares.get(name, 0) for name in DATASETS) <= 1


def test_a_plan_of_the_papers_space():
    runs = plan(300, space=search_space("paper"))
    assert runs == plan(300, space=search_space("paper"))
    assert {run.space for run in runs} == {search_space("paper").id}
    assert {run.dataset: run.dataset_fingerprint for run in runs} == DATASETS
    assert set(plan(300, space=search_space("paper"), seed=1)).isdisjoint(runs)
    for run in runs[:20]:
        search_space("paper").validate(run.configuration)


def test_rows_of_alike_configurations_fit_in_packs():
    space = search_space("extended")
    datasets = {"polyp": "f1", "leaf": "f2"}

    def plan_of(runs: int, alike: int) -> tuple[Run, ...]:
        return plan_runs(
            datasets, space, Protocol(), backbone="sam-nano", backbone_fingerprint="weights", runs=runs, alike=alike
        )

    runs = plan_of(200, 4)
    assert runs[:72] == plan_of(72, 4)
    assert len({run.id for run in runs}) == 200
    for name in datasets:
        own = [run.configuration for run in runs if run.dataset == name]
        rows = [own[start : start + 4] for start in range(0, 100, 4)]
        assert all(len({structure_of(c) for c in row}) == 1 and len({c["lr"] for c in row}) > 1 for row in rows)
        assert len({structure_of(row[0]) for row in rows}) > 10
        for configuration in own:
            space.validate(configuration)
        alone = [run.configuration for run in plan_of(50, 1) if run.dataset == name]
        assert [row[0] for row in rows] == alone
    with pytest.raises(CollectionError, match="at least one alike; 0 were asked for"):
        plan_of(4, 0)


def test_another_dataset_changes_nothing_for_those_there():
    few = {run.id for run in plan(30, datasets={"polyp": "f1", "leaf": "f2"})}
    assert few <= {run.id for run in plan(45)}


def test_datasets_get_different_configurations():
    runs = plan(60)
    assert {run.configuration for run in runs if run.dataset == "polyp"} != {
        run.configuration for run in runs if run.dataset == "leaf"
    }


@pytest.mark.parametrize(
    ("runs", "datasets", "complaint"),
    [
        (0, DATASETS, "at least one run"),
        (5, {}, "at least one dataset"),
        (5, {"a": "f1", "b": "f1"}, "a and b have the same content"),
        (274, DATASETS, "273 runs on 3 datasets are possible and 274 were asked for"),
    ],
)
def test_impossible_plans_are_refused(runs: int, datasets: dict[str, str], complaint: str):
    with pytest.raises(CollectionError, match=complaint):
        plan(runs, datasets=datasets)


def test_a_store_of_an_earlier_version_gets_the_sketches_it_lacks(tmp_path: Path):
    root = tmp_path / "data"
    for folder in ("images", "masks"):
        (root / folder).mkdir(parents=True)
    generator = np.random.default_rng(0)
    for index in range(6):
        pixels = generator.integers(0, 255, (24, 32, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(root / f"images/{index}.png")
        Image.fromarray(np.eye(24, 32, dtype=np.uint8)).save(root / f"masks/{index}.png")
    dataset = Dataset.from_folders(root)
    store = CurveStore(tmp_path / "store")
    store.add_dataset("data", dataset.fingerprint, {"images": 6.0})
    assert store.sketches() == {}
    describe_datasets(plan(4, datasets={str(root): dataset.fingerprint}), store)
    assert store.sketches() == {dataset.fingerprint: dataset.identity.sketch}
    (known,) = store.datasets().to_pylist()
    assert dict(known["meta_features"]) == {"images": 6.0}, "what was measured stays"
