"""Charts of the page as Vega-Lite specifications; what a reader ticks arrives in their parameters.

The browser averages over the datasets that are ticked, so each chart carries a row for each method, budget and dataset.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from io import StringIO
from typing import Any

import altair as alt
import numpy as np

from qttseg.benchmark.anytime import NORMAL_QUANTILE, anytime_curves
from qttseg.benchmark.colours import colours
from qttseg.benchmark.results import Result
from qttseg.benchmark.tables import dataset_labels, in_order, score_cells, title_of

Specification = dict[str, Any]
"""Vega-Lite, as JSON values."""

_TICKED = (
    "indexof(methods, datum.key) >= 0 && indexof(datasets, datum.dataset) >= 0"
    " && (!datum.seconds || indexof(budgets, datum.budget) >= 0)"
)
_LARGEST = "!datum.seconds || datum.seconds == largest"
_UNTUNED = "untuned"

ROW = 24
"""Height of a dataset's row in pixels."""


def bar_chart(results: Sequence[Result]) -> Specification:
    """Return mean scores over the ticked datasets at each budget (QTT-SEG, Figure 2)."""
    rows = _score_rows(results)
    groups = list(dict.fromkeys(str(row["budget"]) for row in rows))
    base = _chart(results, rows).transform_aggregate(
        groupby=["method", "budget"], score="mean(mean)", deviation="mean(deviation)", count="count()"
    )
    base = base.transform_calculate(
        known="isValid(datum.deviation)",
        low="datum.known ? datum.score - datum.deviation : datum.score",
        high="datum.known ? datum.score + datum.deviation : datum.score",
        spread="datum.known ? format(datum.deviation, '.3f') : 'one seed'",
    ).encode(
        x=alt.X("budget:N", sort=groups, title=None, axis=alt.Axis(labelAngle=0)),
        xOffset=alt.XOffset("method:N", sort=_titles(results)),
    )
    tooltips = [
        alt.Tooltip("method:N", title="Method"),
        alt.Tooltip("budget:N", title="Budget"),
        alt.Tooltip("score:Q", title="Mean score", format=".3f"),
        alt.Tooltip("spread:N", title="± over seeds"),
        alt.Tooltip("count:Q", title="Datasets"),
    ]
    score = alt.Y("score:Q", title="mean score", scale=alt.Scale(domain=[0, 1]))
    bars = base.mark_bar(cornerRadiusEnd=2).encode(y=score, color=_colour(results), tooltip=tooltips)
    return _finished(bars + base.mark_rule(strokeWidth=1.5, opacity=0.7).encode(y="low:Q", y2="high:Q"), height=280)


def dot_chart(results: Sequence[Result]) -> Specification:
    """Return the score of each dataset at the largest ticked budget; the page makes it `ROW` high for each ticked one."""
    tooltips = [
        alt.Tooltip("dataset:N", title="Dataset"),
        alt.Tooltip("method:N", title="Method"),
        alt.Tooltip("budget:N", title="Budget"),
        alt.Tooltip("mean:Q", title="Mean score", format=".3f"),
        alt.Tooltip("deviation:N", title="± over seeds"),
        alt.Tooltip("note:N", title="Note"),
    ]
    dots = (
        _chart(results, _score_rows(results))
        .transform_filter(_LARGEST)
        .mark_circle(size=90, opacity=0.9)
        .encode(
            x=alt.X("mean:Q", title="score", scale=alt.Scale(domain=[0, 1]), axis=alt.Axis(tickCount=10)),
            y=alt.Y("dataset:N", title=None, axis=alt.Axis(grid=True, labelLimit=130)),
            color=_colour(results),
            tooltip=tooltips,
        )
    )
    return _finished(dots, height=ROW * len({result.dataset_fingerprint for result in results})) | {
        "usermeta": {"row": ROW}
    }


