"""Predictors on disk: one safetensors file and one JSON file in a folder, never pickle."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from qttseg.errors import PredictorError

_TENSORS, _DOCUMENT = "tensors.safetensors", "predictor.json"
_VERSION = 3
"""1 continued curves with another kernel, 2 without a forest."""


def save_parts(folder: Path, *, kind: str, tensors: Mapping[str, Tensor], document: Mapping[str, object]) -> None:
    """Write a predictor's tensors and everything else about it to `folder`, which is made if need be."""
    folder.mkdir(parents=True, exist_ok=True)
    save_file(dict(tensors), folder / _TENSORS)
    text = json.dumps({"kind": kind, "version": _VERSION, **document}, indent=2, sort_keys=True)
    (folder / _DOCUMENT).write_text(text + "\n", encoding="utf-8")


def tensors_of(part: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return those tensors whose names begin with `part` and a dot, without these."""
    return {name.removeprefix(f"{part}."): t for name, t in tensors.items() if name.startswith(f"{part}.")}


def load_parts(folder: Path, *, kind: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return what `save_parts` wrote to `folder`.

    Raises:
        PredictorError: there is no predictor of this kind and version, or a file is damaged.
    """
    try:
        document = json.loads((folder / _DOCUMENT).read_text(encoding="utf-8"))
        tensors = load_file(folder / _TENSORS)
    except FileNotFoundError as error:
        raise PredictorError(f"no predictor in {folder}: {error.filename or _TENSORS} is missing") from error
    except (OSError, ValueError, SafetensorError) as error:
        raise PredictorError(f"the predictor in {folder} is damaged: {error}") from error
    found = (document.get("kind"), document.get("version"))
    if found != (kind, _VERSION):
        raise PredictorError(
            f"{folder} holds {found[0]} version {found[1]}; expected {kind} version {_VERSION}. Train it again with qttseg train"
        )
    return tensors, document
