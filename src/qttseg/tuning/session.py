"""Tuning a dataset within a time budget: the whole session, from the name of a backbone to the best model."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import TYPE_CHECKING

from qttseg.errors import BudgetError
from qttseg.metadata.configurations import Configuration, SearchSpace, Value
from qttseg.metadata.datasets import Dataset
from qttseg.metadata.protocol import PAPER, Protocol
from qttseg.metadata.runs import LearningCurve
from qttseg.metadata.splits import Split, draw_split
from qttseg.tuning.events import Ending, Event

if TYPE_CHECKING:
    from pathlib import Path

    from qttseg.pipelines.backbones import Backbone
    from qttseg.pipelines.execution import Execution
    from qttseg.pipelines.segmenter import Segmenter
    from qttseg.predictors.training import Trained
    from qttseg.tuning.policies import Policy
    from qttseg.tuning.tuner import Tuner

PREVIEWS = 4
"""Validation images that an exported result shows."""

STRANGE = 3.0
"""Novelty of a dataset (`Encoder.novelty`) beyond which predictions only say where to begin."""

EXPORT_SECONDS = 0.4
"""Kept for writing a model, its curves and its card; reading and segmenting the previews is measured and added."""


@dataclass(frozen=True, kw_only=True)
class TuningResult:
    """What a session found.

    Attributes:
        dataset: Name of the target.
        dataset_fingerprint: Hash of its content.
        split: Which images were for what; the test images took no part.
        protocol: The conditions.
        space: Search space the configurations come from, as in `paper-v1`.
        seed: What split, candidates and training were drawn from.
        segmenter: The best model by validation score.
        configuration: How it was trained; None where nothing beat the untuned backbone.
        epoch: After how many epochs; 0 for the untuned backbone.
        finish_steps: Optimisation steps after these, in which the learning rate fell to 0.
        score: Its validation score; None where the budget ended before anything could be scored.
        zero_shot_score: The untuned backbone's validation score; None likewise.
        trajectory: (seconds since the start, score) of each incumbent, rising in both.
        curves: One for each configuration tried, in the order of the candidates.
        budget: Seconds granted.
        seconds: Seconds used, from the call to the chosen model, without the warm start.
        reserve: Seconds of the budget that were kept for writing the result.
        warm_start_seconds: Imports and the loading of the backbone, which the budget does not count.
        ending: Why the session ended.
        notes: Remarks for the user, as on predictors from another backbone.
    """

    dataset: str
    dataset_fingerprint: str
    split: Split
    protocol: Protocol
    space: str
    seed: int
    segmenter: Segmenter
    configuration: Configuration | None
    epoch: int
    finish_steps: int
    score: float | None
    zero_shot_score: float | None
    trajectory: tuple[tuple[float, float], ...]
    curves: tuple[LearningCurve, ...]
    budget: float
    seconds: float
    reserve: float
    warm_start_seconds: float
    ending: Ending
    notes: tuple[str, ...] = ()

    @property
    def overrun(self) -> float:
        """Seconds beyond the budget; 0 where it was kept."""
        return max(0.0, self.seconds - self.budget)


def _ignore(_: Event) -> None:
    """Report to nobody."""


def usual(policy: Policy) -> Policy:
    """Leave a session's policy as it is."""
    return policy


