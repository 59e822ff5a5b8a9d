"""COCO: polygons, run lengths and crowds; what is wrong in a file is named."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps
from pycocotools import mask as pycoco

from qttseg.errors import DatasetError
from qttseg.metadata.adding import open_dataset
from qttseg.metadata.datasets import Dataset
from qttseg.metadata.formats.run_lengths import from_counts

SIZE = (14, 10)


def coco(root: Path, annotations: list[dict], *, file: str = "instances.json", **image: object) -> Path:
    """Write a COCO file of one image and the categories 7 (cat) and 90 (dog)."""
    row = {"id": 1, "file_name": "a.png", "height": SIZE[1], "width": SIZE[0], **image}
    rows = [
        {"id": place, "image_id": 1, "iscrowd": 0, "category_id": 7, **one} for place, one in enumerate(annotations)
    ]
    categories = [{"id": 90, "name": "dog"}, {"id": 7, "name": "cat"}]
    root.mkdir(parents=True, exist_ok=True)
    (root / file).write_text(json.dumps({"images": [row], "annotations": rows, "categories": categories}))
    return root / file


SQUARE = [[2.0, 2.0, 6.0, 2.0, 6.0, 6.0, 2.0, 6.0]]


LARGE = [[0, 0, 14, 0, 14, 10, 0, 10]]


def test_coco_polygons_runs_and_crowds_are_painted_small_ones_last(picture, tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    runs = {"size": [10, 14], "counts": [130, 10]}
    file = coco(
        tmp_path,
        [
            {"segmentation": SQUARE, "category_id": 90},
            {"segmentation": LARGE},
            {"segmentation": runs, "iscrowd": 1},
            {"segmentation": [], "bbox": [0, 0, 3, 3]},
        ],
    )
    dataset = Dataset.from_coco(file)
    assert dataset.classes == ("background", "cat", "dog")
    mask = dataset[0].mask
    assert mask[3, 3] == 2
    assert mask[8, 8] == 1
    assert mask[:, 13].tolist() == [1] * 10, "what lies on a crowd is not ignored"
    only = Dataset.from_coco(coco(tmp_path, [{"segmentation": runs, "iscrowd": 1}]))
    assert np.unique(only[0].mask[:, 13]).tolist() == [255]
    assert only[0].mask[:, :13].max() == 0


def test_coco_finds_images_in_the_usual_places_or_where_a_rule_says(picture, tmp_path: Path) -> None:
    picture(tmp_path / "one/train2017/a.png")
    coco(tmp_path / "one/annotations", [{"segmentation": SQUARE}], file="instances_train2017.json")
    coco(tmp_path / "one/annotations", [{"segmentation": SQUARE}], file="person_keypoints_train2017.json")
    assert len(open_dataset(tmp_path / "one", rules={})) == 1
    picture(tmp_path / "far/a.png")
    file = coco(tmp_path / "two", [{"segmentation": SQUARE}])
    with pytest.raises(DatasetError, match=r"a\.png is not in"):
        Dataset.from_coco(file)
    assert Dataset.from_coco(file, images=tmp_path / "far").names == ("a",)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("size_of", ["stored", "turned"])
def test_coco_outlines_follow_a_turned_photo(ids, tmp_path: Path, orientation: int, size_of: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = Image.new("RGB", SIZE)
    stored.save(tmp_path / "a.png", exif=exif)
    truth = ids(2, 5)
    with Image.open(tmp_path / "a.png") as photo:
        turned = np.asarray(ImageOps.exif_transpose(photo)).shape[:2]
    drawn = Image.fromarray(truth)
    drawn.getexif()[0x0112] = orientation
    expected = np.asarray(ImageOps.exif_transpose(drawn))
    mask = truth if size_of == "stored" and turned != truth.shape else expected
    outline = {
        "segmentation": {"size": list(mask.shape), "counts": pycoco.encode(np.asfortranarray(mask))["counts"].decode()}
    }
    file = coco(tmp_path, [outline], height=mask.shape[0], width=mask.shape[1])
    assert np.array_equal(Dataset.from_coco(file)[0].mask, expected)


@pytest.mark.parametrize(
    ("annotation", "message"),
    [
        ({"segmentation": [[1, 2, 3]]}, "a polygon must be a list"),
        ({"segmentation": [[1, 2, 3, 4, "x", 6]]}, "a polygon must be a list"),
        ({"segmentation": [[0, 0, 1e9, 0, 5, 5]]}, "far outside its image"),
        ({"segmentation": [[0, 0, float("nan"), 0, 5, 5]]}, "far outside its image"),
        ({"segmentation": [[0, 0, 10**400, 0, 5, 5]]}, "far outside its image"),
        ({"segmentation": "?"}, "neither polygons nor run lengths"),
        ({"segmentation": {"size": [10, 14], "counts": [1, 2]}}, "do not add up"),
        ({"segmentation": {"size": [10, 14], "counts": [-1, 141]}}, "do not add up"),
        ({"segmentation": {"size": [10, 14], "counts": "zzzzzzzz"}}, "malformed"),
        ({"segmentation": {"size": [10, 14], "counts": "0"}}, "do not add up"),
        ({"segmentation": {"size": [99999, 99999], "counts": [1]}}, "its runs are for"),
        ({"segmentation": SQUARE, "category_id": 3}, "the category 3"),
        ({"segmentation": SQUARE, "category_id": None}, "category_id is None"),
        ({"bbox": [1, 2, 3, 4]}, "boxes alone will not do"),
    ],
)
def test_a_wrong_coco_annotation_is_named(picture, tmp_path: Path, annotation: dict, message: str) -> None:
    picture(tmp_path / "a.png")
    with pytest.raises(DatasetError, match=message):
        _ = Dataset.from_coco(coco(tmp_path, [annotation]))[0]


@pytest.mark.parametrize(
    ("image", "message"),
    [
        ({"height": 11}, "is 14 x 10, but its COCO file says 14 x 11"),
        ({"file_name": "../../secret.png"}, "relative path"),
        ({"file_name": None}, "relative path"),
        ({"file_name": "x" * 300}, "relative path"),
        ({"id": "9" * 5000}, "not a number"),
        ({"id": "one"}, "id is 'one'"),
    ],
)
def test_a_wrong_coco_image_is_named(picture, tmp_path: Path, image: dict, message: str) -> None:
    picture(tmp_path / "a.png")
    with pytest.raises(DatasetError, match=message):
        _ = Dataset.from_coco(coco(tmp_path, [{"segmentation": SQUARE}], **image))[0]


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 2**32))
def test_compressed_run_lengths_are_read_as_pycocotools_writes_them(height: int, width: int, seed: int) -> None:
    mask = np.random.default_rng(seed).integers(0, 2, (height, width), dtype=np.uint8)
    large = np.kron(mask, np.ones((40, 40), np.uint8))
    for pixels in (mask, large):
        counts = pycoco.encode(np.asfortranarray(pixels))["counts"].decode()
        assert np.array_equal(from_counts(counts, *pixels.shape, "a"), pixels)
