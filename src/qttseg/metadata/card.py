"""The data card of a learning-curve store, in Markdown: what a reader must know before learning from it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

from qttseg.metadata.queries import importance, provenance, summary
from qttseg.metadata.store import CurveStore


def data_card(store: CurveStore) -> str:
    """Return protocol, backbone, machines, outcomes, scores by dataset, and which parameters mattered.

    Raises:
        StoreError: the store is empty.
    """
    made, datasets, parameters = (ask(store).to_pylist() for ask in (provenance, summary, importance))
    runs, hours = sum(row["runs"] for row in datasets), sum(row["hours"] for row in datasets)
    parts = [
        "# Learning curves",
        f"{runs} runs on {len(datasets)} datasets, {hours:.1f} worker hours.",
        "## Made with",
        *(_provenance(row) for row in made),
        "## Datasets",
        "Validation scores of completed runs after their last epoch.",
        _table(
            ("dataset", "runs", "completed", "diverged", "other", "mean", "best", "spread", "s / epoch"),
            (
                (
                    row["dataset"],
                    row["runs"],
                    row["completed"],
                    row["diverged"],
                    row["out_of_memory"] + row["timed_out"] + row["failed"],
                    row["score_mean"],
                    row["score_best"],
                    row["score_spread"],
                    row["seconds_per_epoch"],
                )
                for row in datasets
            ),
        ),
        "## Which parameters mattered",
        "Main effects: the share of the variance of a run's rank within its dataset that a parameter explains alone, less "
        "what chance would explain, and the mean rank (0 worst, 1 best) at its best and worst levels. Conditional parameters "
        "are judged where they are active; a run that diverged counts as worst.",
        _table(
            ("parameter", "runs", "explains", "best", "rank", "worst", "rank"),
            (
                (
                    row["parameter"],
                    row["runs"],
                    f"{row['epsilon_squared']:.1%}",
                    row["best"],
                    row["best_rank"],
                    row["worst"],
                    row["worst_rank"],
                )
                for row in parameters
            ),
        ),
    ]
    return "\n\n".join(parts) + "\n"


def _provenance(row: dict[str, object]) -> str:
    protocol = ", ".join(f"{name} {value}" for name, value in json.loads(str(row["protocol"])).items())
    lines = {
        "runs": row["runs"],
        "search space": row["space"],
        "backbone": f"{row['backbone']} ({row['backbone_fingerprint']})",
        "protocol": f"{protocol} ({row['protocol_id']})",
        "machines": row["machines"] or "not known",
        "qttseg": row["versions"] or "not known",
    }
    return "\n".join(f"- {name}: {value}" for name, value in lines.items())


def _table(headers: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = [headers, ["---"] * len(headers), *([_cell(value) for value in row] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _cell(value: object) -> str:
    if value is None:
        return "–"
    return f"{value:.3f}" if isinstance(value, float) else str(value)
