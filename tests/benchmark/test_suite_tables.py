"""`qttseg tables --datasets`: only a suite's results, with a word on what has none."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from qttseg.benchmark.results import Result
from qttseg.cli.results import _of_suite
from qttseg.errors import BenchmarkError


def test_a_suite_chooses_its_results_even_where_its_datasets_are_not(
    scored: Callable[..., Result], capfd: pytest.CaptureFixture[str]
) -> None:
    found = [scored("zero-shot", name, 0.5) for name in ("polyp", "golf", "procedural-golf")]

    def chosen(suite: str) -> list[str]:
        kept = _of_suite(found, suite, name_of=lambda result: result.dataset, mend="run qttseg bench first")
        return [result.dataset for result in kept]

    assert chosen("paper13") == ["polyp", "golf"]
    assert "cholec" in capfd.readouterr().err
    with pytest.raises(BenchmarkError, match="no results on procedural-polyp; run qttseg bench first"):
        chosen("procedural-polyp")
