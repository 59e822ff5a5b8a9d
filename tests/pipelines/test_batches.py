import pytest
import torch

from qttseg.metadata.configurations import Configuration
from qttseg.metadata.protocol import Protocol
from qttseg.pipelines.batches import draw_batch
from qttseg.pipelines.prompts import mask_boxes
from qttseg.pipelines.workbench import Workbench


@pytest.fixture
def drawn(discs, small_vit, decoder_only):
    def draw(prompt, points=1, **changes):
        protocol = Protocol(images=6, validation_share=0.34, test_images=1, prompt=prompt, points=points)
        bench = Workbench.prepare(discs(3), protocol, small_vit, seed=0)
        still = Configuration({**decoder_only, "horizontal_flip": 0, **changes})
        return draw_batch(bench, still, [0, 1, 2], torch.Generator().manual_seed(0)).prompts

    return draw


def test_a_configurations_noise_takes_the_place_of_the_protocols(drawn):
    usual, none, much = drawn("box"), drawn("box", prompt_noise=0), drawn("box", prompt_noise=100)
    true = mask_boxes(usual.targets > 0)
    assert torch.equal(none.where, true)
    moved = [(prompts.where - true).abs() for prompts in (usual, much)]
    assert 0 < moved[0].max() <= 19 * 64 / 1024
    assert moved[0].max() < moved[1].max() <= 100 * 64 / 1024


def test_points_have_noise_only_where_a_configuration_asks_for_it(drawn):
    usual, noisy = drawn("point", points=2), drawn("point", points=2, prompt_noise=50)
    assert usual.where.shape == (6, 2, 2)
    rows, columns = usual.where[..., 1].long(), usual.where[..., 0].long()
    assert (usual.targets[torch.arange(6)[:, None], rows, columns] == 1).all()
    assert 0 < (noisy.where - usual.where).abs().max() <= 50 * 64 / 1024
