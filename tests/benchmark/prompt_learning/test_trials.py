"""Studies of prompt learning: what they consist of, and that the trials are real."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from qttseg.benchmark.prompt_learning import plans
from qttseg.benchmark.prompt_learning.plans import Question
from qttseg.benchmark.prompt_learning.rows import Row
from qttseg.benchmark.prompt_learning.store import TrialStore
from qttseg.benchmark.prompt_learning.trials import Laboratory, asked_prompts
from qttseg.benchmark.results import Status
from qttseg.errors import BenchmarkError
from qttseg.metadata.datasets import Dataset
from qttseg.metadata.protocol import Protocol
from qttseg.pipelines.loading import load_backbone

LABORATORY = Laboratory(backbone=load_backbone(), protocol=Protocol(images=8, test_images=4, epochs=1))


@pytest.fixture
def folder(discs: Callable[[int], Dataset], tmp_path: Path) -> str:
    """Discs and squares as a dataset folder."""
    drawn = discs(3)
    for part in ("images", "masks"):
        (tmp_path / "discs" / part).mkdir(parents=True)
    for index, name in enumerate(drawn.names):
        sample = drawn[index]
        Image.fromarray(sample.image).save(tmp_path / "discs" / "images" / f"{name}.png")
        Image.fromarray(sample.mask).save(tmp_path / "discs" / "masks" / f"{name}.png")
    return str(tmp_path / "discs")


def test_trials_are_trained_asked_and_never_made_twice(folder: str, tmp_path: Path) -> None:
    store, seen = TrialStore(tmp_path / "results"), list[Row]()
    plan = plans.compared([folder], methods=["sam", "oracle", "plm+pmm"], prompts=["point"], images=6, seeds=1)

    def run() -> tuple[int, int]:
        return LABORATORY.run(plan, store, on_progress=lambda row, _done, _total: seen.append(row))

    assert run() == (3, 0)
    assert run() == (0, 3)
    rows = {row.method: row for row in store.newest()}
    assert {row.status for row in rows.values()} == {Status.OK}
    assert [score.name for score in rows["sam"].classes] == ["class 1", "class 2"]
    assert rows["oracle"].miou > rows["sam"].miou
    assert rows["sam"].parameters == rows["sam"].seconds == 0
    assert rows["plm+pmm"].parameters > 100_000
    assert rows["plm+pmm"].settings["epochs"] == 1


def test_a_training_on_one_task_is_asked_about_its_sibling(folder: str, tmp_path: Path) -> None:
    plan = plans.transfer([folder, "procedural-eyes"], methods=["sam", "plm"], prompts=["box"], images=4, seeds=1)
    assert {len(asked) for training, asked in plan.items() if training.method == "plm"} == {2}
    assert {len(asked) for training, asked in plan.items() if training.method == "sam"} == {1}
    with pytest.raises(BenchmarkError, match="at least two"):
        plans.transfer([folder], methods=["plm"], prompts=["box"], images=4, seeds=1)


def test_amounts_of_data_grow_and_untrained_methods_stand_once() -> None:
    plan = plans.amounts(["a"], methods=["sam", "plm"], prompts=["point"], images=80, seeds=2)
    counts = sorted({training.images for training in plan if training.method == "plm"})
    assert counts == [8, 20, 40, 80]
    assert sum(training.method == "sam" for training in plan) == 2


def test_sensitivity_moves_boxes_by_more_and_more_and_draws_points_anew() -> None:
    plan = plans.sensitivity(["a"], methods=["plm"], prompts=["point", "box"], images=80, seeds=1, draws=3)
    asked = {training.prompt: questions for training, questions in plan.items()}
    assert len(asked["point"]) == 3
    assert sorted({question.noise for question in asked["box"]}) == [0.0, 0.05, 0.1, 0.2]
    with pytest.raises(BenchmarkError, match="unknown method magic"):
        plans.compared(["a"], methods=["magic"], prompts=["point"], images=80, seeds=1)


def test_prompts_of_a_question_are_drawn_once(discs: Callable[[int], Dataset]) -> None:
    drawn = discs(3)
    mask = drawn[0].mask

    def asked(**question: object) -> dict[int, object]:
        return dict(asked_prompts(drawn, 0, mask, Question(task="discs", **question)))  # type: ignore[arg-type]

    assert asked(prompt="point", draw=1) == asked(prompt="point", draw=1) != asked(prompt="point", draw=2)
    exact, moved = asked(prompt="box")[2], asked(prompt="box", noise=0.2)[2]
    assert exact == (70.0, 30.0, 90.0, 50.0)
    assert 0 < np.abs(np.subtract(exact, moved)).max() <= 0.2 * 20


def test_each_method_is_trained_alike_but_for_what_is_trained_how_richly_and_the_rate_of_class_plm() -> None:
    common = {key: plans.CONFIGURATIONS["sam-f"][key] for key in ("sched", "weight_decay", "horizontal_flip")}
    assert all(common.items() <= dict(c).items() for c in plans.CONFIGURATIONS.values())
    faster = {name for name, c in plans.CONFIGURATIONS.items() if c["lr"] != plans.CONFIGURATIONS["sam-f"]["lr"]}
    assert faster == {"plm-class", "plm-class+pmm"} | {
        f"{name}-rich{more}" for name in ("plm-class", "plm-compare") for more in ("", "+pmm")
    } | {"lora+plm-class-rich", "lora+plm-compare-rich"}
    rich = {name for name, c in plans.CONFIGURATIONS.items() if c["loss"] != plans.CONFIGURATIONS["sam-f"]["loss"]}
    assert rich == {name for name in plans.CONFIGURATIONS if "-rich" in name}
