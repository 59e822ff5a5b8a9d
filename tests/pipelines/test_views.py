import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from qttseg.metadata.protocol import Protocol
from qttseg.pipelines.prompts import class_prompts, draw_prompts, mask_boxes, scaled_prompts, true_boxes
from qttseg.pipelines.views import FARTHEST, Views, draw_views, square_image, square_labels, view_images, view_labels

sizes = st.tuples(st.integers(1, 60), st.integers(1, 60))


@settings(deadline=None)
@given(sizes, st.sampled_from([16, 32]), st.integers(0, 99))
def test_an_image_fills_its_square_along_the_long_side(size, resolution, seed):
    image = np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)
    square, extent = square_image(image, resolution)
    rows, columns = extent.inner
    assert square.shape == (3, resolution, resolution)
    assert max(rows, columns) == resolution
    assert min(rows, columns) >= 1
    padding = torch.ones(resolution, resolution, dtype=torch.bool)
    padding[:rows, :columns] = False
    assert (square[:, padding] == torch.tensor([[124], [116], [104]])).all()
    labels = square_labels(np.ones(size, np.uint8), resolution)
    assert ((labels == 255) == padding).all()


@settings(deadline=None)
@given(sizes, st.integers(0, 99))
def test_boxes_hold_their_class_tightly(size, seed):
    mask = np.random.default_rng(seed).choice([0, 0, 0, 1, 2, 255], size).astype(np.uint8)
    boxes = true_boxes(mask)
    assert set(boxes) == set(np.unique(mask)) - {0, 255}
    for class_id, (x0, y0, x1, y1) in boxes.items():
        inside = mask == class_id
        assert inside[int(y0) : int(y1), int(x0) : int(x1)].sum() == inside.sum()
        assert inside[int(y0)].any()
        assert inside[:, int(x1) - 1].any()
        assert mask_boxes(torch.from_numpy(inside)[None])[0].tolist() == [x0, y0, x1, y1]


@settings(deadline=None)
@given(sizes, st.integers(0, 99), st.integers(0, 200))
def test_noise_moves_sides_outward_within_reach_and_frame(size, seed, noise):
    mask = np.random.default_rng(seed).integers(0, 3, size).astype(np.uint8)
    protocol = Protocol(prompt_noise=noise)
    truth = true_boxes(mask)
    moved = draw_prompts(mask, protocol, np.random.default_rng(seed))
    assert moved == draw_prompts(mask, protocol, np.random.default_rng(seed))
    reach = noise * max(size) / 1024 + 1e-9
    for class_id, box in moved.items():
        outward = np.array(truth[class_id]) - box
        outward[2:] *= -1
        assert (outward >= 0).all()
        assert (outward <= reach).all()
        assert box[0] >= 0
        assert box[1] >= 0
        assert box[2] <= size[1]
        assert box[3] <= size[0]


def test_a_whole_image_prompt_is_the_frame():
    mask = np.eye(8, 12, dtype=np.uint8)
    assert draw_prompts(mask, Protocol(prompt="whole-image"), np.random.default_rng(0)) == {1: (0, 0, 12, 8)}


def test_each_class_of_each_image_is_one_prompt():
    labels = torch.zeros(2, 16, 16, dtype=torch.uint8)
    labels[0, 2:5, 3:7] = 1
    labels[0, 8:, 8:] = 2
    labels[1, 0, 0] = 255
    prompts = class_prompts(labels, classes=3, noise=0, prompt="box", generator=torch.Generator())
    assert prompts.owner.tolist() == [0, 0]
    assert prompts.where.tolist() == [[3, 2, 7, 5], [8, 8, 16, 16]]
    assert prompts.targets.sum(dim=(1, 2)).tolist() == [12, 64]


