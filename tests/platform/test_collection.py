import os
import signal
import subprocess
import sys
import textwrap
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from qttseg.errors import CollectionError, StoreError
from qttseg.metadata.runs import LearningCurve, Outcome, Run
from qttseg.metadata.store import CurveStore
from qttseg.platform.collection import Progress, collect, status
from qttseg.platform.executors import InProcessExecutor

MakeRun = Callable[..., Run]


def completed(run: Run) -> LearningCurve:
    return LearningCurve(run=run, outcome=Outcome.COMPLETED)


def test_only_what_is_missing_is_done(tmp_path: Path, make_run: MakeRun):
    plan = [make_run(x=x) for x in range(10)]
    store = CurveStore(tmp_path)
    store.append([completed(run) for run in plan[:4]])
    news: list[Progress] = []
    report = collect(plan, store, InProcessExecutor(), lambda: completed, on_progress=news.append)
    assert (report.done, report.skipped, report.outcomes) == (6, 4, {Outcome.COMPLETED: 6})
    assert [(item.done, item.total) for item in news] == [(done, 6) for done in range(1, 7)]
    assert store.run_ids() == {run.id for run in plan}
    assert collect(plan, store, InProcessExecutor(), lambda: completed).done == 0


def test_failures_are_done_again_only_when_asked(tmp_path: Path, make_run: MakeRun):
    plan = [make_run(x=x) for x in range(3)]
    store = CurveStore(tmp_path)

    def unlucky(run: Run) -> LearningCurve:
        raise ValueError(f"no luck with {run.configuration['x']}")

    assert collect(plan, store, InProcessExecutor(), lambda: unlucky).outcomes == {Outcome.FAILED: 3}
    assert collect(plan, store, InProcessExecutor(), lambda: completed).skipped == 3
    report = collect(plan, store, InProcessExecutor(), lambda: completed, retry_failed=True)
    assert report.outcomes == {Outcome.COMPLETED: 3}
    assert store.run_ids({Outcome.FAILED}) == frozenset()


def test_an_interruption_loses_only_the_run_in_flight(tmp_path: Path, make_run: MakeRun):
    plan = [make_run(x=x) for x in range(10)]

    def interrupted(run: Run) -> LearningCurve:
        if run.configuration["x"] == 5:
            raise KeyboardInterrupt
        return completed(run)

    store = CurveStore(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        collect(plan, store, InProcessExecutor(), lambda: interrupted)
    assert store.run_ids() == {run.id for run in plan[:5]}


def test_each_finished_run_is_stored_at_once_and_small_files_are_merged(tmp_path: Path, make_run: MakeRun):
    stored: list[tuple[int, int]] = []
    store = CurveStore(tmp_path)

    def look(news: Progress) -> None:
        if news.done % 50 == 7:
            stored.append((len(store.run_ids()) - news.done, len(list((tmp_path / "curves").iterdir()))))

    collect([make_run(x=x) for x in range(220)], store, InProcessExecutor(), lambda: completed, on_progress=look)
    assert [missing for missing, _ in stored] == [0] * 5
    assert max(files for _, files in stored) < 110
    assert len(list((tmp_path / "curves").iterdir())) == 1


def test_status_tells_what_is_done_what_failed_and_how_long_it_will_take(tmp_path: Path, make_run: MakeRun):
    store = CurveStore(tmp_path)
    with pytest.raises(CollectionError, match="run qttseg collect first"):
        status(store)
    plan = [make_run(x=x) for x in range(10)]
    store.append([completed(make_run(x=77))])  # of another plan

    def work(run: Run) -> LearningCurve:
        x = int(run.configuration["x"])
        if x == 6:
            raise KeyboardInterrupt
        outcome = Outcome.DIVERGED if x in {1, 2} else Outcome.COMPLETED
        reason = "the loss is nan" if outcome is Outcome.DIVERGED else ""
        return LearningCurve(run=run, outcome=outcome, reason=reason, finished_at=1000.0 + 10 * (x + 1))

    with pytest.raises(KeyboardInterrupt):
        collect(plan, store, InProcessExecutor(), lambda: work, clock=lambda: 1000.0)
    seen = status(store)
    assert (seen.total, seen.done, seen.missing) == (10, 6, 4)
    assert seen.outcomes == {Outcome.COMPLETED: 4, Outcome.DIVERGED: 2}
    assert seen.reasons == {"the loss is nan": 2}
    assert seen.runs_per_hour == pytest.approx(360)
    assert seen.seconds_left == pytest.approx(40)


def test_a_plan_that_is_no_plan_is_refused(tmp_path: Path):
    store = CurveStore(tmp_path)
    store.write_json("plan.json", {"runs": 3})
    with pytest.raises(CollectionError, match="is not a plan"):
        status(store)
    (tmp_path / "plan.json").write_text("{")
    with pytest.raises(StoreError, match="damaged"):
        status(store)


COLLECTING = """
    import sys, time
    from qttseg.metadata.configurations import Configuration
    from qttseg.metadata.protocol import Protocol
    from qttseg.metadata.runs import LearningCurve, Outcome, Run
    from qttseg.metadata.store import CurveStore
    from qttseg.platform.collection import collect
    from qttseg.platform.executors import InProcessExecutor

    plan = [
        Run(dataset=name, dataset_fingerprint=name, configuration=Configuration({"x": x}), space="s", protocol=Protocol(),
            backbone="b", backbone_fingerprint="b")
        for x in range(20) for name in ("polyp", "leaf")
    ]

    def work(run):
        time.sleep(float(sys.argv[2]))
        return LearningCurve(run=run, outcome=Outcome.COMPLETED)

    collect(plan, CurveStore(sys.argv[1]), InProcessExecutor(), lambda: work)
"""


def test_a_collection_that_is_killed_twice_ends_as_an_unbroken_one(tmp_path: Path):
    script = tmp_path / "collecting.py"
    script.write_text(textwrap.dedent(COLLECTING))

    def start(store: str, seconds_per_run: float) -> subprocess.Popen[bytes]:
        return subprocess.Popen([sys.executable, script, tmp_path / store, str(seconds_per_run)])

    broken = CurveStore(tmp_path / "broken")
    for stored in (1, 10):
        process = start("broken", 0.02)
        deadline = time.monotonic() + 60
        while len(broken.run_ids()) < stored and time.monotonic() < deadline:
            time.sleep(0.02)
        os.kill(process.pid, signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        assert stored <= len(broken.run_ids()) < 40
    assert start("broken", 0).wait() == 0
    assert start("unbroken", 0).wait() == 0
    ids = Counter(curve.run.id for curve in broken.curves())
    assert set(ids) == CurveStore(tmp_path / "unbroken").run_ids()
    assert set(ids.values()) == {1}
    assert len(ids) == 40
