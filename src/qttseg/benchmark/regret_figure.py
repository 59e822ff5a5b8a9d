"""Regret over time as a figure."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from qttseg.benchmark.regret import regret_curves

if TYPE_CHECKING:
    from qttseg.benchmark.replay import Replayed


def draw_regret(replays: Sequence[Replayed], path: Path) -> None:
    """Draw mean normalised regret over the share of the budget, with 95 % bands, one panel for each budget.

    Args:
        replays: What was replayed.
        path: File to write; its ending decides the format.
    """
    from matplotlib.figure import Figure

    labels = list(dict.fromkeys(one.label for one in replays))
    figure = Figure(figsize=(4.5 * len(labels), 3.6), layout="constrained")
    panels = figure.subplots(1, len(labels), squeeze=False, sharey=True)[0]
    for panel, label in zip(panels, labels, strict=True):
        for name, (shares, mean, low, high) in regret_curves(replays, label).items():
            (line,) = panel.plot(shares, mean, label=name)
            panel.fill_between(shares, low, high, alpha=0.15, color=line.get_color(), linewidth=0)
        panel.set(title=f"budget {label}", xlabel="share of the budget", yscale="log")
        panel.grid(visible=True, which="both", alpha=0.2)
    panels[0].set_ylabel("normalised regret (lower is better)")
    panels[-1].legend(frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)
