from collections import Counter
from collections.abc import Callable

from qttseg.metadata.configurations import Value
from qttseg.metadata.runs import Run
from qttseg.platform.queue import WorkQueue, pack_key

MakeRun = Callable[..., Run]


def runs_of(make_run: MakeRun, **shares: int) -> list[Run]:
    return [make_run(name, x=x) for name, share in shares.items() for x in range(share)]


def test_workers_stay_with_a_dataset_and_spread_over_the_others(make_run: MakeRun):
    queue = WorkQueue(runs_of(make_run, a=6, b=4, c=1))
    (first,) = queue.take()
    assert first.dataset == "a"
    (second,) = queue.take(busy=[first.dataset_fingerprint])
    assert second.dataset == "b"
    (again,) = queue.take(warm=second.dataset_fingerprint, busy=[first.dataset_fingerprint])
    assert again.dataset == "b"
    taken = Counter(run.dataset for pack in iter(queue.take, ()) for run in pack)
    assert taken == {"a": 5, "b": 2, "c": 1}
    assert len(queue) == 0


def test_long_runs_come_first(make_run: MakeRun):
    runs = [make_run(name, x=x) for name in ("short", "long") for x in range(3)]

    def cost(run: Run) -> float:
        return (100 if run.dataset == "long" else 1) + float(run.configuration["x"])

    queue = WorkQueue(runs, cost=cost)
    taken = [pack[0] for pack in iter(queue.take, ())]
    assert [(run.dataset, run.configuration["x"]) for run in taken] == [
        ("long", 2), ("long", 1), ("long", 0), ("short", 2), ("short", 1), ("short", 0),
    ]  # fmt: skip


def test_packs_hold_what_may_be_trained_at_once_and_shrink_towards_the_end(make_run: MakeRun):
    runs = [make_run(name, x=x, lora=x % 2) for name in ("a", "b") for x in range(40)]
    queue = WorkQueue(runs, pack=8, workers=2)
    packs = list(iter(queue.take, ()))
    assert {run.id for pack in packs for run in pack} == {run.id for run in runs}
    assert all(len({pack_key(run) for run in pack}) == 1 for pack in packs)
    sizes = [len(pack) for pack in packs]
    assert max(sizes) == 8
    assert sizes[-2:] == [1, 1]


def test_packs_are_of_one_structure(make_run: MakeRun):
    parts = {"adapter": "plm+pmm", "plm_depth": 1, "pmm_points": 32, "loss": "bce+dice"}
    same = [make_run(**parts, pmm_weight=weight) for weight in (0.1, 0.3)]
    changes: list[dict[str, Value]] = [
        {"adapter": "plm"},
        {"plm_depth": 2},
        {"plm_dense": 1},
        {"plm_class": 1},
        {"plm_compare": 1},
        {"pmm_points": 64},
        {"loss": "focal+dice+iou"},
    ]
    others = [make_run(**{**parts, **change}) for change in changes]
    assert len({pack_key(run) for run in same}) == 1
    assert len({pack_key(run) for run in same + others}) == 1 + len(others)


def test_what_cost_a_worker_goes_alone_to_another_machine(make_run: MakeRun):
    runs = runs_of(make_run, a=12)
    queue = WorkQueue(runs, pack=4)
    pack = queue.take(machine="m1")
    assert len(pack) == 4
    queue.put_back(pack, machine="m1")
    assert len(queue) == 12
    assert set(queue.take(machine="m1")).isdisjoint(pack)  # what is sound comes first where it failed
    elsewhere = queue.take(machine="m2")
    assert len(elsewhere) == 1
    assert elsewhere[0] in pack
    rest = list(iter(lambda: queue.take(machine="m1"), ()))
    assert [len(some) for some in rest[-3:]] == [1, 1, 1]
    assert {run for some in rest[-3:] for run in some} == set(pack) - set(elsewhere)  # no other machine came
    assert len(queue) == 0
