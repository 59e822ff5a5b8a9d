"""The search spaces a fine-tuning can be drawn from: the paper's Table 3, and one that extends it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any

from qttseg.errors import ConfigurationError
from qttseg.metadata.adapters import EXTENDED_ADAPTERS, as_extended, as_plainly_seen
from qttseg.metadata.configurations import PAPER_SPACE, SearchSpace

if TYPE_CHECKING:
    from ConfigSpace import ConfigurationSpace
    from ConfigSpace.hyperparameters import Hyperparameter

    from qttseg.metadata.runs import LearningCurve

_LEARNING_RATES = (
    1e-5, 1.2e-5, 1.5e-5, 2e-5, 2.5e-5, 3.5e-5, 5e-5, 6e-5, 6.5e-5, 1e-4, 1.2e-4, 1.8e-4, 2.5e-4, 3.2e-4,
    4e-4, 4.8e-4, 5e-4, 5.5e-4, 8e-4, 1e-3, 1.5e-3, 2e-3, 3e-3, 4e-3, 5e-3, 6e-3, 7e-3,
)  # fmt: skip
_PLAIN = "extended-v3"
"""Id of the version of the space `extended` in which images were neither moved nor tinted."""

_SCHEDULES = ("cosine", "cosine_warm", "onecycle", "plateau", "poly", "step")


@cache
def search_space(name: str = "paper") -> SearchSpace:
    """Return the search space of this name: `paper`, `extended`, or one of the `qttseg.search_spaces` entry points.

    Raises:
        ConfigurationError: no search space has that name.
    """
    makers: dict[str, Callable[[], SearchSpace]] = {"paper": _paper, "extended": _extended}
    makers |= {point.name: point.load() for point in entry_points(group="qttseg.search_spaces")}
    if name not in makers:
        raise ConfigurationError(f"unknown search space {name!r}; known are {', '.join(sorted(makers))}")
    return makers[name]()


def as_extended_run(curve: LearningCurve) -> LearningCurve:
    """Return a learning curve of the paper's space, or of `extended` in its last version, as one of `extended` now.

    It has all points of both.

    Raises:
        ConfigurationError: it is of another space.
    """
    run, space = curve.run, search_space("extended")
    if run.space == PAPER_SPACE:
        configuration = as_extended(run.configuration, prompt_noise=run.protocol.prompt_noise)
    elif run.space == _PLAIN:
        configuration = as_plainly_seen(run.configuration)
    else:
        raise ConfigurationError(
            f"only runs of {PAPER_SPACE} and {_PLAIN} are points of {space.id}; one here is of {run.space}"
        )
    space.validate(configuration)
    return replace(curve, run=replace(run, configuration=configuration, space=space.id))


def _paper() -> SearchSpace:
    """Return Table 3 of QTT-SEG: the decoder is trained, and the encoder through LoRA or not at all."""
    from ConfigSpace import Categorical, ConfigurationSpace, EqualsCondition

    space = ConfigurationSpace(name="paper")
    lora = Categorical("lora", [0, 1])
    parts = _lora_parts()
    _add_table_3(space, first=[lora], last=parts)
    space.add(*(EqualsCondition(part, lora, 1) for part in parts))
    return SearchSpace(name="paper", version=1, space=space)


def _extended() -> SearchSpace:
    """Return Table 3 with a choice of adapter in place of LoRA alone, prompt noise, other losses and richer views.

    Prompts and outlines are learnt as in arXiv 2403.09199.
    """
    from ConfigSpace import Categorical, ConfigurationSpace, InCondition, OrdinalHyperparameter

    space = ConfigurationSpace(name="extended")
    adapter = Categorical("adapter", list(EXTENDED_ADAPTERS))
    lora = _lora_parts()
    learner = [
        OrdinalHyperparameter("plm_depth", (1, 2)),
        OrdinalHyperparameter("plm_dense", (0, 1, 5), default_value=1),
        Categorical("plm_class", [0, 1], default=1),
    ]
    matching = [
        OrdinalHyperparameter("pmm_weight", (0.01, 0.03, 0.1, 0.3), default_value=0.1),
        OrdinalHyperparameter("pmm_points", (32, 64, 128), default_value=64),
    ]
    more = [
        Categorical("loss", ["bce+dice", "focal+dice+iou", "focal+dice+iou+map"]),
        OrdinalHyperparameter("prompt_noise", (0, 19, 50), default_value=19),
        *(Categorical(name, [0, 1]) for name in ("random_affine", "color_jitter")),
    ]
    _add_table_3(space, first=[adapter], last=[*more, *lora, *learner, *matching])
    space.add(
        *(InCondition(part, adapter, ["lora", "lora+plm"]) for part in lora),
        *(InCondition(part, adapter, ["plm", "plm+pmm", "lora+plm"]) for part in learner),
        *(InCondition(part, adapter, ["plm+pmm"]) for part in matching),
    )
    return SearchSpace(name="extended", version=4, space=space)


def _lora_parts() -> list[Hyperparameter[Any, Any]]:
    from ConfigSpace import OrdinalHyperparameter

    return [OrdinalHyperparameter("lora_rank", (4, 8, 16)), OrdinalHyperparameter("lora_dropout", (0.0, 0.1))]


def _add_table_3(
    space: ConfigurationSpace, *, first: list[Hyperparameter[Any, Any]], last: list[Hyperparameter[Any, Any]]
) -> None:
    """Add what Table 3 of QTT-SEG has besides LoRA, conditional parameters only where their parent makes them matter.

    Names are those of the published meta-dataset. The table gives the step schedule no factor of its own; the
    published code uses `decay_rate` for it as for the plateau schedule, and so do these spaces.

    Args:
        space: What to add to.
        first: Parameters to stand before these; a seed's samples depend on the order.
        last: Parameters to stand after these.
    """
    from ConfigSpace import Categorical, EqualsCondition, InCondition, Integer, OrdinalHyperparameter

    sched = Categorical("sched", list(_SCHEDULES))
    free = [
        sched,
        OrdinalHyperparameter("lr", _LEARNING_RATES, default_value=3.2e-4),
        OrdinalHyperparameter("weight_decay", (0.0, 1e-5, 5e-5, 1e-4)),
        *(Categorical(name, [0, 1]) for name in ("horizontal_flip", "vertical_flip", "random_rotate")),
    ]
    decay_rate = OrdinalHyperparameter("decay_rate", (0.1, 0.5, 0.8))
    warm = [OrdinalHyperparameter("cosine_t0", (2, 3, 5)), OrdinalHyperparameter("cosine_t_mult", (1, 2))]
    onecycle = [
        OrdinalHyperparameter("onecycle_pct_start", tuple(round(0.03 + 0.005 * i, 3) for i in range(15))),
        Integer("onecycle_div_factor", (10, 100)),
        Integer("onecycle_final_div_factor", (10, 1000), log=True),
    ]
    patience = OrdinalHyperparameter("patience_epochs", (0, 1, 2))
    power = OrdinalHyperparameter("poly_power", (0.5, 0.9, 1.0))
    step_size = OrdinalHyperparameter("step_size", (3, 5))

    space.add(*first, *free, decay_rate, *warm, *onecycle, patience, power, step_size, *last)
    space.add(
        *(EqualsCondition(part, sched, "cosine_warm") for part in warm),
        *(EqualsCondition(part, sched, "onecycle") for part in onecycle),
        EqualsCondition(patience, sched, "plateau"),
        EqualsCondition(power, sched, "poly"),
        EqualsCondition(step_size, sched, "step"),
        InCondition(decay_rate, sched, ["plateau", "step"]),
    )
