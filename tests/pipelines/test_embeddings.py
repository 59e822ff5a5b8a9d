from dataclasses import replace

import pytest
import torch

from qttseg.errors import BackboneError
from qttseg.pipelines.backbones import backbone_of
from qttseg.pipelines.embeddings import EmbeddingCache
from qttseg.pipelines.nano import NanoArchitecture, nano_sam
from qttseg.pipelines.views import Views

SMALL = NanoArchitecture(resolution=64, width=32, heads=2, depth=1, window=4, global_blocks=(0,), prompt_width=32)


@pytest.fixture
def backbone(monkeypatch):
    """A small backbone that counts the images it encodes."""
    backbone = backbone_of("small", nano_sam(SMALL))
    encode, counts = type(backbone).encode, []
    monkeypatch.setattr(type(backbone), "encode", lambda self, x: counts.append(len(x)) or encode(self, x))
    return backbone, counts


def images(count=3, seed=0):
    return torch.randint(256, (count, 3, 64, 64), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)


def views(flips, turns):
    inner = torch.full((len(turns), 2), SMALL.resolution)
    return replace(Views.plain(len(turns)), inner=inner, flips=torch.tensor(flips), turns=torch.tensor(turns))


def test_each_image_is_encoded_once_in_each_view(backbone):
    backbone, counts = backbone
    seen = views([[False, False], [True, False], [False, False]], [0.0, 0.2, 0.2])
    first = backbone.embed(images(), seen)
    again = backbone.embed(images(), seen)
    assert torch.equal(first, again)
    assert sum(counts) == 3
    backbone.embed(images())
    assert sum(counts) == 5, "the first image has been seen as it is before"


def test_a_view_embeds_the_same_alone_and_among_others(backbone):
    backbone, _ = backbone
    seen = views([[False, False], [False, True]], [0.0, 0.3])
    together = backbone.encode(backbone.normalise(images(2)))
    both = backbone.embed(images(2), seen)
    torch.testing.assert_close(both[0], together[0], rtol=1e-5, atol=1e-6)
    alone = backbone.embed(images(2)[1:], seen[1:])
    torch.testing.assert_close(both[1], alone[0], rtol=0, atol=0)


def test_an_adapted_encoder_is_never_answered_from_the_cache(backbone, with_lora):
    from qttseg.pipelines.adapters import adapt

    backbone, counts = backbone
    adapted = adapt(backbone, with_lora, seed=0)
    backbone.embed(images())
    for _ in range(2):
        adapted.embed(images())
    assert sum(counts) == 9


def test_memory_is_bounded_and_the_oldest_goes_first():
    cache = EmbeddingCache(fingerprint="f", device=torch.device("cpu"), bound=2 * 4 * 10)
    asked = []

    def encode(which):
        asked.extend(which)
        return torch.stack([torch.full((10,), float(index)) for index in which])

    for key in "abca":
        cache.embed([key], encode)
    assert len(asked) == 4, "c pushed a out"
    cache.embed(["c"], encode)
    assert len(asked) == 4


def test_a_folder_keeps_embeddings_for_other_processes(backbone, tmp_path):
    backbone, counts = backbone
    first = backbone.remembering(tmp_path).embed(images())
    assert torch.equal(backbone.remembering(tmp_path).embed(images()), first)
    assert sum(counts) == 3
    for file in (tmp_path / backbone.fingerprint).iterdir():
        file.write_bytes(b"torn")
    assert torch.equal(backbone.remembering(tmp_path).embed(images()), first)
    assert sum(counts) == 6, "damaged files are made again"
    assert torch.equal(backbone.remembering(tmp_path).embed(images()), first)
    assert sum(counts) == 6


def test_a_folder_that_cannot_be_written_is_named(backbone, tmp_path):
    backbone, _ = backbone
    (tmp_path / "file").touch()
    with pytest.raises(BackboneError, match=r"embedding cache cannot write .* leave the folder out"):
        backbone.remembering(tmp_path / "file").embed(images())
