"""Forms of SAM's attention with relative positions, timed on the shapes of vit_b at 1024 px: which one is quickest where.

python benches/attention.py                    # float32 on the CPU
python benches/attention.py --device cuda      # bfloat16 on a GPU
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import torch
from rich.console import Console
from rich.table import Table
from torch import nn

from qttseg.pipelines.attention import use_fused_attention
from qttseg.pipelines.running import describe_machine
from qttseg.pipelines.sam_modules import sam_modeling

WIDTH, HEADS = 768, 12
SHAPES = {
    "window 14 × 14, 25 of them": (25, 14),
    "window 8 × 8, 64 of them": (64, 8),
    "image 32 × 32": (1, 32),
    "image 64 × 64": (1, 64),
}
FORMS = ("explicit", "mask", "folded")


def main() -> None:
    """Time each form on each shape and print milliseconds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    device = torch.device(arguments.device)
    table = Table(
        "tokens", "form", "forward", "and backward", title=f"{describe_machine(device)}: ms, one image of vit_b"
    )
    for name, (windows, side) in SHAPES.items():
        for form in FORMS:
            layer, x = _layer(form, side).to(device), torch.randn(windows, side, side, WIDTH, device=device)
            forward, both = _times(layer, x, arguments.repeats)
            table.add_row(name, form, f"{forward * 1e3:.1f}", f"{both * 1e3:.1f}")
            print(name, form, f"{forward * 1e3:.1f} {both * 1e3:.1f}", flush=True)
    Console(width=100).print(table)


def _layer(form: str, side: int) -> nn.Module:
    layer: nn.Module = sam_modeling().image_encoder.Attention(
        WIDTH, num_heads=HEADS, use_rel_pos=True, input_size=(side, side)
    )
    if form != "explicit":
        use_fused_attention(layer, form)  # type: ignore[arg-type]
    return layer


def _times(layer: nn.Module, x: torch.Tensor, repeats: int) -> tuple[float, float]:
    """Return the least seconds of a forward pass and of a forward and backward pass."""
    cuda = x.device.type == "cuda"

    def forward() -> torch.Tensor:
        with torch.autocast(x.device.type, torch.bfloat16, enabled=cuda):
            out: torch.Tensor = layer(x)
        return out

    def alone() -> None:
        with torch.no_grad():
            forward()

    def both() -> None:
        forward().float().square().mean().backward()

    return _least(alone, repeats, cuda=cuda), _least(both, repeats, cuda=cuda)


def _least(work: Callable[[], None], repeats: int, *, cuda: bool) -> float:
    seconds = []
    for _ in range(repeats + 1):
        started = time.perf_counter()
        work()
        if cuda:
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - started)
    return min(seconds[1:])


if __name__ == "__main__":
    main()
