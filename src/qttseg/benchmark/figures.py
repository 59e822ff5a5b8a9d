"""The paper's figures from our results: bars over budgets, incumbents over time, mean ranks, examples.

Every maker returns a figure with its caption, or None where the results may have nothing to show in it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING

from qttseg.benchmark.anytime import anytime_curves
from qttseg.benchmark.captions import conditions_of
from qttseg.benchmark.colours import colours
from qttseg.benchmark.example_figure import draw_examples
from qttseg.benchmark.gallery import Gallery
from qttseg.benchmark.results import Result
from qttseg.benchmark.statistics import Ranking, ranking_caption, rankings
from qttseg.benchmark.tables import Cell, comparable, in_order, score_cells, title_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """A figure and what a reader must know about it."""

    name: str
    figure: Figure
    caption: str


def styled() -> AbstractContextManager[None]:
    """Return a context in which figures are drawn and saved in one style."""
    from matplotlib import rc_context

    return rc_context(
        {
            "font.size": 9.0,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "svg.fonttype": "none",  # text stays text: small files that can be searched and read aloud
            "svg.hashsalt": "qttseg",  # the same results give the same file
        }
    )


def write_figures(results: Sequence[Result], folder: Path, *, gallery: Gallery, format_: str) -> dict[Path, str]:
    """Draw every figure that `results` have something for, and `captions.md`; return captions by file.

    Results of several protocols or backbones get figures of their own, protocol and backbone in their names. The format is
    one that matplotlib knows, as `png` or `svg`.
    """
    groups = comparable(results)
    several = len(groups) > 1
    return save_figures(
        (
            (
                f"-{group[0].protocol.id}-{group[0].backbone_fingerprint[:6]}" if several else "",
                drawn_figures(group, gallery),
            )
            for group in groups
        ),
        folder,
        format_=format_,
    )


def save_figures(sets: Iterable[tuple[str, Iterable[Drawn]]], folder: Path, *, format_: str) -> dict[Path, str]:
    """Save figures and `captions.md` in `folder`; return captions by file.

    Args:
        sets: What to add to the names, and the figures; drawn one set after the other, in our style.
        folder: Where to; made if need be.
        format_: One that matplotlib knows, as `png` or `svg`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    written = {}
    with styled():
        for suffix, figures in sets:
            for drawn in figures:
                file = folder / f"{drawn.name}{suffix}.{format_}"
                drawn.figure.savefig(file, dpi=200, metadata={"Date": None} if format_ == "svg" else None)
                written[file] = drawn.caption
    lines = [f"![{file.stem}]({file.name})\n\n{caption}\n" for file, caption in written.items()]
    (folder / "captions.md").write_text("\n".join(lines), encoding="utf-8")
    return written


def drawn_figures(results: Sequence[Result], gallery: Gallery) -> list[Drawn]:
    """Return the figures of `results`, which share protocol and backbone."""
    conditions = conditions_of(results)
    tasks = sorted({result.task for result in results})
    made: dict[str, tuple[Figure, str] | None] = {
        "bars": draw_bars(results),
        "anytime": draw_anytime(results),
        **{f"ranks{_at(ranking)}": draw_ranking(ranking) for ranking in rankings(results)},
        **{f"examples-{task}": draw_examples([one for one in results if one.task == task], gallery) for task in tasks},
    }
    return [
        Drawn(name=name, figure=found[0], caption=f"{found[1]} {conditions}") for name, found in made.items() if found
    ]


def draw_bars(results: Sequence[Result]) -> tuple[Figure, str]:
    """Draw mean scores over datasets at each budget, a panel for each task (QTT-SEG, Figure 2)."""
    from matplotlib.figure import Figure

    tasks = sorted({result.task for result in results})
    figure = Figure(figsize=(4.6 * len(tasks), 3.4), layout="constrained")
    panels = figure.subplots(1, len(tasks), squeeze=False, sharey=True)[0]
    for panel, task in zip(panels, tasks, strict=True):
        _bars(panel, [result for result in results if result.task == task])
        panel.set_title(f"{task} ({len({result.dataset for result in results if result.task == task})} datasets)")
    panels[0].set_ylabel("mean score (higher is better)")
    _add_legend(figure, colours(result.method for result in results))
    caption = (
        "Mean score over datasets at each budget; error bars: the standard deviation over seeds, averaged over datasets. "
        "Hatched: means that lack failed or missing seeds."
    )
    return figure, caption


