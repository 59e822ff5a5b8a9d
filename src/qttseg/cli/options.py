"""Options that several commands share, and how their texts become values."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from qttseg.cli.console import err
from qttseg.errors import BudgetError, ConfigurationError

if TYPE_CHECKING:
    from qttseg.metadata.configurations import Value
    from qttseg.metadata.protocol import Protocol
    from qttseg.pipelines.execution import Execution

Store = Annotated[
    str,
    typer.Option(
        help="Learning-curve store: a folder, any URI of a file system, or `shipped` or `shipped:SPACE`, those in the package."
    ),
]
Results = Annotated[str, typer.Option(help="Result store: a folder or any URI of a file system.")]
Registry = Annotated[
    str | None, typer.Option(help="MLflow tracking URI of the predictor registry; SQLite in ~/.qttseg by default.")
]
Backbone = Annotated[
    str, typer.Option(help="Backbone: sam-nano, sam-vit-b (also -l, -h; or :CHECKPOINT), sam2:FOLDER.")
]
MicroBatch = Annotated[
    int | None, typer.Option(help="Most images at once in a training step; gradients add up. Less memory, same result.")
]
Checkpointing = Annotated[bool, typer.Option(help="Recompute encoder blocks on the way back: less memory, more time.")]
Compiled = Annotated[bool, typer.Option("--compile", help="Fuse the encoder with torch.compile; slow to start.")]
Embeddings = Annotated[
    Path | None, typer.Option("--embedding-cache", help="Folder in which embeddings outlive the process.")
]
Device = Annotated[str, typer.Option(help="Torch device: cpu, cuda, cuda:1.")]
Seed = Annotated[int, typer.Option(help="Seed of every random draw.")]
Images = Annotated[int | None, typer.Option(help="Images drawn for training and validation; 100 by default.")]
TestImages = Annotated[int | None, typer.Option(help="Most test images; 100 by default.")]
Epochs = Annotated[int | None, typer.Option(help="Epochs that a learning-rate schedule spans; 10 by default.")]
Prompt = Annotated[str | None, typer.Option(help="Prompt: box, whole-image or point; box by default.")]
Split = Annotated[
    str | None,
    typer.Option(
        help="How images are divided: grouped (by patient, video; the default), ungrouped, or paper (its 80/20 by seed 42)."
    ),
]
Datasets = Annotated[
    str, typer.Option(help="Suite (procedural13, paper13, a TOML file), folders:PATH, names or paths, by commas.")
]
Available = Annotated[bool, typer.Option("--available", help="Go on without members of a suite that are not here.")]
Out = Annotated[Path, typer.Option(help="Folder to write to.")]

STORE = "curves"
RESULTS = "results"


def protocol_of(
    *,
    images: int | None = None,
    test_images: int | None = None,
    epochs: int | None = None,
    prompt: str | None = None,
    split: str | None = None,
    base: Protocol | None = None,
) -> Protocol:
    """Return a protocol, by default the paper's, with what was asked for in its place.

    Raises:
        ConfigurationError: a value is out of its range.
    """
    from typing import get_args

    from qttseg.metadata.protocol import PAPER, PromptKind, Protocol

    if prompt is not None and prompt not in get_args(PromptKind):
        raise ConfigurationError(f"unknown prompt {prompt!r}; known are {', '.join(get_args(PromptKind))}")
    asked = {"images": images, "test_images": test_images, "epochs": epochs, "prompt": prompt, "split": split}
    return Protocol.from_dict(
        {**(base or PAPER).to_dict(), **{name: value for name, value in asked.items() if value is not None}}
    )


def suite_of(text: str, *, available: bool) -> tuple[str, ...]:
    """Return the datasets of a suite; where `available` is said, those that are here, with a word on the others.

    Raises:
        DatasetError: a part names nothing, members are not here, or none is.
    """
    from qttseg.metadata.suites import open_suite, resolve_suite

    if not available:
        return resolve_suite(text)
    suite = open_suite(text)
    if not suite.members:
        return resolve_suite(text)  # says how to get them
    for name, way in suite.missing.items():
        err.print(f"[yellow]without {name}:[/] {way}", highlight=False, soft_wrap=True)
    return suite.members


def execution_of(*, micro_batch: int | None, checkpointing: bool, compiled: bool) -> Execution:
    """Return how training steps are to be carried out.

    Raises:
        ConfigurationError: the micro-batch is not positive.
    """
    from qttseg.pipelines.execution import Execution

    return Execution(micro_batch=micro_batch, checkpointing=checkpointing, compiled=compiled)


def seconds_of(text: str) -> float:
    """Return the seconds of a duration such as `60`, `60s`, `1.5m` or `2h`.

    Raises:
        BudgetError: the text is no positive duration.
    """
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(s|sec|m|min|h)?\s*", text)
    if found is None or float(found[1]) == 0:
        raise BudgetError(f"{text!r} is not a duration; write 60s, 2m or 1h")
    return float(found[1]) * {"m": 60, "h": 3600}.get((found[2] or "s")[0], 1)


def listed(text: str) -> tuple[str, ...]:
    """Return the parts of a comma-separated text."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


def rules_of(texts: Sequence[str]) -> dict[str, str]:
    """Return the rules of texts such as `images=photos`.

    Raises:
        ConfigurationError: a text has no equals sign.
    """
    return _pairs(texts, option="--rule", form="KEY=VALUE", example="images=photos")


def values_of(texts: Sequence[str]) -> dict[str, Value]:
    """Return the values of parameters of texts such as `adapter=lora+plm` or `lora=0`.

    Raises:
        ConfigurationError: a text has no equals sign.
    """
    pairs = _pairs(texts, option="--where", form="NAME=VALUE", example="adapter=plm")
    return {name: _value(text) for name, text in pairs.items()}


def _value(text: str) -> Value:
    try:
        found = json.loads(text)
    except json.JSONDecodeError:
        return text
    return found if isinstance(found, int | float) else text


def _pairs(texts: Sequence[str], *, option: str, form: str, example: str) -> dict[str, str]:
    pairs = [text.partition("=") for text in texts]
    wrong = [key for key, equals, _ in pairs if not equals or not key]
    if wrong:
        raise ConfigurationError(f"{option} {wrong[0]} must have the form {form}, as in {example}")
    return {key.strip(): value for key, _, value in pairs}
