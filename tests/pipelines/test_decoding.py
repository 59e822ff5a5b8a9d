import copy

import pytest
import torch

from qttseg.pipelines.backbones import Backbone, _prefers_bfloat16
from qttseg.pipelines.decoding import decode_prompts, in_cells, use_quick_cross_attention
from qttseg.pipelines.nano import NANO, nano_sam


@pytest.mark.parametrize("masks", [slice(0, 1), slice(1, None)])
def test_outputs_and_gradients_are_those_of_sams_own_decoder(masks):
    sam = nano_sam(NANO, seed=1)
    own, quick = sam.mask_decoder, copy.deepcopy(sam.mask_decoder)
    use_quick_cross_attention(quick)
    embeddings, positions = torch.randn(3, 96, 32, 32), sam.prompt_encoder.get_dense_pe()
    with torch.no_grad():
        sparse, dense = sam.prompt_encoder(points=None, boxes=torch.tensor([[9.0, 20, 200, 120]] * 3), masks=None)
    found = decode_prompts(quick, embeddings, positions, sparse, dense, masks=masks)
    alone = zip(embeddings[:, None], sparse[:, None], dense[:, None], strict=True)
    several = masks != slice(0, 1)
    logits, guess = (
        torch.cat(parts)
        for parts in zip(*(own(e, positions, s, d, multimask_output=several) for e, s, d in alone), strict=True)
    )
    torch.testing.assert_close(found.logits, logits, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found.guess, guess, rtol=1e-4, atol=1e-5)
    (found.logits.sigmoid().mean() + found.guess.square().mean()).backward()
    (logits.sigmoid().mean() + guess.square().mean()).backward()
    for (name, one), other in zip(quick.named_parameters(), own.parameters(), strict=True):
        gradient = torch.zeros_like(one) if one.grad is None else one.grad
        torch.testing.assert_close(gradient, other.grad, rtol=1e-3, atol=1e-6, msg=name)


def test_features_are_what_sam_upscales():
    sam = nano_sam(NANO, seed=1)
    kept = []
    sam.mask_decoder.output_upscaling.register_forward_hook(lambda _module, _inputs, output: kept.append(output))
    embeddings, tokens = torch.randn(1, 96, 32, 32), torch.randn(1, 2, 96)
    inputs = (embeddings, sam.prompt_encoder.get_dense_pe(), tokens, torch.zeros_like(embeddings))
    sam.mask_decoder(*inputs, multimask_output=False)
    found = decode_prompts(sam.mask_decoder, *inputs, masks=slice(0, 1))
    torch.testing.assert_close(found.upscaled, kept[0], rtol=1e-4, atol=1e-5)
    assert torch.equal(in_cells(found.upscaled), found.features)


def test_only_wide_models_take_bfloat16_on_what_multiplies_in_it(monkeypatch):
    cpu = torch.device("cpu")
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"amx_bf16": True}, raising=False)
    assert _prefers_bfloat16(cpu, 256)
    assert not _prefers_bfloat16(cpu, 96)
    monkeypatch.setattr(torch.cpu, "get_capabilities", dict)
    assert not _prefers_bfloat16(cpu, 256)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: True)
    assert _prefers_bfloat16(torch.device("cuda"), 256)
    assert not _prefers_bfloat16(torch.device("cuda"), 96)


def test_a_wide_model_in_bfloat16_answers_in_float32_and_nearly_the_same(monkeypatch):
    sam = nano_sam(NANO, seed=1)
    model = Backbone(name="nano", fingerprint="", sam=sam)
    image = torch.randn(1, 3, 256, 256)
    with torch.no_grad():
        plain = model.encode(image)
        monkeypatch.setattr("qttseg.pipelines.backbones._prefers_bfloat16", lambda _device, _width: True)
        rounded = model.encode(image)
    assert rounded.dtype == torch.float32
    assert not torch.equal(rounded, plain)
    torch.testing.assert_close(rounded, plain, rtol=0.1, atol=0.1)
