from collections.abc import Callable
from pathlib import Path

import pytest

from qttseg.errors import CollectionError, StoreError
from qttseg.metadata.runs import LearningCurve, Outcome, Run
from qttseg.metadata.store import CurveStore
from qttseg.platform.collection import collect
from qttseg.platform.executors import InProcessExecutor, Work
from qttseg.platform.status import DatasetStatus, status

MakeRun = Callable[..., Run]
OneByOne = Callable[[Callable[[Run], LearningCurve]], Callable[[], Work]]


def test_status_tells_what_is_done_what_failed_and_how_long_it_will_take(
    tmp_path: Path, make_run: MakeRun, one_by_one: OneByOne
):
    store = CurveStore(tmp_path)
    with pytest.raises(CollectionError, match="run qttseg collect first"):
        status(store)
    plan = [make_run(x=x) for x in range(7)] + [make_run("leaf", x=x) for x in range(7, 10)]
    store.append([LearningCurve(run=make_run(x=77), outcome=Outcome.COMPLETED)])  # of another plan

    def work(run: Run) -> LearningCurve:
        x = int(run.configuration["x"])
        if x == 6:
            raise KeyboardInterrupt
        outcome = Outcome.DIVERGED if x in {1, 2} else Outcome.COMPLETED
        reason = "the loss is nan" if outcome is Outcome.DIVERGED else ""
        return LearningCurve(
            run=run, outcome=outcome, reason=reason, setup_seconds=8.0, finished_at=1000.0 + 10 * (x + 1)
        )

    with pytest.raises(KeyboardInterrupt):
        collect(plan, store, InProcessExecutor(), one_by_one(work), clock=lambda: 1000.0)
    seen = status(store)
    assert (seen.total, seen.done, seen.missing) == (10, 6, 4)
    assert seen.outcomes == {Outcome.COMPLETED: 4, Outcome.DIVERGED: 2}
    assert seen.reasons == {"the loss is nan": 2}
    assert seen.runs_per_hour == pytest.approx(360)
    assert seen.seconds_left == pytest.approx(40)
    assert seen.datasets == {
        "polyp": DatasetStatus(total=7, done=6, seconds=48.0),
        "leaf": DatasetStatus(total=3, done=0, seconds=0.0),
    }


def test_a_plan_that_is_no_plan_is_refused(tmp_path: Path):
    store = CurveStore(tmp_path)
    store.write_json("plan.json", {"runs": 3})
    with pytest.raises(CollectionError, match="is not a plan"):
        status(store)
    (tmp_path / "plan.json").write_text("{")
    with pytest.raises(StoreError, match="damaged"):
        status(store)
