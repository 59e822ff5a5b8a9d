"""Masks in colour, with a table and without."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from qttseg.errors import DatasetError
from qttseg.metadata.adding import add
from qttseg.metadata.datasets import resolve_dataset


@pytest.fixture
def coloured(picture, save, ids) -> Callable[..., None]:
    def make(root: Path, colours: list[tuple[int, int, int]], labels: int) -> None:
        for index in range(4):
            picture(root / f"images/{index}.png", index)
            save(np.array(colours, np.uint8)[ids(labels, index)], root / f"masks/{index}.png")

    return make


def test_colours_without_a_table_become_classes(ids, coloured, tmp_path: Path) -> None:
    coloured(tmp_path, [(0, 0, 0), (128, 0, 0)], 2)
    added = add("leaf", tmp_path)
    dataset = resolve_dataset("leaf")
    assert (added.format, dataset.task) == ("palette", "binary")
    assert np.array_equal(dataset[2].mask, ids(2, 2))


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("class_dict.csv", "name,r,g,b\nunder,10,10,10\nliver,100,0,100\nbackground,0,0,0\nbones,255,255,255\n"),
        ("classes.csv", "background,0,0,0\nunder,10,10,10\nliver,100,0,100\nbones,255,255,255\n"),
        ("labelmap.txt", "# l:c:p:a\nbackground:0,0,0::\nunder:10,10,10::\nliver:100,0,100::\nbones:255,255,255::\n"),
        ("colors.json", '{"background": [0,0,0], "under": [10,10,10], "liver": [100,0,100], "bones": [255,255,255]}'),
    ],
)
def test_a_table_names_colours_and_soft_edges_go_to_the_nearest(
    save, ids, coloured, tmp_path: Path, file: str, text: str
) -> None:
    coloured(tmp_path, [(0, 0, 0), (10, 10, 10), (100, 0, 100), (255, 255, 255)], 4)
    (tmp_path / file).write_text(text)
    soft = np.array([[[98, 3, 96], [9, 9, 9], [0, 0, 0], [60, 200, 60]]], np.uint8)
    save(np.repeat(np.repeat(soft, 10, axis=0), 4, axis=1)[:, :14], tmp_path / "masks/0.png")
    add("mine", tmp_path)
    dataset = resolve_dataset("mine")
    assert dataset.classes[:3] == ("background", "under", "liver")
    assert dataset[0].mask[0, ::4].tolist() == [2, 1, 0, 255]
    assert np.array_equal(dataset[1].mask, ids(4, 1))


def test_too_many_colours_ask_for_a_table_and_a_wrong_table_is_named(picture, coloured, tmp_path: Path) -> None:
    coloured(tmp_path, [(0, 0, 0), (255, 0, 0)], 2)
    picture(tmp_path / "masks/0.png")
    with pytest.raises(DatasetError, match=r"more than 64 colours .* class_dict\.csv"):
        add("mine", tmp_path)
    for text in ("", "a,1,2,3\n", "a,0,0,0\nb,1,2\n", "a,0,0,0\nb,1,2,900\n"):
        (tmp_path / "class_dict.csv").write_text(text)
        with pytest.raises(DatasetError, match=r"class_dict\.csv"):
            add("mine", tmp_path)
