import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import ray

from qttseg.errors import CollectionError
from qttseg.metadata.runs import LearningCurve, Outcome, Run
from qttseg.platform.executors import Work
from qttseg.platform.queue import Pack
from qttseg.platform.ray_executor import RayExecutor

MakeRun = Callable[..., Run]

pytestmark = pytest.mark.usefixtures("ray_folder")


def alike(_: Run) -> float:
    return 1.0


def test_runs_survive_the_death_of_their_workers(tmp_path: Path, make_run: MakeRun):
    folder = str(tmp_path)

    def make_work() -> Work:
        (Path(folder) / f"worker-{os.getpid()}").touch()

        def do(run: Run) -> LearningCurve:
            match run.configuration["kind"]:
                case "killed once" if not (Path(folder) / "killed").exists():
                    (Path(folder) / "killed").touch()
                    os.kill(os.getpid(), signal.SIGKILL)
                case "exits always":
                    os._exit(1)
                case "raises":
                    raise ValueError("bad luck")
                case "exhausts memory":
                    raise MemoryError
            machine = f"{os.getpid()} {os.environ['OMP_NUM_THREADS']}"
            return LearningCurve(run=run, outcome=Outcome.COMPLETED, machine=machine)

        return lambda pack: [do(run) for run in pack]

    kinds = ("killed once", "exits always", "raises", "exhausts memory", *(f"fine {number}" for number in range(8)))
    runs = [make_run(kind=kind) for kind in kinds]
    executor = RayExecutor(workers=2, cpus=1, pack=2)
    done = executor.run(make_work, runs, alike)
    curves = {str(curve.run.configuration["kind"]): curve for some in done for curve in some}

    assert set(curves) == set(kinds)
    assert curves["killed once"].outcome is Outcome.COMPLETED
    assert curves["exits always"].outcome is Outcome.FAILED
    assert curves["exits always"].reason.startswith("its worker died 3 times")
    assert curves["raises"].outcome is Outcome.FAILED
    assert curves["raises"].reason == "ValueError: bad luck"
    assert curves["exhausts memory"].outcome is Outcome.OUT_OF_MEMORY
    assert {curve.machine.split()[1] for curve in curves.values() if curve.machine} == {"1"}
    # Two workers at first, and one for each that died: one death of "killed once", three of "exits always".
    assert 2 <= len(list(tmp_path.glob("worker-*"))) <= 2 + 4
    assert not ray.is_initialized()


def test_a_worker_that_is_stuck_is_replaced_and_its_runs_have_timed_out(make_run: MakeRun):
    def work(pack: Pack) -> list[LearningCurve]:
        if any(run.configuration["kind"] == "stuck" for run in pack):
            time.sleep(600)
        return [LearningCurve(run=run, outcome=Outcome.COMPLETED) for run in pack]

    runs = [make_run(kind=kind) for kind in ("stuck", *(f"fine {number}" for number in range(6)))]
    done = RayExecutor(workers=1, limit=2.0).run(lambda: work, runs, alike)
    outcomes = {curve.run.configuration["kind"]: (curve.outcome, curve.reason) for some in done for curve in some}
    assert outcomes.pop("stuck") == (Outcome.TIMED_OUT, "no news of its worker for 2 s")
    assert len(outcomes) == 6
    assert {outcome for outcome, _ in outcomes.values()} == {Outcome.COMPLETED}


def test_a_ray_that_ran_before_goes_on_and_bad_set_ups_are_told(make_run: MakeRun):
    ray.init(address="local", num_cpus=1, include_dashboard=False, log_to_driver=False)
    try:

        def broken() -> Work:
            raise ValueError("no such backbone")

        def dying() -> Work:
            os._exit(1)

        executor = RayExecutor(workers=1, retries=0)
        with pytest.raises(CollectionError, match="cannot be set up: no such backbone"):
            list(executor.run(broken, [make_run(x=1)], alike))
        with pytest.raises(CollectionError, match="die while they are set up"):
            list(executor.run(dying, [make_run(x=1)], alike))
        assert ray.is_initialized()
    finally:
        ray.shutdown()


def test_impossible_settings_are_refused():
    with pytest.raises(CollectionError, match="at least one worker"):
        RayExecutor(workers=0)
