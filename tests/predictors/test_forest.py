from __future__ import annotations

import numpy as np
import pytest
from sklearn.ensemble import ExtraTreesRegressor

from qttseg.errors import PredictorError
from qttseg.predictors.forest import Forest, Stack


@pytest.fixture(scope="module")
def rows() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Inputs, targets that bend sharply, and the datasets, 100 rows of each of four."""
    generator = np.random.default_rng(0)
    x = generator.normal(size=(400, 6))
    return x, np.sign(x[:, 0]) + 0.5 * x[:, 1] + 0.1 * generator.normal(size=400), np.repeat(np.arange(4.0), 100)


def test_the_arrays_predict_what_the_trees_they_were_made_of_do(rows):
    x, u, _ = rows
    grown = ExtraTreesRegressor(50, min_samples_leaf=25, random_state=3).fit(x, u)
    new = np.random.default_rng(1).normal(size=(200, 6))
    np.testing.assert_allclose(Forest.fit(x, u, seed=3).predict(new), grown.predict(new), atol=1e-6)


def test_few_rows_make_trees_of_one_leaf(rows):
    x, u, _ = rows
    np.testing.assert_allclose(Forest.fit(x[:10], u[:10], seed=0).predict(x), u[:10].mean(), atol=1e-6)
    assert Forest.fit(x[:10], u[:10], seed=0).predict(x[:0]).shape == (0,)


def test_a_forest_comes_back_from_its_tensors(rows):
    x, u, _ = rows
    forest = Forest.fit(x, u, seed=0)
    tensors = forest.tensors()
    np.testing.assert_array_equal(Forest.from_tensors(tensors).predict(x), forest.predict(x))
    del tensors["value"]
    with pytest.raises(PredictorError, match="'value' is missing"):
        Forest.from_tensors(tensors)


def test_its_weight_is_what_it_adds_on_datasets_that_it_has_not_seen(rows):
    x, u, dataset = rows
    ignorant, _ = Stack.fit(x, u, dataset, np.zeros(400), seed=0)
    knowing, _ = Stack.fit(x, u, dataset, u, seed=0)
    misled, _ = Stack.fit(x, u[::-1].copy(), dataset, u[::-1] * 0.9, seed=0)
    assert 0.9 < ignorant.weight <= 1
    assert knowing.weight == 0
    assert misled.weight < 0.2
    np.testing.assert_allclose(ignorant.mixed(np.zeros(400), x), ignorant.weight * ignorant.forest.predict(x))
    np.testing.assert_array_equal(knowing.mixed(u, x), u)


def test_without_a_dataset_it_knows_nothing_of_it(rows):
    x, u, dataset = rows
    changed = np.where(dataset == 2, -5 * u, u)
    _, without = Stack.fit(x, u, dataset, np.zeros(400), seed=0)
    _, without_changed = Stack.fit(x, changed, dataset, np.zeros(400), seed=0)
    one, other, third = without(2), without_changed(2), without_changed(1)
    np.testing.assert_array_equal(one.forest.predict(x), other.forest.predict(x))
    assert not np.allclose(one.forest.predict(x), third.forest.predict(x))


def test_one_dataset_cannot_tell_what_a_forest_is_worth(rows):
    x, u, _ = rows
    stack, without = Stack.fit(x, u, np.zeros(400), np.zeros(400), seed=0)
    assert stack is None
    assert without(0) is None
