"""SAM 2 and 2.1 on single images, through transformers' classes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from qttseg.errors import BackboneError
from qttseg.pipelines.backbones import Backbone
from qttseg.pipelines.decoding import Decoded, in_cells
from qttseg.pipelines.sam_modules import transformers


@dataclass(frozen=True, kw_only=True)
class Sam2Backbone(Backbone):
    """A `transformers.Sam2Model`, its three levels of features carried in one embedding.

    The decoder adds two finer levels of features while it upscales. They travel as further channels of the coarse grid
    (each 2 × 2 or 4 × 4 cells of them as channels of one), so that an embedding is one tensor for every backbone.

    Images are padded to a square as for every backbone here; SAM 2's own processor stretches them instead.
    """

    lora_targets: tuple[str, ...] = ("qkv", "attn.proj", "proj_in", "proj_out")

    @property
    def resolution(self) -> int:
        """Side in pixels of the square that images are resized and padded to."""
        return int(self.sam.prompt_encoder.input_image_size)

    @property
    def width(self) -> int:
        """Channels of the coarse level of image embeddings and of prompt tokens."""
        return int(self.sam.prompt_encoder.hidden_size)

    @property
    def encoder(self) -> nn.Module:
        """The image encoder: Hiera and its feature pyramid."""
        return self.sam.vision_encoder  # type: ignore[no-any-return]

    @property
    def blocks(self) -> nn.ModuleList:
        """Hiera's blocks, in order."""
        return self.encoder.backbone.blocks  # type: ignore[union-attr, return-value]

    def encode(self, images: Tensor) -> Tensor:
        """Return the embeddings (b × (c + c + 2c) × g × g) of normalised images (b × 3 × r × r)."""
        with self.precision():
            maps = self.sam.get_image_features(images, return_dict=True).fpn_hidden_states
        fine, middle, coarse = (
            level.permute(1, 2, 0).unflatten(2, tuple(size)).float()
            for level, size in zip(maps, self.sam.backbone_feature_sizes, strict=True)
        )
        coarse = coarse + self.sam.no_memory_embedding.view(1, -1, 1, 1)
        return torch.cat([coarse, F.pixel_unshuffle(middle, 2), F.pixel_unshuffle(fine, 4)], dim=1)

    def decode_masks(self, embeddings: Tensor, prompts: Tensor, classes: Tensor | None, masks: slice) -> Decoded:
        """Return what the decoder says of these masks; see `Backbone.decode_masks`.

        For the single mask of a box the model in evaluation takes the best of the three where its first one is
        unstable, as SAM 2 does.
        """
        channels = self.sam.mask_decoder.hidden_size
        coarse, middle, fine = embeddings.split([channels, channels, 2 * channels], dim=1)
        positions = self.sam.get_image_wide_positional_embeddings()
        with self.precision(), _last_output(self.sam.mask_decoder.activation) as upscaled:
            sparse, dense = self.embed_prompts(prompts)
            tokens, dense = self.learnt(sparse[:, 0], dense, coarse, positions, prompts, classes)
            logits, guess, *_ = self.sam.mask_decoder(
                image_embeddings=coarse,
                image_positional_embeddings=positions.expand(len(prompts), -1, -1, -1),
                sparse_prompt_embeddings=tokens[:, None],
                dense_prompt_embeddings=dense,
                multimask_output=masks != slice(0, 1),
                high_resolution_features=[F.pixel_shuffle(fine, 4), F.pixel_shuffle(middle, 2)],
            )
        return Decoded(logits=logits[:, 0].float(), guess=guess[:, 0].float(), features=in_cells(upscaled[-1]))

    def embed_prompts(self, prompts: Tensor) -> tuple[Tensor, Tensor]:
        """Return the sparse (p × 1 × n × c) and dense (p × c × g × g) embeddings of boxes or points."""
        encoder = self.sam.prompt_encoder
        if prompts.dim() == 2:
            return encoder(  # type: ignore[no-any-return]
                input_points=None, input_labels=None, input_boxes=prompts[:, None], input_masks=None
            )
        points = prompts[:, None] - 0.5  # SAM's points are indices of pixels
        labels = torch.ones(points.shape[:3], dtype=torch.int64, device=points.device)
        return encoder(  # type: ignore[no-any-return]
            input_points=points, input_labels=labels, input_boxes=None, input_masks=None
        )


@contextmanager
def _last_output(module: nn.Module) -> Iterator[list[Tensor]]:
    """Return a list that holds, once `module` has run, what it returned last."""
    outputs: list[Tensor] = []

    def keep(_module: nn.Module, _inputs: object, output: Tensor) -> None:
        outputs[:] = [output]

    hook = module.register_forward_hook(keep)
    try:
        yield outputs
    finally:
        hook.remove()


def load_sam2(folder: Path) -> nn.Module:
    """Return the model in `folder` (config.json and model.safetensors, as `save_pretrained` writes them).

    Raises:
        BackboneError: the folder holds no SAM 2 model.
    """
    if not (folder / "config.json").is_file():
        raise BackboneError(
            f"no SAM 2 model in {folder} (no config.json); download one, as with `hf download facebook/sam2.1-hiera-tiny "
            f"--local-dir FOLDER`, and name it as sam2:FOLDER"
        )
    try:
        model: nn.Module = transformers().Sam2Model.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, RuntimeError) as error:
        raise BackboneError(f"the SAM 2 model in {folder} cannot be loaded: {error}") from error
    return model