def _bars(panel: Axes, results: Sequence[Result]) -> None:
    cells = score_cells(results)
    columns = in_order({column for _, column in cells})
    groups = list(dict.fromkeys(column.head.group for column in columns))
    colour = colours(column.method for column in columns)
    width = 0.8 / max(sum(column.head.group == group for column in columns) for group in groups)
    for place, group in enumerate(groups):
        members = [column for column in columns if column.head.group == group]
        for offset, column in enumerate(members):
            own = [cell for (_, other), cell in cells.items() if other == column]
            panel.bar(
                place + (offset - (len(members) - 1) / 2) * width,
                fmean([cell.mean for cell in own if cell.mean is not None] or [0.0]),
                0.92 * width,
                yerr=_mean_deviation(own),
                color=colour[column.method],
                hatch="//" if any(cell.note for cell in own) else None,
                edgecolor="white",
                ecolor="#444444",
            )
    panel.set_xticks(range(len(groups)), [group or "no tuning" for group in groups])
    panel.set_ylim(0, 1)
    panel.grid(axis="y", alpha=0.25)
    panel.set_axisbelow(True)


def _mean_deviation(cells: Sequence[Cell]) -> float | None:
    deviations = [cell.std for cell in cells if cell.std is not None]
    return fmean(deviations) if deviations else None


def draw_anytime(results: Sequence[Result]) -> tuple[Figure, str] | None:
    """Draw the incumbents' validation scores over time, a panel for each budget."""
    from matplotlib.figure import Figure

    curves = anytime_curves(results)
    if not curves:
        return None
    budgets = list(dict.fromkeys(curve.column.budget for curve in curves))
    colour = colours(result.method for result in results)
    figure = Figure(figsize=(4.2 * len(budgets), 3.2), layout="constrained")
    panels = figure.subplots(1, len(budgets), squeeze=False, sharey=True)[0]
    for panel, budget in zip(panels, budgets, strict=True):
        drawn = [curve for curve in curves if curve.column.budget == budget]
        for curve in drawn:
            mean, low, high = curve.band()
            tint = colour[curve.column.method]
            panel.plot(curve.seconds, mean, color=tint, drawstyle="steps-post")
            panel.fill_between(curve.seconds, low, high, color=tint, alpha=0.18, linewidth=0, step="post")
        title = f"budget {budget:g} s ({len(drawn[0].means)} datasets)"
        panel.set(title=title, xlabel="seconds", xlim=(0, budget))
        panel.grid(alpha=0.25)
    panels[0].set_ylabel("validation score of the incumbent")
    shown = {curve.column.method for curve in curves if len(curve.seconds)}
    _add_legend(figure, {method: tint for method, tint in colour.items() if method in shown})
    caption = (
        "Validation score of the incumbent over time, mean over datasets, over the jobs that went well for all methods drawn, "
        "from when each of them has an incumbent. Band: 95 % interval with the datasets held fixed (normal, from the variance "
        "over seeds; none with one seed)."
    )
    return figure, caption


def _add_legend(figure: Figure, tints: Mapping[str, str]) -> None:
    """Say below the panels which colour stands for which method."""
    from matplotlib.patches import Patch

    handles = [Patch(color=tint, label=title_of(method)) for method, tint in tints.items()]
    figure.legend(handles=handles, loc="outside lower center", ncols=4, frameon=False)


def draw_ranking(ranking: Ranking) -> tuple[Figure, str]:
    """Draw a critical-difference diagram (Demšar 2006), with pairwise tests in place of Nemenyi's."""
    from matplotlib.figure import Figure
    from pandas import DataFrame
    from scikit_posthocs import critical_difference_diagram

    names = [title_of(method) for method in ranking.methods]
    tints = colours(ranking.methods)
    figure = Figure(figsize=(6.4, 0.9 + 0.24 * len(names)), layout="constrained")
    critical_difference_diagram(
        dict(zip(names, ranking.ranks, strict=True)),
        DataFrame(ranking.p_values, index=names, columns=names),
        ax=figure.subplots(),
        color_palette={name: tints[method] for name, method in zip(names, ranking.methods, strict=True)},
        label_fmt_left="{label} ({rank:.2f})\N{NO-BREAK SPACE}",  # which SVG, unlike a space, does not cut off
        label_fmt_right="\N{NO-BREAK SPACE}({rank:.2f}) {label}",
    )
    return figure, ranking_caption(ranking)


def _at(ranking: Ranking) -> str:
    return "" if ranking.budget is None else f"-{ranking.budget:g}s"
