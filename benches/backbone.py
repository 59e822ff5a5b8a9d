"""How good a backbone is on real images, as it is and fine-tuned: one table, beside filling the box.

    python benches/backbone.py --datasets ../shared/datasets --out backbone.json
    python benches/backbone.py --datasets ../shared/datasets --backbone sam-vit-b --device cuda

Boxes come from the ground truth with the protocol's noise; scores are mean IoU over classes, then over test images. The
fine-tuned column trains one sensible configuration for the protocol's epochs and scores the best epoch by validation.
What `--out` holds already is not computed again.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Mapping
from pathlib import Path
from statistics import fmean, median

from rich.console import Console
from rich.table import Table

from qttseg.benchmark.methods import BoxFiller
from qttseg.metadata.configurations import Configuration
from qttseg.metadata.datasets import Dataset
from qttseg.metadata.protocol import Protocol
from qttseg.metadata.splits import draw_split
from qttseg.pipelines.backbones import Backbone
from qttseg.pipelines.fine_tuning import FineTuning, train_to_best
from qttseg.pipelines.loading import load_backbone
from qttseg.pipelines.running import describe_machine
from qttseg.pipelines.scoring import PromptedSegmenter, evaluate
from qttseg.pipelines.segmenter import zero_shot_segmenter
from qttseg.pipelines.workbench import Workbench

LORA = Configuration(
    {
        "lora": 1, "lora_rank": 16, "lora_dropout": 0.0, "lr": 3e-3, "weight_decay": 1e-5, "sched": "cosine",
        "horizontal_flip": 1, "vertical_flip": 0, "random_rotate": 0,
    }
)  # fmt: skip
COLUMNS = ("box filling", "zero-shot", "fine-tuned")


def main() -> None:
    """Measure each dataset, keep what was measured, print the table."""
    arguments = _arguments()
    backbone = load_backbone(arguments.backbone, device=arguments.device)
    known = json.loads(arguments.out.read_text()) if arguments.out and arguments.out.is_file() else {}
    rows = known.get("datasets", {}) if known.get("fingerprint") == backbone.fingerprint else {}
    for folder in sorted(path.parent for path in arguments.datasets.glob("*/dataset.json")):
        row = rows.setdefault(folder.name, {})
        _measure(row, Dataset.from_folders(folder), backbone, fine_tune=arguments.fine_tune)
        print(folder.name, row, flush=True)
        if arguments.out:
            machine = describe_machine(backbone.device)
            document = {"backbone": backbone.name, "fingerprint": backbone.fingerprint, "machine": machine}
            arguments.out.write_text(json.dumps(document | {"datasets": rows}, indent=1) + "\n")
    _show(rows, f"{backbone.name} ({backbone.fingerprint}), {describe_machine(backbone.device)}")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--datasets", type=Path, required=True, help="folder of dataset folders")
    parser.add_argument("--backbone", default="sam-nano")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--no-fine-tune", dest="fine_tune", action="store_false", help="only the quick columns")
    parser.add_argument("--out", type=Path, help="JSON file to keep results in")
    return parser.parse_args()


def _measure(row: dict[str, float], dataset: Dataset, backbone: Backbone, *, fine_tune: bool) -> None:
    protocol, seed = Protocol(), 0
    split = draw_split(dataset, protocol, seed=seed)

    def score(segmenter: PromptedSegmenter) -> float:
        return round(evaluate(segmenter, dataset, split.test, protocol, seed=seed).score, 4)

    if "box filling" not in row:
        row["box filling"] = score(BoxFiller())
    if "zero-shot" not in row:
        row["zero-shot"] = score(zero_shot_segmenter(backbone))
    if fine_tune and "fine-tuned" not in row:
        started = time.perf_counter()
        training = FineTuning(Workbench.prepare(dataset, protocol, backbone, seed=seed), LORA, seed=seed)
        state = train_to_best(training)
        row["seconds"] = round(time.perf_counter() - started, 1)
        row["epoch"] = state.epoch
        row["fine-tuned"] = score(training.segmenter())


def _show(rows: Mapping[str, Mapping[str, float]], title: str) -> None:
    columns = [column for column in COLUMNS if all(column in row for row in rows.values())]
    table = Table("dataset", *columns, title=title)
    for name, row in rows.items():
        table.add_row(name, *(f"{row[column]:.3f}" for column in columns))
    table.add_row("mean", *(f"{fmean(row[column] for row in rows.values()):.3f}" for column in columns))
    Console(width=120).print(table)
    if "zero-shot" in columns:
        ahead = sum(row["zero-shot"] > row["box filling"] for row in rows.values())
        print(f"zero-shot is ahead of box filling on {ahead} of {len(rows)}")
    if "fine-tuned" in columns:
        gains = [row["fine-tuned"] / row["zero-shot"] - 1 for row in rows.values()]
        of_mean = (
            fmean(row["fine-tuned"] for row in rows.values()) / fmean(row["zero-shot"] for row in rows.values()) - 1
        )
        print(f"relative gain of fine-tuning: {of_mean:.0%} of the mean, {median(gains):.0%} in the median dataset")


if __name__ == "__main__":
    main()
