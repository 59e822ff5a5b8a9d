"""Images a second of fine-tuning, against the published recipe in the same run; peak memory; what caching saves.

    python benches/finetune.py                              # sam-nano, two threads
    python benches/finetune.py --backbones vit_b --device cuda --images 32 --json finetune.json

The published recipe: batch 1, float32, SAM's own attention and decoder, every image encoded again in every epoch, and the model
built and read from disk again for each validation (that its encoder never gets a gradient is a fault, not a recipe: here
it does). Weights of vit_b are random: speed does not depend on them. Each measurement runs in a process of its own, so
that peak memory is its own.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from qttseg.metadata.configurations import Configuration, Value
from qttseg.metadata.datasets import resolve_dataset
from qttseg.metadata.protocol import Protocol
from qttseg.pipelines.backbones import Backbone, backbone_of
from qttseg.pipelines.decoding import Decoded, in_cells
from qttseg.pipelines.execution import Execution
from qttseg.pipelines.fine_tuning import FineTuning
from qttseg.pipelines.loading import load_backbone
from qttseg.pipelines.nano import NANO, nano_sam
from qttseg.pipelines.running import describe_machine
from qttseg.pipelines.sam_modules import sam_modeling, sam_registry
from qttseg.pipelines.workbench import Workbench

CONFIGURATION = {
    "lr": 5e-4, "weight_decay": 0.0, "sched": "cosine", "horizontal_flip": 1, "vertical_flip": 0, "random_rotate": 0,
}  # fmt: skip
ADAPTERS: dict[str, dict[str, Value]] = {
    "decoder": {"adapter": "decoder"},
    "lora": {"adapter": "lora", "lora_rank": 8, "lora_dropout": 0.0},
    "plm": {"adapter": "plm", "plm_depth": 1},
    "plm-dense": {"adapter": "plm", "plm_depth": 1, "plm_dense": 1},
    "plm-class": {"adapter": "plm", "plm_depth": 1, "plm_dense": 5, "plm_class": 1},
    "plm-compare": {"adapter": "plm", "plm_depth": 1, "plm_dense": 5, "plm_class": 1, "plm_compare": 1},
    "plm+pmm": {"adapter": "plm+pmm", "plm_depth": 1, "pmm_weight": 0.1, "pmm_points": 64},
}
RECIPES = ("published", "qttseg")


def main() -> None:
    """Measure each combination in a process of its own, print the table and keep the numbers."""
    arguments = _arguments()
    if arguments.one:
        print(json.dumps(_measure(*arguments.one, arguments)))
        return
    rows = []
    for backbone in arguments.backbones:
        for adapter in arguments.adapters:
            row = {recipe: _alone(backbone, adapter, recipe) for recipe in RECIPES}
            rows.append({"backbone": backbone, "adapter": adapter, **row})
            print(rows[-1], flush=True)
    machine = describe_machine(torch.device(arguments.device))
    _show(rows, machine)
    if arguments.json:
        arguments.json.write_text(json.dumps({"machine": machine, "rows": rows}, indent=1) + "\n")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbones", nargs="+", default=["nano"], choices=["nano", "vit_b", "vit_l", "vit_h"])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--images", type=int, default=40, help="training and validation images together")
    parser.add_argument("--epochs", type=int, default=10, help="the median of all but the first counts")
    parser.add_argument("--dataset", default="procedural-polyp")
    parser.add_argument("--prompt", default="box", choices=["box", "point"])
    parser.add_argument("--adapters", nargs="+", default=list(ADAPTERS), choices=list(ADAPTERS))
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--one", nargs=3, metavar=("BACKBONE", "ADAPTER", "RECIPE"), help=argparse.SUPPRESS)
    return parser.parse_args()


def _alone(backbone: str, adapter: str, recipe: str) -> dict[str, float]:
    command = [sys.executable, __file__, *sys.argv[1:], "--one", backbone, adapter, recipe]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    measured: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return measured


def _measure(backbone: str, adapter: str, recipe: str, arguments: argparse.Namespace) -> dict[str, float]:
    published = recipe == "published"
    dataset = resolve_dataset(arguments.dataset)
    protocol = Protocol(
        images=arguments.images, test_images=4, batch_size=1 if published else 4, prompt=arguments.prompt
    )
    base = _backbone(backbone, arguments.device)
    if published:
        base = _as_published(base)
    bench = Workbench.prepare(
        dataset, protocol, base, seed=0, execution=Execution(compiled=arguments.compile and not published)
    )
    training = FineTuning(bench, Configuration(CONFIGURATION | ADAPTERS[adapter]), seed=0)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.pth"
        torch.save(base.sam.state_dict(), file)
        epochs = [_epoch(training, backbone, file if published else None) for _ in range(arguments.epochs)]
    trained, validated = (float(np.median([epoch[part] for epoch in epochs[1:]])) for part in range(2))
    cuda = base.device.type == "cuda"
    peak = torch.cuda.max_memory_allocated() if cuda else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {
        "train": len(bench.split.train) / trained,
        "validation": len(bench.split.validation) / validated,
        "epoch": len(bench.split.train) / (trained + validated),
        "first epoch": len(bench.split.train) / sum(epochs[0]),
        "peak GiB": peak / 2**30,
    }


def _sam(name: str) -> nn.Module:
    return nano_sam(NANO) if name == "nano" else sam_registry()[name]()


def _backbone(name: str, device: str) -> Backbone:
    return load_backbone(device=device) if name == "nano" else backbone_of(name, _sam(name).to(device))


class _Published(Backbone):
    """A backbone that computes in float32 everywhere, and decodes with SAM's own decoder."""

    def precision(self) -> torch.autocast:
        return torch.autocast(self.device.type, enabled=False)

    def decode_masks(self, embeddings: Tensor, prompts: Tensor, classes: Tensor | None, masks: slice) -> Decoded:
        positions, decoder = self.sam.prompt_encoder.get_dense_pe(), self.sam.mask_decoder
        sparse, dense = self.learnt(*self.embed_prompts(prompts), embeddings, positions, prompts, classes)
        kept: list[Tensor] = []
        hook = decoder.output_upscaling.register_forward_hook(lambda _module, _inputs, output: kept.append(output))
        several = masks != slice(0, 1)
        pieces = [
            decoder(own[None], positions, tokens[None], cells[None], multimask_output=several)
            for own, tokens, cells in zip(embeddings, sparse, dense, strict=True)
        ]
        hook.remove()
        logits, guess = (torch.cat(parts) for parts in zip(*pieces, strict=True))
        return Decoded(logits=logits, guess=guess, features=in_cells(torch.cat(kept)))


