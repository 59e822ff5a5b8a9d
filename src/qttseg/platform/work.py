"""The work of a collection: packs of fine-tunings, with what several packs share kept between them."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import replace
from typing import TYPE_CHECKING

from qttseg.errors import CollectionError
from qttseg.metadata.runs import LearningCurve, Run
from qttseg.platform.queue import Pack, pack_key

if TYPE_CHECKING:
    from pathlib import Path

    from qttseg.metadata.datasets import Dataset
    from qttseg.pipelines.execution import Execution
    from qttseg.pipelines.workbench import Workbench


class FineTuningWork:
    """Fine-tunes packs of runs; keeps the datasets and the last workbenches.

    The first pack of a kind is tried for what fits the GPU's memory. One that does not fit in the end is trained in
    halves, and so are later ones of its kind; a run that does not fit alone has the outcome out-of-memory.

    `functools.partial(FineTuningWork, device=...)` is a factory that can be sent to workers.

    Args:
        device: Torch device; None takes the worker's accelerator where it has one.
        workbenches: Most prepared datasets kept in memory.
        limit: Most seconds of a run's training, after which its outcome is timed-out; a pack of n has n times as long.
            None for no limit.
        execution: How training steps are carried out; whole batches at once by default.
        embeddings: Folder in which embeddings of untouched encoders outlive the worker; none by default.
    """

    def __init__(
        self,
        *,
        device: str | None = None,
        workbenches: int = 2,
        limit: float | None = None,
        execution: Execution | None = None,
        embeddings: Path | None = None,
    ) -> None:
        self._device = device or _accelerator()
        self._capacity = workbenches
        self._limit = limit
        self._execution = execution
        self._embeddings = embeddings
        self._datasets: dict[str, Dataset] = {}
        self._workbenches: OrderedDict[tuple[object, ...], Workbench] = OrderedDict()
        self._fitting: dict[Hashable, int] = {}

    def __call__(self, pack: Pack) -> list[LearningCurve]:
        """Return the learning curves of the runs of `pack`.

        Raises:
            CollectionError: the dataset or the backbone is no longer what the runs were planned with.
            DatasetError: the dataset cannot be found or read.
            BackboneError: the backbone cannot be loaded.
        """
        started = time.perf_counter()
        workbench = self._workbench(pack[0])
        prepared = (time.perf_counter() - started) / len(pack)
        curves = self._train(pack, workbench)
        return [replace(curve, setup_seconds=prepared + curve.setup_seconds) for curve in curves]

    def _train(self, pack: Pack, workbench: Workbench) -> list[LearningCurve]:
        from qttseg.pipelines.deadline import NEVER, Deadline
        from qttseg.pipelines.execution import OUT_OF_MEMORY
        from qttseg.pipelines.packed_fine_tuning import members_that_fit
        from qttseg.pipelines.running import fine_tune, fine_tune_pack

        key = pack_key(pack[0])
        if key not in self._fitting and len(pack) > 1:
            configurations = [run.configuration for run in pack]
            self._fitting[key] = members_that_fit(workbench, configurations, seed=pack[0].seed)
        size = min(len(pack), self._fitting.get(key, 1))
        if size < len(pack):
            return [
                c for start in range(0, len(pack), size) for c in self._train(pack[start : start + size], workbench)
            ]
        deadline = NEVER if self._limit is None else Deadline.after(self._limit * len(pack))
        if size == 1:
            return [fine_tune(pack[0], workbench, deadline)]
        try:
            return fine_tune_pack(pack, workbench, deadline)
        except OUT_OF_MEMORY:
            self._fitting[key] = size // 2
        _free_memory()  # only here, as the error holds on to the pack's tensors
        return self._train(pack, workbench)

    def _workbench(self, run: Run) -> Workbench:
        from qttseg.pipelines.execution import WHOLE_BATCHES
        from qttseg.pipelines.loading import load_backbone
        from qttseg.pipelines.workbench import Workbench

        key = (run.dataset_fingerprint, run.protocol, run.backbone_fingerprint, run.seed)
        if key in self._workbenches:
            self._workbenches.move_to_end(key)
            return self._workbenches[key]
        backbone = load_backbone(run.backbone, device=self._device)
        _check_same("backbone", run.backbone, planned=run.backbone_fingerprint, found=backbone.fingerprint)
        dataset = self._dataset(run)
        while len(self._workbenches) >= self._capacity:  # room first: two at a time may not fit the memory
            self._workbenches.popitem(last=False)
        self._workbenches[key] = Workbench.prepare(
            dataset,
            run.protocol,
            backbone.remembering(self._embeddings),
            seed=run.seed,
            execution=self._execution or WHOLE_BATCHES,
        )
        return self._workbenches[key]

    def _dataset(self, run: Run) -> Dataset:
        from qttseg.metadata.datasets import resolve_dataset

        if run.dataset not in self._datasets:
            self._datasets[run.dataset] = resolve_dataset(run.dataset)
        dataset = self._datasets[run.dataset]
        _check_same("dataset", run.dataset, planned=run.dataset_fingerprint, found=dataset.fingerprint)
        return dataset


def _check_same(kind: str, name: str, *, planned: str, found: str) -> None:
    if planned != found:
        raise CollectionError(
            f"{kind} {name} has changed since the run was planned: its fingerprint was {planned} and is {found}; "
            "plan the collection again, or give this worker the same files"
        )


def _free_memory() -> None:
    import torch

    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _accelerator() -> str:
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"
