from __future__ import annotations

import pytest

from qttseg.benchmark.presets import PRESETS, preset
from qttseg.errors import BenchmarkError


def test_the_papers_benchmark_is_the_papers():
    paper = preset("paper")
    assert (paper.protocol.images, paper.protocol.epochs) == (100, 10)
    assert (paper.budgets, paper.seeds) == ((60.0, 120.0, 180.0), 5)


def test_the_quick_one_is_smaller_in_everything():
    paper, quick = PRESETS["paper"], PRESETS["quick"]
    assert quick.protocol.images < paper.protocol.images
    assert max(quick.budgets) < min(paper.budgets)
    assert quick.seeds < paper.seeds


def test_an_unknown_one_is_answered_with_the_known_ones():
    with pytest.raises(BenchmarkError, match="no protocol 'slow'; there are paper, quick"):
        preset("slow")
