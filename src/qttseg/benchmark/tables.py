"""The paper's Tables 1 and 2 from our results: datasets by methods and budgets (QTT-SEG, section 4).

Nothing here needs torch or ray: tables are made wherever the results lie.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import fmean, stdev
from typing import Literal

from qttseg.benchmark import paper
from qttseg.benchmark.captions import caption_of
from qttseg.benchmark.results import Result, Status
from qttseg.errors import BenchmarkError
from qttseg.metadata.datasets import Task

BASELINE = "zero-shot"
CONTENDER = "qtt-seg"
TITLES = {
    BASELINE: "Zero-shot",
    "autogluon": "AutoGluon",
    "autogluon-boxes": "AutoGluon with boxes",
    CONTENDER: "QTT-SEG",
}
"""How the paper writes the methods, in its order; others stand under their own name, behind these."""

About = Mapping[str, str]
"""What a row or column is about: its `dataset`, `method` or `budget`, so that a reader can filter for them."""


def title_of(method: str) -> str:
    """Return how tables and figures write a method."""
    return TITLES.get(method, method)


@dataclass(frozen=True, kw_only=True)
class Head:
    """What stands above a column: a title, and a group that spans its neighbours of the same group."""

    title: str
    group: str = ""
    about: About = field(default_factory=dict)

    @property
    def text(self) -> str:
        """Both in one line."""
        return f"{self.group} {self.title}".strip()


@dataclass(frozen=True, kw_only=True)
class Column:
    """One method at one budget in seconds; a method that needs no time stands for all budgets and has none."""

    method: str
    budget: float | None = None

    @property
    def head(self) -> Head:
        """The method's printed name below its budget."""
        return Head(group=self.about.get("budget", ""), title=title_of(self.method), about=self.about)

    @property
    def about(self) -> About:
        """Its method, and its budget where it has one."""
        return {"method": self.method} | ({} if self.budget is None else {"budget": f"{self.budget:g} s"})


@dataclass(frozen=True, kw_only=True)
class Cell:
    """What one column says about one row.

    Attributes:
        mean: Mean over the seeds that gave a score, None where there is none.
        std: Sample standard deviation over them, None for fewer than two.
        note: What a reader must know to trust the mean: failed seeds, missing seeds.
        best: Whether it is the best of its row at its budget.
        decimals: Digits printed after the point.
        signed: Whether a plus stands before what is above 0.
    """

    mean: float | None = None
    std: float | None = None
    note: str = ""
    best: bool = False
    decimals: int = 3
    signed: bool = False

    @property
    def number(self) -> str:
        """Mean and deviation as printed; empty without a mean."""
        if self.mean is None:
            return ""
        spread = "" if self.std is None else f" ±{self.std:.{self.decimals}f}"
        return f"{self.mean:{'+' if self.signed else ''}.{self.decimals}f}{spread}"

    @property
    def text(self) -> str:
        """The whole cell: number and note, or a dash where there is neither."""
        return " ".join(part for part in (self.number, self.note) if part) or "–"


