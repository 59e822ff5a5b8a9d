"""The examples of docs/extend.md do what the page says, installed as it says."""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from qttseg.benchmark.methods import method_names
from qttseg.benchmark.results import Result, Status
from qttseg.benchmark.runner import Benchmark, run_benchmark
from qttseg.benchmark.store import ResultStore
from qttseg.metadata.protocol import Protocol

PAGE = (Path(__file__).parents[2] / "docs" / "extend.md").read_text(encoding="utf-8")


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Install the example below a heading of the page as a package: its module and its entry points."""
    modules: list[str] = []

    def install(heading: str) -> None:
        section = re.split(r"^## ", PAGE, flags=re.MULTILINE)
        (section,) = [text for text in section if text.startswith(f"{heading}\n")]
        code, toml = (re.findall(rf"```{kind}\n(.*?)```", section, re.DOTALL)[0] for kind in ("python", "toml"))
        site = tmp_path / "site"
        information = site / "example-1.0.dist-info"
        information.mkdir(parents=True)
        lines = []
        for group, points in tomllib.loads(toml)["project"]["entry-points"].items():
            lines.append(f"[{group}]")
            for name, place in points.items():
                lines.append(f"{name} = {place}")
                modules.append(place.partition(":")[0])
        (site / f"{modules[0]}.py").write_text(code)
        (information / "METADATA").write_text("Metadata-Version: 2.1\nName: example\nVersion: 1.0\n")
        (information / "entry_points.txt").write_text("\n".join([*lines, ""]))
        monkeypatch.syspath_prepend(site)

    yield install
    for module in modules:
        sys.modules.pop(module, None)


@pytest.fixture
def bench(tmp_path: Path) -> Callable[..., Result]:
    """Run a method on eight small images of a bright square."""
    for part in ("images", "masks"):
        (tmp_path / "squares" / part).mkdir(parents=True)
    for index in range(8):
        mask = np.zeros((48, 64), np.uint8)
        mask[10 : 30 + index, 20:44] = 1
        image = np.where(mask[..., None], 210, 60).astype(np.uint8).repeat(3, axis=2)
        Image.fromarray(image).save(tmp_path / "squares" / "images" / f"{index}.png")
        Image.fromarray(mask).save(tmp_path / "squares" / "masks" / f"{index}.png")

    def bench(method: str, *, backbone: str = "sam-nano") -> Result:
        benchmark = Benchmark(
            methods=(method,),
            datasets=(str(tmp_path / "squares"),),
            budgets=(3.0,),
            seeds=(0,),
            protocol=Protocol(images=5, test_images=2, epochs=2),
            backbone=backbone,
        )
        (result,) = run_benchmark(benchmark, ResultStore(tmp_path / "results")).results
        return result

    return bench


def test_a_method(install, bench):
    install("A method")
    assert "steady" in method_names()
    result = bench("steady")
    assert (result.status, result.reason) == (Status.OK, "")
    assert len(result.image_scores) == 2


def test_a_backbone(install, bench):
    install("A backbone")
    result = bench("zero-shot", backbone="shallow")
    assert (result.status, result.reason) == (Status.OK, "")
    assert result.backbone == "shallow"
