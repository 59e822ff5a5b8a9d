"""Collection: packs against single runs against the published recipe, what orchestration costs, how busy workers are kept.

    python benches/collect.py packs                            # runs an hour on this CPU
    python benches/collect.py packs --device cuda --sizes 1 4 16 64
    python benches/collect.py overhead                         # through Ray, with work that does nothing
    python benches/collect.py scaling                          # a simulated cluster of 64 workers

Every pack size trains the very same configurations, as many as the largest pack holds, from an empty cache of embeddings.
"""

from __future__ import annotations

import argparse
import heapq
import json
import math
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from qttseg.metadata.configurations import Configuration
from qttseg.metadata.datasets import resolve_dataset
from qttseg.metadata.protocol import Protocol
from qttseg.metadata.runs import LearningCurve, Outcome, Run
from qttseg.metadata.store import CurveStore
from qttseg.pipelines.fine_tuning import FineTuning
from qttseg.pipelines.loading import load_backbone
from qttseg.pipelines.packed_fine_tuning import PackedFineTuning
from qttseg.pipelines.running import describe_machine
from qttseg.pipelines.spaces import search_space
from qttseg.pipelines.workbench import Workbench
from qttseg.platform.collection import collect
from qttseg.platform.planning import plan_runs
from qttseg.platform.queue import Pack, WorkQueue

DATASETS = {f"dataset-{number}": f"content-{number}" for number in range(13)}


