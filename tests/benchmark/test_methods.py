from __future__ import annotations

import numpy as np
import pytest

from qttseg.benchmark.methods import BoxFiller, method, method_names
from qttseg.errors import BenchmarkError
from qttseg.metadata.adapters import adapter_of
from qttseg.pipelines.spaces import search_space


def test_methods_are_found_by_name():
    assert method_names()[:4] == ("zero-shot", "qtt-seg", "random", "box-filling")
    assert [method(name).name for name in method_names()] == list(method_names())
    assert {name for name in method_names() if not method(name).budgeted} >= {"zero-shot", "box-filling"}


def test_autogluon_takes_official_weights_by_folder_or_name():
    found = method("autogluon-boxes:facebook/sam-vit-base")
    assert (found.name, found.checkpoint, found.boxes) == (
        "autogluon-boxes:facebook/sam-vit-base",
        "facebook/sam-vit-base",
        True,
    )
    with pytest.raises(BenchmarkError, match="no method 'random:fast'"):
        method("random:fast")


def test_fixed_configurations_differ_in_what_they_train():
    trained = {name: method(name).configuration for name in ("default", "default-no-lora", "default-full")}
    search_space().validate(trained["default"])
    search_space().validate(trained["default-no-lora"])
    same = {"sched", "cosine_t0", "cosine_t_mult", "weight_decay", "horizontal_flip", "vertical_flip", "random_rotate"}
    assert len({tuple(own[name] for name in sorted(same)) for own in trained.values()}) == 1
    assert (trained["default"]["lora"], trained["default-full"]["full"]) == (1, 1)


@pytest.mark.parametrize("adapter", ["decoder", "lora", "plm", "plm+pmm", "lora+plm"])
def test_a_search_can_be_held_to_each_adapter_of_the_extended_space(adapter):
    own = method(f"qtt-seg-only-{adapter}")
    drawn = search_space(own.space).sample(8, seed=0, where=own.where)
    assert {adapter_of(configuration).name for configuration in drawn} == {adapter}


def test_an_unknown_method_is_answered_with_the_known_ones():
    with pytest.raises(BenchmarkError, match=r"no method 'qtt'; there are zero-shot, qtt-seg"):
        method("qtt")


@pytest.mark.usefixtures("plug_in")
def test_plug_ins_are_methods_too():
    assert "plug-failing" in method_names()
    assert method("plug-failing").name == "plug-failing"
    with pytest.raises(BenchmarkError, match="cannot be loaded"):
        method("plug-missing")
    with pytest.raises(BenchmarkError, match="calls itself plug-failing"):
        method("plug-misnamed")


def test_box_filling_puts_smaller_boxes_on_top_and_keeps_the_size():
    image = np.zeros((20, 30, 3), np.uint8)
    boxes = {1: (10.0, 5.0, 20.0, 15.0), 2: (0.0, 0.0, 30.0, 20.0), 3: (12.4, 7.6, 14.0, 10.0)}
    (labels,) = BoxFiller().segment_all([image], [boxes])
    assert labels.shape == (20, 30)
    assert labels.dtype == np.uint8
    assert labels[0, 0] == 2
    assert (labels == 1).sum() == 10 * 10 - 2 * 2
    assert (labels == 3).sum() == 2 * 2
    assert not BoxFiller().segment_all([image], [{}])[0].any()
    (labels,) = BoxFiller().segment_all([image], [{1: ((4.5, 3.5),), 2: ((6.5, 2.5), (9.5, 7.5))}])
    assert ((labels == 1).sum(), (labels == 2).sum()) == (1, 4 * 6)
