"""The predictors in the package: one for each procedural dataset that has not seen it, and one of all."""

import pytest

from qttseg.errors import LeakageError
from qttseg.metadata.datasets import Identity, resolve_dataset
from qttseg.metadata.procedural.suite import SUITES
from qttseg.metadata.shipped import store_of
from qttseg.pipelines.loading import load_backbone
from qttseg.predictors.interface import PartialCurve
from qttseg.predictors.registry import Registry
from qttseg.predictors.shipped import predictors_for, shipped, shipped_for, shipped_names

MINE = Identity(name="mine", fingerprint="print-mine")


SHELVES = {
    "paper-v1": ("shipped", SUITES["procedural13"]),
    "extended-v4": ("shipped:extended-v4", (*SUITES["procedural13"], *SUITES["prompt-learning"])),
}
"""Search spaces, with the curves and datasets that their predictors learnt from."""


@pytest.mark.parametrize("space", SHELVES)
def test_every_dataset_has_its_own_and_strangers_get_those_of_all(space):
    _, datasets = SHELVES[space]
    assert set(shipped_names(space)) == {"all", *(f"without-{name}" for name in datasets)}
    for name in datasets:
        lineage = shipped(f"without-{name}", space=space).lineage
        assert lineage.left_out == (name,)
        assert name not in lineage.datasets
    assert shipped_for(MINE, space=space).lineage.left_out == ()


def test_a_procedural_dataset_is_never_judged_by_what_has_seen_it():
    target = resolve_dataset("procedural-eyes").identity
    assert not shipped_for(target).lineage.has_seen(target)
    assert shipped_for(target, allow_seen=True).lineage.left_out == ()
    with pytest.raises(LeakageError, match="train some without it"):
        shipped_for(Identity(name="renamed", fingerprint=target.fingerprint))


@pytest.mark.parametrize("space", SHELVES)
def test_they_learnt_from_the_shipped_curves_and_weights(space):
    of_all = shipped(space=space)
    assert of_all.lineage.space == space
    assert of_all.lineage.runs == store_of(SHELVES[space][0]).table(["run_id"]).num_rows
    assert of_all.lineage.backbone_fingerprints == (load_backbone().fingerprint,)


@pytest.mark.parametrize("space", SHELVES)
def test_they_rank_datasets_that_they_have_not_seen(space):
    assert shipped(space=space).figures["spearman_1"] > 0.6
    assert shipped(space=space).figures["calibration_error_1"] < 0.15


@pytest.mark.parametrize("space", SHELVES)
def test_a_higher_learning_rate_than_the_lowest_is_recommended(space):
    """The least one could ask of what has seen some hundred fine-tunings."""
    from qttseg.pipelines.spaces import search_space

    candidates = search_space(space.partition("-")[0]).sample(64, seed=5)
    prediction = shipped(space=space).performance.predict(
        {}, [PartialCurve(configuration=c) for c in candidates], [10] * 64
    )
    best = candidates[int(prediction.mean.argmax())]
    assert float(best["lr"]) > 1e-4


def test_a_registry_comes_first_and_an_absent_one_is_not_made(tmp_path):
    absent = Registry(f"sqlite:///{tmp_path / 'mlflow.db'}")
    assert predictors_for(MINE, absent).version == "shipped"
    assert not list(tmp_path.iterdir())
    present = Registry(f"sqlite:///{tmp_path / 'mlflow.db'}")
    present.register(shipped("without-procedural-eyes"))
    assert predictors_for(MINE, present).version == "1"
    eyes, leaf = (resolve_dataset(f"procedural-{name}") for name in ("eyes", "leaf"))
    assert predictors_for(eyes.identity, present).version == "1"
    assert predictors_for(leaf.identity, present).lineage.left_out == ("procedural-leaf",)
