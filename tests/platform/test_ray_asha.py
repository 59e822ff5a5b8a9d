"""Ray Tune's ASHA on real fine-tunings: what it hands back is what it scored."""

from __future__ import annotations

from math import log

import pytest
import ray

from qttseg.metadata.datasets import resolve_dataset
from qttseg.metadata.protocol import Protocol
from qttseg.metadata.splits import draw_split
from qttseg.pipelines.loading import load_backbone
from qttseg.pipelines.scoring import evaluate
from qttseg.pipelines.segmenter import zero_shot_segmenter
from qttseg.pipelines.spaces import search_space
from qttseg.platform.ray_asha import search
from qttseg.platform.ray_connection import connected

pytestmark = [
    pytest.mark.usefixtures("ray_folder"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:ray"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]

PROTOCOL = Protocol(images=8, test_images=4, epochs=2)


def test_the_best_model_is_the_one_that_scored_best():
    dataset, backbone = resolve_dataset("procedural-polyp"), load_backbone()
    split = draw_split(dataset, PROTOCOL, seed=0)
    candidates = sorted(search_space().sample(40, seed=0), key=lambda c: abs(log(float(c["lr"]) / 1e-3)))[:3]
    found = search(dataset, split, PROTOCOL, backbone, candidates, budget=200.0)
    moments, scores = zip(*found.trajectory, strict=True)
    assert list(moments) == sorted(moments)
    assert list(scores) == sorted(set(scores))
    assert len(scores) > 1, "nothing was better than the untuned backbone"
    again = evaluate(found.segmenter, dataset, split.validation, PROTOCOL, seed=0)
    assert again.score == pytest.approx(found.score, abs=1e-4)
    assert found.warm_start_seconds > 0


def test_two_searches_in_one_cluster_keep_to_their_own_dataset():
    @ray.remote(num_cpus=1)
    def first_score(name: str) -> float:
        dataset = resolve_dataset(name)
        split = draw_split(dataset, PROTOCOL, seed=0)
        candidates = search_space().sample(1, seed=0)
        return search(dataset, split, PROTOCOL, load_backbone(), candidates, budget=200.0).trajectory[0][1]

    names = ("procedural-polyp", "procedural-lesion")
    with connected(None, cpus=2):
        found = ray.get([first_score.remote(name) for name in names])
    for name, score in zip(names, found, strict=True):
        dataset = resolve_dataset(name)
        validation = draw_split(dataset, PROTOCOL, seed=0).validation
        own = evaluate(zero_shot_segmenter(load_backbone()), dataset, validation, PROTOCOL, seed=0).score
        assert score == pytest.approx(own, abs=1e-6)
