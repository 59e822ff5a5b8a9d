from collections import Counter
from collections.abc import Callable

import torch

from qttseg.metadata.runs import LearningCurve, Outcome, Run
from qttseg.platform.executors import InProcessExecutor, WarmQueue

MakeRun = Callable[..., Run]


def test_one_process_goes_dataset_by_dataset(make_run: MakeRun):
    runs = [make_run(name, x=x) for x in range(3) for name in ("polyp", "leaf")]
    made = []

    def make_work() -> Callable[[Run], LearningCurve]:
        made.append(True)
        return lambda run: LearningCurve(run=run, outcome=Outcome.COMPLETED)

    curves = list(InProcessExecutor().run(make_work, runs))
    assert [curve.run.dataset for curve in curves] == ["polyp"] * 3 + ["leaf"] * 3
    assert {curve.run.id for curve in curves} == {run.id for run in runs}
    assert made == [True]


def test_what_goes_wrong_becomes_an_outcome(make_run: MakeRun):
    errors = {
        "value": ValueError("bad luck"),
        "memory": MemoryError(),
        "accelerator": torch.cuda.OutOfMemoryError("CUDA out of memory"),
    }

    def work(run: Run) -> LearningCurve:
        kind = str(run.configuration["kind"])
        if kind in errors:
            raise errors[kind]
        return LearningCurve(run=run, outcome=Outcome.COMPLETED)

    runs = [make_run(kind=kind) for kind in (*errors, "fine")]
    curves = {curve.run.configuration["kind"]: curve for curve in InProcessExecutor().run(lambda: work, runs)}
    assert {kind: curve.outcome for kind, curve in curves.items()} == {
        "value": Outcome.FAILED,
        "memory": Outcome.OUT_OF_MEMORY,
        "accelerator": Outcome.OUT_OF_MEMORY,
        "fine": Outcome.COMPLETED,
    }
    assert curves["value"].reason == "ValueError: bad luck"
    assert curves["value"].finished_at > 0


def test_workers_stay_with_a_dataset_and_spread_over_the_others(make_run: MakeRun):
    runs = [make_run(name, x=x) for name, share in {"a": 6, "b": 4, "c": 1}.items() for x in range(share)]
    queue = WarmQueue(runs)
    first = queue.take(warm=None)
    assert first is not None
    assert first.dataset == "a"
    second = queue.take(warm=None, busy=[first.dataset_fingerprint])
    assert second is not None
    assert second.dataset == "b"
    again = queue.take(warm=second.dataset_fingerprint, busy=[first.dataset_fingerprint])
    assert again is not None
    assert again.dataset == "b"
    queue.put_back(again)
    taken = Counter(run.dataset for run in iter(lambda: queue.take(warm=None), None))
    assert taken == {"a": 5, "b": 3, "c": 1}
    assert len(queue) == 0
