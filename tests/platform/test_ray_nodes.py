"""A cluster of several machines (each a set of Ray's processes on this one) that loses some while it works."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import ray
from ray.cluster_utils import Cluster

from qttseg.metadata.runs import LearningCurve, Outcome, Run
from qttseg.metadata.store import CurveStore
from qttseg.platform.collection import Progress, collect
from qttseg.platform.executors import Work
from qttseg.platform.queue import Pack
from qttseg.platform.ray_executor import RayExecutor
from qttseg.platform.status import status

MakeRun = Callable[..., Run]

pytestmark = pytest.mark.usefixtures("ray_folder")


@pytest.fixture
def cluster(ray_folder: None) -> Iterator[Cluster]:
    memory = 100 * 2**20
    cluster = Cluster(
        initialize_head=True,
        head_node_args={"num_cpus": 0, "object_store_memory": memory, "include_dashboard": False},
    )
    try:
        yield cluster
    finally:
        ray.shutdown()
        cluster.shutdown()


def test_a_lost_machine_and_a_killed_worker_lose_no_run(cluster: Cluster, tmp_path: Path, make_run: MakeRun):
    machines = [cluster.add_node(num_cpus=1, object_store_memory=100 * 2**20) for _ in range(3)]
    cluster.wait_for_nodes()
    tried = str(tmp_path / "tried")
    Path(tried).mkdir()

    def make_work() -> Work:
        node = ray.get_runtime_context().get_node_id()

        def work(pack: Pack) -> list[LearningCurve]:
            for run in pack:
                (Path(tried) / f"{run.id} {node} {os.getpid()}").touch()
            time.sleep(0.15)
            return [LearningCurve(run=run, outcome=Outcome.COMPLETED, finished_at=time.time()) for run in pack]

        return work

    events: list[str] = []

    def disturb(news: Progress) -> None:
        if news.done >= 10 and not events:
            node = machines[0].node_id
            assert any(node in file.name for file in Path(tried).iterdir())
            cluster.remove_node(machines[0], allow_graceful=False)
            events.append(node)
        if news.done >= 30 and len(events) == 1:
            newest = max(Path(tried).iterdir(), key=lambda file: file.stat().st_mtime)
            os.kill(int(newest.name.split()[2]), signal.SIGKILL)
            events.append("worker")

    plan = [make_run(dataset, x=x) for dataset in ("polyp", "leaf") for x in range(30)]
    store = CurveStore("memory://collected-on-a-cluster")  # as on an object store: no renaming of folders, no locks
    executor = RayExecutor(workers=3, address=cluster.address, pack=2)
    report = collect(plan, store, executor, make_work, on_progress=disturb)

    assert len(events) == 2
    assert report.outcomes == {Outcome.COMPLETED: 60}
    assert store.run_ids() == {run.id for run in plan}
    assert status(store).missing == 0
    attempts = [file.name.split() for file in Path(tried).iterdir()]
    nodes_of = {run_id: {node for one, node, _ in attempts if one == run_id} for run_id, _, _ in attempts}
    assert len(attempts) > 60  # something was in flight and was done again
    lost = [nodes for nodes in nodes_of.values() if events[0] in nodes and len(nodes) > 1]
    assert lost, "no run of the lost machine was done again elsewhere"
