from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from qttseg.errors import LeakageError, PredictorError
from qttseg.metadata.datasets import Identity
from qttseg.metadata.queries import training_set
from qttseg.metadata.sketches import Sketch
from qttseg.predictors.cost import CostPredictor
from qttseg.predictors.interface import PartialCurve
from qttseg.predictors.registry import Registry
from qttseg.predictors.shipped import predictors_for
from qttseg.predictors.training import Trained, train, train_all


@pytest.fixture(scope="module")
def without_hard_trained(store) -> Trained:
    return train(store, leave_out="hard", evaluate=True)


@pytest.fixture(scope="module")
def of_all(store, without_hard_trained) -> Trained:
    """The same performance model under the lineage of all data: the registry looks at lineages alone."""
    cost = CostPredictor.fit(training_set(store))
    return replace(
        without_hard_trained, performance=replace(without_hard_trained.performance, lineage=cost.lineage), cost=cost
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("registry")


@pytest.fixture(scope="module")
def registry(folder, without_hard_trained, of_all) -> Registry:
    registry = Registry(f"sqlite:///{folder / 'mlflow.db'}")
    registry.register(without_hard_trained)
    registry.register(of_all)
    return registry


def test_versions_tell_their_lineage_and_figures(registry, without_hard_trained):
    newest, oldest = registry.entries()
    assert (newest.version, oldest.version) == ("2", "1")
    assert newest.aliases == ("champion",)
    assert oldest.aliases == ("leave-out-hard",)
    assert oldest.left_out == ("hard",)
    assert oldest.datasets == ("easy", "middling")
    assert oldest.tags["space"] == "paper-v1"
    assert oldest.metrics == pytest.approx(without_hard_trained.figures)


def test_what_was_registered_is_what_is_loaded(registry, without_hard_trained, configurations):
    loaded = registry.load("leave-out-hard")
    curves = [PartialCurve(configuration=c, scores=(0.2,)) for c in configurations[-16:]]
    before, after = (t.performance.predict({}, curves, [5] * 16) for t in (without_hard_trained, loaded))
    np.testing.assert_array_equal(before.mean, after.mean)
    assert loaded.cost == without_hard_trained.cost
    assert loaded.version == "1"


def test_a_target_gets_predictors_that_have_not_seen_it(registry):
    assert registry.load_for(Identity(name="hard", fingerprint="print-hard")).lineage.left_out == ("hard",)
    assert registry.load_for(Identity(name="stranger", fingerprint="print-stranger")).version == "2"


@pytest.mark.parametrize(("name", "fingerprint"), [("easy", "changed"), ("renamed", "print-easy")])
def test_a_target_that_all_have_seen_is_refused_unless_asked_for(registry, name, fingerprint):
    target = Identity(name=name, fingerprint=fingerprint)
    with pytest.raises(LeakageError, match=name):
        registry.load_for(target)
    assert registry.load_for(target, allow_seen=True).version == "2"


def test_a_twin_of_what_all_have_seen_is_refused_and_others_are_found(tmp_path, without_hard_trained, of_all):
    looks = np.random.default_rng(0).bytes(32 * 20)
    known = {
        name: Identity(name=name, fingerprint=f"print-{name}", sketch=Sketch(images=20, looks=looks))
        for name in ("easy", "hard")
    }
    twin = replace(known["hard"], name="mine", fingerprint="print-mine")
    shelf = Registry(f"sqlite:///{tmp_path / 'mlflow.db'}")

    def knowing(trained, *names):
        lineage = replace(trained.lineage, sketched=tuple(known[name] for name in names))
        return replace(trained, performance=replace(trained.performance, lineage=lineage))

    shelf.register(without_hard_trained)
    shelf.register(knowing(of_all, "hard"))
    assert shelf.load_for(twin).version == "1"
    assert shelf.load_for(replace(twin, sketch=None)).version == "2"
    hard = Registry(f"sqlite:///{tmp_path / 'other' / 'mlflow.db'}")
    hard.register(knowing(of_all, "easy"))
    with pytest.raises(LeakageError, match=r"mine \(as easy.*--leave-out easy"):
        hard.load_for(twin)


def test_each_search_space_has_predictors_of_its_own(tmp_path, of_all):
    shelf = Registry(f"sqlite:///{tmp_path / 'mlflow.db'}")
    stranger = Identity(name="stranger", fingerprint="print-stranger")
    lineage = replace(of_all.lineage, space="extended-v1")
    shelf.register(of_all)
    shelf.register(replace(of_all, performance=replace(of_all.performance, lineage=lineage)))
    assert {entry.aliases for entry in shelf.entries()} == {("champion",), ("extended-v1-champion",)}
    for allow_seen in (False, True):
        found = [
            predictors_for(stranger, shelf, space=space, allow_seen=allow_seen).version
            for space in ("paper-v1", "extended-v1", "another-v3")
        ]
        assert found == ["1", "2", "1"]
    with pytest.raises(PredictorError, match="no predictors of another-v3"):
        shelf.load_for(stranger, space="another-v3")


def test_promotion_moves_an_alias(registry):
    assert "trusted" in registry.promote("1", "trusted").aliases
    assert registry.load("trusted").version == "1"
    assert "trusted" in registry.promote("champion", "trusted").aliases
    assert registry.load("trusted").version == "2"


@pytest.mark.parametrize("name", ["7", "nobody"])
def test_an_unknown_version_or_alias_is_answered_with_what_there_is(registry, name):
    with pytest.raises(PredictorError, match=f"{name}.*champion.*leave-out-hard"):
        registry.load(name)


def test_files_lie_beside_the_database_without_pickle_and_nowhere_else(registry, folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    registry.load("champion")
    assert not list(tmp_path.iterdir())
    assert {path.name for path in folder.iterdir()} == {"mlflow.db", "mlflow-artifacts"}
    files = [path for path in (folder / "mlflow-artifacts").rglob("*") if path.is_file()]
    assert {path.suffix for path in files} == {".json", ".safetensors"}


def test_training_all_leaves_each_dataset_out_then_none(small_store):
    made = list(train_all(small_store, evaluate=True))
    assert [trained.lineage.left_out for trained in made] == [("easy",), ("middling",), ()]
    both = [trained.figures["mae_0"] for trained in made[:-1]]
    assert made[-1].figures["mae_0"] == pytest.approx(sum(both) / 2)
    for trained in made[:-1]:
        assert set(trained.lineage.left_out).isdisjoint(trained.lineage.datasets)
