import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from qttseg.metadata.configurations import Configuration
from qttseg.pipelines.adapters import adapt
from qttseg.pipelines.objectives import Objective
from qttseg.pipelines.outlines import evenly_spaced, outline_pairs, outlines
from qttseg.pipelines.point_matching import PointMatcher, matching_loss
from qttseg.pipelines.prompts import class_prompts

SIDE = 32


def disc(x=16, y=16, radius=8.0, side=SIDE):
    rows, columns = np.mgrid[:side, :side] + 0.5
    return ((columns - x) ** 2 + (rows - y) ** 2 < radius**2).astype(float)


def logits_of(*masks):
    return torch.tensor(np.stack(masks)).float() * 20 - 10


def pairs_of(found, wanted, count=24):
    targets = torch.tensor(wanted).float()[None].repeat_interleave(2, 1).repeat_interleave(2, 2)
    return outline_pairs(logits_of(found), targets, torch.ones_like(targets), count=count)


def test_it_has_the_papers_size_at_sams_width():
    assert 1.05e6 < sum(tensor.numel() for tensor in PointMatcher(256).parameters()) < 1.3e6


@settings(deadline=None)
@given(st.integers(3, 80), st.floats(2, 12))
def test_points_lie_evenly_along_an_outline(count, radius):
    (line,) = outlines(disc(radius=radius))
    points = evenly_spaced(line, count)
    length = np.linalg.norm(np.diff(line, axis=0), axis=1).sum()
    apart = np.linalg.norm(points - np.roll(points, 1, axis=0), axis=1)
    assert points.shape == (count, 2)
    assert (apart <= length / count + 1e-9).all()  # a chord is no longer than its arc
    assert np.abs(np.linalg.norm(points - 16, axis=1) - radius).max() < 1


def test_outlines_are_of_pieces_and_not_of_holes():
    mask = disc(radius=10) - disc(radius=5)
    mask[0:3, 0:3] = 1
    large, small = outlines(mask)
    assert np.abs(np.linalg.norm(large - 16, axis=1) - 10).max() < 1
    assert small.max() <= 3
    assert outlines(np.zeros((8, 8))) == []
    assert outlines(np.full((8, 8), np.nan)) == []


def test_a_mask_that_touches_the_border_is_closed_along_it():
    (line,) = outlines(np.ones((8, 8)))
    assert line.min() == pytest.approx(0, abs=1e-9)
    assert line.max() == pytest.approx(8)
    (line,) = outlines(disc(x=0))
    assert (line[0] == line[-1]).all()
    assert line[:, 0].min() == pytest.approx(0, abs=1e-9)


def test_equal_masks_have_equal_outlines():
    pairs = pairs_of(disc(), disc())
    assert pairs.weight.tolist() == [1]
    torch.testing.assert_close(pairs.predicted, pairs.true, atol=0.02, rtol=0)
    assert matching_loss(pairs.predicted, pairs.true).item() < 0.2


@pytest.mark.parametrize(
    ("found", "wanted"),
    [(np.zeros((SIDE, SIDE)), disc()), (disc(), np.zeros((SIDE, SIDE)))],
    ids=["nothing found", "nothing to find"],
)
def test_without_an_outline_there_is_nothing_to_match(found, wanted):
    pairs = pairs_of(found, wanted)
    assert pairs.weight.tolist() == [0]
    assert matching_loss(pairs.predicted, pairs.true).isfinite().all()


def test_a_tiny_mask_has_an_outline_too():
    tiny = np.zeros((SIDE, SIDE))
    tiny[5, 7] = 1
    pairs = pairs_of(tiny, tiny)
    assert pairs.weight.tolist() == [1]
    assert (pairs.predicted * SIDE - torch.tensor([7.5, 5.5])).abs().max() < 0.6


def test_of_many_pieces_the_one_that_is_meant_is_matched():
    left, right, speck = disc(x=7, radius=5), disc(x=24, radius=6), disc(x=7, y=27, radius=1.2)
    pairs = pairs_of(disc(x=9, radius=5), np.maximum(left, np.maximum(right, speck)))
    middle = pairs.true[0].mean(dim=0) * SIDE
    assert middle.tolist() == pytest.approx([7, 16], abs=0.5)


def test_what_is_to_be_ignored_has_no_outline():
    valid = torch.ones(1, SIDE, SIDE)
    valid[:, :, 16:] = 0
    pairs = outline_pairs(logits_of(np.ones((SIDE, SIDE))), torch.ones(1, SIDE, SIDE) * valid, valid, count=16)
    assert pairs.predicted[..., 0].max() == pytest.approx(0.5, abs=0.02)


@given(st.integers(0, 15), st.booleans(), st.floats(0, 0.3))
def test_where_an_outline_begins_and_which_way_it_runs_does_not_matter(shift, backwards, move):
    angle = torch.arange(16) * 2 * torch.pi / 16
    true = torch.stack([0.5 + 0.3 * angle.cos(), 0.5 + 0.2 * angle.sin()], dim=1)[None]
    found = true + move * torch.tensor([0.1, 0.0])
    changed = found.roll(shift, dims=1)
    changed = changed.flip(1) if backwards else changed
    torch.testing.assert_close(matching_loss(changed, true), matching_loss(found, true), atol=1e-4, rtol=1e-4)
    assert matching_loss(true, true).item() == pytest.approx(0, abs=1e-6)
    assert matching_loss(found, true).item() <= 10 * move + 1e-4


def test_gradients_reach_the_prompt_learner(small_vit, decoder_only):
    """Through the decoder's features at the points, even where the masks' own loss is left out."""
    configuration = Configuration(
        {**decoder_only, "adapter": "plm+pmm", "plm_depth": 1, "pmm_weight": 0.5, "pmm_points": 16}
    )
    adapted = adapt(small_vit, configuration, seed=0)
    side = small_vit.resolution
    labels = torch.zeros(2, side, side, dtype=torch.uint8)
    labels[:, 10:30, 12:40] = 1
    prompts = class_prompts(labels, classes=2, noise=0, prompt="point", generator=torch.Generator().manual_seed(0))
    embeddings = torch.randn(2, 32, 8, 8, generator=torch.Generator().manual_seed(1))
    decoded = adapted.decode(embeddings, prompts.where)
    logits = decoded.logits - decoded.logits.median()  # so that random weights predict something
    objective = Objective.of(configuration)
    together = objective(adapted, decoded._replace(logits=logits.detach()), prompts)
    masks = decoded._replace(logits=logits.detach())
    assert (together > objective.of_masks(masks, prompts.targets, prompts.valid, prompts.owner)).all()
    together.sum().backward()
    moved = adapted.sam.prompt_learner.offset.weight.grad
    assert moved is not None
    assert moved.abs().max() > 0
    assert all(parameter.grad is None for parameter in adapted.sam.mask_decoder.parameters())


def test_matching_is_learnt():
    """From features that tell the way to the true outline, the matcher learns to go there."""
    torch.manual_seed(0)
    matcher = PointMatcher(64)
    rows, columns = torch.meshgrid(torch.linspace(-1, 1, SIDE), torch.linspace(-1, 1, SIDE), indexing="ij")
    features = torch.stack([rows, columns, *torch.zeros(6, SIDE, SIDE)])[None]
    pairs = pairs_of(disc(radius=6), disc(x=18, radius=9), count=16)
    optimizer = torch.optim.Adam(matcher.parameters(), lr=3e-3)
    losses = []
    for _ in range(40):
        loss = matching_loss(matcher(features, pairs.predicted), pairs.true).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]
