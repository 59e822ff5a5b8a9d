import pytest
import torch

from qttseg.errors import BackboneError
from qttseg.metadata.configurations import Configuration
from qttseg.metadata.protocol import Protocol
from qttseg.pipelines import sam_modules
from qttseg.pipelines.fine_tuning import FineTuning
from qttseg.pipelines.huggingface import export_huggingface
from qttseg.pipelines.loading import load_backbone
from qttseg.pipelines.packed_fine_tuning import PackedFineTuning
from qttseg.pipelines.workbench import Workbench

transformers = sam_modules.transformers()

SIDE = 128


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A small SAM 2.1 with random weights, as `save_pretrained` lays it out."""
    hiera = {
        "hidden_size": 16, "num_attention_heads": 1, "image_size": [SIDE, SIDE], "blocks_per_stage": [1, 1, 2, 1],
        "embed_dim_per_stage": [16, 32, 64, 128], "num_attention_heads_per_stage": [1, 2, 4, 8],
        "window_size_per_stage": [8, 4, 4, 4], "global_attention_blocks": [3], "model_type": "sam2_hiera_det_model",
    }  # fmt: skip
    config = transformers.Sam2Config(
        vision_config={
            "backbone_config": hiera,
            "backbone_channel_list": [128, 64, 32, 16],
            "backbone_feature_sizes": [[SIDE // 4, SIDE // 4], [SIDE // 8, SIDE // 8], [SIDE // 16, SIDE // 16]],
            "fpn_hidden_size": 32,
            "model_type": "sam2_vision_model",
        },
        prompt_encoder_config={"hidden_size": 32, "image_size": SIDE, "patch_size": 16},
        mask_decoder_config={"hidden_size": 32, "mlp_dim": 64, "num_attention_heads": 4, "iou_head_hidden_dim": 32},
    )
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("sam2")
    model = transformers.Sam2Model(config)
    for parameter in model.parameters():
        parameter.data += 0.05 * torch.randn(parameter.shape)
    model.save_pretrained(path)
    return path


def test_the_backbone_gives_the_logits_of_transformers(folder):
    backbone = load_backbone(f"sam2:{folder}")
    model = transformers.Sam2Model.from_pretrained(folder).eval()
    images = torch.randn(2, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(1))
    boxes = torch.tensor([[10.0, 20, 100, 90], [0, 0, 128, 128]])
    with torch.no_grad():
        embeddings = backbone.encode(images)
        for wanted, several in ((slice(0, 1), False), (slice(1, None), True)):
            logits, guess, _ = backbone.decode(embeddings, boxes, masks=wanted)
            theirs = model(pixel_values=images, input_boxes=boxes[:, None], multimask_output=several)
            torch.testing.assert_close(logits, theirs.pred_masks[:, 0], rtol=1e-4, atol=1e-4)
            torch.testing.assert_close(guess, theirs.iou_scores[:, 0], rtol=1e-4, atol=1e-4)


def test_points_are_answered_as_transformers_answers_them(folder):
    backbone = load_backbone(f"sam2:{folder}")
    model = transformers.Sam2Model.from_pretrained(folder).eval()
    images = torch.randn(2, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(1))
    points = torch.tensor([[[10.0, 20], [30, 40]], [[90, 9], [5, 70]]])
    with torch.no_grad():
        decoded = backbone.decode(backbone.encode(images), points + 0.5, masks=slice(1, None))
        labels = torch.ones(2, 1, 2, dtype=torch.int64)
        theirs = model(pixel_values=images, input_points=points[:, None], input_labels=labels, multimask_output=True)
    torch.testing.assert_close(decoded.logits, theirs.pred_masks[:, 0], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(decoded.guess, theirs.iou_scores[:, 0], rtol=1e-4, atol=1e-4)
    assert decoded.upscaled.shape == (2, 4, SIDE // 4, SIDE // 4)


@pytest.mark.parametrize(
    "own",
    [{"plm_dense": 1}, {"plm_dense": 5, "plm_class": 1}, {"plm_dense": 5, "plm_class": 1, "plm_compare": 1}],
    ids=["dense", "class", "comparing"],
)
def test_prompts_and_outlines_are_learnt_for_it_alone_and_in_packs(folder, own, discs):
    values = own | {"adapter": "plm+pmm", "plm_depth": 1, "pmm_points": 16, "weight_decay": 0.0, "sched": "cosine",
              "horizontal_flip": 1, "vertical_flip": 0, "random_rotate": 0, "lr": 1e-3}  # fmt: skip
    configurations = [Configuration({**values, "pmm_weight": weight}) for weight in (0.01, 0.1)]
    protocol = Protocol(images=8, validation_share=0.25, test_images=2, epochs=2, prompt="point")
    bench = Workbench.prepare(discs(2), protocol, load_backbone(f"sam2:{folder}"), seed=0)
    pack = PackedFineTuning(bench, configurations, seed=0)
    pack.train_epoch()
    for member in pack.members:
        expected = FineTuning(bench, member.configuration, seed=0).train_epoch()
        assert member.records[0].train_loss == pytest.approx(expected.train_loss, rel=2e-3)
        assert member.records[0].score == pytest.approx(expected.score, abs=1e-2)


@pytest.mark.parametrize("lora", [0, 1])
def test_it_is_fine_tuned_like_any_backbone(folder, lora, discs):
    values = {"lora": lora, "lr": 1e-3, "weight_decay": 0.0, "sched": "cosine", "horizontal_flip": 1,
              "vertical_flip": 0, "random_rotate": 0} | ({"lora_rank": 4, "lora_dropout": 0.0} if lora else {})  # fmt: skip
    backbone = load_backbone(f"sam2:{folder}")
    protocol = Protocol(images=8, validation_share=0.25, test_images=2, epochs=2)
    training = FineTuning(Workbench.prepare(discs(2), protocol, backbone, seed=0), Configuration(values), seed=0)
    before = training.state().tensors
    record = training.train_epoch()
    after = training.state().tensors
    moved = {name.split(".")[1] for name in before if not torch.equal(before[name], after[name])}
    assert 0 <= record.score <= 1
    assert moved == {"mask_decoder", "prompt_encoder"} | ({"vision_encoder"} if lora else set())


@pytest.mark.parametrize("lora", [0, 1])
def test_it_is_fine_tuned_in_packs(folder, lora, discs):
    values = {"lora": lora, "weight_decay": 0.0, "sched": "cosine", "horizontal_flip": 1, "vertical_flip": 0,
              "random_rotate": 0} | ({"lora_rank": 4, "lora_dropout": 0.0} if lora else {})  # fmt: skip
    configurations = [Configuration({**values, "lr": lr}) for lr in (1e-4, 1e-3)]
    protocol = Protocol(images=8, validation_share=0.25, test_images=2, epochs=2)
    bench = Workbench.prepare(discs(2), protocol, load_backbone(f"sam2:{folder}"), seed=0)
    pack = PackedFineTuning(bench, configurations, seed=0)
    pack.train_epoch()
    for member in pack.members:
        expected = FineTuning(bench, member.configuration, seed=0).train_epoch()
        assert member.records[0].train_loss == pytest.approx(expected.train_loss, rel=2e-3)
        assert member.records[0].score == pytest.approx(expected.score, abs=1e-2)


def test_it_is_not_exported_again(folder, tmp_path):
    with pytest.raises(BackboneError, match="in Hugging Face's format already"):
        export_huggingface(load_backbone(f"sam2:{folder}"), tmp_path)


def test_a_folder_without_a_model_is_named(tmp_path):
    with pytest.raises(BackboneError, match=r"no SAM 2 model in .*hf download"):
        load_backbone(f"sam2:{tmp_path}")
