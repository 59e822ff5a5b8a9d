import pytest
import torch

from qttseg.errors import BackboneError
from qttseg.pipelines.backbones import fingerprint_of
from qttseg.pipelines.loading import load_backbone
from qttseg.pipelines.nano import NanoArchitecture
from qttseg.pipelines.pretraining.drawing import draw
from qttseg.pipelines.pretraining.training import PretrainingRecipe, pretrain

SMALL = NanoArchitecture(resolution=64, width=32, depth=1, heads=2, window=4, global_blocks=(0,), prompt_width=32)
RECIPE = PretrainingRecipe(steps=5, finishing=2, rehearsal=1, coarse=1, batch=2, warm_up=2)


def test_drawings_are_seeded_varied_and_within_range():
    first, again, other = (draw(4, 64, 3, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert torch.equal(first.images, again.images)
    assert torch.equal(first.masks, again.masks)
    assert not torch.equal(first.images, other.images)
    assert first.images.isfinite().all()
    assert first.images.min() >= 0
    assert first.images.max() <= 255
    assert (first.masks.sum(dim=1) <= 1).all(), "each pixel belongs to the topmost object alone"


def test_an_interrupted_pretraining_gives_the_same_weights(tmp_path):
    from safetensors.torch import load_file

    steps = []
    pretrain(tmp_path / "whole", RECIPE, architecture=SMALL, on_progress=steps.append)
    pretrain(tmp_path / "broken", RECIPE, architecture=SMALL, stop_after=1)
    pretrain(tmp_path / "broken", RECIPE, architecture=SMALL, stop_after=2)
    pretrain(tmp_path / "broken", RECIPE, architecture=SMALL)
    assert [progress.step for progress in steps] == [1, 2, 3, 4, 5]
    whole, broken = load_file(tmp_path / "whole"), load_file(tmp_path / "broken")
    assert fingerprint_of(whole) == fingerprint_of(broken)
    assert {tensor.dtype for tensor in whole.values()} == {torch.float16}


def test_another_recipe_does_not_go_on_with_a_checkpoint(tmp_path):
    pretrain(tmp_path / "weights", RECIPE, architecture=SMALL, stop_after=1)
    with pytest.raises(BackboneError, match="another recipe"):
        pretrain(tmp_path / "weights", PretrainingRecipe(steps=9, batch=2), architecture=SMALL)


def test_the_embedded_weights_beat_a_random_model():
    """On drawn images of a seed far from training's: zero-shot IoU of box prompts."""
    from qttseg.pipelines.backbones import backbone_of
    from qttseg.pipelines.nano import NANO, nano_sam
    from qttseg.pipelines.prompts import mask_boxes

    drawing = draw(16, NANO.resolution, 2, torch.Generator().manual_seed(2**40))
    mask = drawing.masks[:, 1]
    drawn = mask.any(dim=(1, 2))

    def iou(backbone):
        with torch.no_grad():
            embeddings = backbone.encode(backbone.normalise(drawing.images[drawn]))
            logits = backbone.decode(embeddings, mask_boxes(mask[drawn])).logits
        found = torch.nn.functional.interpolate(logits, mask.shape[-2:], mode="bilinear")[:, 0] > 0
        return ((found & mask[drawn]).sum((1, 2)) / (found | mask[drawn]).sum((1, 2))).mean().item()

    assert iou(load_backbone()) > 0.3 > iou(backbone_of("random", nano_sam(NANO, seed=3)))
