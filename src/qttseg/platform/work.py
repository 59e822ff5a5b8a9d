"""The work of a collection: one fine-tuning, with what several runs share kept between them."""

from __future__ import annotations

import time
from collections import OrderedDict
from dataclasses import replace
from typing import TYPE_CHECKING

from qttseg.errors import CollectionError
from qttseg.metadata.runs import LearningCurve, Run

if TYPE_CHECKING:
    from pathlib import Path

    from qttseg.metadata.datasets import Dataset
    from qttseg.pipelines.execution import Execution
    from qttseg.pipelines.workbench import Workbench


class FineTuningWork:
    """Fine-tunes runs one by one; keeps the datasets and the last workbenches.

    `functools.partial(FineTuningWork, device=...)` is a factory that can be sent to workers.

    Args:
        device: Torch device; None takes the worker's accelerator where it has one.
        workbenches: Most prepared datasets kept in memory.
        limit: Most seconds of a run's training, after which its outcome is timed-out; None for no limit.
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

    def __call__(self, run: Run) -> LearningCurve:
        """Return the learning curve of `run`.

        Raises:
            CollectionError: the dataset or the backbone is no longer what the run was planned with.
            DatasetError: the dataset cannot be found or read.
            BackboneError: the backbone cannot be loaded.
        """
        from qttseg.pipelines.deadline import NEVER, Deadline
        from qttseg.pipelines.running import fine_tune

        started = time.perf_counter()
        workbench = self._workbench(run)
        prepared = time.perf_counter() - started
        curve = fine_tune(run, workbench, NEVER if self._limit is None else Deadline.after(self._limit))
        return replace(curve, setup_seconds=prepared + curve.setup_seconds)

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


def _accelerator() -> str:
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"