def anytime_chart(results: Sequence[Result]) -> Specification | None:
    """Return the incumbents over time at the largest ticked budget; None where no method has a trajectory."""
    rows = _anytime_rows(results)
    if not rows:
        return None
    base = _chart(results, rows).transform_filter(_LARGEST)
    base = base.transform_aggregate(
        groupby=["method", "time"], score="mean(mean)", total="sum(variance)", known="valid(variance)", count="count()"
    ).transform_calculate(
        # One seed somewhere tells nothing of its spread: then there is no band, one of no width.
        half=f"datum.known < datum.count ? 0 : {NORMAL_QUANTILE} * sqrt(datum.total) / datum.count",
        low="datum.score - datum.half",
        high="datum.score + datum.half",
        interval="datum.half ? format(datum.low, '.3f') + ' to ' + format(datum.high, '.3f') : 'unknown'",
    )
    time = alt.X("time:Q", title="seconds")
    score = alt.Y("score:Q", title="validation score", scale=alt.Scale(zero=False))
    tooltips = [
        alt.Tooltip("method:N", title="Method"),
        alt.Tooltip("time:Q", title="Seconds", format=".0f"),
        alt.Tooltip("score:Q", title="Mean score", format=".3f"),
        alt.Tooltip("interval:N", title="95 % interval"),
        alt.Tooltip("count:Q", title="Datasets"),
    ]
    colour = _colour(results)
    bands = base.mark_area(opacity=0.18, interpolate="step-after").encode(x=time, y="low:Q", y2="high:Q", color=colour)
    lines = base.mark_line(interpolate="step-after", strokeWidth=2).encode(x=time, y=score, color=colour)
    hover = base.mark_point(opacity=0, size=120, filled=True).encode(x=time, y=score, color=colour, tooltip=tooltips)
    return _finished(bands + lines + hover, height=300)


def _chart(results: Sequence[Result], rows: Sequence[dict[str, object]]) -> alt.Chart:
    """Return a chart of what is ticked among `rows`; at first everything is."""
    data = alt.InlineData(values=_csv(rows), format=alt.CsvDataFormat(type="csv"))
    budgets = sorted({result.budget for result in results if result.budget is not None})
    return (
        alt.Chart(data)
        .add_params(
            alt.param("methods", value=sorted({result.method for result in results})),
            alt.param("datasets", value=[label for label, _ in dataset_labels(results).values()]),
            alt.param("budgets", value=[f"{budget:g} s" for budget in budgets]),
            alt.param("largest", value=max(budgets, default=0.0)),
        )
        .transform_filter(_TICKED)
    )


def _finished(chart: alt.Chart | alt.LayerChart, *, height: int) -> Specification:
    sized = chart.properties(width="container", height=height, autosize=alt.AutoSizeParams(type="fit-x"))
    made: Specification = sized.to_dict()
    return made


def _colour(results: Sequence[Result]) -> alt.Color:
    names = colours(result.method for result in results)
    scale = alt.Scale(domain=[title_of(name) for name in names], range=list(names.values()))
    return alt.Color("method:N", scale=scale, legend=None)  # the filter's boxes are the legend


def _titles(results: Iterable[Result]) -> list[str]:
    columns = in_order({column for _, column in score_cells(tuple(results))})
    return list(dict.fromkeys(title_of(column.method) for column in columns))


def _score_rows(results: Sequence[Result]) -> list[dict[str, object]]:
    cells = score_cells(results)
    columns = in_order({column for _, column in cells})
    return [
        {
            "key": column.method,
            "method": title_of(column.method),
            "budget": column.head.group or _UNTUNED,
            "seconds": column.budget or "",
            "dataset": label,
            "mean": f"{cell.mean:.4f}",
            "deviation": "" if cell.std is None else f"{cell.std:.4f}",
            "note": cell.note,
        }
        for wanted in columns
        for (label, column), cell in cells.items()
        if column == wanted and cell.mean is not None
    ]


def _anytime_rows(results: Sequence[Result]) -> list[dict[str, object]]:
    labels = dataset_labels(results)
    return [
        {
            "key": curve.column.method,
            "method": title_of(curve.column.method),
            "budget": curve.column.head.group,
            "seconds": curve.column.budget,
            "dataset": labels[dataset][0],
            "time": f"{time:g}",
            "mean": f"{mean:.4f}",
            "variance": "" if np.isnan(variance) else f"{variance:.3g}",
        }
        for curve in anytime_curves(results, points=41)
        for dataset, means in curve.means.items()
        for time, mean, variance in zip(curve.seconds, means, curve.variances[dataset], strict=True)
    ]


def _csv(rows: Sequence[dict[str, object]]) -> str:
    text = StringIO()
    writer = csv.DictWriter(text, list(rows[0]) if rows else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
