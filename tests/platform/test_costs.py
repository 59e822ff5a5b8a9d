from collections.abc import Callable
from pathlib import Path

import pytest

from qttseg.errors import CollectionError
from qttseg.metadata.runs import EpochRecord, LearningCurve, Outcome, Run
from qttseg.metadata.store import CurveStore
from qttseg.platform.costs import RunCosts
from qttseg.platform.queue import Pack

MakeRun = Callable[..., Run]


def curve(
    run: Run, *, epochs: int, setup: float, seconds: float, outcome: Outcome = Outcome.COMPLETED
) -> LearningCurve:
    records = tuple(
        EpochRecord(
            epoch=epoch,
            score=0.5,
            train_loss=1.0,
            learning_rate=1e-3,
            train_seconds=seconds - 1,
            validation_seconds=1.0,
            peak_memory=1,
        )
        for epoch in range(1, epochs + 1)
    )
    return LearningCurve(run=run, outcome=outcome, records=records, setup_seconds=setup)


def test_costs_are_those_of_stored_runs_of_the_same_kind(tmp_path: Path, make_run: MakeRun):
    store = CurveStore(tmp_path)
    assert RunCosts.of_store(store, [make_run(lora=1)]).seconds(make_run(lora=1)) is None
    store.append(
        [
            curve(make_run("polyp", lora=1, x=0), epochs=2, setup=4.0, seconds=10.0),
            curve(make_run("polyp", lora=1, x=1), epochs=2, setup=0.0, seconds=12.0),
            curve(make_run("polyp", lora=1, x=2), epochs=1, setup=0.0, seconds=2.0, outcome=Outcome.DIVERGED),
            curve(make_run("leaf", lora=1, x=0), epochs=2, setup=0.0, seconds=20.0),
            curve(make_run("leaf", lora=0, x=0), epochs=2, setup=0.0, seconds=3.0),
            curve(make_run("leaf", adapter="plm", x=0), epochs=2, setup=0.0, seconds=4.0),
        ]
    )
    costs = RunCosts.of_store(store, [make_run(lora=1)])
    assert costs.seconds(make_run("polyp", lora=1, x=9)) == pytest.approx(24.0)
    assert costs.seconds(make_run("leaf", lora=0, x=9)) == pytest.approx(6.0)
    assert costs.seconds(make_run("polyp", lora=0, x=9)) == pytest.approx(6.0)  # as on other datasets
    assert costs.seconds(make_run("leaf", adapter="plm", x=9)) == pytest.approx(8.0)
    assert costs.seconds(make_run("road", lora=1, x=9)) == pytest.approx((24.0 * 2 + 40.0) / 3)


def test_where_nothing_is_known_runs_with_lora_weigh_more(make_run: MakeRun):
    costs = RunCosts(of_dataset={}, of_kind={})
    assert costs.seconds(make_run(lora=0)) is None
    assert costs.weight(make_run(lora=1)) > costs.weight(make_run(lora=0)) > 0
    costs = RunCosts(of_dataset={}, of_kind={"decoder": 5.0})
    assert costs.weight(make_run(lora=1)) > costs.weight(make_run(lora=0)) == 5.0
    learner, both = (make_run(adapter=name, plm_depth=1) for name in ("plm", "lora+plm"))
    assert costs.weight(both) > costs.weight(learner) == 5.0  # an encoder that is trained costs more than the rest
    assert RunCosts(of_dataset={}, of_kind={"plm": 4.0, "decoder": 5.0}).seconds(learner) == 4.0


def test_a_run_of_each_kind_is_tried_for_two_epochs(make_run: MakeRun):
    tried: list[tuple[object, int]] = []

    def work(pack: Pack) -> list[LearningCurve]:
        (run,) = pack
        tried.append((run.configuration["lora"], run.protocol.epochs))
        return [curve(run, epochs=2, setup=5.0, seconds=30.0 if run.configuration["lora"] else 2.0)]

    plan = [make_run(lora=x % 2, x=x) for x in range(6)]
    costs = RunCosts.tried(plan, lambda: work)
    assert sorted(tried) == [(0, 2), (1, 2)]
    assert costs.seconds(plan[0]) == pytest.approx(5 + 10 * 2)
    assert costs.seconds(plan[1]) == pytest.approx(5 + 10 * 30)

    def failing(pack: Pack) -> list[LearningCurve]:
        return [LearningCurve(run=pack[0], outcome=Outcome.OUT_OF_MEMORY, reason="too large")]

    with pytest.raises(CollectionError, match="ended as out-of-memory: too large"):
        RunCosts.tried(plan, lambda: failing)
