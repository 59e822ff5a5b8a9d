"""The dataset of docs/extend.md does what the page says, installed as it says."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import numpy as np
import pytest

from qttseg.metadata.adding import add, export
from qttseg.metadata.datasets import resolve_dataset

PAGE = (Path(__file__).parents[2] / "docs/extend.md").read_text(encoding="utf-8")


@pytest.fixture
def tiles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Install the example as a package, and write what it reads."""
    (section,) = [
        text for text in re.split(r"^## ", PAGE, flags=re.MULTILINE) if text.startswith("A dataset of your own")
    ]
    code, toml = (re.findall(rf"```{kind}\n(.*?)```", section, re.DOTALL)[0] for kind in ("python", "toml"))
    assert len(code.strip().splitlines()) < 30
    information = tmp_path / "site/example-1.0.dist-info"
    information.mkdir(parents=True)
    (tmp_path / "site/my_dataset.py").write_text(code)
    points = tomllib.loads(toml)["project"]["entry-points"]
    lines = [f"[{group}]\n{name} = {place}\n" for group, named in points.items() for name, place in named.items()]
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: example\nVersion: 1.0\n")
    (information / "entry_points.txt").write_text("".join(lines))
    monkeypatch.syspath_prepend(tmp_path / "site")
    monkeypatch.setenv("TILES", str(tmp_path))
    monkeypatch.setenv("QTTSEG_DATA", str(tmp_path / "home"))
    generator = np.random.default_rng(0)
    np.save(tmp_path / "images.npy", generator.integers(0, 255, (5, 8, 9, 3), dtype=np.uint8))
    np.save(tmp_path / "masks.npy", generator.integers(0, 2, (5, 8, 9), dtype=np.uint8))


def test_the_dataset_of_the_page_is_known_by_its_name_and_can_be_given_away(tiles: None, tmp_path: Path) -> None:
    dataset = resolve_dataset("tiles")
    assert (len(dataset), dataset[3].name, dataset[3].image.shape) == (5, "tile3", (8, 9, 3))
    export(dataset, tmp_path / "out", format="coco")
    add("copy", tmp_path / "out")
    assert resolve_dataset("copy").fingerprint == dataset.fingerprint
