import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from qttseg.errors import ConfigurationError
from qttseg.metadata.configurations import Configuration
from qttseg.pipelines.schedules import build_schedule
from qttseg.pipelines.spaces import search_space

STEPS = 5


def rates(configuration, epochs, trained, scores=None):
    """Learning rate of each step over `trained` epochs of a schedule that spans `epochs`."""
    weight = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.AdamW([weight], lr=float(configuration["lr"]))
    schedule = build_schedule(configuration, optimizer, epochs=epochs, steps_per_epoch=STEPS)
    seen = []
    for epoch in range(trained):
        for _ in range(STEPS):
            seen.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            schedule.after_step()
        schedule.after_epoch((scores or [0.1 * epoch for epoch in range(trained)])[epoch])
    return seen


@settings(deadline=None, max_examples=100)
@given(seed=st.integers(0, 10_000), epochs=st.integers(2, 12), share=st.floats(0.1, 1))
def test_a_shorter_training_is_the_beginning_of_a_longer_one(seed, epochs, share):
    (configuration,) = search_space("paper").sample(1, seed=seed)
    trained = max(1, int(share * epochs))
    whole = rates(configuration, epochs, epochs)
    assert rates(configuration, epochs, trained) == whole[: trained * STEPS]
    assert all(0 <= rate <= float(configuration["lr"]) * (1 + 1e-9) for rate in whole)


def test_plateau_waits_for_its_patience(decoder_only):
    configuration = Configuration({**decoder_only, "sched": "plateau", "decay_rate": 0.5, "patience_epochs": 1})
    seen = rates(configuration, 5, 5, scores=[0.5, 0.6, 0.6, 0.6, 0.6])[::STEPS]
    assert seen == pytest.approx([1e-3, 1e-3, 1e-3, 1e-3, 5e-4])


def test_onecycle_peaks_at_the_learning_rate(decoder_only):
    configuration = Configuration(
        {
            **decoder_only,
            "sched": "onecycle",
            "onecycle_pct_start": 0.1,
            "onecycle_div_factor": 10,
            "onecycle_final_div_factor": 100,
        }
    )
    seen = rates(configuration, 10, 10)
    assert seen[0] == pytest.approx(1e-4)
    assert max(seen) == pytest.approx(1e-3)
    assert seen[-1] == pytest.approx(1e-6)


def test_a_warm_up_of_a_single_step_does_no_harm(decoder_only):
    onecycle = {"onecycle_pct_start": 0.1, "onecycle_div_factor": 10, "onecycle_final_div_factor": 100}
    seen = rates(Configuration({**decoder_only, "sched": "onecycle", **onecycle}), 2, 2)
    assert all(0 < rate <= 1e-3 for rate in seen)
    assert seen == sorted(seen, reverse=True)


def test_an_unknown_schedule_is_named(decoder_only):
    with pytest.raises(ConfigurationError, match="'exotic'"):
        rates(Configuration({**decoder_only, "sched": "exotic"}), 2, 2)
