"""A training batch: images as augmentation shows them, with the prompts of what is then seen of their labels."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Generator, Tensor

from qttseg.metadata.configurations import Configuration
from qttseg.pipelines.prompts import ClassPrompts, class_prompts
from qttseg.pipelines.views import Views, draw_views, view_labels
from qttseg.pipelines.workbench import Workbench


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Images of a training step with their views and prompts.

    Attributes:
        images: b × 3 × r × r, uint8, not yet seen as `views` shows them.
        keys: Their names in the backbone's cache.
        views: How each is seen.
        prompts: One for each class that is then seen of each image.
    """

    images: Tensor
    keys: list[str]
    views: Views
    prompts: ClassPrompts

    def pieces(self, most: int | None) -> list[slice]:
        """Return slices of at most `most` images that cover the batch."""
        count = len(self.keys)
        size = min(most or count, count)
        return [slice(start, min(start + size, count)) for start in range(0, count, size)]


def draw_batch(workbench: Workbench, configuration: Configuration, indices: list[int], generator: Generator) -> Batch:
    """Return the training images at `indices`, augmented as `configuration` says, views and prompts drawn anew.

    `prompt_noise` of the configuration, where it has one, takes the place of the protocol's, in training alone.
    """
    protocol, device = workbench.protocol, workbench.backbone.device
    noise = float(configuration.get("prompt_noise", 0 if protocol.prompt == "point" else protocol.prompt_noise))
    views = draw_views(workbench.inner[indices], configuration, generator=generator)
    prompts = class_prompts(
        view_labels(workbench.labels[indices].to(device), views),
        classes=len(workbench.dataset.classes),
        noise=noise * workbench.backbone.resolution / 1024,
        prompt=protocol.prompt,
        points=protocol.points,
        generator=generator,
    )
    keys = [workbench.keys[index] for index in indices]
    return Batch(images=workbench.images[indices], keys=keys, views=views, prompts=prompts)
