"""`qttseg tables prompt-learning` and `qttseg prompt-learning figures` on made rows."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from qttseg.benchmark.prompt_learning.rows import Row
from qttseg.benchmark.prompt_learning.store import TrialStore
from qttseg.cli import app
from qttseg.errors import BenchmarkError


@pytest.fixture
def results(tmp_path: Path, studied: list[Row]) -> str:
    store = TrialStore(tmp_path / "results")
    store.append(*studied)
    return store.uri


def run(*words: str) -> None:
    CliRunner().invoke(app, words, catch_exceptions=False)


def test_tables_of_methods_and_datasets_that_were_asked_for(tmp_path: Path, results: str) -> None:
    page = tmp_path / "page.md"
    run("tables", "prompt-learning", "--results", results, "--out", str(page))
    text = page.read_text()
    assert text.count("| *paper: faces* |") == 4  # in the overview, and below SAM, SAM-F and PLM + PMM
    assert "0.7167" in text
    assert "widgets, a box" in text
    run("tables", "prompt-learning", "--results", results, "--out", str(page), "--methods", "sam,plm",
        "--datasets", "prompt-learning")  # fmt: skip
    text = page.read_text()
    assert "widgets" not in text
    assert "LoRA" not in text
    with pytest.raises(BenchmarkError, match="no results of magic"):
        run("tables", "prompt-learning", "--results", results, "--methods", "magic")
    with pytest.raises(BenchmarkError, match=r"no results on procedural-polyp; docs/prompt-learning\.md tells"):
        run("tables", "prompt-learning", "--results", results, "--datasets", "procedural-polyp")


def test_figures_of_what_was_studied(tmp_path: Path, results: str) -> None:
    folder = tmp_path / "figures"
    run("prompt-learning", "figures", "--results", results, "--out", str(folder), "--format", "svg")
    assert {file.name for file in folder.iterdir()} == {
        "prompts.svg", "data.svg", "transfer.svg", "matching.svg", "captions.md"
    }  # fmt: skip


def test_without_trials_or_studies_it_says_so(tmp_path: Path, studied: list[Row]) -> None:
    empty = str(tmp_path / "empty")
    for words in (("tables", "prompt-learning"), ("prompt-learning", "figures")):
        with pytest.raises(BenchmarkError, match="no trials of prompt learning"):
            run(*words, "--results", empty)
    TrialStore(empty).append(studied[0])
    with pytest.raises(BenchmarkError, match="vary neither prompts"):
        run("prompt-learning", "figures", "--results", empty, "--out", str(tmp_path / "figures"))