@given(st.integers(0, 1000), *[st.booleans()] * 5)
def test_only_what_is_switched_on_happens(seed, horizontal, vertical, rotate, moved, tinted):
    switches = {"horizontal_flip": horizontal, "vertical_flip": vertical, "random_rotate": rotate}
    more = {"random_affine": moved, "color_jitter": tinted}
    inner = torch.full((8, 2), 16)
    views, table3 = (
        draw_views(inner, chosen, generator=torch.Generator().manual_seed(seed))
        for chosen in (switches | more, switches)
    )
    assert torch.equal(views.flips, table3.flips)
    assert torch.equal(views.turns, table3.turns)
    assert views.moves.any() == moved
    assert views.tints.any() == tinted
    assert (views.moves.abs() <= FARTHEST).all()
    assert not views.flips[:, 0].any() or horizontal
    assert not views.flips[:, 1].any() or vertical
    assert not views.turns.any() or rotate
    assert (views.turns.abs() <= math.radians(30)).all()


@settings(deadline=None)
@given(sizes, st.integers(0, 99))
def test_images_are_mirrored_where_they_lie(size, seed):
    image = np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)
    square, extent = square_image(image, 32)
    rows, columns = extent.inner
    labels = square_labels(image[..., 0] % 3, 32)
    flips = torch.tensor([[False, False], [True, False], [False, True], [True, True]])
    views = replace(Views.plain(4), inner=torch.tensor([extent.inner] * 4), flips=flips)
    images, maps = (
        view_images(square.expand(4, -1, -1, -1).float(), views),
        view_labels(labels.expand(4, -1, -1), views),
    )
    for seen, kept, dims in zip(images, maps, ([], [-1], [-2], [-1, -2]), strict=True):
        assert (seen[:, :rows, :columns] == square[:, :rows, :columns].flip(dims)).all()
        assert (kept[:rows, :columns] == labels[:rows, :columns].flip(dims)).all()
        assert ((kept == 255) == (labels == 255)).all()
    assert (view_images(images, views) == square).all()


