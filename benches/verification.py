"""How long it takes to verify many images, once and again, and to draw a few of very many; prints times and ratios.

    python benches/verification.py --images 10000 --side 512 --listed 100000

Makes its data in a temporary folder (about 60 kB an image of 512 pixels, 2 kB a listed one), and keeps its cache there.
Images are verified in threads; the bench also shows what one thread and two processes would take.
"""

from __future__ import annotations

import argparse
import os
import resource
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from PIL import Image
from rich.console import Console
from rich.table import Table
from scipy import ndimage

from qttseg.metadata.datasets import Dataset
from qttseg.metadata.examination import in_threads
from qttseg.metadata.facts import Facts, facts_of_files
from qttseg.metadata.listing import Files, list_files
from qttseg.metadata.looks import near_pairs
from qttseg.metadata.protocol import PAPER
from qttseg.metadata.splits import draw_split
from qttseg.metadata.verification import verify

SAMPLE = 400
"""Pairs on which threads and processes are compared."""


def main() -> None:
    """Make the data, measure, print the tables."""
    arguments = _arguments()
    with tempfile.TemporaryDirectory() as place:
        os.environ["QTTSEG_CACHE"] = f"{place}/cache"
        many, small = Path(place, "many"), Path(place, "small")
        _make(many, arguments.images, arguments.side)
        rows = [*_workers(many), *_verification(many), *_similar(arguments.images)]
        _make(small, arguments.listed, 32, copies=True)
        rows += _drawing(small)
    table = Table("what", "seconds", "per image", "ratio", title="Datasets", title_justify="left")
    for row in rows:
        table.add_row(*row)
    Console(width=120).print(table)
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB, {os.cpu_count()} cores")


def _workers(root: Path) -> list[tuple[str, ...]]:
    """Compare ways to look at the same pairs."""
    pairs = list(list_files(root).pairs.values())[:SAMPLE]

    def in_processes() -> None:
        with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
            list(pool.map(_facts, pairs, chunksize=16))

    one = _seconds(lambda: [_facts(pair) for pair in pairs])
    threads = _seconds(lambda: list(in_threads(_facts, pairs)))
    processes = _seconds(in_processes)
    return [
        _row("examine, one thread", one, len(pairs)),
        _row("examine, threads", threads, len(pairs), one / threads),
        _row("examine, two processes, their start included", processes, len(pairs), one / processes),
    ]


def _facts(pair: Files) -> Facts:
    return facts_of_files(*pair)


def _verification(root: Path) -> list[tuple[str, ...]]:
    count = len(list_files(root).pairs)
    first = _seconds(lambda: verify(root))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    again = _seconds(lambda: verify(root))
    fingerprint = _seconds(lambda: Dataset.from_folders(root).fingerprint)
    print(f"peak memory after the first verification {before / 1024:.0f} MiB")
    return [
        _row("verify, first time", first, count),
        _row("verify, again", again, count, first / again),
        _row("fingerprint after that", fingerprint, count, first / fingerprint),
    ]


def _similar(count: int) -> list[tuple[str, ...]]:
    looks = np.random.default_rng(0).integers(0, 2**63, (count, 4)).astype(np.uint64)
    return [_row("find images that look the same", _seconds(lambda: list(near_pairs(looks))), count)]


def _drawing(root: Path) -> list[tuple[str, ...]]:
    def draw() -> None:
        dataset = Dataset.from_folders(root)
        split = draw_split(dataset, PAPER, seed=0)
        for index in split.train + split.validation:
            dataset[index]

    count = len(list_files(root).pairs)
    return [_row(f"resolve, split and read 100 of {count}", _seconds(draw), 100)]


def _seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def _row(what: str, seconds: float, count: int, ratio: float | None = None) -> tuple[str, ...]:
    return what, f"{seconds:.2f}", f"{1000 * seconds / count:.2f} ms", "" if ratio is None else f"{ratio:.1f} x"


def _make(root: Path, count: int, side: int, *, copies: bool = False) -> None:
    """Write pairs: windows of one texture with brighter discs, or copies of a single one."""
    for folder in ("images", "masks"):
        (root / folder).mkdir(parents=True)
    (root / "dataset.json").write_text('{"classes": ["background", "disc"]}')
    generator = np.random.default_rng(0)
    large = 4 * side
    waves = (
        ndimage.zoom(generator.normal(size=(large // n, large // n, 3)), (n, n, 1), order=1) * n**0.5
        for n in (1, 4, 16)
    )
    texture = sum(waves)
    texture = ((texture - texture.min()) / np.ptp(texture) * 200).astype(np.uint8)
    rows, columns = np.mgrid[:side, :side]
    image, mask = root / "images/0.jpg", root / "masks/0.png"
    for number in range(count):
        new = root / f"images/{number:06d}.jpg", root / f"masks/{number:06d}.png"
        if copies and number:
            for source, target in zip((image, mask), new, strict=True):
                target.write_bytes(source.read_bytes())
            continue
        top, left = generator.integers(0, large - side, 2)
        centre, radius = generator.uniform(side / 8, side * 7 / 8, 2), generator.uniform(side / 32, side / 8)
        disc = (rows - centre[0]) ** 2 + (columns - centre[1]) ** 2 < radius**2
        pixels = texture[top : top + side, left : left + side] + 55 * disc[..., None].astype(np.uint8)
        Image.fromarray(pixels).save(new[0], quality=90)
        Image.fromarray(disc.astype(np.uint8)).save(new[1])
        image, mask = new


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=10_000, help="images to verify")
    parser.add_argument("--side", type=int, default=512, help="their height and width in pixels")
    parser.add_argument("--listed", type=int, default=100_000, help="images to draw 100 from")
    return parser.parse_args()


if __name__ == "__main__":
    main()