@dataclass(frozen=True, kw_only=True)
class Row:
    """A labelled row, one cell for each head of its table."""

    label: str
    cells: tuple[Cell, ...]
    source: Literal["ours", "paper"] = "ours"
    average: bool = False
    about: About = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table ready to be rendered; see `qttseg.benchmark.rendering`."""

    corner: str
    heads: tuple[Head, ...]
    rows: tuple[Row, ...]
    caption: str


def paper_table(results: Iterable[Result], task: Task) -> Table:
    """Return the paper's Table 1 (binary) or Table 2 (multiclass) for these results.

    Rows are ranked by the absolute gain of QTT-SEG over zero-shot at the smallest budget. (The paper announces this
    order too, but prints chest and cholec out of it.) The best complete mean at each budget is bold; methods without
    a budget compete at each. Below each dataset that has a namesake in the paper stand the paper's own figures.

    Raises:
        BenchmarkError: there are no results of this task, or they come from several protocols or backbones.
    """
    chosen = [result for result in results if result.task == task]
    if not chosen:
        raise BenchmarkError(f"no results on {task} datasets; run the benchmark on some, or ask for the other task")
    check_comparable(chosen)
    labels = dataset_labels(chosen)
    namesakes = {label: paper.counterpart(chosen_name) for label, chosen_name in labels.values()}
    ours = _columns_of(chosen)
    columns = in_order({*ours, *_columns_of_paper(ours, namesakes.values())})
    cells = score_cells(chosen)

    datasets = sorted(namesakes, key=lambda label: (-_gain(cells, label, columns), label))
    rows: list[Row] = []
    for label in datasets:
        row = tuple(cells.get((label, column), Cell()) for column in columns)
        rows.append(Row(label=label, cells=mark_best(columns, row), about={"dataset": label}))
        namesake = namesakes[label]
        if namesake is not None:
            rows.append(_paper_row(namesake, columns, beside=label))
    rows += _averages(rows, columns)
    caption = caption_of(
        chosen,
        ranked=any(_gain(cells, label, columns) > float("-inf") for label in namesakes),
        namesakes=any(namesakes.values()),
    )
    return Table(corner="Dataset", heads=tuple(column.head for column in columns), rows=tuple(rows), caption=caption)


def comparable(results: Iterable[Result]) -> tuple[tuple[Result, ...], ...]:
    """Return the results in groups that may stand in one table each: those of one protocol and one backbone."""
    groups: defaultdict[tuple[str, str, str], list[Result]] = defaultdict(list)
    for result in results:
        groups[result.protocol.id, result.backbone, result.backbone_fingerprint].append(result)
    return tuple(tuple(group) for group in groups.values())


def check_comparable(results: Iterable[Result]) -> None:
    """Check that these results may stand in one table.

    Raises:
        BenchmarkError: they have several protocols or backbones.
    """
    chosen = tuple(results)
    protocols = {result.protocol.id for result in chosen}
    backbones = {f"{result.backbone} {result.backbone_fingerprint}" for result in chosen}
    for noun, found in (("protocols", sorted(protocols)), ("backbones", sorted(backbones))):
        if len(found) > 1:
            raise BenchmarkError(
                f"these results have {len(found)} {noun} ({', '.join(found)}); make one table for each"
            )


def dataset_labels(results: Iterable[Result]) -> dict[str, tuple[str, str]]:
    """Return (label, name) by dataset fingerprint; a name whose content has changed is told apart in its label."""
    names = {result.dataset_fingerprint: result.dataset for result in results}
    taken = list(names.values())
    return {
        fingerprint: (name if taken.count(name) == 1 else f"{name} ({fingerprint[:6]})", name)
        for fingerprint, name in names.items()
    }


def score_cells(results: Collection[Result]) -> dict[tuple[str, Column], Cell]:
    """Return the cell of each dataset label and column; every seed of the results should be in each."""
    labels, seeds = dataset_labels(results), len({result.seed for result in results})
    grouped: defaultdict[tuple[str, Column], dict[int, Result]] = defaultdict(dict)
    for result in results:
        label, _ = labels[result.dataset_fingerprint]
        grouped[label, Column(method=result.method, budget=result.budget)][result.seed] = result
    return {key: cell_of(by_seed.values(), seeds=seeds) for key, by_seed in grouped.items()}


def cell_of(results: Collection[Result], *, seeds: int) -> Cell:
    """Return the cell of one method, budget and dataset, given one result a seed and the seeds that should be there."""
    scores = [result.score for result in results if result.status is Status.OK and result.score is not None]
    failed = len(results) - len(scores)
    notes = [f"{failed} failed"] if failed else []
    if len(results) < seeds:
        notes.append(f"{len(results)} of {seeds} seeds")
    return Cell(
        mean=fmean(scores) if scores else None,
        std=stdev(scores) if len(scores) > 1 else None,
        note=f"({', '.join(notes)})" if notes else "",
    )


def mark_best(columns: Sequence[Column], cells: Sequence[Cell]) -> tuple[Cell, ...]:
    """Return the cells with the best complete mean at each budget marked.

    A column without a budget competes at every one. A cell with a note (failed or missing seeds) never wins.
    """
    best: set[int] = set()
    for budget in budgets_of(columns):
        means = {
            index: mean
            for index, (column, cell) in enumerate(zip(columns, cells, strict=True))
            if column.budget in (None, budget) and (mean := cell.mean) is not None and not cell.note
        }
        if len(means) > 1:
            best |= {index for index, mean in means.items() if mean == max(means.values())}
    return tuple(replace(cell, best=index in best) for index, cell in enumerate(cells))


def budgets_of(columns: Iterable[Column]) -> set[float | None]:
    """Return the budgets at which methods compete; {None} where none needs time."""
    budgets: set[float | None] = {column.budget for column in columns}
    return budgets - {None} or budgets


def _columns_of(results: Iterable[Result]) -> set[Column]:
    return {Column(method=result.method, budget=result.budget) for result in results}


def _columns_of_paper(ours: Collection[Column], namesakes: Collection[str | None]) -> set[Column]:
    """The paper's columns for these datasets, at our budgets only."""
    budgets = {column.budget for column in ours} | {None}
    printed = {key for name in namesakes if name is not None for key in paper.FIGURES[name]}
    return {Column(method=method, budget=budget) for method, budget in printed if budget in budgets}


