import pytest
import torch

from qttseg.errors import BackboneError
from qttseg.pipelines.decoding import decode_prompts
from qttseg.pipelines.loading import load_backbone
from qttseg.pipelines.nano import NanoArchitecture, nano_sam


def test_decoding_many_images_equals_sams_decoder_one_by_one():
    backbone = load_backbone()
    generator = torch.Generator().manual_seed(0)
    embeddings = torch.randn(3, 96, 32, 32, generator=generator)
    boxes = torch.tensor([[10.0, 20, 100, 200], [0, 0, 256, 256], [5, 5, 9, 9]])
    logits, guess, _ = backbone.decode(embeddings, boxes)
    for index in range(3):
        sparse, dense = backbone.sam.prompt_encoder(points=None, boxes=boxes[index : index + 1], masks=None)
        positions = backbone.sam.prompt_encoder.get_dense_pe()
        own = embeddings[index : index + 1]
        expected, expected_guess = backbone.sam.mask_decoder(own, positions, sparse, dense, multimask_output=False)
        torch.testing.assert_close(logits[index], expected[0], rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(guess[index], expected_guess[0], rtol=1e-4, atol=1e-4)
        three, *_ = decode_prompts(backbone.sam.mask_decoder, own, positions, sparse, dense, masks=slice(1, None))
        expected, _ = backbone.sam.mask_decoder(own, positions, sparse, dense, multimask_output=True)
        torch.testing.assert_close(three, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("count", [1, 3])
def test_points_are_answered_as_sam_answers_them(small_vit, count):
    """SAM takes points as indices of pixels; of its three masks the one with the best guess counts."""
    generator = torch.Generator().manual_seed(0)
    embeddings = torch.randn(2, 32, 8, 8, generator=generator)
    pixels = torch.randint(0, 64, (2, count, 2), generator=generator)
    encoder, decoder = small_vit.sam.prompt_encoder, small_vit.sam.mask_decoder
    three = small_vit.decode(embeddings, pixels + 0.5, masks=slice(1, None))
    chosen = small_vit.decode(embeddings, pixels + 0.5)
    for index in range(2):
        sparse, dense = encoder(points=(pixels[index : index + 1], torch.ones(1, count)), boxes=None, masks=None)
        own = embeddings[index : index + 1]
        masks, guess = decoder(own, encoder.get_dense_pe(), sparse, dense, multimask_output=True)
        torch.testing.assert_close(three.logits[index], masks[0], rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(three.guess[index], guess[0], rtol=1e-4, atol=1e-4)
        assert torch.equal(chosen.logits[index, 0], three.logits[index, guess[0].argmax()])
        assert chosen.guess[index].tolist() == [three.guess[index].max().item()]


def test_a_trainable_copy_shares_the_encoder_and_owns_the_decoder():
    backbone = load_backbone()
    copy = backbone.trainable_copy()
    shared = dict(backbone.encoder.named_parameters())
    assert all(parameter is shared[name] for name, parameter in copy.encoder.named_parameters())
    own = {id(parameter) for parameter in backbone.sam.mask_decoder.parameters()}
    assert not own & {id(parameter) for parameter in copy.sam.mask_decoder.parameters()}


def test_the_fingerprint_follows_the_weights():
    assert load_backbone().fingerprint == load_backbone("sam-nano").fingerprint
    assert len(load_backbone().fingerprint) == 16


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("sam-mega", "known are sam-nano, sam-vit-b"),
        ("sam-vit-b:/nowhere.pth", "no SAM checkpoint at /nowhere.pth"),
        ("sam-nano:/nowhere.safetensors", "no sam-nano weights"),
    ],
)
def test_a_missing_backbone_says_what_to_do(name, message):
    with pytest.raises(BackboneError, match=message):
        load_backbone(name)


def test_an_official_checkpoint_loads_from_its_own_format(tmp_path, monkeypatch):
    """vit_b is 375 MB, so a small model in the same layout stands in its place in segment_anything's registry."""
    from qttseg.pipelines.sam_modules import sam_registry

    small = NanoArchitecture(resolution=64, patch=16, width=32, heads=2, depth=1, global_blocks=(0,))
    monkeypatch.setitem(sam_registry(), "vit_b", lambda: nano_sam(small))
    torch.save(nano_sam(small, seed=5).state_dict(), tmp_path / "sam_vit_b.pth")
    backbone = load_backbone(f"sam-vit-b:{tmp_path}/sam_vit_b.pth")
    assert backbone.resolution == 64
    assert backbone.encode(torch.zeros(1, 3, 64, 64)).shape == (1, 96, 4, 4)
    (tmp_path / "broken.pth").write_bytes(b"not a checkpoint")
    with pytest.raises(BackboneError, match="no checkpoint that torch can read"):
        load_backbone(f"sam-vit-b:{tmp_path}/broken.pth")
    torch.save({"not": torch.zeros(1)}, tmp_path / "other.pth")
    with pytest.raises(BackboneError, match="do not fit"):
        load_backbone(f"sam-vit-b:{tmp_path}/other.pth")
