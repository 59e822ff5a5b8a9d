"""The search spaces a fine-tuning can be drawn from; the paper's Table 3 is one."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib.metadata import entry_points

from qttseg.errors import ConfigurationError
from qttseg.metadata.configurations import SearchSpace

_LEARNING_RATES = (
    1e-5, 1.2e-5, 1.5e-5, 2e-5, 2.5e-5, 3.5e-5, 5e-5, 6e-5, 6.5e-5, 1e-4, 1.2e-4, 1.8e-4, 2.5e-4, 3.2e-4,
    4e-4, 4.8e-4, 5e-4, 5.5e-4, 8e-4, 1e-3, 1.5e-3, 2e-3, 3e-3, 4e-3, 5e-3, 6e-3, 7e-3,
)  # fmt: skip
_SCHEDULES = ("cosine", "cosine_warm", "onecycle", "plateau", "poly", "step")


@cache
def search_space(name: str = "paper") -> SearchSpace:
    """Return the search space of this name: `paper`, or one of the `qttseg.search_spaces` entry points.

    Raises:
        ConfigurationError: no search space has that name.
    """
    makers: dict[str, Callable[[], SearchSpace]] = {"paper": _paper}
    makers |= {point.name: point.load() for point in entry_points(group="qttseg.search_spaces")}
    if name not in makers:
        raise ConfigurationError(f"unknown search space {name!r}; known are {', '.join(sorted(makers))}")
    return makers[name]()


def _paper() -> SearchSpace:
    """Return Table 3 of QTT-SEG, conditional parameters only where their parent makes them matter.

    Names are those of the published meta-dataset. The table gives the step schedule no factor of its own; the
    published code uses `decay_rate` for it as for the plateau schedule, and so does this space.
    """
    from ConfigSpace import (
        Categorical,
        ConfigurationSpace,
        EqualsCondition,
        InCondition,
        Integer,
        OrdinalHyperparameter,
    )

    space = ConfigurationSpace(name="paper")
    lora = Categorical("lora", [0, 1])
    sched = Categorical("sched", list(_SCHEDULES))
    free = [
        lora,
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
    lora_parts = [OrdinalHyperparameter("lora_rank", (4, 8, 16)), OrdinalHyperparameter("lora_dropout", (0.0, 0.1))]

    space.add(*free, decay_rate, *warm, *onecycle, patience, power, step_size, *lora_parts)
    space.add(
        *(EqualsCondition(part, lora, 1) for part in lora_parts),
        *(EqualsCondition(part, sched, "cosine_warm") for part in warm),
        *(EqualsCondition(part, sched, "onecycle") for part in onecycle),
        EqualsCondition(patience, sched, "plateau"),
        EqualsCondition(power, sched, "poly"),
        EqualsCondition(step_size, sched, "step"),
        InCondition(decay_rate, sched, ["plateau", "step"]),
    )
    return SearchSpace(name="paper", version=1, space=space)
