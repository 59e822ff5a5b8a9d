"""The one door to `segment_anything` and `transformers`, which import torchvision, which wants its compiled operators.

Beside a CPU build of torch, the registry's torchvision cannot load its compiled library and then fails to import with
`operator torchvision::nms does not exist`. SAM uses none of those operators, so declaring the two that torchvision's
own import looks at is enough. They are declared only where the compiled library does not load.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

import torch

_SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)


@cache
def sam_modeling() -> ModuleType:
    """Return `segment_anything.modeling`, importable beside a CPU-only torch too."""
    _declare_missing_operators()
    import segment_anything.modeling as modeling

    return modeling  # type: ignore[no-any-return]


@cache
def _declare_missing_operators() -> torch.library.Library | None:
    """Declare torchvision's operators where its compiled library is absent or does not load; the result keeps them."""
    spec = find_spec("torchvision")
    folder = Path(spec.origin).parent if spec is not None and spec.origin else Path()
    for compiled in folder.glob("_C*.so"):
        try:
            torch.ops.load_library(compiled)
        except OSError:
            continue
        return None
    library = torch.library.Library("torchvision", "FRAGMENT")
    for schema in _SCHEMAS:
        library.define(schema)
    return library


@cache
def transformers() -> ModuleType:
    """Return `transformers`, its SAM classes importable beside a CPU-only torch too."""
    _declare_missing_operators()
    import transformers

    return transformers


def sam_registry() -> dict[str, Callable[..., torch.nn.Module]]:
    """Return segment_anything's builders of the official models, by `vit_b`, `vit_l` and `vit_h`."""
    sam_modeling()
    from segment_anything import sam_model_registry

    return sam_model_registry  # type: ignore[no-any-return]