def main() -> None:
    """Run the part of the bench that was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parts = parser.add_subparsers(required=True)
    packs = parts.add_parser("packs")
    packs.add_argument("--dataset", default="procedural-polyp")
    packs.add_argument("--device", default="cpu")
    packs.add_argument("--images", type=int, default=40, help="training and validation images together")
    packs.add_argument("--epochs", type=int, default=2, help="epochs that each configuration is trained for")
    packs.add_argument("--sizes", type=int, nargs="+", default=[1, 2, 4, 8])
    packs.set_defaults(part=measure_packs)
    overhead = parts.add_parser("overhead")
    overhead.add_argument("--runs", type=int, nargs="+", default=[2000, 20000])
    overhead.add_argument("--workers", type=int, default=2)
    overhead.add_argument("--one", type=int, help=argparse.SUPPRESS)
    overhead.set_defaults(part=measure_overhead)
    scaling = parts.add_parser("scaling")
    scaling.add_argument("--runs", type=int, default=2000)
    scaling.add_argument("--workers", type=int, default=64)
    scaling.set_defaults(part=simulate_cluster)
    arguments = parser.parse_args()
    arguments.part(arguments)


def measure_packs(arguments: argparse.Namespace) -> None:
    """Print runs an hour of the protocol's ten epochs by pack size, beside the published recipe's."""
    protocol = Protocol(images=arguments.images, test_images=4, epochs=10)
    backbone, dataset = load_backbone(device=arguments.device), resolve_dataset(arguments.dataset)
    drawn = search_space("paper").sample(1000, seed=0)
    table = Table("trained", "how", "runs / h", "against published", "against one by one")
    for lora, trained in enumerate(("decoder", "LoRA")):
        configurations = [own for own in drawn if own["lora"] == lora][: max(arguments.sizes)]
        seconds = {"published recipe": _published_seconds(trained.lower(), arguments)}
        for size in sorted({1, *arguments.sizes}):
            bench = Workbench.prepare(dataset, protocol, backbone.remembering(), seed=0)
            name = f"packs of {size}" if size > 1 else "one by one"
            seconds[name] = _epoch_seconds(bench, configurations, size, arguments.epochs)
        for name, own in seconds.items():
            ratios = (seconds[other] / own for other in ("published recipe", "one by one"))
            table.add_row(trained, name, f"{3600 / (own * protocol.epochs):.0f}", *(f"{ratio:.2f}" for ratio in ratios))
    Console(width=120).print(f"{describe_machine(backbone.device)}, {arguments.images} images, ten epochs", table)


def _epoch_seconds(bench: Workbench, configurations: list[Configuration], size: int, epochs: int) -> float:
    """Return the mean seconds of an epoch of one configuration, when all are trained in packs of `size`."""
    started = time.perf_counter()
    for first in range(0, len(configurations), size):
        pack = configurations[first : first + size]
        training = PackedFineTuning(bench, pack, seed=0) if size > 1 else FineTuning(bench, pack[0], seed=0)
        for _ in range(epochs):
            training.train_epoch()
    return (time.perf_counter() - started) / (epochs * len(configurations))


def _published_seconds(adapter: str, arguments: argparse.Namespace) -> float:
    """Return the seconds of an epoch by the published recipe, from `finetune.py`."""
    bench = Path(__file__).with_name("finetune.py")
    options = ["--images", str(arguments.images), "--epochs", "3", "--device", arguments.device]
    command = [
        sys.executable,
        str(bench),
        *options,
        "--dataset",
        arguments.dataset,
        "--one",
        "nano",
        adapter,
        "published",
    ]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    images_a_second = json.loads(done.stdout.splitlines()[-1])["epoch"]
    return round(0.8 * arguments.images) / float(images_a_second)


def _plan(runs: int) -> tuple[Run, ...]:
    return plan_runs(
        DATASETS, search_space("paper"), Protocol(), backbone="sam-nano", backbone_fingerprint="none", runs=runs
    )


def measure_overhead(arguments: argparse.Namespace) -> None:
    """Print what a run costs beyond its own work, and the driver's memory, each size in a process of its own."""
    if arguments.one:
        print(json.dumps(_collect_nothing(arguments.one, arguments.workers)))
        return
    table = Table("runs", "seconds", "ms / run", "driver's peak MiB")
    for runs in arguments.runs:
        command = [sys.executable, __file__, "overhead", "--one", str(runs), "--workers", str(arguments.workers)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        seconds, memory = json.loads(done.stdout.splitlines()[-1])
        table.add_row(str(runs), f"{seconds:.1f}", f"{1000 * seconds / runs:.2f}", f"{memory / 2**20:.0f}")
    Console(width=120).print(f"{describe_machine(torch.device('cpu'))}, {arguments.workers} Ray workers", table)


def _collect_nothing(runs: int, workers: int) -> tuple[float, int]:
    from qttseg.platform.ray_executor import RayExecutor  # the other parts run where there is no Ray

    plan = _plan(runs)
    with tempfile.TemporaryDirectory() as folder:
        finished: list[float] = []
        collect(
            plan,
            CurveStore(folder),
            RayExecutor(workers=workers),
            _nothing,
            on_progress=lambda _: finished.append(time.perf_counter()),
        )
        seconds = time.perf_counter() - finished[0]  # what comes before is Ray's own start
    return seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _nothing() -> Callable[[Pack], list[LearningCurve]]:
    return lambda pack: [LearningCurve(run=run, outcome=Outcome.COMPLETED) for run in pack]


def simulate_cluster(arguments: argparse.Namespace) -> None:
    """Print how busy simulated workers are, with durations that differ by dataset, adapter and chance."""
    table = Table("costs known", "packs of at most", "hours", "busy", "datasets prepared")
    for known in (True, False):
        for pack in (1, 4, 16):
            hours, busy, prepared = _simulated(arguments.runs, arguments.workers, pack, known=known)
            table.add_row("yes" if known else "no", str(pack), f"{hours:.2f}", f"{busy:.1%}", str(prepared))
    Console(width=120).print(f"{arguments.runs} runs on {arguments.workers} simulated workers", table)


def _duration(run: Run, *, chance: random.Random | None = None) -> float:
    """Return seconds: 20 to 120 by dataset, three times as long with LoRA, and a fifth more or less by chance."""
    number = int(run.dataset_fingerprint.rsplit("-", 1)[1])
    seconds = (20 + 100 * number / len(DATASETS)) * (3 if run.configuration["lora"] else 1)
    return seconds * (math.exp(chance.gauss(0, 0.2)) if chance else 1)


def _simulated(runs: int, workers: int, pack: int, *, known: bool, prepare: float = 10.0) -> tuple[float, float, int]:
    """Return the hours until the last worker ends, the share of the time that workers worked, and preparations."""
    cost = _duration if known else (lambda run: 3.0 if run.configuration["lora"] else 1.0)
    queue = WorkQueue(_plan(runs), cost=cost, pack=pack, workers=workers)
    chance = random.Random(0)  # noqa: S311 (durations, not secrets)
    free = [(0.0, worker) for worker in range(workers)]
    at: dict[int, str] = {}
    worked, end, prepared = 0.0, 0.0, 0
    while free:
        now, worker = heapq.heappop(free)
        warm = at.pop(worker, None)
        taken = queue.take(warm=warm, busy=list(at.values()))
        if not taken:
            continue
        seconds = sum(_duration(run, chance=chance) for run in taken)
        worked += seconds
        if taken[0].dataset_fingerprint != warm:
            seconds, prepared = seconds + prepare, prepared + 1
        at[worker] = taken[0].dataset_fingerprint
        end = max(end, now + seconds)
        heapq.heappush(free, (now + seconds, worker))
    return end / 3600, worked / (end * workers), prepared


if __name__ == "__main__":
    main()