@pytest.mark.parametrize("inner", [(64, 64), (64, 40), (30, 64)])
def test_a_turned_object_keeps_its_mask_and_its_place_about_the_middle_of_the_image(inner):
    rows, columns = inner
    labels = torch.full((1, 64, 64), 255, dtype=torch.uint8)
    labels[0, :rows, :columns] = 0
    labels[0, rows // 2 - 5 : rows // 2 + 5, columns // 2 - 12 : columns // 2 + 12] = 1
    image = ((labels[:, None] == 1) * 2.0).expand(1, 3, 64, 64)
    views = replace(Views.plain(1), inner=torch.tensor([inner]), turns=torch.tensor([0.5]))
    turned, kept = view_images(image, views), view_labels(labels, views)
    overlap = ((turned[0, 0] > 1) == (kept[0] == 1)).float().mean()
    assert overlap > 0.98
    assert (kept == 255).any()
    assert int((kept == 1).sum()) == pytest.approx(240, rel=0.1)
    middle = (kept[0] == 1).nonzero().float().mean(dim=0) + 0.5
    assert middle.tolist() == pytest.approx([rows / 2, columns / 2], abs=0.5)
    assert (kept != labels).any()


def test_a_moved_object_keeps_its_mask():
    labels = torch.zeros(1, 64, 64, dtype=torch.uint8)
    labels[:, :, 40:] = 255
    labels[0, 22:42, 14:26] = 1  # about the middle of 64 × 40
    image = ((labels[:, None] == 1) * 2.0).expand(1, 3, 64, 64)
    moves = torch.tensor([[math.log(1.5), -0.1, 0.125]])  # 4 columns to the left, 8 rows down
    views = replace(Views.plain(1), inner=torch.tensor([[64, 40]]), moves=moves)
    moved, kept = view_images(image, views), view_labels(labels, views)
    assert ((moved[0, 0] > 1) == (kept[0] == 1)).float().mean() > 0.98
    rows, columns = (kept[0] == 1).nonzero().unbind(1)
    assert len(rows) == pytest.approx(240 * 1.5**2, rel=0.05)
    assert (rows.float().mean() + 0.5).item() == pytest.approx(32 + 8, abs=0.5)
    assert (columns.float().mean() + 0.5).item() == pytest.approx(20 - 4, abs=0.5)


def test_colours_change_where_there_is_an_image():
    images = torch.tensor([1.0, -1.0, 0.5])[None, :, None, None].expand(2, 3, 16, 16)
    tints = torch.tensor([[0.0] * 4, [math.log(2), 0.0, 0.0, 0.25]])
    views = replace(Views.plain(2), inner=torch.tensor([[16, 9], [16, 9]]), tints=tints)
    seen = view_images(images, views)
    assert torch.equal(seen[0], images[0])
    assert torch.equal(seen[1, ..., 9:], images[1, ..., 9:])
    torch.testing.assert_close(seen[1, :, 3, 3], torch.tensor([2.25, -0.75, 0.75]))


def test_views_of_one_name_show_the_same():
    views = replace(Views.plain(7), inner=torch.tensor([[16, 16]] * 2 + [[16, 9]] * 5))
    views.flips[1:3, 0] = True
    views.turns[3] = 0.5
    views.moves[4, 0] = 0.5
    views.moves[5, 1] = 0.5
    views.tints[6, 0] = 0.5
    assert len(set(views.keys())) == 7
    assert views.keys()[0] == Views.plain(1).keys()[0]
    assert replace(Views.plain(7), turns=torch.full((7,), -0.0)).keys() == Views.plain(7).keys()


@settings(deadline=None)
@given(sizes, st.integers(0, 99), st.integers(1, 4))
def test_points_lie_inside_their_class_and_are_drawn_once_and_for_all(size, seed, count):
    mask = np.random.default_rng(seed).choice([0, 0, 1, 2, 255], size).astype(np.uint8)
    protocol = Protocol(prompt="point", points=count)
    drawn = draw_prompts(mask, protocol, np.random.default_rng(seed))
    assert drawn == draw_prompts(mask, protocol, np.random.default_rng(seed))
    assert set(drawn) == set(np.unique(mask)) - {0, 255}
    for class_id, points in drawn.items():
        assert len(points) == count
        assert all(mask[int(y), int(x)] == class_id for x, y in points)


def test_points_are_scaled_as_boxes_are():
    prompts = {1: ((3.0, 1.5), (0.5, 0.5)), 2: (0.0, 1.0, 4.0, 3.0)}
    assert scaled_prompts(prompts, 2.0) == {1: ((6.0, 3.0), (1.0, 1.0)), 2: (0.0, 2.0, 8.0, 6.0)}


@settings(deadline=None)
@given(st.integers(0, 99), st.integers(1, 3), st.sampled_from([0.0, 2.0]))
def test_training_points_are_drawn_anew_inside_or_near_their_class(seed, count, noise):
    labels = torch.from_numpy(np.random.default_rng(seed).choice([0, 0, 0, 1, 2, 255], (3, 16, 16)).astype(np.uint8))
    generator = torch.Generator().manual_seed(seed)
    prompts, others = (
        class_prompts(labels, classes=3, noise=noise, prompt="point", points=count, generator=generator)
        for _ in range(2)
    )
    assert prompts.where.shape == (len(prompts.owner), count, 2)
    assert not torch.equal(prompts.where, others.where)
    assert ((prompts.where >= 0) & (prompts.where <= 16)).all()
    if not noise:
        rows, columns = prompts.where[..., 1].long(), prompts.where[..., 0].long()
        which = torch.arange(len(rows))[:, None]
        assert (prompts.targets[which, rows, columns] == 1).all()


def test_every_pixel_of_a_class_can_be_its_point():
    labels = torch.zeros(1, 8, 8, dtype=torch.uint8)
    labels[0, 2, 3:5] = 1
    labels[0, 7, 7] = 1
    generator = torch.Generator().manual_seed(0)
    prompts = class_prompts(labels, classes=2, noise=0, prompt="point", points=200, generator=generator)
    found, counts = prompts.where[0].unique(dim=0, return_counts=True)
    assert found.tolist() == [[3.5, 2.5], [4.5, 2.5], [7.5, 7.5]]
    assert counts.min() > 40
