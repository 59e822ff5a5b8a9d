"""What the page tells about results of one protocol and one backbone, ready for its template."""

from __future__ import annotations

from base64 import b64encode
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from io import BytesIO

from qttseg.benchmark.captions import conditions_of
from qttseg.benchmark.colours import colours
from qttseg.benchmark.figures import draw_ranking, styled
from qttseg.benchmark.gallery import Example, Gallery, picture
from qttseg.benchmark.report.charts import Specification, anytime_chart, bar_chart, dot_chart
from qttseg.benchmark.results import Result, Status
from qttseg.benchmark.statistics import duel_table, duels, ranking_caption, rankings
from qttseg.benchmark.summary import summarize, summary_table
from qttseg.benchmark.tables import (
    Cell,
    Column,
    Head,
    Row,
    Table,
    budgets_of,
    dataset_labels,
    in_order,
    paper_table,
    title_of,
)


@dataclass(frozen=True, kw_only=True)
class Choice:
    """One box to tick."""

    value: str
    title: str
    colour: str = ""
    task: str = ""


@dataclass(frozen=True, kw_only=True)
class Shown:
    """A picture in the gallery: class ids as a data address, over the example's image."""

    title: str
    address: str
    about: Mapping[str, str]
    score: float | None = None


@dataclass(frozen=True, kw_only=True)
class Strip:
    """One test image, its truth and what the methods predicted.

    Attributes:
        id: Unique in the page.
        name: The item's name.
        image: Data address of the image.
        size: Its width and height in pixels.
        shown: Truth first.
    """

    id: str
    name: str
    image: str
    size: tuple[int, int]
    shown: tuple[Shown, ...]


@dataclass(frozen=True, kw_only=True)
class Section:
    """Everything about results that may stand side by side.

    Attributes:
        id: Unique in the page.
        title: Names the conditions.
        conditions: Sentences on them.
        findings: What came out, a sentence for each budget.
        counts: Name and number, for the top of the page.
        choices: What can be ticked, by `method`, `dataset` and `budget`.
        tables: By title.
        charts: Specifications by title.
        rankings: Diagram (data address) and caption for each budget.
        strips: By dataset label.
        jobs: One row a result.
        provenance: Name and value.
        lineages: Method, datasets and what its predictors had learnt from.
    """

    id: str
    title: str
    conditions: str
    findings: tuple[str, ...]
    counts: Mapping[str, int]
    choices: Mapping[str, tuple[Choice, ...]]
    tables: Mapping[str, Table]
    charts: Mapping[str, Specification]
    rankings: tuple[tuple[str, str], ...]
    strips: Mapping[str, tuple[Strip, ...]]
    jobs: Table
    provenance: Mapping[str, str]
    lineages: tuple[tuple[str, str, str], ...]


def section_of(results: Sequence[Result], gallery: Gallery, *, place: int, examples: int) -> Section:
    """Return the section of `results`, which share protocol and backbone, with this many examples a dataset."""
    first = results[0]
    tasks = sorted({result.task for result in results})
    tables = {"Summary": summary_table(results)}
    if duels(results):
        tables["How surely"] = duel_table(results)
    titles = {
        "binary": "Binary datasets (the paper's Table 1)",
        "multiclass": "Multiclass datasets (the paper's Table 2)",
    }
    tables |= {titles[task]: paper_table(results, task) for task in tasks}
    charts = {
        "Mean scores by budget": bar_chart(results),
        "Incumbents over time": anytime_chart(results),
        "Scores by dataset": dot_chart(results),
    }
    summaries = summarize(results)
    return Section(
        id=f"s{place}",
        title=f"{first.backbone}, prompt {first.protocol.prompt}, protocol {first.protocol.id}",
        conditions=conditions_of(results),
        findings=_findings(results),
        counts={
            "datasets": len({result.dataset_fingerprint for result in results}),
            "results": len(results),
            "failed": sum(result.status is not Status.OK for result in results),
            "over the budget": sum(summary.overruns for summary in summaries),
        },
        choices=_choices(results),
        tables=tables,
        charts={title: chart for title, chart in charts.items() if chart is not None},
        rankings=_diagrams(results),
        strips=_strips(results, gallery, place=place, examples=examples),
        jobs=_jobs(results),
        provenance=_provenance(results),
        lineages=_lineages(results),
    )


def _findings(results: Sequence[Result]) -> tuple[str, ...]:
    return tuple(
        f"{'Without tuning' if ranking.budget is None else f'At {ranking.budget:g} s'}, {title_of(ranking.methods[0])} ranks "
        f"best of {len(ranking.methods)} methods (mean rank {ranking.ranks[0]:.2f} over {ranking.datasets} datasets)."
        for ranking in rankings(results)
    )