def tune(
    dataset: Dataset,
    *,
    budget: float,
    protocol: Protocol = PAPER,
    backbone: str = "sam-nano",
    device: str = "cpu",
    space: SearchSpace | None = None,
    predictors: Trained | None = None,
    candidates: int | Sequence[Configuration] = 128,
    where: Mapping[str, Value] | None = None,
    policy: Callable[[Policy], Policy] = usual,
    seed: int = 0,
    allow_seen: bool = False,
    finishing: bool = True,
    for_export: bool = True,
    execution: Execution | None = None,
    embeddings: Path | None = None,
    spent: float = 0.0,
    clock: Callable[[], float] = time.monotonic,
    on_event: Callable[[Event], None] = _ignore,
) -> TuningResult:
    """Fine-tune `backbone` on `dataset` within `budget` seconds and return the best model by validation score.

    Everything the user waits for counts: reading, embedding, meta-features, predicting, training, choosing, and with
    `for_export` a reserve for `export.write_result`. Only the warm start does not; it is reported apart. Ctrl-C ends
    the search early with what was found.

    Args:
        dataset: The target; its test images take no part, but for its fingerprint.
        budget: Seconds, greater than 0.
        protocol: The conditions.
        backbone: Name that `load_backbone` knows.
        device: Where to train.
        space: Where candidates are drawn from; the paper's by default.
        predictors: What guides the search; None is random search, each candidate trained to the last epoch.
        candidates: Number of configurations to draw and choose from, or the configurations.
        where: Values that all drawn ones have, of parameters without conditions, as `{"adapter": "lora+plm"}`.
        policy: Returns what is to choose instead of the policy that the session would use.
        seed: Draws the split, the candidates and the training.
        allow_seen: Use predictors that were trained on this dataset; they know its curves already.
        finishing: When no epoch of the leader fits any more, let it take as many steps as do.
        for_export: Keep time for writing the result.
        execution: How training steps are carried out; whole batches at once by default.
        embeddings: Folder in which embeddings of the untouched encoder outlive the session; none by default.
        spent: Seconds of the budget that are gone already, as for verifying the dataset.
        clock: Returns now in seconds.
        on_event: Called at each step.

    Raises:
        BudgetError: the budget is not a positive number of seconds.
        DatasetError: the dataset cannot be read or is too small.
        LeakageError: the predictors have seen the dataset.
        BackboneError: the backbone is unknown or its weights are missing.
        ConfigurationError: the search space has no such parameter or value, or too few points with it.
    """
    if not (isfinite(budget) and budget > 0):
        raise BudgetError(f"a budget of {budget} seconds; give a positive number, as 60")
    called = clock()
    base, space = _warm_start(backbone, device, space)
    started = clock() - spent
    from qttseg.pipelines.deadline import Deadline
    from qttseg.pipelines.execution import WHOLE_BATCHES
    from qttseg.pipelines.workbench import Workbench
    from qttseg.tuning.live import LiveSearch

    fingerprint = dataset.fingerprint
    if predictors is not None and not allow_seen:
        predictors.performance.lineage.refuse(dataset.identity)
        predictors.cost.lineage.refuse(dataset.identity)
    points = space.sample(candidates, seed=seed, where=where) if isinstance(candidates, int) else tuple(candidates)
    split = draw_split(dataset, protocol, seed=seed)
    reading = clock()
    base = base.remembering(embeddings)
    workbench = Workbench.prepare(dataset, protocol, base, seed=seed, split=split, execution=execution or WHOLE_BATCHES)
    reading = (clock() - reading) / len(split.train + split.validation)
    notes = [] if predictors is None else _notes(predictors, base, protocol, space)
    accelerated = base.device.type != "cpu"
    search = LiveSearch(
        workbench,
        lambda: _tuner(dataset, split, protocol, points, predictors, policy, seed, notes, accelerated=accelerated),
        seed=seed,
        budget=budget,
        deadline=Deadline(at=started + budget, clock=clock),
        # A preview is read twice: to be segmented and to be drawn.
        reserve=EXPORT_SECONDS + 2 * PREVIEWS * reading if for_export else 0.0,
        previews=PREVIEWS if for_export else 0,
        finishing=finishing,
        on_event=on_event,
    )
    ending = search.run()
    return TuningResult(
        dataset=dataset.name,
        dataset_fingerprint=fingerprint,
        split=split,
        protocol=protocol,
        space=space.id,
        seed=seed,
        segmenter=search.segmenter(),
        configuration=search.best.configuration,
        epoch=search.best.epoch,
        finish_steps=search.best.finish_steps,
        score=search.best.score,
        zero_shot_score=search.zero_shot_score,
        trajectory=tuple(search.trajectory),
        curves=search.curves(space.id),
        budget=budget,
        seconds=clock() - started,
        reserve=search.reserve,
        warm_start_seconds=started + spent - called,
        ending=ending,
        notes=tuple(notes),
    )


def _warm_start(backbone: str, device: str, space: SearchSpace | None) -> tuple[Backbone, SearchSpace]:
    """Load what a standing service would have loaded: libraries, the backbone's weights, the search space."""
    import qttseg.tuning.export
    import qttseg.tuning.live  # noqa: F401
    from qttseg.pipelines.adapters import lora_config
    from qttseg.pipelines.loading import load_backbone
    from qttseg.pipelines.spaces import search_space

    base = load_backbone(backbone, device=device)
    lora_config(base, rank=4, dropout=0.0)  # imports peft, which takes seconds
    return base, search_space() if space is None else space


def _tuner(
    dataset: Dataset,
    split: Split,
    protocol: Protocol,
    candidates: tuple[Configuration, ...],
    predictors: Trained | None,
    change: Callable[[Policy], Policy],
    seed: int,
    notes: list[str],
    *,
    accelerated: bool,
) -> Tuner:
    """Return the tuner; meta-features are measured on training and validation images, where they are needed.

    What the user should know of the search is added to `notes`.
    """
    from qttseg.metadata.meta_features import measure
    from qttseg.tuning.policies import BestPredicted, InOrder, LastValueGreedy, shuffled
    from qttseg.tuning.tuner import Tuner, predicted_seconds

    if predictors is None:
        return Tuner(
            candidates, change(InOrder(shuffled(len(candidates), seed, dataset.name))), max_epochs=protocol.epochs
        )
    meta_features = measure(dataset, split.train + split.validation).to_dict()
    guided = BestPredicted(candidates=candidates, meta_features=meta_features, performance=predictors.performance)
    policy: Policy = guided
    novelty = predictors.novelty(meta_features)
    if novelty > STRANGE:
        notes.append(
            f"The dataset is unlike those that the predictors learnt from (novelty {novelty:.1f}, where 1 is usual): the "
            "search looked at what they hold for best, then trusted scores alone."
        )
        policy = LastValueGreedy(order=guided.order(protocol.epochs))
    return Tuner(
        candidates,
        change(policy),
        max_epochs=protocol.epochs,
        predicted=predicted_seconds(
            predictors.cost,
            meta_features,
            candidates,
            images=len(split.train) + len(split.validation),
            accelerated=accelerated,
        ),
    )


def _notes(predictors: Trained, backbone: Backbone, protocol: Protocol, space: SearchSpace) -> list[str]:
    """Return what makes the predictors less fit for this target than they could be."""
    lineage = predictors.performance.lineage
    notes: list[str] = []
    if backbone.fingerprint not in lineage.backbone_fingerprints:
        notes.append(f"The predictors that guided the search have never seen the backbone {backbone.name}.")
    if protocol.id not in lineage.protocol_ids:
        notes.append(f"The predictors that guided the search were trained under other protocols than {protocol.id}.")
    if lineage.space != space.id:
        notes.append(f"The predictors that guided the search know {lineage.space}, not the search space {space.id}.")
    return notes
