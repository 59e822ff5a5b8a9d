"""What runs are expected to cost, learnt from runs that were done, stored or tried."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import TYPE_CHECKING

from qttseg.errors import CollectionError
from qttseg.metadata.adapters import ADAPTERS, adapter_of
from qttseg.metadata.runs import LearningCurve, Outcome, Run
from qttseg.platform.executors import Work

if TYPE_CHECKING:
    from qttseg.metadata.store import CurveStore

_ENCODER_FACTOR = 3.0
"""How much longer a run takes whose encoder is trained too, where nothing is known yet; only the order depends on it."""


def _adapter(run: Run) -> str:
    return adapter_of(run.configuration).name


@dataclass(frozen=True, kw_only=True)
class RunCosts:
    """Seconds that a run takes on one worker.

    Attributes:
        of_dataset: Mean seconds by (dataset fingerprint, name of the adapter).
        of_kind: Mean seconds over all datasets by name of the adapter.
    """

    of_dataset: Mapping[tuple[str, str], float]
    of_kind: Mapping[str, float]

    def seconds(self, run: Run) -> float | None:
        """Return the seconds that `run` will take, or None where nothing like it is known."""
        adapter = _adapter(run)
        return self.of_dataset.get((run.dataset_fingerprint, adapter), self.of_kind.get(adapter))

    def weight(self, run: Run) -> float:
        """Return the seconds that `run` will take, or where they are unknown a guess of its order among others."""
        seconds = self.seconds(run)
        if seconds is not None:
            return seconds
        encoder = ADAPTERS[_adapter(run)].trains_encoder
        known = {ADAPTERS[name].trains_encoder: seconds for name, seconds in self.of_kind.items()}
        if encoder in known:
            return known[encoder]
        other = known.get(not encoder, 1.0)
        return other * _ENCODER_FACTOR if encoder else other

    @classmethod
    def of_store(cls, store: CurveStore, plan: Sequence[Run]) -> RunCosts:
        """Return what the stored runs of the plan's protocol and backbone cost."""
        from qttseg.metadata.queries import costs

        if store.is_empty or not plan:
            return cls(of_dataset={}, of_kind={})
        protocol, backbone = plan[0].protocol.id, plan[0].backbone_fingerprint
        return cls._from(
            (row["dataset_fingerprint"], row["adapter"], row["seconds"], row["runs"])
            for row in costs(store).to_pylist()
            if (row["protocol_id"], row["backbone_fingerprint"]) == (protocol, backbone)
        )

    @classmethod
    def tried(cls, plan: Sequence[Run], make_work: Callable[[], Work]) -> RunCosts:
        """Return what runs of the plan cost here, from one epoch of the first of each adapter.

        Raises:
            CollectionError: a run cannot be tried.
        """
        work = make_work()
        examples = {_adapter(run): run for run in reversed(plan)}
        return cls._from(
            (run.dataset_fingerprint, adapter, _tried_seconds(run, work), 1) for adapter, run in examples.items()
        )

    @classmethod
    def _from(cls, known: Iterable[tuple[str, str, float, int]]) -> RunCosts:
        rows = list(known)
        kinds = {adapter for _, adapter, _, _ in rows}
        return cls(
            of_dataset={(dataset, adapter): seconds for dataset, adapter, seconds, _ in rows},
            of_kind={
                kind: fmean(
                    *zip(*((seconds, runs) for _, adapter, seconds, runs in rows if adapter == kind), strict=True)
                )
                for kind in kinds
            },
        )


def _tried_seconds(run: Run, work: Work) -> float:
    """Return the seconds of all epochs of `run`, from its second epoch and what comes before the first."""
    short = replace(run, protocol=replace(run.protocol, epochs=min(2, run.protocol.epochs)))
    (curve,) = work((short,))
    if curve.outcome is not Outcome.COMPLETED:
        raise CollectionError(f"a run on {run.dataset} was tried and ended as {curve.outcome}: {curve.reason}")
    return _extrapolated(curve, run.protocol.epochs)


def _extrapolated(curve: LearningCurve, epochs: int) -> float:
    done = [record.seconds for record in curve.records]
    return curve.setup_seconds + sum(done) + done[-1] * (epochs - len(done))
