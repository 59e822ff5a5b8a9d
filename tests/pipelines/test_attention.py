import pytest
import torch

from qttseg.pipelines.attention import use_fused_attention
from qttseg.pipelines.nano import NanoArchitecture, nano_sam


def randomised(architecture):
    """A model whose relative positions are not the zeros they start as."""
    sam = nano_sam(architecture, seed=1).eval()
    generator = torch.Generator().manual_seed(2)
    for name, parameter in sam.named_parameters():
        if "rel_pos" in name:
            parameter.data = torch.randn(parameter.shape, generator=generator) * 0.3
    return sam


@pytest.mark.parametrize("form", ["mask", "folded", None])
@pytest.mark.parametrize("window", [3, 4])
@pytest.mark.parametrize("relative", [True, False])
def test_fused_attention_equals_sams_own(form, window, relative):
    """Windowed (with padding where 3 does not divide 8) and global blocks, forward and gradients."""
    architecture = NanoArchitecture(
        resolution=128, patch=16, width=32, heads=4, depth=2, window=window, global_blocks=(1,),
        relative_positions=relative,
    )  # fmt: skip
    sam = randomised(architecture)
    images = torch.randn(2, 3, 128, 128, generator=torch.Generator().manual_seed(3))

    def out_and_gradient():
        sam.zero_grad()
        out = sam.image_encoder(images)
        out.square().mean().backward()
        return out.detach(), {name: p.grad.clone() for name, p in sam.image_encoder.named_parameters()}

    explicit, explicit_gradient = out_and_gradient()
    use_fused_attention(sam.image_encoder, form)
    fused, fused_gradient = out_and_gradient()
    torch.testing.assert_close(fused, explicit, rtol=1e-4, atol=1e-5)
    for name, gradient in explicit_gradient.items():
        torch.testing.assert_close(fused_gradient[name], gradient, rtol=1e-3, atol=1e-6)
