from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from qttseg.benchmark.anytime import anytime_curves
from qttseg.benchmark.captions import conditions_of
from qttseg.benchmark.colours import colours
from qttseg.benchmark.figures import write_figures
from qttseg.benchmark.gallery import Gallery
from qttseg.benchmark.prompt_learning.rows import METHODS
from qttseg.benchmark.results import Result
from qttseg.benchmark.store import ResultStore
from qttseg.metadata.protocol import Protocol


def test_every_figure_is_drawn_with_a_caption_that_tells_the_conditions(filled: ResultStore, tmp_path: Path):
    written = write_figures(filled.results(), tmp_path / "figures", gallery=Gallery(uri=filled.uri), format_="png")
    names = {"bars", "anytime", "ranks-60s", "ranks-120s", "examples-binary", "examples-multiclass"}
    assert {file.stem for file in written} == names
    captions = (tmp_path / "figures" / "captions.md").read_text()
    for file, caption in written.items():
        pixels = np.asarray(Image.open(file).convert("L"))
        assert pixels.std() > 10, f"{file} is not empty"
        assert "boxes from the ground truth" in caption
        assert f"({file.name})\n\n{caption}" in captions


def test_results_of_two_protocols_get_figures_of_their_own_and_without_pictures_no_grids(
    made: Callable[..., list[Result]], tmp_path: Path
):
    results = made(datasets=("widgets", "procedural-polyp"), budgets=(60.0,), seeds=1)
    whole = [replace(result, protocol=Protocol(prompt="whole-image")) for result in results]
    written = write_figures([*results, *whole], tmp_path, gallery=Gallery(uri=str(tmp_path)), format_="svg")
    stems = {file.stem for file in written}
    assert stems == {
        f"{name}-{protocol.id}-bbbbbb"
        for name in ("bars", "anytime", "ranks-60s")
        for protocol in (Protocol(), Protocol(prompt="whole-image"))
    }
    text = (tmp_path / f"ranks-60s-{Protocol().id}-bbbbbb.svg").read_text()
    assert re.search(r"<text[^>]*>QTT-SEG", text), "text stays text"


def test_curves_hold_the_incumbents_of_shared_jobs_from_when_all_have_one(scored: Callable[..., Result]):
    def job(method: str, dataset: str, seed: int, *trajectory: tuple[float, float]) -> Result:
        return replace(scored(method, dataset, 0.5, 10.0, seed), trajectory=trajectory)

    results = [
        job("qtt-seg", "a", 0, (2.0, 0.4), (5.0, 0.6)),
        job("qtt-seg", "a", 1, (1.0, 0.5)),
        job("qtt-seg", "b", 0, (3.0, 0.8)),
        job("random", "a", 0, (0.0, 0.1)),
        job("random", "a", 1, (0.0, 0.3)),
        job("random", "b", 0, (0.0, 0.2)),
        job("random", "b", 1, (0.0, 0.9)),  # QTT-SEG has not run it
        scored("qtt-seg", "c", None, 10.0),
        scored("zero-shot", "a", 0.3),
    ]
    tuned, random = anytime_curves(results, points=11)
    assert tuned.seconds.tolist() == list(range(3, 11))
    assert tuned.means["a"].tolist() == pytest.approx([0.45] * 2 + [0.55] * 6)
    assert random.seconds.tolist() == list(range(11))
    mean, low, high = random.band()
    assert mean.tolist() == pytest.approx([0.2] * 11)
    assert np.isnan(low).all(), "one seed of b tells nothing of its spread"
    assert random.variances["a"][0] == pytest.approx(0.01)
    assert np.isnan(high).all()


def test_captions_tell_the_comparisons_apart(template: Result):
    def told(*methods: str, protocol: Protocol) -> str:
        return conditions_of([replace(template, method=method, protocol=protocol) for method in methods])

    box, whole = Protocol(), Protocol(prompt="whole-image")
    assert "AutoGluon" not in told("qtt-seg", protocol=box)
    papers = told("qtt-seg", "autogluon", protocol=box)
    assert "only our side gets these boxes, AutoGluon gets none" in papers
    assert "Same information" not in papers
    assert "Same information: AutoGluon with boxes" in told("qtt-seg", "autogluon-boxes", protocol=box)
    assert "nobody gets a box" in told("qtt-seg", "autogluon", protocol=whole)
    assert "one point for each class" in told("qtt-seg", protocol=Protocol(prompt="point"))
    assert "AutoGluon gets no prompts" in told("autogluon", protocol=Protocol(prompt="point", points=2))


def test_the_main_methods_keep_their_colours_whoever_else_is_there():
    few, many = colours(["qtt-seg", "zero-shot"]), colours(["qtt-seg", "zero-shot", "asha", "random", "default"])
    assert few.items() <= many.items()
    assert len(set(many.values())) == 5


def test_all_methods_of_prompt_learning_can_be_told_apart():
    assert len(set(colours(METHODS).values())) == len(METHODS)


def test_figures_and_report_need_neither_torch_nor_ray():
    program = (
        "import sys; import qttseg.benchmark.figures, qttseg.benchmark.report.sections, qttseg.benchmark.report.page;"
        "heavy = {'torch', 'ray', 'mlflow', 'duckdb'} & set(sys.modules);"
        "sys.exit(str(heavy) if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
