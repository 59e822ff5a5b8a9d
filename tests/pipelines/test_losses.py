import pytest
import torch
import torch.nn.functional as F

from qttseg.errors import ConfigurationError
from qttseg.pipelines.losses import LOSSES, bce_loss, dice_loss, label_map_loss, mask_loss

TARGET = torch.zeros(1, 16, 16)
TARGET[:, 4:12, 4:12] = 1
VALID = torch.ones_like(TARGET)
OWNER = torch.zeros(1, dtype=torch.long)
RIGHT = (F.max_pool2d(TARGET, 2)[:, None] - 0.5) * 20


@pytest.mark.parametrize("name", LOSSES)
def test_the_right_mask_has_the_lower_loss_and_ignored_pixels_have_none(name):
    guess = torch.ones(1, 1)
    right, wrong = (mask_loss(logits, guess, TARGET, VALID, OWNER, name=name) for logits in (RIGHT, -RIGHT))
    assert right.shape == (1,)
    assert right < wrong
    ignored = VALID.clone()
    ignored[:, :, 8:] = 0
    changed = RIGHT.clone()
    changed[..., 5:] *= -1  # beyond what interpolation carries over
    same, other = (mask_loss(logits, guess, TARGET * ignored, ignored, OWNER, name=name) for logits in (RIGHT, changed))
    torch.testing.assert_close(same, other)


def test_the_guess_of_the_iou_is_judged_where_the_loss_says_so():
    guess = torch.full((1, 1), 0.25, requires_grad=True)
    for name, slope in (("bce+dice", None), ("focal+dice+iou", -1.5), ("focal+dice+iou+map", -1.5)):
        logits = RIGHT.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(
            mask_loss(logits, guess, TARGET, VALID, OWNER, name=name).sum(), guess, allow_unused=True
        )
        assert (gradient is None) == (slope is None)
        if gradient is not None:
            assert gradient.item() == pytest.approx(slope)  # 2 · (0.25 - 1): the mask is right


def masks_of_two_images():
    generator = torch.Generator().manual_seed(0)
    owner = torch.tensor([0, 1, 0, 0, 1])
    logits = 3 * torch.randn(5, 16, 16, generator=generator)
    labels = torch.randint(0, 4, (2, 16, 16), generator=generator)
    which = torch.tensor([1, 1, 2, 3, 2])
    valid = torch.rand(2, 16, 16, generator=generator) < 0.8
    return logits, (labels[owner] == which[:, None, None]).float(), valid[owner].float(), owner


def test_masks_of_an_image_compete_with_each_other_and_the_background():
    logits, target, valid, owner = masks_of_two_images()
    found = label_map_loss(logits, target, valid, owner)
    for image in (0, 1):
        own = owner == image
        against = torch.cat([torch.zeros(1, 16, 16), logits[own]])
        truth = torch.cat([1 - target[own].sum(dim=0, keepdim=True), target[own]]).argmax(dim=0)
        counted = valid[own][0] > 0
        entropy = F.cross_entropy(against[None], truth[None], reduction="none")[0][counted].mean()
        shares = against.softmax(dim=0)[1:] * valid[own]
        inside = target[own] * valid[own]
        dice = 1 - (2 * (shares * inside).sum((1, 2)) + 1) / (shares.sum((1, 2)) + inside.sum((1, 2)) + 1)
        torch.testing.assert_close(found[own], entropy + dice)


def test_a_mask_that_is_alone_competes_with_the_background_only():
    logits, target, valid, _ = masks_of_two_images()
    alone = label_map_loss(logits, target, valid, torch.arange(5))
    torch.testing.assert_close(alone, bce_loss(logits, target, valid) + dice_loss(logits, target, valid))


def test_masks_that_are_sure_have_finite_losses_and_gradients():
    logits, target, valid, owner = masks_of_two_images()
    logits = (1e4 * logits).requires_grad_()
    loss = label_map_loss(logits, target, valid, owner)
    loss.sum().backward()
    assert loss.isfinite().all()
    assert logits.grad.isfinite().all()


def test_an_unknown_loss_is_named():
    with pytest.raises(ConfigurationError, match=r"'l2'; known are bce\+dice"):
        mask_loss(RIGHT, torch.ones(1, 1), TARGET, VALID, OWNER, name="l2")
