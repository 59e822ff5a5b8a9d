"""The studies of prompt learning as tables: the numbers behind their figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from qttseg.benchmark.prompt_learning.averages import Average
from qttseg.benchmark.prompt_learning.rows import Row, title_of
from qttseg.benchmark.prompt_learning.studies import (
    OVER_DRAWS,
    Amounts,
    Matching,
    Sensitivity,
    Transfer,
    amounts,
    matchings,
    sensitivities,
    transfers,
)
from qttseg.benchmark.prompt_learning.tables import PROMPTS, as_cell, competing, made_with, marked
from qttseg.benchmark.tables import Cell, Head, Table
from qttseg.benchmark.tables import Row as Line

_OVER_SEEDS = "Mean IoU, over draws of prompts, then over seeds ± sample standard deviation over seeds."


def study_tables(rows: Sequence[Row]) -> list[Table]:
    """Return a table of each study that `rows`, which share a backbone, have something for; none where nothing varies."""
    matched = matchings(rows)
    made = [
        *map(_sensitivity, sensitivities(rows)),
        *map(_amounts, amounts(rows)),
        *map(_transfer, transfers(rows)),
        *([_matching(matched)] if matched else []),
    ]
    return [replace(table, caption=f"{table.caption} {made_with(rows)}") for table in made]


def _sensitivity(study: Sensitivity) -> Table:
    return _by_methods(
        f"{study.task}, draws of prompts",
        [Head(title=prompt) for prompt in study.prompts],
        study.scores,
        decimals=4,  # spreads are small
        caption=f"{OVER_DRAWS} ± standard deviation over draws for one and the same model, averaged over seeds.",
    )


def _amounts(study: Amounts) -> Table:
    images = sorted({count for scores in study.scores.values() for count in scores})
    return _by_methods(
        f"{study.task}, {PROMPTS[study.prompt]}",
        [Head(title=f"{count} images" if count else "untrained") for count in images],
        {method: [scores.get(count) for count in images] for method, scores in study.scores.items()},
        caption=f"{_OVER_SEEDS} By number of training images.",
    )


def _transfer(study: Transfer) -> Table:
    kinds = (study.untrained, study.scores, study.at_home)
    return _by_methods(
        f"{study.source} → {study.task}, {PROMPTS[study.prompt]}",
        [Head(title=title) for title in ("untrained", f"on {study.source}", f"on {study.task}")],
        {method: [scores.get(method) for scores in kinds] for method in study.methods},
        caption=f"{_OVER_SEEDS} On {study.task}, by what was trained on.",
    )


def _matching(found: Sequence[Matching]) -> Table:
    lines = [
        Line(
            label=f"{one.task}, {PROMPTS[one.prompt]}: {title_of(one.method)}",
            cells=(
                replace(as_cell(one.iou, 0), signed=True),
                replace(as_cell(one.outline, 0), signed=True),
                Cell(mean=one.iou.count, decimals=0),
            ),
            about={"dataset": one.task, "method": one.method},
        )
        for one in found
    ]
    return Table(
        corner="Point matching adds",
        heads=(Head(title="IoU"), Head(title="boundary F1"), Head(title="pairs")),
        rows=tuple(lines),
        caption="Difference between a method with and without point matching, over pairs of trainings that differ in nothing "
        "else ± sample standard deviation over pairs.",
    )


def _by_methods(
    corner: str,
    heads: Sequence[Head],
    scores: Mapping[str, Sequence[Average | None]],
    *,
    caption: str,
    decimals: int = 3,
) -> Table:
    """Return a table with a line for each method, the best of each column marked."""
    columns = [
        marked([replace(as_cell(found, 0), decimals=decimals) for found in column], competing(scores))
        for column in zip(*scores.values(), strict=True)
    ]
    lines = [
        Line(label=title_of(method), cells=cells, about={"method": method})
        for method, cells in zip(scores, zip(*columns, strict=True), strict=True)
    ]
    return Table(corner=corner, heads=tuple(heads), rows=tuple(lines), caption=caption)
