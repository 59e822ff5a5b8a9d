from collections.abc import Callable

import torch

from qttseg.metadata.runs import LearningCurve, Outcome, Run
from qttseg.platform.executors import InProcessExecutor, Work
from qttseg.platform.queue import Pack

MakeRun = Callable[..., Run]


def alike(_: Run) -> float:
    return 1.0


def test_one_process_goes_dataset_by_dataset(make_run: MakeRun):
    runs = [make_run(name, x=x) for x in range(3) for name in ("polyp", "leaf")]
    made = []

    def make_work() -> Work:
        made.append(True)
        return lambda pack: [LearningCurve(run=run, outcome=Outcome.COMPLETED) for run in pack]

    curves = [curve for some in InProcessExecutor().run(make_work, runs, alike) for curve in some]
    assert [curve.run.dataset for curve in curves] == ["polyp"] * 3 + ["leaf"] * 3
    assert {curve.run.id for curve in curves} == {run.id for run in runs}
    assert made == [True]


def test_what_goes_wrong_becomes_an_outcome_of_its_own_run_only(make_run: MakeRun, caplog):
    errors = {
        "value": ValueError("bad luck"),
        "memory": MemoryError(),
        "accelerator": torch.cuda.OutOfMemoryError("CUDA out of memory"),
    }

    def work(pack: Pack) -> list[LearningCurve]:
        for run in pack:
            if run.configuration["kind"] in errors:
                raise errors[str(run.configuration["kind"])]
        return [LearningCurve(run=run, outcome=Outcome.COMPLETED) for run in pack]

    runs = [make_run(kind=kind) for kind in (*errors, "fine")]
    for size in (1, 4):
        done = InProcessExecutor(pack=size).run(lambda: work, runs, alike)
        curves = {curve.run.configuration["kind"]: curve for some in done for curve in some}
        assert {kind: curve.outcome for kind, curve in curves.items()} == {
            "value": Outcome.FAILED,
            "memory": Outcome.OUT_OF_MEMORY,
            "accelerator": Outcome.OUT_OF_MEMORY,
            "fine": Outcome.COMPLETED,
        }
        assert curves["value"].reason == "ValueError: bad luck"
        assert curves["value"].finished_at > 0
        assert ("a pack of 4" in caplog.text) == (size == 4)
