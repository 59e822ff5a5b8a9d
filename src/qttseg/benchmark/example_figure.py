"""Image, truth and predictions side by side (QTT-SEG, Figures 3 to 5)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from qttseg.benchmark.gallery import Example, Gallery, picture
from qttseg.benchmark.results import Result
from qttseg.benchmark.tables import Column, budgets_of, dataset_labels, in_order
from qttseg.tuning.previews import painted

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def draw_examples(results: Sequence[Result], gallery: Gallery) -> tuple[Figure, str] | None:
    """Draw the first kept test image of each dataset, its truth, and what methods predicted at the smallest budget.

    Returns:
        The figure and its caption; None where no pictures were kept.
    """
    from matplotlib.figure import Figure

    columns = _first_columns(results)
    by_place = {(r.dataset_fingerprint, Column(method=r.method, budget=r.budget)): r for r in _first_seed(results)}
    labels = {fingerprint: label for fingerprint, (label, _) in dataset_labels(results).items()}
    shown = {
        fingerprint: examples[0]
        for fingerprint in sorted(labels, key=labels.__getitem__)
        if (examples := gallery.examples(next(r for r in results if r.dataset_fingerprint == fingerprint)))
    }
    if not shown:
        return None
    sizes = [picture(example.image).size for example in shown.values()]
    heights = [0.25 + 1.45 * height / width for width, height in sizes]
    figure = Figure(figsize=(1.5 * (len(columns) + 2), sum(heights) + 0.3), layout="constrained")
    grid = figure.subplots(len(shown), len(columns) + 2, squeeze=False, height_ratios=heights)
    for row, (fingerprint, example) in zip(grid, shown.items(), strict=True):
        image = np.asarray(picture(example.image))
        _show(row[0], image, below="")
        row[0].set_ylabel(labels[fingerprint], fontsize=7)
        _show(row[1], painted(image, _ids(example.truth)), below="")
        for panel, column in zip(row[2:], columns, strict=True):
            _prediction(panel, image, by_place.get((fingerprint, column)), example, gallery)
    for panel, title in zip(grid[0], ["image", "truth", *(column.head.text for column in columns)], strict=True):
        panel.set_title(title, fontsize=8)
    caption = (
        "One test image of each dataset, drawn once for all methods: image, truth, and predictions after the first seed, "
        "with the image's score. A colour for each class; grey pixels do not count."
    )
    return figure, caption


def _first_columns(results: Sequence[Result]) -> tuple[Column, ...]:
    """Methods without a budget and all others at the smallest one."""
    columns = {Column(method=result.method, budget=result.budget) for result in results}
    smallest = min(budgets_of(columns), key=lambda budget: budget or 0.0)
    return in_order(column for column in columns if column.budget in (None, smallest))


def _first_seed(results: Sequence[Result]) -> list[Result]:
    seed = min(result.seed for result in results)
    return [result for result in results if result.seed == seed]


def _prediction(
    panel: Axes, image: NDArray[np.uint8], result: Result | None, example: Example, gallery: Gallery
) -> None:
    file = None if result is None else gallery.prediction(result, example)
    if result is None or file is None:
        panel.text(0.5, 0.5, "not run" if result is None else str(result.status), ha="center", va="center", fontsize=7)
        panel.axis("off")
        return
    _show(panel, painted(image, _ids(file)), below=f"{result.image_scores[example.place]:.2f}")


def _ids(file: bytes) -> NDArray[np.uint8]:
    return np.asarray(picture(file))


def _show(panel: Axes, pixels: NDArray[np.uint8], *, below: str) -> None:
    panel.imshow(pixels)
    panel.set_xticks([])
    panel.set_yticks([])
    panel.set_xlabel(below, fontsize=7, labelpad=1)
    for spine in panel.spines.values():
        spine.set_visible(False)