def in_order(columns: Iterable[Column]) -> tuple[Column, ...]:
    """Return budget-free columns first, then by budget; within a budget as in the paper, then by name."""
    known = list(TITLES)

    def place(column: Column) -> tuple[float, int, str]:
        rank = known.index(column.method) if column.method in known else len(known)
        return (column.budget or 0.0, rank, column.method)

    return tuple(sorted(columns, key=place))


def _gain(cells: dict[tuple[str, Column], Cell], label: str, columns: Sequence[Column]) -> float:
    """Mean of QTT-SEG at the smallest budget less that of zero-shot; minus infinity where either is missing."""
    contender = next((column for column in columns if column.method == CONTENDER), None)
    if contender is None:
        return float("-inf")
    tuned = cells.get((label, contender), Cell()).mean
    zero_shot = cells.get((label, Column(method=BASELINE)), Cell()).mean
    return float("-inf") if tuned is None or zero_shot is None else tuned - zero_shot


def _paper_row(namesake: str, columns: Sequence[Column], *, beside: str) -> Row:
    figures = (paper.FIGURES[namesake].get((column.method, column.budget)) for column in columns)
    cells = tuple(Cell() if figure is None else Cell(mean=figure.mean, std=figure.std) for figure in figures)
    return Row(label=f"paper: {namesake}", cells=cells, source="paper", about={"dataset": beside})


def _averages(rows: Sequence[Row], columns: Sequence[Column]) -> list[Row]:
    """One row of means for ours and one for the paper's; an average over incomplete cells says so."""
    averages = []
    for source, label in (("ours", "Average"), ("paper", "paper: average of these")):
        members = [row for row in rows if row.source == source]
        if len(members) < 2:
            continue
        cells = tuple(_average([row.cells[index] for row in members]) for index in range(len(columns)))
        if source == "ours":
            averages.append(Row(label=label, cells=mark_best(columns, cells), average=True))
        else:
            averages.append(Row(label=label, cells=cells, source="paper", average=True))
    return averages


def _average(cells: Sequence[Cell]) -> Cell:
    means = [cell.mean for cell in cells if cell.mean is not None]
    if not means:
        return Cell()
    complete = sum(cell.mean is not None and not cell.note for cell in cells)
    note = "" if complete == len(cells) else f"({complete} of {len(cells)} complete)"
    return Cell(mean=fmean(means), note=note)
