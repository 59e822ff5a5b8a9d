"""Backbones by name: the embedded one, one's own, official checkpoints, SAM 2.1, plug-ins."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from importlib.metadata import entry_points
from pathlib import Path

import torch
from torch import Tensor, nn

from qttseg.errors import BackboneError
from qttseg.metadata.caching import cache_folder
from qttseg.pipelines.backbones import Backbone, backbone_of
from qttseg.pipelines.checkpoints import OFFICIAL, fetch
from qttseg.pipelines.nano import NANO, architecture_of, nano_sam, packaged_weights


def load_backbone(name: str = "sam-nano", *, device: str = "cpu") -> Backbone:
    """Return the backbone of this name; one instance for each name and device in a process.

    Names are `sam-nano` (embedded), `sam-nano:PATH` (your own pre-trained nano weights), `sam-vit-b`, `sam-vit-l` and
    `sam-vit-h` (official checkpoints, downloaded once, or `sam-vit-b:PATH` on disk), `sam2:FOLDER` (SAM 2 or 2.1 in
    Hugging Face's layout) and those of the `qttseg.backbones` entry points.

    Raises:
        BackboneError: the name is unknown, or the weights are missing or do not fit.
    """
    return _load(name, device)


@lru_cache(maxsize=4)
def _load(name: str, device: str) -> Backbone:
    kind, _, path = name.partition(":")
    builders = _builders()
    if kind not in builders:
        raise BackboneError(f"unknown backbone {kind!r}; known are {', '.join(sorted(builders))}")
    if kind == "sam2":
        from qttseg.pipelines.sam2 import Sam2Backbone

        return backbone_of(name, builders[kind](path).to(device), Sam2Backbone)
    return backbone_of(name, builders[kind](path).to(device))


def fetch_official(name: str, on_progress: Callable[[int, int], None]) -> Path:
    """Return the checkpoint file of `sam-vit-b`, `sam-vit-l` or `sam-vit-h`, downloaded if it is not there yet.

    Raises:
        BackboneError: the name is another one, or the file cannot be had.
    """
    size = name.removeprefix("sam-").replace("-", "_")
    if size not in OFFICIAL:
        raise BackboneError(f"{name} is no official checkpoint; there are sam-vit-b, sam-vit-l and sam-vit-h")
    return fetch(OFFICIAL[size], cache_folder(), on_progress=on_progress)


def _builders() -> dict[str, Callable[[str], nn.Module]]:
    official = {f"sam-vit-{size}": _official(f"vit_{size}") for size in "blh"}
    plugins = {point.name: point.load() for point in entry_points(group="qttseg.backbones")}
    return {"sam-nano": _nano, "sam2": _sam2, **official, **plugins}


def _nano(path: str) -> nn.Module:
    from safetensors import SafetensorError, safe_open

    file = Path(path) if path else packaged_weights()
    if not file.is_file():
        raise BackboneError(f"no sam-nano weights at {file}; make them with `qttseg backbone pretrain --out {file}`")
    try:
        with safe_open(file, framework="pt") as stream:
            metadata = stream.metadata() or {}
            weights = {name: stream.get_tensor(name).float() for name in stream.keys()}  # noqa: SIM118 (not a mapping)
    except SafetensorError as error:
        raise BackboneError(
            f"{file} is no safetensors file ({error}); make it with `qttseg backbone pretrain`"
        ) from error
    sam = nano_sam(architecture_of(metadata) if "architecture" in metadata else NANO)
    _load_weights(sam, weights, file)
    return sam


def _official(size: str) -> Callable[[str], nn.Module]:
    def build(path: str) -> nn.Module:
        file = Path(path) if path else fetch(OFFICIAL[size], cache_folder())
        if not file.is_file():
            raise BackboneError(
                f"no SAM checkpoint at {file}; leave the path out to download {OFFICIAL[size].url}, or name it as "
                f"sam-{size.replace('_', '-')}:PATH"
            )
        from qttseg.pipelines.sam_modules import sam_registry

        sam: nn.Module = sam_registry()[size]()
        _load_weights(sam, _torch_weights(file), file)
        return sam

    return build


def _torch_weights(file: Path) -> Mapping[str, Tensor]:
    from pickle import UnpicklingError

    try:
        weights: Mapping[str, Tensor] = torch.load(file, map_location="cpu", weights_only=True)
    except (UnpicklingError, RuntimeError, EOFError) as error:
        raise BackboneError(f"{file} is no checkpoint that torch can read; download it again ({error})") from error
    return weights


def _sam2(path: str) -> nn.Module:
    from qttseg.pipelines.sam2 import load_sam2

    return load_sam2(Path(path))


def _load_weights(sam: nn.Module, weights: Mapping[str, Tensor], file: Path) -> None:
    try:
        sam.load_state_dict(weights)
    except RuntimeError as error:
        raise BackboneError(
            f"the weights in {file} do not fit the model: {str(error).splitlines()[-1].strip()}"
        ) from error
