from __future__ import annotations

import json

import numpy as np
import pytest

from qttseg.errors import PredictorError
from qttseg.metadata.configurations import Configuration
from qttseg.predictors.features import Encoder, mean_rate_share

META = ({"images": 100.0, "height": 256.0}, {"images": 1000.0, "height": 256.0})


@pytest.fixture(scope="module")
def encoder(configurations) -> Encoder:
    return Encoder.fit(configurations, META, epochs=10)


def test_columns_are_standardised_and_distinct(encoder, configurations):
    matrix = encoder.configurations(configurations)
    np.testing.assert_allclose(matrix.mean(axis=0), 0, atol=1e-9)
    np.testing.assert_allclose(matrix.std(axis=0), 1, atol=1e-9)
    correlation = np.abs(np.corrcoef(matrix.T)) - np.eye(matrix.shape[1])
    assert correlation.max() < 1 - 1e-6


def test_an_inactive_parameter_looks_the_same_whatever_it_was(encoder):
    plain = {"lr": 1e-3, "sched": "cosine", "lora": 0, "weight_decay": 0.0}
    absent = encoder.configurations([Configuration(plain)])
    unknown = encoder.configurations([Configuration(plain | {"unheard_of": 3})])
    np.testing.assert_array_equal(absent, unknown)


def test_a_configuration_of_another_space_is_refused(encoder):
    with pytest.raises(PredictorError, match="none of the parameters"):
        encoder.configurations([Configuration({"depth": 3})])
    with pytest.raises(PredictorError, match="lr is 'fast'"):
        encoder.configurations([Configuration({"lr": "fast"})])


def test_meta_features_may_be_missing_unknown_or_extreme(encoder):
    assert encoder.meta_names == ("images",)  # the height never varied
    np.testing.assert_array_equal(encoder.meta_features({}), [0.0])
    np.testing.assert_array_equal(encoder.meta_features({"images": float("nan"), "other": 1.0}), [0.0])
    np.testing.assert_array_equal(encoder.meta_features({"images": 1e30}), [3.0])


def test_json_brings_back_the_same_encoder(encoder, configurations):
    again = Encoder.from_dict(json.loads(json.dumps(encoder.to_dict())))
    assert again == encoder
    np.testing.assert_array_equal(again.configurations(configurations), encoder.configurations(configurations))


@pytest.mark.parametrize(
    ("configuration", "share"),
    [
        ({"sched": "cosine"}, 0.5),
        ({"sched": "poly", "poly_power": 1.0}, 0.5),
        ({"sched": "step", "step_size": 5, "decay_rate": 0.5}, 0.75),
        ({"sched": "plateau"}, 1.0),
        ({}, 1.0),
    ],
)
def test_mean_rate_share(configuration, share):
    assert mean_rate_share(configuration, 10) == pytest.approx(share)


def test_a_dataset_is_as_novel_as_it_lies_apart_from_all_known_ones(configurations):
    known = [{"images": size, "height": 256.0} for size in (100.0, 200.0, 400.0, 800.0)]
    encoder = Encoder.fit(configurations[:8], known, epochs=5)
    assert encoder.novelty(known[1]) == pytest.approx(0, abs=1e-9)
    assert encoder.novelty({"images": 1600.0}) == pytest.approx(1, abs=0.1)
    assert encoder.novelty({"images": 1e6}) > 1.5
    assert Encoder.from_dict(json.loads(json.dumps(encoder.to_dict()))) == encoder
    assert Encoder.fit(configurations[:8], known[:2], epochs=5).novelty({"images": 1e9}) == 0
    twice = Encoder.fit(configurations[:8], [*known, *known], epochs=5)
    assert twice.novelty({"images": 1600.0}) == pytest.approx(encoder.novelty({"images": 1600.0}))
