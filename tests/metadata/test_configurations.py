import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qttseg.errors import ConfigurationError
from qttseg.metadata.adapters import adapter_of, as_extended
from qttseg.metadata.configurations import Configuration
from qttseg.metadata.protocol import Protocol
from qttseg.metadata.runs import LearningCurve, Outcome, Run
from qttseg.pipelines.losses import LOSSES
from qttseg.pipelines.spaces import as_extended_run, search_space

values = st.dictionaries(
    st.text(min_size=1, max_size=5), st.one_of(st.integers(), st.floats(allow_nan=False), st.text(max_size=5))
)


def test_the_papers_space_is_drawn_from_as_ever():
    """Stored plans and results name its points by seed."""
    text = "".join(configuration.to_json() for configuration in search_space("paper").sample(300, seed=3))
    assert hashlib.sha256(text.encode()).hexdigest()[:16] == "6c3b2b9448a3970e"


def test_the_extended_space_has_parameters_where_their_adapter_does():
    space = search_space("extended")
    assert space.id == "extended-v4"
    schedules = search_space("paper").size // 7  # one way without LoRA, six ways with it
    assert space.size == schedules * (1 + 6 + 12 + 12 * 4 * 3 + 6 * 12) * 3 * 3 * 4
    for configuration in space.sample(100, seed=0):
        space.validate(configuration)
        adapter = adapter_of(configuration)
        assert ("lora_rank" in configuration) == ("lora_dropout" in configuration) == adapter.lora
        for part in ("plm_depth", "plm_dense", "plm_class"):
            assert (part in configuration) == adapter.learner
        assert ("pmm_weight" in configuration) == ("pmm_points" in configuration) == adapter.matcher
        assert configuration["loss"] in LOSSES
        with pytest.raises(ConfigurationError, match="no parameter"):
            search_space("paper").validate(configuration)


def test_all_of_the_papers_space_lies_in_the_extended_one():
    space = search_space("extended")
    for configuration in search_space("paper").sample(50, seed=2):
        point = as_extended(configuration, prompt_noise=19)
        space.validate(point)
        assert adapter_of(point) == adapter_of(configuration)
        shared = {name: value for name, value in configuration.items() if name != "lora"}
        assert shared.items() <= point.items()


def test_runs_of_its_last_version_lie_in_it_with_images_neither_moved_nor_tinted():
    space = search_space("extended")
    now = space.sample(1, seed=3)[0]
    new = ("random_affine", "color_jitter")
    before = Configuration({name: value for name, value in now.items() if name not in new})
    run = as_extended_run(LearningCurve(run=run_of(before, "extended-v3"), outcome=Outcome.FAILED)).run
    assert run.space == space.id
    assert dict(run.configuration) == {**before, **dict.fromkeys(new, 0)}
    with pytest.raises(ConfigurationError, match="only runs of paper-v1 and extended-v3 are points of extended-v4"):
        as_extended_run(LearningCurve(run=run_of(before, "mine-v1"), outcome=Outcome.FAILED))


def run_of(configuration: Configuration, space: str) -> Run:
    return Run(
        dataset="discs",
        dataset_fingerprint="print",
        configuration=configuration,
        space=space,
        protocol=Protocol(),
        backbone="sam-nano",
        backbone_fingerprint="weights",
    )


def test_an_unknown_adapter_is_named():
    with pytest.raises(ConfigurationError, match=r"'prefix'; known are decoder, lora"):
        adapter_of({"adapter": "prefix"})


@given(values)
def test_json_and_order_do_not_change_a_configuration(raw):
    configuration = Configuration(raw)
    again = Configuration.from_json(configuration.to_json())
    reordered = Configuration(dict(reversed(raw.items())))
    assert again == configuration == reordered
    assert again.id == configuration.id == reordered.id
    assert hash(again) == hash(configuration)
    assert dict(configuration) == raw


def test_a_list_is_no_configuration():
    with pytest.raises(ConfigurationError, match="JSON object"):
        Configuration.from_json("[1, 2]")


def test_a_nested_value_is_rejected_by_name():
    with pytest.raises(ConfigurationError, match="parameter lr"):
        Configuration({"lr": [1, 2]})  # type: ignore[dict-item]


def test_paper_space_has_over_200_million_points():
    assert search_space("paper").size > 200_000_000


def test_size_counts_every_branch_once():
    """Table 3 by hand: (no LoRA + 3 ranks x 2 dropouts) x free choices x the branches of the schedule."""
    free = 27 * 4 * 2**3
    schedules = 1 + 3 * 2 + 15 * 91 * 991 + 3 * 3 + 3 + 2 * 3
    assert search_space("paper").size == (1 + 3 * 2) * free * schedules


def test_samples_can_be_held_to_values():
    space = search_space("extended")
    where = {"adapter": "plm+pmm", "sched": "cosine"}
    drawn = space.sample(40, seed=3, where=where)
    assert len(set(drawn)) == 40
    assert all(where.items() <= configuration.items() for configuration in drawn)
    assert drawn == space.sample(40, seed=3, where=where) != space.sample(40, seed=4, where=where)


def test_values_that_no_point_has_are_refused_instead_of_looked_for():
    space = search_space("paper")
    with pytest.raises(ConfigurationError, match="2 is no value in search space paper of lora"):
        space.sample(1, seed=0, where={"lora": 2})
    for unknown in ({"lora_rank": 4}, {"adapter": "plm"}):
        with pytest.raises(
            ConfigurationError, match=r"search space paper cannot be held to a value of .*it can to one of"
        ):
            space.sample(1, seed=0, where=unknown)
    free = 27 * 4 * 2**3
    with pytest.raises(ConfigurationError, match=f"has {free} points with .*cosine"):
        space.sample(free + 1, seed=0, where={"lora": 0, "sched": "cosine"})


def test_samples_are_valid_distinct_repeatable_and_conditional():
    space = search_space("paper")
    drawn = space.sample(300, seed=3)
    assert len(set(drawn)) == 300
    assert drawn == space.sample(300, seed=3)
    assert drawn != space.sample(300, seed=4)
    for configuration in drawn:
        space.validate(configuration)
        assert ("lora_rank" in configuration) == (configuration["lora"] == 1)
        assert ("onecycle_pct_start" in configuration) == (configuration["sched"] == "onecycle")
        assert ("decay_rate" in configuration) == (configuration["sched"] in ("plateau", "step"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"momentum": 0.9}, "no parameter momentum"),
        ({"lr": 3.0}, "not a point"),
        ({"cosine_t0": 2}, "not a point"),
    ],
)
def test_a_wrong_point_is_named(decoder_only, change, message):
    with pytest.raises(ConfigurationError, match=message):
        search_space("paper").validate(Configuration({**decoder_only, **change}))


def test_an_unknown_space_lists_the_known_ones():
    with pytest.raises(ConfigurationError, match="known are extended, paper"):
        search_space("papre")
