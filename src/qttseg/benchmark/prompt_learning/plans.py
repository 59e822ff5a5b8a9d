"""Which trainings and questions each study of prompt learning consists of."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations, product
from typing import cast, get_args

from qttseg.benchmark.prompt_learning.rows import METHODS, Prompt
from qttseg.errors import BenchmarkError
from qttseg.metadata.configurations import Configuration, Value

UNTRAINED = ("sam", "oracle")
"""Methods that are not trained."""

_COMMON: Mapping[str, Value] = {
    "lr": 1e-3, "weight_decay": 1e-5, "sched": "cosine", "loss": "focal+dice+iou",
    "horizontal_flip": 1, "vertical_flip": 0, "random_rotate": 0,
}  # fmt: skip
_PLM: Mapping[str, Value] = {**_COMMON, "adapter": "plm", "plm_depth": 1}
_PMM: Mapping[str, Value] = {"adapter": "plm+pmm", "pmm_weight": 0.1, "pmm_points": 64}
_CLASS: Mapping[str, Value] = {"plm_dense": 5, "plm_class": 1}
_COMPARE: Mapping[str, Value] = {**_CLASS, "plm_compare": 1}
_RICH: Mapping[str, Value] = {"loss": "focal+dice+iou+map", "random_affine": 1, "color_jitter": 1}
_LORA: Mapping[str, Value] = {**_COMMON, "adapter": "lora", "lora_rank": 16, "lora_dropout": 0.0}
CONFIGURATIONS: Mapping[str, Configuration] = {
    "sam-f": Configuration({**_COMMON, "adapter": "decoder"}),
    "lora": Configuration(_LORA),
    "plm": Configuration(_PLM),
    "plm+pmm": Configuration({**_PLM, **_PMM}),
    "plm-dense": Configuration({**_PLM, "plm_dense": 1}),
    "plm-dense+pmm": Configuration({**_PLM, **_PMM, "plm_dense": 1}),
    "plm-class": Configuration({**_PLM, **_CLASS, "lr": 3e-3}),
    "plm-class+pmm": Configuration({**_PLM, **_PMM, **_CLASS, "lr": 3e-3}),
    "lora+plm-class": Configuration({**_LORA, **_PLM, **_CLASS, "adapter": "lora+plm"}),
    "sam-f-rich": Configuration({**_COMMON, **_RICH, "adapter": "decoder"}),
    "plm-class-rich": Configuration({**_PLM, **_CLASS, **_RICH, "lr": 3e-3}),
    "plm-class-rich+pmm": Configuration({**_PLM, **_PMM, **_CLASS, **_RICH, "lr": 3e-3}),
    "lora+plm-class-rich": Configuration({**_LORA, **_PLM, **_CLASS, **_RICH, "adapter": "lora+plm", "lr": 2e-3}),
    "plm-compare-rich": Configuration({**_PLM, **_COMPARE, **_RICH, "lr": 3e-3}),
    "plm-compare-rich+pmm": Configuration({**_PLM, **_PMM, **_COMPARE, **_RICH, "lr": 3e-3}),
    "lora+plm-compare-rich": Configuration({**_LORA, **_PLM, **_COMPARE, **_RICH, "adapter": "lora+plm", "lr": 2e-3}),
}
"""How each method is trained: alike, but for what is trained, and for three times the learning rate of class PLM alone."""

SHARES = (0.1, 0.25, 0.5, 1.0)
"""Amounts of data that are compared."""

NOISES = (0.0, 0.05, 0.1, 0.2)
"""By up to which shares of its size each side of a box is moved."""


@dataclass(frozen=True, kw_only=True)
class Training:
    """A model of a method.

    Attributes:
        method: One of `METHODS`.
        source: Name or folder of the dataset it is trained on.
        images: Training images; 0 for methods that are not trained.
        seed: Draw of these images, and of all else that training draws.
        prompt: How it is prompted while it is trained.
    """

    method: str
    source: str
    images: int
    seed: int
    prompt: Prompt


@dataclass(frozen=True, kw_only=True)
class Question:
    """How a model is asked: see `rows.Trial`."""

    task: str
    prompt: Prompt
    noise: float = 0.0
    draw: int = 0


Plan = Mapping[Training, Sequence[Question]]


def planned(
    study: str,
    tasks: Sequence[str],
    *,
    methods: Sequence[str],
    prompts: Sequence[str],
    images: int,
    seeds: int,
    draws: int,
) -> Plan:
    """Return the plan of the study `compare`, `amounts`, `sensitivity` or `transfer`; arguments as theirs.

    Raises:
        BenchmarkError: the study, a method or a kind of prompt is unknown, or there are too few tasks.
    """
    unknown = sorted(set(prompts) - set(get_args(Prompt)))
    if unknown or not prompts:
        raise BenchmarkError(f"unknown prompt {', '.join(unknown)!r}; known are {', '.join(get_args(Prompt))}")
    kinds = cast("Sequence[Prompt]", prompts)
    if study == "sensitivity":
        return sensitivity(tasks, methods=methods, prompts=kinds, images=images, seeds=seeds, draws=draws)
    studies = {"compare": compared, "amounts": amounts, "transfer": transfer}
    if study not in studies:
        raise BenchmarkError(f"unknown study {study!r}; known are {', '.join([*studies, 'sensitivity'])}")
    return studies[study](tasks, methods=methods, prompts=kinds, images=images, seeds=seeds)


def compared(
    tasks: Sequence[str], *, methods: Sequence[str], prompts: Sequence[Prompt], images: int, seeds: int
) -> Plan:
    """Return the comparison of methods on each task: trained and asked with the same kind of prompt."""
    return {
        training: (Question(task=training.source, prompt=training.prompt, draw=training.seed),)
        for training in _trainings(tasks, methods, prompts, (images,), seeds)
    }


def amounts(
    tasks: Sequence[str], *, methods: Sequence[str], prompts: Sequence[Prompt], images: int, seeds: int
) -> Plan:
    """Return the comparison again, on growing shares of the training images."""
    counts = tuple(sorted({max(1, round(share * images)) for share in SHARES}))
    return {
        training: (Question(task=training.source, prompt=training.prompt, draw=training.seed),)
        for training in _trainings(tasks, methods, prompts, counts, seeds)
    }


def sensitivity(
    tasks: Sequence[str], *, methods: Sequence[str], prompts: Sequence[Prompt], images: int, seeds: int, draws: int
) -> Plan:
    """Return questions about many draws of prompts: points anywhere in the mask, boxes moved by shares of their size."""
    return {
        training: tuple(
            Question(task=training.source, prompt=training.prompt, noise=noise, draw=draw)
            for noise in (NOISES if training.prompt == "box" else (0.0,))
            for draw in range(draws)
        )
        for training in _trainings(tasks, methods, prompts, (images,), seeds)
    }


def transfer(
    tasks: Sequence[str], *, methods: Sequence[str], prompts: Sequence[Prompt], images: int, seeds: int
) -> Plan:
    """Return trainings on each task that are asked about every task, their own among them.

    Raises:
        BenchmarkError: there is only one task.
    """
    if len(tasks) < 2:
        raise BenchmarkError("transfer goes from one task to another; name at least two that have the same classes")
    siblings = {source: [other for one, other in permutations(tasks, 2) if one == source] for source in tasks}
    return {
        training: tuple(
            Question(task=task, prompt=training.prompt, draw=training.seed)
            for task in (training.source, *(siblings[training.source] if training.images else ()))
        )
        for training in _trainings(tasks, methods, prompts, (images,), seeds)
    }


def _trainings(
    tasks: Sequence[str], methods: Sequence[str], prompts: Sequence[Prompt], counts: Sequence[int], seeds: int
) -> Iterator[Training]:
    unknown = [method for method in methods if method not in METHODS]
    if unknown:
        raise BenchmarkError(f"unknown method {', '.join(unknown)}; known are {', '.join(METHODS)}")
    for task, method, prompt, count, seed in product(tasks, methods, prompts, counts, range(seeds)):
        if method not in UNTRAINED:
            yield Training(method=method, source=task, images=count, seed=seed, prompt=prompt)
        elif count == counts[0]:
            yield Training(method=method, source=task, images=0, seed=seed, prompt=prompt)
