"""AutoGluon's side of the benchmark, with a small runner in its place: the same launching, files and scoring."""

from __future__ import annotations

import pytest

from qttseg.benchmark.results import Status


@pytest.mark.parametrize("boxes", [False, True])
def test_masks_of_several_classes_are_scored_like_everybody_elses(run, boxes):
    result = run(boxes=boxes)
    assert (result.status, result.reason) == (Status.OK, "")
    assert result.score > 0.9
    assert len(result.image_scores) == 3
    assert result.versions["autogluon/torch"] == "0.0"
    assert 0 < result.seconds < result.budget
    assert result.warm_start_seconds > 0


def test_its_own_learning_curve_becomes_the_trajectory(run):
    result = run(classes=2)
    assert [score for _, score in result.trajectory] == [0.4, 0.6]
    assert result.validation_score == 0.6
    assert result.score > 0.9


@pytest.mark.parametrize(
    ("fit", "reason"),
    [
        ('raise ValueError("no luck")', "BenchmarkError: AutoGluon ended with exit code 1: ValueError: no luck"),
        ("os._exit(7)", "BenchmarkError: AutoGluon ended with exit code 7: it said nothing"),
        ('print("Epoch 1")', "BenchmarkError: AutoGluon answered b'Epoch 1', which is no JSON object"),
        ("say([])", "BenchmarkError: AutoGluon answered b'[]', which is no JSON object"),
        ('say({"score": 1})', "BenchmarkError: AutoGluon's runner answered without its learning curve"),
        ('say({"trajectory": [[0.1, "high"]]})', "BenchmarkError: AutoGluon's runner answered without its learning"),
    ],
)
def test_whatever_goes_wrong_over_there_is_a_row_with_a_reason(run, fit, reason):
    result = run(fit)
    assert result.status is Status.FAILED
    assert result.reason.startswith(reason)


def test_far_beyond_its_time_it_is_killed(run):
    result = run("time.sleep(60)", budget=0.5, grace=0.5)
    assert result.status is Status.TIMED_OUT
    assert "AutoGluon gave no answer within" in result.reason
