"""Supervisely: objects painted in their order; what is wrong in one is named."""

from __future__ import annotations

import base64
import io
import json
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from qttseg.errors import DatasetError
from qttseg.metadata.adding import add
from qttseg.metadata.datasets import resolve_dataset


def bitmap(mask: NDArray[np.uint8], origin: tuple[int, int]) -> dict:
    content = io.BytesIO()
    Image.fromarray(mask * 255).save(content, "PNG")
    data = base64.b64encode(zlib.compress(content.getvalue())).decode()
    return {"geometryType": "bitmap", "bitmap": {"data": data, "origin": list(origin)}}


@pytest.fixture
def supervisely(picture) -> Callable[..., Path]:
    def make(root: Path, objects: list[dict]) -> Path:
        (root / "meta.json").parent.mkdir(parents=True, exist_ok=True)
        (root / "meta.json").write_text(json.dumps({"classes": [{"title": "green"}, {"title": "bunker"}]}))
        for index in range(4):
            picture(root / f"ds0/img/{index}.png", index)
            (root / "ds0/ann").mkdir(exist_ok=True)
            values = {"objects": objects, "tags": [{"name": "course", "value": f"c{index // 2}"}]}
            (root / f"ds0/ann/{index}.png.json").write_text(json.dumps(values))
        return root

    return make


def test_supervisely_objects_are_painted_in_their_order(ids, supervisely, tmp_path: Path) -> None:
    ring = {"exterior": [[0, 0], [13, 0], [13, 9], [0, 9]], "interior": [[[4, 4], [8, 4], [8, 7], [4, 7]]]}
    small = ids(2, 3)[:4, :4]
    objects = [
        {"classTitle": "green", "geometryType": "polygon", "points": ring},
        {"classTitle": "bunker", **bitmap(small, (11, 8))},
        {"classTitle": "bunker", "geometryType": "rectangle", "points": {"exterior": [[1, 1], [2, 2]], "interior": []}},
        {"classTitle": "bunker", **bitmap(small, (40, 40))},
    ]
    root = supervisely(tmp_path / "golf", objects)
    assert add("golf", root, rules={"group": "course"}).format == "supervisely"
    dataset = resolve_dataset("golf")
    assert dataset.groups == ("c0", "c0", "c1", "c1")
    mask = dataset[0].mask
    assert (mask[5, 6], mask[0, 5], mask[1, 1], mask[2, 2]) == (0, 1, 2, 2)
    assert np.array_equal(mask[8:, 11:] == 2, small[:2, :3] == 1)


@pytest.mark.parametrize(
    "wrong",
    [
        {"classTitle": "unknown", "geometryType": "rectangle", "points": {"exterior": [[1, 1], [2, 2]]}},
        {"classTitle": "green", "geometryType": "rectangle", "points": {"exterior": [[1, 1]]}},
        {"classTitle": "green", "geometryType": "polygon", "points": {"exterior": [[1, 1], [1e12, 3], [4, 4]]}},
        {"classTitle": "green", "geometryType": "cuboid", "points": {"exterior": []}},
        {"classTitle": "green", "geometryType": "bitmap", "bitmap": {"data": "!", "origin": [0, 0]}},
        {"classTitle": "green", "geometryType": "bitmap", "bitmap": {"data": "AAAA", "origin": [0]}},
        {"classTitle": "green"},
        3,
    ],
)
def test_a_wrong_supervisely_object_is_named(supervisely, tmp_path: Path, wrong: object) -> None:
    with pytest.raises(DatasetError, match=r"0\.png\.json: object 0 is malformed"):
        add("golf", supervisely(tmp_path / "golf", [wrong]))