def _choices(results: Sequence[Result]) -> dict[str, tuple[Choice, ...]]:
    tints = colours(result.method for result in results)
    columns = in_order({Column(method=result.method, budget=result.budget) for result in results})
    tasks = {result.dataset_fingerprint: result.task for result in results}
    labels = sorted((label, tasks[fingerprint]) for fingerprint, (label, _) in dataset_labels(results).items())
    methods = dict.fromkeys(column.method for column in columns)
    budgets = sorted(budget for budget in budgets_of(columns) if budget is not None)
    return {
        "method": tuple(Choice(value=name, title=title_of(name), colour=tints[name]) for name in methods),
        "budget": tuple(Choice(value=f"{budget:g} s", title=f"{budget:g} s") for budget in budgets),
        "dataset": tuple(Choice(value=label, title=label, task=task) for label, task in labels),
    }


def _diagrams(results: Sequence[Result]) -> tuple[tuple[str, str], ...]:
    made = []
    with styled():
        for ranking in rankings(results):
            figure, _ = draw_ranking(ranking)
            file = BytesIO()
            figure.savefig(file, format="svg", metadata={"Date": None})
            made.append((_address("image/svg+xml", file.getvalue()), ranking_caption(ranking)))
    return tuple(made)


def _strips(results: Sequence[Result], gallery: Gallery, *, place: int, examples: int) -> dict[str, tuple[Strip, ...]]:
    """Return the examples by dataset label, with the predictions after the first seed."""
    seed, labels = min(result.seed for result in results), dataset_labels(results)
    by_dataset: defaultdict[str, list[Result]] = defaultdict(list)
    for result in results:
        if result.seed == seed:
            by_dataset[labels[result.dataset_fingerprint][0]].append(result)
    strips = {}
    for label, own in sorted(by_dataset.items()):
        kept = gallery.examples(own[0])[:examples]
        if kept:
            strips[label] = tuple(
                _strip(example, own, gallery, name=f"s{place}-{own[0].dataset_fingerprint}-{example.place}")
                for example in kept
            )
    return strips


def _strip(example: Example, results: Sequence[Result], gallery: Gallery, *, name: str) -> Strip:
    by_column = {Column(method=result.method, budget=result.budget): result for result in results}
    shown = [Shown(title="truth", address=_address("image/png", example.truth), about={})]
    for column in in_order(by_column):
        file = gallery.prediction(by_column[column], example)
        if file is not None:
            score = by_column[column].image_scores[example.place]
            address = _address("image/png", file)
            shown.append(Shown(title=column.head.text, address=address, about=column.about, score=score))
    return Strip(
        id=name,
        name=example.name,
        image=_address("image/jpeg", example.image),
        size=picture(example.image).size,
        shown=tuple(shown),
    )


def _address(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{b64encode(content).decode()}"


def _jobs(results: Sequence[Result]) -> Table:
    labels = dataset_labels(results)
    titles = ("Dataset", "Seed", "Score", "Validation", "Seconds", "Overrun [s]", "Warm start [s]", "Status")
    rows = []
    for result in results:
        column, label = Column(method=result.method, budget=result.budget), labels[result.dataset_fingerprint][0]
        cells = (
            Cell(note=label),
            Cell(mean=result.seed, decimals=0),
            Cell(mean=result.score),
            Cell(mean=result.validation_score),
            Cell(mean=result.seconds, decimals=1),
            Cell(mean=result.overrun, decimals=1),
            Cell(mean=result.warm_start_seconds, decimals=1),
            Cell(note=f"{result.status}{f': {result.reason}' if result.reason else ''}"),
        )
        rows.append(Row(label=column.head.text, cells=cells, about={**column.about, "dataset": label}))
    return Table(
        corner="Method",
        heads=tuple(Head(title=title) for title in titles),
        rows=tuple(rows),
        caption="Every result, failures included.",
    )


def _provenance(results: Sequence[Result]) -> dict[str, str]:
    first = results[0]
    days = [datetime.fromtimestamp(result.finished_at, UTC) for result in results if result.finished_at]
    versions: defaultdict[str, set[str]] = defaultdict(set)
    for result in results:
        for package, version in result.versions.items():
            versions[package].add(version)
    return {
        "Backbone": f"{first.backbone} ({first.backbone_fingerprint})",
        "Protocol": f"{first.protocol.id}: {', '.join(f'{k} {v}' for k, v in first.protocol.to_dict().items())}",
        "Machines": "; ".join(sorted({result.machine for result in results if result.machine})) or "not recorded",
        "Versions": ", ".join(f"{package} {' and '.join(sorted(found))}" for package, found in versions.items()),
        "Run": f"{min(days):%Y-%m-%d %H:%M} to {max(days):%Y-%m-%d %H:%M} UTC" if days else "not recorded",
        "Datasets": ", ".join(
            f"{label} ({fingerprint})" for fingerprint, (label, _) in dataset_labels(results).items()
        ),
    }


def _lineages(results: Sequence[Result]) -> tuple[tuple[str, str, str], ...]:
    found: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
    labels = dataset_labels(results)
    for result in results:
        if result.lineage:
            found[result.method, result.lineage].add(labels[result.dataset_fingerprint][0])
    return tuple((title_of(method), ", ".join(sorted(names)), text) for (method, text), names in sorted(found.items()))
