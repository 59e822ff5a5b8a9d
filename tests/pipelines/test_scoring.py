import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qttseg.errors import DatasetError
from qttseg.pipelines.loading import load_backbone
from qttseg.pipelines.scoring import evaluate, image_score
from qttseg.pipelines.segmenter import Segmenter, zero_shot_segmenter


def maps(seed, classes=4):
    return np.random.default_rng(seed).integers(0, classes, (12, 9)).astype(np.uint8)


@given(st.integers(0, 500))
def test_a_score_is_one_for_the_truth_and_within_bounds(seed):
    truth, other = maps(seed), maps(seed + 1)
    for metric in ("mean-class-iou", "pooled-binary-iou"):
        assert image_score(truth, truth, metric=metric) == 1
        assert 0 <= image_score(other, truth, metric=metric) <= 1


def test_the_mean_is_over_the_classes_present_in_the_truth():
    truth = np.array([[1, 1, 2, 0]], np.uint8)
    predicted = np.array([[1, 0, 2, 3]], np.uint8)
    assert image_score(predicted, truth) == pytest.approx((1 / 2 + 1) / 2)
    assert image_score(predicted, truth, metric="pooled-binary-iou") == pytest.approx(2 / 4)


def test_ignored_pixels_do_not_count():
    truth = np.array([[1, 1, 255, 0]], np.uint8)
    assert image_score(np.array([[1, 1, 1, 0]], np.uint8), truth) == 1


def test_an_empty_truth_wants_an_empty_prediction():
    empty = np.zeros((3, 3), np.uint8)
    assert image_score(empty, empty) == 1
    assert image_score(np.eye(3, dtype=np.uint8), empty) == 0


def test_maps_of_different_size_are_refused():
    with pytest.raises(DatasetError, match="scored against"):
        image_score(np.zeros((2, 2), np.uint8), np.zeros((2, 3), np.uint8))


def test_maps_have_the_masks_size_and_batches_do_not_matter(discs, protocol):
    dataset, segmenter = discs(3), zero_shot_segmenter(load_backbone())
    together = evaluate(segmenter, dataset, range(9), protocol, seed=1)
    assert together.scores == evaluate(segmenter, dataset, range(9), protocol, seed=1).scores
    for index in range(9):
        alone = evaluate(segmenter, dataset, [index], protocol, seed=1)
        assert alone.label_maps[0].shape == dataset[index].mask.shape
        differing = np.mean(alone.label_maps[0] != together.label_maps[index])
        assert differing < 1e-3


def test_prompt_noise_follows_the_seed(discs, protocol):
    from qttseg.pipelines.scoring import image_prompts

    dataset = discs(2)
    first, again, other = (image_prompts(dataset, 3, dataset[3].mask, protocol, seed) for seed in (0, 0, 1))
    assert first == again != other


def test_no_box_gives_an_empty_map():
    segmenter = zero_shot_segmenter(load_backbone())
    found = segmenter.segment(np.zeros((20, 30, 3), np.uint8), {})
    assert found.shape == (20, 30)
    assert not found.any()


def test_boxes_and_points_may_be_mixed(small_vit):
    segmenter = Segmenter(backbone=small_vit)
    images = [np.random.default_rng(seed).integers(0, 256, (20, 30, 3), dtype=np.uint8) for seed in range(3)]
    prompts = [{1: (2.0, 3.0, 20.0, 15.0), 2: ((5.5, 4.5),)}, {2: ((9.0, 9.0), (3.0, 2.0)), 1: ((1.0, 1.0),)}, {}]
    together = segmenter.segment_all(images, prompts)
    for image, own, found in zip(images, prompts, together, strict=True):
        alone = segmenter.segment(image, own)
        assert found.shape == (20, 30)
        assert np.mean(alone != found) < 0.01
