"""Tables of prompt learning: methods by tasks as in its paper, and each task by its classes (arXiv 2403.09199)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from qttseg.benchmark.prompt_learning.averages import Average, fullest, methods_of, over_seeds, tasks_of
from qttseg.benchmark.prompt_learning.paper import FIGURES, counterpart
from qttseg.benchmark.prompt_learning.rows import Row, title_of
from qttseg.benchmark.tables import Cell, Head, Table
from qttseg.benchmark.tables import Row as Line
from qttseg.errors import BenchmarkError

PROMPTS = {"point": "one point", "box": "a box"}
MOST_CLASSES = 8
"""Most classes that have a column each: more do not fit a page."""

_ORACLE = "oracle"
_PAPER = (
    "Rows marked 'paper' are the paper's own figures for its task of that name (arXiv 2403.09199: SAM ViT-H, one point), "
    "not the same images."
)


def overview(rows: Iterable[Row]) -> Table:
    """Return the mean IoU of each method on each task, for points and for boxes; the paper's figures beside.

    Args:
        rows: Of one backbone; those of transfer, of moved boxes and of fewer images do not count.

    Raises:
        BenchmarkError: no row is left.
    """
    chosen = _compared(rows)
    prompts = [prompt for prompt in PROMPTS if any(row.prompt == prompt for row in chosen)]
    columns = [(prompt, method) for prompt in prompts for method in _of_prompt(chosen, prompt)]
    lines: list[Line] = []
    for fingerprint, label in tasks_of(chosen).items():
        own = [row for row in chosen if row.task_fingerprint == fingerprint]
        cells = [_cell(own, prompt, method) for prompt, method in columns]
        for prompt in prompts:
            places = [place for place, column in enumerate(columns) if column[0] == prompt and column[1] != _ORACLE]
            cells = marked(cells, places)
        lines.append(Line(label=label, cells=tuple(cells), about={"dataset": label}))
        lines += _paper_line(own[0].task, columns, beside=label)
    heads = tuple(
        Head(group=PROMPTS[prompt], title=title_of(method), about={"method": method}) for prompt, method in columns
    )
    return Table(corner="Task", heads=heads, rows=tuple(lines), caption=_caption(chosen, paper=_has_paper(chosen)))


def task_tables(rows: Iterable[Row]) -> list[Table]:
    """Return a table for each task and kind of prompt: IoU of each class, their mean, boundary F1, seconds, parameters.

    Raises:
        BenchmarkError: no row is left, see `overview`.
    """
    chosen = _compared(rows)
    made = []
    for fingerprint, label in tasks_of(chosen).items():
        for prompt in PROMPTS:
            own = [row for row in chosen if row.task_fingerprint == fingerprint and row.prompt == prompt]
            if own:
                made.append(_task_table(own, f"{label}, {PROMPTS[prompt]}", paper=prompt == "point"))
    return made


def _task_table(rows: Sequence[Row], corner: str, *, paper: bool) -> Table:
    names = list(dict.fromkeys(score.name for row in rows for score in row.classes))
    shown = names if 1 < len(names) <= MOST_CLASSES else []
    heads = (
        *(Head(group="IoU", title=name) for name in shown),
        Head(group="IoU", title="mean"),
        Head(group="boundary F1", title="mean"),
        Head(title="seconds"),
        Head(title="trained (M)"),
    )
    methods = methods_of(rows)
    grid = [_line_cells([row for row in rows if row.method == method], shown, _seeds(rows)) for method in methods]
    for column in range(len(shown) + 2):
        of_column = marked([cells[column] for cells in grid], competing(methods))
        for cells, cell in zip(grid, of_column, strict=True):
            cells[column] = cell
    namesake = counterpart(rows[0].task) if paper else None
    figures = FIGURES[namesake] if namesake else {}
    lines: list[Line] = []
    for method, cells in zip(methods, grid, strict=True):
        lines.append(Line(label=title_of(method), cells=tuple(cells), about={"method": method}))
        if method in figures:
            printed = tuple(
                Cell(mean=figures[method], decimals=4) if place == len(shown) else Cell() for place in range(len(heads))
            )
            lines.append(Line(label=f"paper: {namesake}", cells=printed, source="paper", about={"method": method}))
    return Table(corner=corner, heads=heads, rows=tuple(lines), caption=_caption(rows, paper=bool(figures)))


def _line_cells(rows: Sequence[Row], classes: Sequence[str], seeds: int) -> list[Cell]:
    """Return the cells of one method on one task."""

    def of_class(name: str) -> Cell:
        return as_cell(
            over_seeds(rows, lambda row: next((score.iou for score in row.classes if score.name == name), None)), 0
        )

    expected = seeds if rows[0].images else 0
    seconds, trained = over_seeds(rows, lambda row: row.seconds), over_seeds(rows, lambda row: row.parameters / 1e6)
    return [
        *(of_class(name) for name in classes),
        as_cell(over_seeds(rows, lambda row: row.miou), expected, rows=rows),
        as_cell(over_seeds(rows, lambda row: row.boundary_f1), 0),
        replace(as_cell(seconds, 0), decimals=1),
        replace(as_cell(trained, 0), decimals=2, std=None),
    ]


def as_cell(found: Average | None, seeds: int, *, rows: Sequence[Row] = ()) -> Cell:
    """Return what a table prints of an average; with `rows`, failed ones and seeds that lack are noted."""
    failed = sum(row.miou is None for row in rows)
    notes = [f"{failed} failed"] if failed else []
    count = 0 if found is None else found.count
    if rows and count < seeds:
        notes.append(f"{count} of {seeds} seeds")
    note = f"({', '.join(notes)})" if notes else ""
    return Cell(note=note) if found is None else Cell(mean=found.mean, std=found.std, note=note)


def _cell(rows: Sequence[Row], prompt: str, method: str) -> Cell:
    own = [row for row in rows if row.prompt == prompt and row.method == method]
    if not own:
        return Cell()
    seeds = _seeds([row for row in rows if row.prompt == prompt]) if own[0].images else 0
    return as_cell(over_seeds(own, lambda row: row.miou), seeds, rows=own)


def _seeds(rows: Iterable[Row]) -> int:
    return len({row.seed for row in rows if row.images})


def competing(methods: Iterable[str]) -> list[int]:
    """Return the places of the methods that may be the best: all but the oracle."""
    return [place for place, method in enumerate(methods) if method != _ORACLE]


def marked(cells: Sequence[Cell], places: Sequence[int]) -> list[Cell]:
    """Return the cells with the best complete mean of these places marked."""
    means = {place: mean for place in places if (mean := cells[place].mean) is not None and not cells[place].note}
    best = max(means.values()) if len(means) > 1 else None
    return [replace(cell, best=True) if means.get(place, -1.0) == best else cell for place, cell in enumerate(cells)]


def _compared(rows: Iterable[Row]) -> tuple[Row, ...]:
    """Return the rows of the comparison, which share a backbone."""
    chosen = tuple(row for row in fullest(rows) if row.noise == 0)
    if not chosen:
        raise BenchmarkError("no trial of prompt learning was tested where it was trained; run some, or drop filters")
    backbones = sorted({f"{row.backbone} {row.backbone_fingerprint}" for row in chosen})
    if len(backbones) > 1:
        raise BenchmarkError(f"these trials have {len(backbones)} backbones ({', '.join(backbones)}); part them")
    return chosen


def _of_prompt(rows: Sequence[Row], prompt: str) -> tuple[str, ...]:
    return methods_of(row for row in rows if row.prompt == prompt)


def _has_paper(rows: Sequence[Row]) -> bool:
    return any(counterpart(row.task) for row in rows if row.prompt == "point")


def _paper_line(task: str, columns: Sequence[tuple[str, str]], *, beside: str) -> list[Line]:
    namesake = counterpart(task)
    if namesake is None or not any(prompt == "point" for prompt, _ in columns):
        return []
    cells = tuple(
        Cell(mean=FIGURES[namesake][method], decimals=4)
        if prompt == "point" and method in FIGURES[namesake]
        else Cell()
        for prompt, method in columns
    )
    return [Line(label=f"paper: {namesake}", cells=cells, source="paper", about={"dataset": beside})]


def _caption(rows: Sequence[Row], *, paper: bool) -> str:
    images = sorted({row.images for row in rows if row.images})
    sentences = [
        "IoU: mean over the images that show a class, then over classes, in [0, 1] (higher is better); boundary F1 alike, "
        "with 0.75 % of the diagonal as tolerance. Mean over seeds of the means over draws of prompts ± sample standard "
        "deviation over seeds. Bold: the best without failed or missing seeds; the oracle, which picks of three masks the "
        "one that is truly best, does not compete.",
        *([_PAPER] if paper else []),
        *([f"Trained on {' or '.join(map(str, images))} images."] if images else []),
        "Prompts at test time are drawn from the true masks, alike for all methods. Of several settings of a method the "
        f"newest counts. {made_with(rows)}",
    ]
    return " ".join(sentences)


def made_with(rows: Sequence[Row]) -> str:
    """Return the sentence of a caption that names the backbone, which the rows share, and the machines."""
    machines = "; ".join(sorted({row.machine for row in rows if row.machine})) or "not recorded"
    return f"Backbone {rows[0].backbone}, machine: {machines}."
