"""How the methods did over all datasets: scores, ranks, duels with zero-shot, failures and overruns."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from statistics import fmean

from qttseg.benchmark.results import Result, Status
from qttseg.benchmark.tables import BASELINE, Cell, Column, Head, Row, Table, budgets_of, check_comparable
from qttseg.errors import BenchmarkError

OVERRUN_TOLERANCE = 0.01
"""Share of the budget that a run may overrun before it is counted."""

Job = tuple[str, int]
"""Dataset fingerprint and seed."""


@dataclass(frozen=True, kw_only=True)
class MethodSummary:
    """One method at one budget over all (dataset, seed) jobs.

    Attributes:
        column: Method and budget.
        jobs: Jobs that were run.
        mean_score: Mean over the jobs with a score; None without any. Failed jobs are not imputed.
        mean_rank: Mean rank (1 is best, ties share) among the methods at this budget, over the jobs that all of them
            have run; a failed job ranks last. None where there is no such job.
        gain: Mean score less that of zero-shot over the jobs in which both have a score; None without any.
        relative_gain: The same as a share of zero-shot's mean score there; None where that is 0.
        wins: Jobs in which it beats zero-shot in the third decimal; a failed job is a loss.
        ties: Jobs in which both agree in the third decimal.
        losses: The other jobs that both have run.
        failed: Jobs without a score.
        overruns: Jobs that took over 1 % longer than the budget.
        worst_overrun: Most seconds beyond the budget.
    """

    column: Column
    jobs: int
    mean_score: float | None
    mean_rank: float | None
    gain: float | None
    relative_gain: float | None
    wins: int
    ties: int
    losses: int
    failed: int
    overruns: int
    worst_overrun: float


def summarize(results: Iterable[Result]) -> tuple[MethodSummary, ...]:
    """Return a summary for each method and budget, budget-free methods first, then by budget and mean rank.

    Raises:
        BenchmarkError: there are no results, or they come from several protocols or backbones.
    """
    by_column: defaultdict[Column, dict[Job, Result]] = defaultdict(dict)
    for result in results:
        column = Column(method=result.method, budget=result.budget)
        by_column[column][result.dataset_fingerprint, result.seed] = result
    if not by_column:
        raise BenchmarkError("there are no results to summarize; run the benchmark first")
    check_comparable(result for jobs in by_column.values() for result in jobs.values())
    summaries = [_summary(column, by_column) for column in by_column]
    return tuple(sorted(summaries, key=_place))


def _place(summary: MethodSummary) -> tuple[float, float, str]:
    rank = float("inf") if summary.mean_rank is None else summary.mean_rank
    return (summary.column.budget or 0.0, rank, summary.column.method)


def _summary(column: Column, by_column: dict[Column, dict[Job, Result]]) -> MethodSummary:
    jobs = by_column[column]
    scores = [score for result in jobs.values() if (score := _score(result)) is not None]
    baseline = by_column.get(Column(method=BASELINE), {})
    duels = _duels(jobs, baseline)
    gain, relative_gain = _gain(jobs, baseline)
    overruns = [result.overrun for result in jobs.values()]
    return MethodSummary(
        column=column,
        jobs=len(jobs),
        mean_score=fmean(scores) if scores else None,
        mean_rank=_mean_rank(column, by_column),
        gain=gain,
        relative_gain=relative_gain,
        wins=sum(duel > 0 for duel in duels),
        ties=sum(duel == 0 for duel in duels),
        losses=sum(duel < 0 for duel in duels),
        failed=len(jobs) - len(scores),
        overruns=sum(overrun > OVERRUN_TOLERANCE * (column.budget or 0.0) for overrun in overruns),
        worst_overrun=max(overruns),
    )


def _score(result: Result) -> float | None:
    return result.score if result.status is Status.OK else None


def _mean_rank(column: Column, by_column: dict[Column, dict[Job, Result]]) -> float | None:
    """Mean rank over jobs and, for a budget-free method, over the budgets it competes at; ties share the middle."""
    ranks = []
    for budget in budgets_of(by_column) if column.budget is None else {column.budget}:
        rivals = [jobs for rival, jobs in by_column.items() if rival.budget in (None, budget)]
        for job in set.intersection(*(set(jobs) for jobs in rivals)):
            own, scores = _or_last(by_column[column][job]), [_or_last(jobs[job]) for jobs in rivals]
            above, level = sum(score > own for score in scores), sum(score == own for score in scores)
            ranks.append(above + (level + 1) / 2)
    return fmean(ranks) if ranks else None


def _or_last(result: Result) -> float:
    score = _score(result)
    return float("-inf") if score is None else score


def _duels(jobs: dict[Job, Result], baseline: dict[Job, Result]) -> list[int]:
    """Thousandths by which each shared job differs from zero-shot; a failed job is a loss, against whatever."""
    duels = []
    for job in jobs.keys() & baseline.keys():
        own, other = _score(jobs[job]), _score(baseline[job])
        duels.append(-1000 if own is None else 1000 if other is None else round((own - other) * 1000))
    return duels


def _gain(jobs: dict[Job, Result], baseline: dict[Job, Result]) -> tuple[float | None, float | None]:
    """Mean gain over zero-shot, absolute and as a share of zero-shot's mean score."""
    pairs = ((_score(jobs[job]), _score(baseline[job])) for job in jobs.keys() & baseline.keys())
    both = [(own, other) for own, other in pairs if own is not None and other is not None]
    if not both:
        return None, None
    gain, level = fmean(own - other for own, other in both), fmean(other for _, other in both)
    return gain, gain / level if level else None


def summary_table(results: Iterable[Result]) -> Table:
    """Return `summarize` as a table, a row for each method and budget.

    Raises:
        BenchmarkError: there are no results, or they come from several protocols or backbones.
    """
    titles = (
        "Jobs", "Mean score", "Mean rank", "Over zero-shot", "Win/tie/loss", "Failed", "Overruns", "Worst overrun [s]"
    )  # fmt: skip
    rows = tuple(
        Row(
            label=summary.column.head.text,
            about=summary.column.about,
            cells=(
                Cell(mean=summary.jobs, decimals=0),
                Cell(mean=summary.mean_score),
                Cell(mean=summary.mean_rank, decimals=2),
                _gain_cell(summary),
                Cell(note=f"{summary.wins}/{summary.ties}/{summary.losses}"),
                Cell(mean=summary.failed, decimals=0),
                Cell(mean=summary.overruns, decimals=0),
                Cell(mean=summary.worst_overrun, decimals=2),
            ),
        )
        for summary in summarize(results)
    )
    caption = (
        "Over all (dataset, seed) jobs. Mean score: jobs with a score only, higher is better. Mean rank: 1 is best, "
        "among the methods at the same budget, over the jobs all of them have run; failed jobs rank last. "
        "Over zero-shot: mean gain, and as a share of zero-shot's mean, over the jobs in which both have a score. "
        "Win/tie/loss: against zero-shot, to the third decimal; failed jobs lose. "
        f"Overruns: jobs more than {OVERRUN_TOLERANCE:.0%} over the budget."
    )
    return Table(corner="Method", heads=tuple(Head(title=title) for title in titles), rows=rows, caption=caption)


def _gain_cell(summary: MethodSummary) -> Cell:
    if summary.column.method == BASELINE:
        return Cell()
    note = "" if summary.relative_gain is None else f"({summary.relative_gain:+.0%})"
    return Cell(mean=summary.gain, note=note, signed=True)
