"""What a configuration trains of a model, by name; the modules themselves are made in `pipelines.adapters`."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass

from qttseg.errors import ConfigurationError
from qttseg.metadata.configurations import Configuration, Value


@dataclass(frozen=True, kw_only=True)
class Adapter:
    """Which parts are trained or added.

    Attributes:
        name: As in configurations and saved models.
        words: What is fine-tuned, for people.
        decoder: The mask decoder and the prompt encoder are trained.
        lora: LoRA is added to the image encoder.
        learner: A prompt learner is added before the decoder (arXiv 2403.09199, section 4.1).
        matcher: Points of outlines are matched in training (section 4.2).
        whole: All of the image encoder is trained.
    """

    name: str
    words: str
    decoder: bool = True
    lora: bool = False
    learner: bool = False
    matcher: bool = False
    whole: bool = False

    @property
    def trains_encoder(self) -> bool:
        """Whether embeddings change while training, so that none can be kept."""
        return self.lora or self.whole


ADAPTERS: Mapping[str, Adapter] = {
    adapter.name: adapter
    for adapter in (
        Adapter(name="decoder", words="mask decoder and prompt encoder"),
        Adapter(name="lora", lora=True, words="mask decoder, prompt encoder and, through LoRA, the image encoder"),
        Adapter(name="full", whole=True, words="mask decoder, prompt encoder and image encoder"),
        Adapter(name="plm", decoder=False, learner=True, words="prompts, through a prompt learner,"),
        Adapter(
            name="plm+pmm",
            decoder=False,
            learner=True,
            matcher=True,
            words="prompts, through a prompt learner that matched outlines point by point,",
        ),
        Adapter(
            name="lora+plm",
            lora=True,
            learner=True,
            words="mask decoder, prompt encoder, prompts through a prompt learner and, through LoRA, the image encoder",
        ),
    )
}


EXTENDED_ADAPTERS = ("decoder", "lora", "plm", "plm+pmm", "lora+plm")
"""What the search space `extended` chooses from; another choice is another version of it."""


def adapter_of(configuration: Mapping[str, Value]) -> Adapter:
    """Return what `configuration` trains: its `adapter`, or what the `lora` and `full` of the paper's space say.

    Raises:
        ConfigurationError: no adapter has that name.
    """
    older = "full" if configuration.get("full") else "lora" if configuration.get("lora") else "decoder"
    name = str(configuration.get("adapter", older))
    if name not in ADAPTERS:
        raise ConfigurationError(f"unknown adapter {name!r}; known are {', '.join(ADAPTERS)}")
    return ADAPTERS[name]


_SHAPES = ("loss", "plm_depth", "plm_dense", "plm_class", "plm_compare", "pmm_points")

STRUCTURE = ("adapter", "lora", "full", *_SHAPES)
"""Parameters that decide modules, loss and shapes."""


def structure_of(configuration: Mapping[str, Value]) -> Hashable:
    """Return what configurations share that can be trained in one pack: the same modules, loss and shapes."""
    return (adapter_of(configuration).name, *(configuration.get(part) for part in _SHAPES))


def as_extended(configuration: Configuration, *, prompt_noise: int) -> Configuration:
    """Return the point of the space `extended` that trains what a point of the paper's space does.

    Args:
        configuration: The point.
        prompt_noise: The protocol's, which in the other space is the configuration's.
    """
    shared = {name: value for name, value in configuration.items() if name != "lora"}
    adapter = adapter_of(configuration).name
    point = {**shared, "adapter": adapter, "loss": "bce+dice", "prompt_noise": prompt_noise}
    return as_plainly_seen(Configuration(point))


def as_plainly_seen(configuration: Configuration) -> Configuration:
    """Return the point of the space `extended` that trains what a point of its third version does.

    There images were neither moved nor tinted; here that is a choice.
    """
    return Configuration({**configuration, "random_affine": 0, "color_jitter": 0})
