"""What is decided before a pre-training starts."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class PretrainingRecipe:
    """Everything that decides the weights, so that anyone can make them again.

    Attributes:
        steps: Optimisation steps of all, `finishing` included.
        batch: Images of a step.
        objects: Objects drawn in an image.
        prompts: Objects of an image that are prompted for.
        learning_rate: Peak learning rate; Muon moves the matrices of the transformers, AdamW all else.
        warm_up: Steps of linear warm-up.
        rehearsal: First steps, in which the decoder learns on noise alone to fill the box it is given. Without them
            the whole model predicts nothing for thousands of steps before it finds out what a prompt is.
        coarse: Steps after that on images of half the side, which cost a quarter.
        encoder_rate: Share of the learning rate that the image encoder gets.
        encoder_warm_up: Steps of linear warm-up of the image encoder after the rehearsal.
        decay_from: Share of the steps before the finish after which the learning rate falls linearly to zero.
        weight_decay: Weight decay.
        average: Decay of the exponential moving average that is shipped.
        grouping: Weight of the encoder's auxiliary loss, which asks which pixels belong together.
        point_share: Share of steps prompted by one to three points in the object, trained on three masks; the rest by
            boxes.
        nearby: Focal loss counts within the object's box grown by this share of its size, Dice everywhere.
        focal: Weight of the focal loss beside Dice.
        sharpening: Last steps before the finish, in which that weight is `late_focal`: the focal loss leaves doubtful
            pixels near one half, where a mask cut at one half loses them; Dice asks for the mask that overlaps best.
        late_focal: Weight of the focal loss in those steps.
        finishing: Last steps of all. They start from the moving average with fresh optimisers and ask almost for overlap
            alone: masks stay too small as long as the focal loss has a say.
        finishing_rate: Peak learning rate of the finish; it falls to zero.
        finishing_focal: Weight of the focal loss in the finish; the grouping loss has none.
        finishing_average: Decay of the moving average in the finish.
        box_noise: Most pixels of the square by which each side of a box moves outward; the protocol's.
        seed: Seed of weights and images.
    """

    steps: int = 7500
    batch: int = 16
    objects: int = 3
    prompts: int = 2
    learning_rate: float = 2e-3
    warm_up: int = 50
    rehearsal: int = 100
    coarse: int = 3500
    encoder_rate: float = 0.5
    encoder_warm_up: int = 300
    decay_from: float = 0.5
    weight_decay: float = 0.01
    average: float = 0.998
    grouping: float = 0.5
    point_share: float = 0.15
    nearby: float = 0.2
    focal: float = 5.0
    sharpening: int = 3300
    late_focal: float = 1.0
    finishing: int = 600
    finishing_rate: float = 6e-4
    finishing_focal: float = 0.2
    finishing_average: float = 0.99
    box_noise: float = 5.0
    seed: int = 0

    @property
    def main_steps(self) -> int:
        """Steps before the finish."""
        return self.steps - self.finishing
