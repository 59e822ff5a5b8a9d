"""The studies of prompt learning as figures with their captions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from qttseg.benchmark.colours import colours
from qttseg.benchmark.figures import Drawn, save_figures
from qttseg.benchmark.prompt_learning.averages import Average, comparable
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
from qttseg.benchmark.prompt_learning.tables import PROMPTS

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_ACROSS = 3
"""Most panels beside each other."""

_NARROWEST = 5.4
"""Width in inches that a legend needs."""


def write_studies(rows: Sequence[Row], folder: Path, *, format_: str) -> dict[Path, str]:
    """Draw each study that `rows` have something for, and `captions.md`; return captions by file.

    Rows of several backbones get figures of their own, the backbone in their names. The format is one that matplotlib
    knows, as `png` or `svg`.
    """
    groups = comparable(rows)
    several = len(groups) > 1
    return save_figures(
        ((f"-{group[0].backbone_fingerprint[:6]}" if several else "", drawn_studies(group)) for group in groups),
        folder,
        format_=format_,
    )


def drawn_studies(rows: Sequence[Row]) -> list[Drawn]:
    """Return the figures of rows that share a backbone."""
    made: list[tuple[str, tuple[Figure, str] | None]] = [
        ("prompts", draw_sensitivities(sensitivities(rows))),
        ("data", draw_amounts(amounts(rows))),
        ("transfer", draw_transfers(transfers(rows))),
        ("matching", draw_matchings(matchings(rows))),
    ]
    place = f"Backbone {rows[0].backbone}." if rows else ""
    return [Drawn(name=name, figure=one[0], caption=f"{one[1]} {place}") for name, one in made if one is not None]


def draw_sensitivities(found: Sequence[Sensitivity]) -> tuple[Figure, str] | None:
    """Draw mean and spread over draws of prompts for each kind of prompt, a panel for each task."""
    if not found:
        return None
    tints = colours(method for study in found for method in study.scores)
    figure, panels = _panels(len(found))
    for panel, study in zip(panels, found, strict=True):
        shift = np.linspace(-0.25, 0.25, len(study.scores))
        for offset, (method, scores) in zip(shift, study.scores.items(), strict=True):
            _points(panel, np.arange(len(scores)) + offset, scores, label=title_of(method), tint=tints[method])
        panel.set_xticks(range(len(study.prompts)), study.prompts, rotation=30, ha="right")
        panel.set(title=study.task, ylim=(0, 1))
    _finished(figure, panels, "mean IoU")
    return figure, (
        f"{OVER_DRAWS} Bars: standard deviation over draws for one and the same model, averaged over seeds."
    )


def draw_amounts(found: Sequence[Amounts]) -> tuple[Figure, str] | None:
    """Draw scores over the number of training images, a panel for each task and kind of prompt."""
    if not found:
        return None
    tints = colours(method for study in found for method in study.scores)
    figure, panels = _panels(len(found))
    for panel, study in zip(panels, found, strict=True):
        for method, scores in study.scores.items():
            untrained = scores.get(0)
            if untrained is not None:
                panel.axhline(untrained.mean, color=tints[method], linestyle="--", label=title_of(method))
            trained = {images: score for images, score in scores.items() if images}
            if trained:
                _points(
                    panel, list(trained), list(trained.values()), label=title_of(method), tint=tints[method], line="-"
                )
        panel.set(title=f"{study.task}, {PROMPTS[study.prompt]}", xlabel="training images", ylim=(0, 1))
    _finished(figure, panels, "mean IoU")
    return figure, (
        "Mean IoU over the number of training images; bars: standard deviation over seeds. Dashed: methods that are not "
        "trained."
    )


def draw_transfers(found: Sequence[Transfer]) -> tuple[Figure, str] | None:
    """Draw bars of what training elsewhere, at home and not at all gives, a panel for each pair of datasets."""
    if not found:
        return None
    kinds = {"untrained": "#bcbfc5", "trained on the source": "#0072b2", "trained on the task": "#009e73"}
    figure, panels = _panels(len(found))
    for panel, study in zip(panels, found, strict=True):
        for place, method in enumerate(study.methods):
            bars = {
                kind: score
                for kind, scores in zip(kinds, (study.untrained, study.scores, study.at_home), strict=True)
                if (score := scores.get(method)) is not None
            }
            for offset, (kind, score) in enumerate(bars.items()):
                where = place + (offset - (len(bars) - 1) / 2) * 0.4
                panel.bar(where, score.mean, 0.36, yerr=score.std, color=kinds[kind], ecolor="#444444", label=kind)
        panel.set_xticks(
            range(len(study.methods)), [title_of(method) for method in study.methods], rotation=30, ha="right"
        )
        panel.set(title=f"{study.source} → {study.task}, {PROMPTS[study.prompt]}", ylim=(0, 1))
    _finished(figure, panels, "mean IoU on the task")
    return figure, "Mean IoU on the task behind the arrow; bars: standard deviation over seeds."


def draw_matchings(found: Sequence[Matching]) -> tuple[Figure, str] | None:
    """Draw what point matching adds to prompt learning, in area and along the outline."""
    if not found:
        return None
    figure, (panel,) = _panels(1)
    levels = np.arange(len(found))[::-1]
    measures = (("mean IoU", "#0072b2", 0.15, [one.iou for one in found]), ("boundary F1", "#d55e00", -0.15, [one.outline for one in found]))  # fmt: skip
    for name, tint, shift, gains in measures:
        means, spreads = [gain.mean for gain in gains], [gain.std or 0.0 for gain in gains]
        panel.errorbar(means, levels + shift, xerr=spreads, fmt="o", color=tint, label=name, capsize=2)
    panel.axvline(0, color="#444444", linewidth=0.8)
    panel.set_yticks(
        levels, [f"{one.task}, {PROMPTS[one.prompt]}: {title_of(one.method)} ({one.iou.count})" for one in found]
    )
    panel.set_xlabel("gain by point matching (above 0: it helps)")
    figure.set_size_inches(6.4, 1.4 + 0.35 * len(found))
    _legend(figure, [panel])
    return figure, (
        "Difference between methods with and without point matching, over trainings that differ in nothing else "
        "(their number in brackets); bars: standard deviation over them."
    )


def _points(
    panel: Axes,
    places: Sequence[float] | np.ndarray,
    scores: Sequence[Average | None],
    *,
    label: str,
    tint: str,
    line: str = "",
) -> None:
    kept = [(place, score) for place, score in zip(places, scores, strict=True) if score is not None]
    panel.errorbar(
        [place for place, _ in kept],
        [score.mean for _, score in kept],
        yerr=[score.std or 0.0 for _, score in kept],
        fmt=f"o{line}",
        markersize=4,
        capsize=2,
        color=tint,
        label=label,
    )


def _panels(count: int) -> tuple[Figure, list[Axes]]:
    """Return a figure with so many panels of one height of values."""
    from matplotlib.figure import Figure

    across = min(count, _ACROSS)
    down = -(-count // across)
    figure = Figure(figsize=(max(3.6 * across + 0.6, _NARROWEST), 3.1 * down + 0.4), layout="constrained")
    panels = figure.subplots(down, across, squeeze=False).ravel().tolist()
    for spare in panels[count:]:
        spare.remove()
    return figure, panels[:count]


def _finished(figure: Figure, panels: Sequence[Axes], label: str) -> None:
    for panel in panels:
        panel.grid(axis="y", alpha=0.25)
        panel.set_axisbelow(True)
    for panel in panels[::_ACROSS]:
        panel.set_ylabel(f"{label} (higher is better)")
    _legend(figure, panels)


def _legend(figure: Figure, panels: Iterable[Axes]) -> None:
    entries: dict[str, Artist] = {}
    for panel in panels:
        handles, labels = panel.get_legend_handles_labels()
        entries |= zip(labels, handles, strict=True)
    figure.legend(list(entries.values()), list(entries), loc="outside lower center", ncols=4, frameon=False)
