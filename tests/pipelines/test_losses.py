import pytest
import torch

from qttseg.errors import ConfigurationError
from qttseg.pipelines.losses import LOSSES, mask_loss

TARGET = torch.zeros(1, 16, 16)
TARGET[:, 4:12, 4:12] = 1
VALID = torch.ones_like(TARGET)
RIGHT = (torch.nn.functional.max_pool2d(TARGET, 2)[:, None] - 0.5) * 20


@pytest.mark.parametrize("name", LOSSES)
def test_the_right_mask_has_the_lower_loss_and_ignored_pixels_have_none(name):
    guess = torch.ones(1, 1)
    right, wrong = (mask_loss(logits, guess, TARGET, VALID, name=name) for logits in (RIGHT, -RIGHT))
    assert right.shape == (1,)
    assert right < wrong
    ignored = VALID.clone()
    ignored[:, :, 8:] = 0
    changed = RIGHT.clone()
    changed[..., 5:] *= -1  # beyond what interpolation carries over
    same, other = (mask_loss(logits, guess, TARGET * ignored, ignored, name=name) for logits in (RIGHT, changed))
    torch.testing.assert_close(same, other)


def test_the_guess_of_the_iou_is_judged_where_the_loss_says_so():
    guess = torch.full((1, 1), 0.25, requires_grad=True)
    for name, slope in (("bce+dice", None), ("focal+dice+iou", -1.5)):
        logits = RIGHT.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(
            mask_loss(logits, guess, TARGET, VALID, name=name).sum(), guess, allow_unused=True
        )
        assert (gradient is None) == (slope is None)
        if gradient is not None:
            assert gradient.item() == pytest.approx(slope)  # 2 · (0.25 - 1): the mask is right


def test_an_unknown_loss_is_named():
    with pytest.raises(ConfigurationError, match=r"'l2'; known are bce\+dice"):
        mask_loss(RIGHT, torch.ones(1, 1), TARGET, VALID, name="l2")
