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

from qttseg.metadata.runs import LearningCurve, Outcome, Run
from qttseg.metadata.store import CurveStore
from qttseg.platform.collection import Progress, collect
from qttseg.platform.executors import InProcessExecutor, Work

MakeRun = Callable[..., Run]
OneByOne = Callable[[Callable[[Run], LearningCurve]], Callable[[], Work]]


def completed(run: Run) -> LearningCurve:
    return LearningCurve(run=run, outcome=Outcome.COMPLETED)


def test_only_what_is_missing_is_done(tmp_path: Path, make_run: MakeRun, one_by_one: OneByOne):
    plan = [make_run(x=x) for x in range(10)]
    store = CurveStore(tmp_path)
    store.append([completed(run) for run in plan[:4]])
    news: list[Progress] = []
    report = collect(plan, store, InProcessExecutor(), one_by_one(completed), on_progress=news.append)
    assert (report.done, report.skipped, report.outcomes) == (6, 4, {Outcome.COMPLETED: 6})
    assert [(item.done, item.total) for item in news] == [(done, 6) for done in range(1, 7)]
    assert store.run_ids() == {run.id for run in plan}
    assert collect(plan, store, InProcessExecutor(), one_by_one(completed)).done == 0


def test_failures_are_done_again_only_when_asked(tmp_path: Path, make_run: MakeRun, one_by_one: OneByOne):
    plan = [make_run(x=x) for x in range(3)]
    store = CurveStore(tmp_path)

    def unlucky(run: Run) -> LearningCurve:
        raise ValueError(f"no luck with {run.configuration['x']}")

    assert collect(plan, store, InProcessExecutor(), one_by_one(unlucky)).outcomes == {Outcome.FAILED: 3}
    assert collect(plan, store, InProcessExecutor(), one_by_one(completed)).skipped == 3
    report = collect(plan, store, InProcessExecutor(), one_by_one(completed), retry_failed=True)
    assert report.outcomes == {Outcome.COMPLETED: 3}
    assert store.run_ids({Outcome.FAILED}) == frozenset()


def test_an_interruption_loses_only_the_run_in_flight(tmp_path: Path, make_run: MakeRun, one_by_one: OneByOne):
    plan = [make_run(x=x) for x in range(10)]

    def interrupted(run: Run) -> LearningCurve:
        if run.configuration["x"] == 5:
            raise KeyboardInterrupt
        return completed(run)

    store = CurveStore(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        collect(plan, store, InProcessExecutor(), one_by_one(interrupted))
    assert store.run_ids() == {run.id for run in plan[:5]}


def test_each_finished_run_is_stored_at_once_and_small_files_are_merged(
    tmp_path: Path, make_run: MakeRun, one_by_one: OneByOne
):
    stored: list[tuple[int, int]] = []
    store = CurveStore(tmp_path)

    def look(news: Progress) -> None:
        if news.done % 50 == 7:
            stored.append((len(store.run_ids()) - news.done, len(list((tmp_path / "curves").iterdir()))))

    collect([make_run(x=x) for x in range(220)], store, InProcessExecutor(), one_by_one(completed), on_progress=look)
    assert [missing for missing, _ in stored] == [0] * 5
    assert max(files for _, files in stored) < 110
    assert len(list((tmp_path / "curves").iterdir())) == 1


def test_packs_that_finish_are_stored_as_one_file(tmp_path: Path, make_run: MakeRun, completing: Callable[[], Work]):
    store = CurveStore(tmp_path)
    files: list[int] = []

    def look(news: Progress) -> None:
        assert len(store.run_ids()) >= news.done
        files.append(len(list((tmp_path / "curves").iterdir())))

    collect([make_run(x=x) for x in range(64)], store, InProcessExecutor(pack=8), completing, on_progress=look)
    assert max(files) <= 20
    assert store.run_ids() == {make_run(x=x).id for x in range(64)}


def test_what_took_long_before_comes_first(tmp_path: Path, make_run: MakeRun, one_by_one: OneByOne):
    store = CurveStore(tmp_path)
    order: list[str] = []

    def timed(run: Run) -> LearningCurve:
        order.append(run.dataset)
        seconds = 90.0 if run.dataset == "large" else 3.0
        return LearningCurve(run=run, outcome=Outcome.COMPLETED, setup_seconds=seconds)

    plan = [make_run(name, x=x) for x in range(4) for name in ("small", "large")]
    collect(plan[:2], store, InProcessExecutor(), one_by_one(timed))
    collect(plan, store, InProcessExecutor(), one_by_one(timed))
    assert order[2:] == ["large"] * 3 + ["small"] * 3


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

    def work(pack):
        time.sleep(float(sys.argv[2]))
        return [LearningCurve(run=run, outcome=Outcome.COMPLETED) for run in pack]

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