def _as_published(base: Backbone) -> Backbone:
    """Return a copy with SAM's explicit attention that remembers no embedding."""
    own = base.trainable_copy()
    modeling = sam_modeling()
    for explicit in (modeling.image_encoder.Attention, modeling.transformer.Attention):
        for module in own.sam.modules():
            if isinstance(module, explicit):
                module.__class__ = explicit
    return _Published(name=own.name, fingerprint=own.fingerprint, sam=own.sam)


def _epoch(training: FineTuning, name: str, reload_from: Path | None) -> tuple[float, float]:
    """Return the seconds of training and of validation of one epoch."""
    record = training.train_epoch()
    started = time.perf_counter()
    if reload_from is not None:
        _sam(name).load_state_dict(torch.load(reload_from, weights_only=True))
    return record.train_seconds, record.validation_seconds + time.perf_counter() - started


def _show(rows: list[dict[str, Any]], machine: str) -> None:
    table = Table(title=f"{machine}: images a second")
    for column in (
        "backbone",
        "trained",
        "recipe",
        "train",
        "validation",
        "epoch",
        "first epoch",
        "peak GiB",
        "× published",
    ):
        table.add_column(column)
    for row in rows:
        for recipe in RECIPES:
            numbers = row[recipe]
            ratio = numbers["epoch"] / row["published"]["epoch"]
            speeds = (f"{numbers[key]:.3g}" for key in ("train", "validation", "epoch", "first epoch"))
            table.add_row(
                row["backbone"], row["adapter"], recipe, *speeds, f"{numbers['peak GiB']:.2f}", f"{ratio:.1f}"
            )
    Console(width=120).print(table)
    print("epoch: training images over the time of training and validation; the first one fills the cache")


if __name__ == "__main__":
    main()
