"""Runs that wait, handed out in packs: long ones first, and to whom is warm."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Hashable, Sequence

from qttseg.metadata.adapters import structure_of
from qttseg.metadata.runs import Run

Pack = tuple[Run, ...]
"""Runs that may be trained at once: of one dataset, protocol, backbone, seed and structure. The unit of work."""

_LEAST_COST = 1e-9
"""Stands for the cost of runs that took no time, as in a rehearsal."""


def pack_key(run: Run) -> Hashable:
    """Return what runs of one pack share."""
    structure = structure_of(run.configuration)
    return run.dataset_fingerprint, run.protocol, run.backbone_fingerprint, run.seed, structure


class WorkQueue:
    """Hands out packs so that a worker stays with the dataset it has prepared and no long run is left for the end.

    Packs get smaller towards the end, that all workers may end together. A run that has cost its worker is handed out
    alone, on another machine where there is one, and after the others otherwise.

    Args:
        runs: What waits.
        cost: Predicted seconds of a run; only ratios count.
        pack: Most runs of a pack.
        workers: How many take.
    """

    def __init__(
        self,
        runs: Sequence[Run],
        *,
        cost: Callable[[Run], float] = lambda _: 1.0,
        pack: int = 1,
        workers: int = 1,
    ) -> None:
        self._pack = pack
        self._workers = workers
        self._cost = cost
        self._count = len(runs)
        self._waiting: dict[str, dict[Hashable, deque[Run]]] = {}
        self._seconds: dict[str, float] = {}
        self._again: deque[tuple[Run, str]] = deque()
        for run in sorted(runs, key=cost, reverse=True):
            alike = self._waiting.setdefault(run.dataset_fingerprint, {})
            alike.setdefault(pack_key(run), deque()).append(run)
            self._seconds[run.dataset_fingerprint] = self._seconds.get(run.dataset_fingerprint, 0.0) + cost(run)

    def __len__(self) -> int:
        return self._count

    def take(self, *, warm: str | None = None, busy: Collection[str] = (), machine: str = "") -> Pack:
        """Remove and return the next runs for a worker; none when nothing waits.

        Args:
            warm: Fingerprint of the dataset that the worker has prepared.
            busy: Fingerprints of the datasets that the other workers are at, repeated for each of them.
            machine: Where the worker is.
        """
        elsewhere = next((index for index, (_, where) in enumerate(self._again) if where != machine), None)
        if elsewhere is None and self._waiting:
            pack = self._take_from(warm if warm in self._waiting else self._neediest(busy))
        elif self._again:
            self._again.rotate(-(elsewhere or 0))
            pack = (self._again.popleft()[0],)
        else:
            pack = ()
        self._count -= len(pack)
        return pack

    def put_back(self, pack: Pack, *, machine: str = "") -> None:
        """Let runs that cost their worker on `machine` wait again."""
        self._again.extend((run, machine) for run in pack)
        self._count += len(pack)

    def _neediest(self, busy: Collection[str]) -> str:
        """Return the dataset with the most predicted work for each worker at it, one more counted."""
        shares = list(busy)
        return max(self._waiting, key=lambda dataset: self._seconds[dataset] / (1 + shares.count(dataset)))

    def _take_from(self, dataset: str) -> Pack:
        alike = self._waiting[dataset]
        key = max(alike, key=lambda key: self._cost(alike[key][0]))
        runs = alike[key]
        # A third of an equal share each time: the rest evens out what was predicted wrongly.
        share = sum(self._seconds.values()) / (1 if self._workers == 1 else 3 * self._workers)
        size = max(1, min(self._pack, len(runs), round(share / max(self._cost(runs[0]), _LEAST_COST))))
        pack = tuple(runs.popleft() for _ in range(size))
        self._seconds[dataset] -= sum(self._cost(run) for run in pack)
        if not runs:
            del alike[key]
        if not alike:
            del self._waiting[dataset]
        return pack
