"""Export every dataset folder below a path to every format and add it again: equal, and at what cost?

    python benches/formats.py ../shared/datasets

A row for each dataset and format: whether masks and fingerprint are equal and image files the same bytes (nnU-Net wants
PNG), seconds out and in, and bytes as a multiple of the folder's.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path

import numpy as np

from qttseg.metadata.adding import add, export
from qttseg.metadata.datasets import Dataset, resolve_dataset
from qttseg.metadata.suites import resolve_suite


def size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def files(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in (folder / "images").iterdir()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("root", type=Path)
    parser.add_argument("--formats", default="coco,hf,nnunet,palette,folders")
    asked = parser.parse_args()
    print("dataset form images masks fingerprint bytes out_s in_s size")
    for path in map(Path, resolve_suite(f"folders:{asked.root}")):
        dataset = Dataset.from_folders(path)
        masks, fingerprint = [sample.mask for sample in dataset], dataset.fingerprint
        for form in asked.formats.split(","):
            with tempfile.TemporaryDirectory() as scratch:
                os.environ["QTTSEG_DATA"] = scratch
                out = Path(scratch) / ".out"
                started = time.perf_counter()
                export(dataset, out, format=form)
                exported = time.perf_counter()
                added = add("again", out)
                done = time.perf_counter()
                again = resolve_dataset("again")
                equal = again.names == dataset.names and all(map(np.array_equal, masks, (one.mask for one in again)))
                print(
                    f"{path.name} {form} {len(again)} {'equal' if equal else 'DIFFER'} "
                    f"{'equal' if fingerprint == again.fingerprint else 'DIFFERS'} "
                    f"{'same' if files(path) == files(added.folder) else 'others'} "
                    f"{exported - started:.1f} {done - exported:.1f} {size(out) / size(path):.2f}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
