import pytest
import torch

from qttseg.pipelines import sam_modules
from qttseg.pipelines.backbones import backbone_of
from qttseg.pipelines.huggingface import export_huggingface
from qttseg.pipelines.loading import load_backbone
from qttseg.pipelines.nano import NanoArchitecture, box_masks, nano_sam

transformers = sam_modules.transformers()

RELATIVE = NanoArchitecture(resolution=64, patch=8, width=48, depth=2, window=4, global_blocks=(1,), prompt_width=48,
                            relative_positions=True)  # fmt: skip


def relative():
    sam = nano_sam(RELATIVE, seed=4)
    for name, parameter in sam.named_parameters():
        if "rel_pos" in name:
            parameter.data.normal_(std=0.3)
    return backbone_of("small", sam)


@pytest.mark.parametrize("make", [load_backbone, relative])
def test_the_exported_model_has_the_same_logits(make, tmp_path):
    backbone = make()
    side = backbone.resolution
    model = transformers.SamModel.from_pretrained(export_huggingface(backbone, tmp_path / "hf")).eval()
    images = torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(0))
    boxes = torch.tensor([[0.1, 0.2, 0.7, 0.9], [0.0, 0.0, 1.0, 1.0]]) * side
    with torch.no_grad():
        embeddings = backbone.encode(images)
        torch.testing.assert_close(model.get_image_embeddings(images), embeddings, rtol=1e-3, atol=1e-4)
        for wanted, several in ((slice(0, 1), False), (slice(1, None), True)):
            logits, guess, _ = backbone.decode(embeddings, boxes, masks=wanted)
            hint = box_masks(boxes, resolution=side, side=logits.shape[-1])
            theirs = model(pixel_values=images, input_boxes=boxes[:, None], input_masks=hint, multimask_output=several)
            torch.testing.assert_close(theirs.pred_masks[:, 0], logits, rtol=1e-3, atol=1e-3)
            torch.testing.assert_close(theirs.iou_scores[:, 0], guess, rtol=1e-3, atol=1e-3)


def test_the_exported_processor_prepares_images_as_we_do(tmp_path):
    import numpy as np

    from qttseg.pipelines.views import square_image

    backbone = load_backbone()
    export_huggingface(backbone, tmp_path)
    image = np.random.default_rng(0).integers(0, 255, (200, 300, 3), dtype=np.uint8)
    image = np.kron(image[::20, ::20], np.ones((20, 20, 1), np.uint8))
    theirs = transformers.SamProcessor.from_pretrained(tmp_path)(images=image, return_tensors="pt")["pixel_values"]
    square, extent = square_image(image, backbone.resolution)
    rows, columns = extent.inner
    ours = backbone.normalise(square[None])
    assert theirs.shape == ours.shape
    assert (theirs - ours)[..., :rows, :columns].abs().mean() < 0.05
    assert theirs[..., rows:, :].abs().max() == 0
