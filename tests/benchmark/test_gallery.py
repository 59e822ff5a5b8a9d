from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from qttseg.benchmark.gallery import EXAMPLES, SIDE, Gallery, picture
from qttseg.benchmark.results import Result
from qttseg.benchmark.runner import Benchmark, run_benchmark
from qttseg.benchmark.store import ResultStore
from qttseg.metadata.datasets import Dataset, Sample
from qttseg.metadata.protocol import Protocol


class Stripes:
    """Wide images; each mask has a band of class 1, one of class 2 and one to ignore."""

    def load(self, index: int) -> Sample:
        mask = np.zeros((200, 1000), np.uint8)
        mask[20:60], mask[80:120], mask[150:] = 1, 2, 255
        return Sample(image=np.full((200, 1000, 3), 20 * index, np.uint8), mask=mask, name=str(index))


@pytest.fixture
def stripes() -> Dataset:
    names = tuple(f"stripes {index}" for index in range(12))
    return Dataset(name="stripes", task="multiclass", classes=("background", "a", "b"), names=names, source=Stripes())


def test_pictures_read_back_small_with_their_class_ids(tmp_path: Path, stripes: Dataset, template: Result):
    gallery, test = Gallery(uri=str(tmp_path)), (2, 3, 5, 7, 11)
    gallery.keep(template, stripes, test, [np.full((200, 1000), place, np.uint8) for place in range(len(test))])
    examples = gallery.examples(template)
    assert len(examples) == EXAMPLES
    for example in examples:
        assert example.name == f"stripes {test[example.place]}"
        image, truth = picture(example.image), picture(example.truth)
        assert image.size == truth.size == (SIDE, 51)
        assert abs(int(np.asarray(image)[25, 100, 0]) - 20 * test[example.place]) <= 2
        assert set(np.unique(np.asarray(truth))) == {0, 1, 2, 255}, "shrinking mixes no classes"
        file = gallery.prediction(template, example)
        assert file is not None
        assert len(file) < 4000
        assert (np.asarray(picture(file)) == example.place).all()


def test_all_methods_and_seeds_are_shown_on_the_same_images(tmp_path: Path, stripes: Dataset, template: Result):
    gallery, maps = Gallery(uri=str(tmp_path)), [np.zeros((200, 1000), np.uint8)] * 12
    jobs = [replace(template, seed=seed, method=method) for seed in (0, 1) for method in ("random", "qtt-seg")]
    for job in jobs:
        gallery.keep(job, stripes, range(12), maps)
    first = gallery.examples(jobs[0])
    assert all(gallery.examples(job) == first for job in jobs)
    assert all(gallery.prediction(job, example) for job in jobs for example in first)


def test_what_was_not_kept_is_not_there(tmp_path: Path, stripes: Dataset, template: Result):
    gallery = Gallery(uri=str(tmp_path))
    assert gallery.examples(template) == ()
    gallery.keep(template, stripes, (4,), [np.zeros((200, 1000), np.uint8)])
    (example,) = gallery.examples(template)
    assert gallery.prediction(replace(template, seed=7), example) is None
    assert gallery.examples(replace(template, protocol=Protocol(epochs=3))) == (), "another protocol, other test images"


def test_pictures_go_through_any_file_system(stripes: Dataset, template: Result):
    gallery = Gallery(uri="memory://gallery-test")
    gallery.keep(template, stripes, (0, 1), [np.zeros((200, 1000), np.uint8)] * 2)
    assert len(gallery.examples(template)) == 2


def test_pictures_lie_beside_results_and_do_not_disturb_them(filled: ResultStore, made: Callable[..., list[Result]]):
    assert len(filled.results()) == len(made())


def test_a_benchmark_keeps_pictures_of_what_its_methods_predicted(tmp_path: Path):
    for part, value in (("images", 200), ("masks", 1)):
        (tmp_path / "squares" / part).mkdir(parents=True)
        for index in range(6):
            pixels = np.zeros((30, 40), np.uint8)
            pixels[5:20, 4 + index : 24 + index] = value
            Image.fromarray(pixels).save(tmp_path / "squares" / part / f"{index}.png")
    store = ResultStore(tmp_path / "results")
    benchmark = Benchmark(
        methods=("box-filling",),
        datasets=(str(tmp_path / "squares"),),
        seeds=(0,),
        protocol=Protocol(images=4, test_images=2, prompt_noise=0),
    )
    (result,) = run_benchmark(benchmark, store).results
    gallery = Gallery(uri=store.uri)
    examples = gallery.examples(result)
    assert [example.place for example in examples] == [0, 1]
    for example in examples:
        assert gallery.prediction(result, example) == example.truth, "a filled box is the whole square"
