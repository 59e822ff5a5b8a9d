"""Every format, out and in again; what foreign tools write; what is told when a rule is missing."""

from __future__ import annotations

import base64
import gc
import io
import json
import pickle
import shutil
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageOps
from pycocotools import mask as pycoco

from qttseg.errors import DatasetError
from qttseg.metadata.adding import add, export, open_dataset
from qttseg.metadata.datasets import Dataset, resolve_dataset
from qttseg.metadata.formats.registry import FORMATS, WRITABLE, detect, innermost
from qttseg.metadata.formats.run_lengths import from_counts

REAL = Path(__file__).parents[2] / "../shared/datasets"
SIZE = (14, 10)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("QTTSEG_DATA", str(tmp_path / "home"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    return tmp_path / "home"


def picture(path: Path, seed: int = 0, size: tuple[int, int] = SIZE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def ids(labels: int, seed: int = 0, *, ignored: bool = False) -> NDArray[np.uint8]:
    mask = np.random.default_rng(seed).integers(0, labels, (SIZE[1], SIZE[0]), dtype=np.uint8)
    if ignored:
        mask[0, 3:9] = 255
    return mask


def save(mask: NDArray[np.uint8], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(mask).save(path)


@pytest.fixture
def tiles(tmp_path: Path) -> Callable[..., Dataset]:
    """Write five pairs in the folder format: JPEG and 16-bit images, odd names, groups."""

    def make(classes: int = 4, *, ignored: bool = False, grouped: bool = True) -> Dataset:
        root = tmp_path / "tiles"
        for index, name in enumerate(["a [1]", "b_mask", "ж.0000", "c_0000", "train"]):
            picture(root / "images" / f"{name}.jpg", index)
            save(ids(classes, index, ignored=ignored and index == 1), root / "masks" / f"{name}.png")
        (root / "images/train.jpg").unlink()
        save(np.arange(140, dtype=np.uint16).reshape(10, 14) * 300, root / "images/train.tif")
        values = {"name": "tiles", "task": "binary" if classes == 2 else "multiclass"}
        values["classes"] = ["ground", "tree", "car, parked", 'roof "old"'][:classes]
        if grouped:
            values["group_pattern"] = "^(.)"
        (root / "dataset.json").write_text(json.dumps(values))
        return Dataset.from_folders(root)

    return make


def same(one: Dataset, two: Dataset) -> bool:
    masks = {sample.name: sample.mask for sample in one}
    return one.fingerprint == two.fingerprint and all(np.array_equal(masks[item.name], item.mask) for item in two)


@pytest.mark.parametrize("form", WRITABLE)
@pytest.mark.parametrize("kind", ["multiclass", "binary", "ignoring"])
def test_what_is_exported_and_added_again_is_the_same(tiles, tmp_path: Path, form: str, kind: str) -> None:
    dataset = tiles(2 if kind == "binary" else 4, ignored=kind == "ignoring", grouped=kind != "binary")
    export(dataset, tmp_path / "out", format=form)
    added = add("again", tmp_path / "out")
    again = resolve_dataset("again")
    assert (added.format, added.left_out) == (form, ())
    assert same(dataset, again)
    assert (again.task, again.classes, again.names, again.groups) == (
        dataset.task,
        dataset.classes,
        dataset.names,
        dataset.groups,
    )
    if form != "nnunet":  # which wants PNG
        for file in (tmp_path / "tiles/images").iterdir():
            assert (added.folder / "images" / file.name).read_bytes() == file.read_bytes()
    for file in (added.folder / "masks").iterdir():
        with Image.open(file) as mask:
            assert mask.mode == "L"


def test_drawn_datasets_without_files_are_exported_too(tmp_path: Path, discs) -> None:
    export(discs(3), tmp_path / "out", format="coco")
    assert same(discs(3), Dataset.from_coco(tmp_path / "out"))
    with pytest.raises(DatasetError, match="nothing can be exported as 'supervisely'"):
        export(discs(3), tmp_path / "other", format="supervisely")
    with pytest.raises(DatasetError, match="exists and is not empty"):
        export(discs(3), tmp_path / "out", format="coco")
    names = ("../escaped", *discs(3).names[1:])
    with pytest.raises(DatasetError, match="escaped' cannot be a file's name"):
        export(replace(discs(3), names=names), tmp_path / "other", format="coco")


@pytest.mark.parametrize("form", FORMATS[:1] + FORMATS[3:])
def test_datasets_read_where_they_lie_can_travel_to_a_worker(tiles, tmp_path: Path, form: str) -> None:
    export(tiles(), tmp_path / "out", format=form)
    dataset = open_dataset(tmp_path / "out", rules={})
    assert same(tiles_of(tmp_path), pickle.loads(pickle.dumps(dataset)))  # noqa: S301


def tiles_of(tmp_path: Path) -> Dataset:
    return Dataset.from_folders(tmp_path / "tiles")


# ---- COCO


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


def test_coco_polygons_runs_and_crowds_are_painted_small_ones_last(tmp_path: Path) -> None:
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


def test_coco_finds_images_in_the_usual_places_or_where_a_rule_says(tmp_path: Path) -> None:
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
def test_coco_outlines_follow_a_turned_photo(tmp_path: Path, orientation: int, size_of: str) -> None:
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
def test_a_wrong_coco_annotation_is_named(tmp_path: Path, annotation: dict, message: str) -> None:
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
def test_a_wrong_coco_image_is_named(tmp_path: Path, image: dict, message: str) -> None:
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


# ---- folders


@pytest.mark.parametrize(
    ("images", "masks"),
    [
        ("images/{}.png", "masks/{}.png"),
        ("data/data/images/{}.jpg", "data/data/masks/{}.png"),
        ("PNG/Original/{}.png", "PNG/Ground Truth/{}.png"),
        ("JPEGImages/{}.jpg", "SegmentationClass/{}.png"),
        ("x/train/{}.png", "x/train_labels/{}.png"),
        ("Train Set/Images/{}.png", "Train Set/Ground-truths/mask_{}.png"),
        ("ISBI2016_ISIC_Part1_Training_Data/{}.jpg", "ISBI2016_ISIC_Part1_Training_GroundTruth/{}_Segmentation.png"),
        ("fibers/images/vol[1]/slice_{}.png", "fibers/masks/vol[1]/slice_{}.png"),
        ("CXR_png/{}.png", "masks/{}_mask.png"),
        ("all/{}.png", "all/{}_mask.png"),
        ("1. orthophotos/{}.jpg", "3. class masks/{}.png"),
        ("AUS/images/train/{}.png", "AUS/annotations/train/{}.png"),
        ("imgs/{}_img.png", "labels/{}_label.png"),
    ],
)
def test_the_usual_arrangements_of_folders_are_recognised(tmp_path: Path, images: str, masks: str) -> None:
    root = tmp_path / "root"
    for index in range(5):
        picture(root / images.format(f"2C[0]_{index}"), index)
        save(ids(2, index), root / masks.format(f"2C[0]_{index}"))
    (root / "__MACOSX").mkdir()
    add("mine", innermost(root))
    dataset = resolve_dataset("mine")
    assert (len(dataset), dataset.task) == (5, "binary")
    assert all(np.array_equal(sample.mask, ids(2, int(sample.name.split("]_")[1][0]))) for sample in dataset)


def test_masks_of_both_sides_and_of_several_objects_are_united(tmp_path: Path) -> None:
    left, right = ids(2, 1) * 255, ids(2, 2) * 255
    for index in range(4):
        picture(tmp_path / f"x/CXR/{index}.png", index)
        save(left, tmp_path / f"x/leftMask/{index}.png")
        save(right, tmp_path / f"x/rightMask/{index}.png")
        picture(tmp_path / f"y/benign ({index}).png", index)
        save(left, tmp_path / f"y/benign ({index})_mask.png")
        save(right, tmp_path / f"y/benign ({index})_mask_1.png")
    for root in ("x", "y"):
        dataset = open_dataset(tmp_path / root, format="folders", rules={})
        assert len(dataset) == 4
        assert np.array_equal(dataset[0].mask, (left | right) // 255)


def test_what_cannot_be_told_is_asked_for(tmp_path: Path) -> None:
    for index in range(4):
        picture(tmp_path / f"photos/{index}.png", index)
        save(ids(2, index), tmp_path / f"truth_a/{index}.png")
        save(ids(2, index + 9), tmp_path / f"truth_b/{index}.png")
    with pytest.raises(DatasetError, match=r"could have its masks in truth_a/, truth_b/.*--rule masks=FOLDER"):
        add("mine", tmp_path, format="folders")
    add("mine", tmp_path, rules={"images": "photos", "masks": "truth_b"}, format="folders")
    assert np.array_equal(resolve_dataset("mine")[0].mask, ids(2, 9))
    with pytest.raises(DatasetError, match="unknown rule 'mask'; this format takes images, masks, threshold"):
        add("other", tmp_path, rules={"mask": "truth_b"}, format="folders")
    shutil.copytree(tmp_path / "photos", tmp_path / "all/one/images")
    shutil.copytree(tmp_path / "photos", tmp_path / "all/two/images")
    shutil.copytree(tmp_path / "truth_a", tmp_path / "all/one/masks")
    shutil.copytree(tmp_path / "truth_a", tmp_path / "all/two/masks")
    with pytest.raises(DatasetError, match="several datasets are here"):
        add("other", tmp_path / "all", format="folders")


def test_parts_with_equal_names_are_joined_and_told_apart(tmp_path: Path) -> None:
    for part in ("train", "val"):
        for index in range(3):
            picture(tmp_path / f"{part}/images/{index}.png", index)
            save(ids(2, index), tmp_path / f"{part}/masks/{index}.png")
    assert open_dataset(tmp_path, rules={}).names[::3] == ("train_images_0", "val_images_0")


def test_a_mask_kept_as_jpeg_or_in_two_greys_or_at_another_size_is_mended(tmp_path: Path) -> None:
    mask = np.zeros((40, 56), np.uint8)
    mask[:, :24] = 255
    for index in range(4):
        picture(tmp_path / f"images/{index}.png", index, size=(56, 40))
    save(mask, tmp_path / "masks/0.jpg")
    Image.fromarray(mask).resize((28, 20), 0).save(tmp_path / "masks/1.png")
    save(mask, tmp_path / "masks/2.png")
    Image.fromarray(mask).convert("RGBA").save(tmp_path / "masks/3.png")
    dataset = open_dataset(tmp_path, rules={}, format="folders")
    assert dataset.task == "binary"
    assert all(np.array_equal(sample.mask, mask // 255) for sample in dataset)
    dark = np.where(mask, np.uint8(38), np.uint8(0))
    for index in range(4):
        (tmp_path / "masks/0.jpg").unlink(missing_ok=True)
        save(dark, tmp_path / f"masks/{index}.png")
    dataset = open_dataset(tmp_path, rules={}, format="folders")
    assert (dataset.task, int(dataset[0].mask.max())) == ("binary", 1)
    save(np.arange(140, dtype=np.uint8).reshape(10, 14), tmp_path / "masks/3.png")
    with pytest.raises(DatasetError, match="look like grey levels"):
        open_dataset(tmp_path, rules={}, format="folders")


# ---- palette


def coloured(root: Path, colours: list[tuple[int, int, int]], labels: int) -> None:
    for index in range(4):
        picture(root / f"images/{index}.png", index)
        save(np.array(colours, np.uint8)[ids(labels, index)], root / f"masks/{index}.png")


def test_colours_without_a_table_become_classes(tmp_path: Path) -> None:
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
def test_a_table_names_colours_and_soft_edges_go_to_the_nearest(tmp_path: Path, file: str, text: str) -> None:
    coloured(tmp_path, [(0, 0, 0), (10, 10, 10), (100, 0, 100), (255, 255, 255)], 4)
    (tmp_path / file).write_text(text)
    soft = np.array([[[98, 3, 96], [9, 9, 9], [0, 0, 0], [60, 200, 60]]], np.uint8)
    save(np.repeat(np.repeat(soft, 10, axis=0), 4, axis=1)[:, :14], tmp_path / "masks/0.png")
    add("mine", tmp_path)
    dataset = resolve_dataset("mine")
    assert dataset.classes[:3] == ("background", "under", "liver")
    assert dataset[0].mask[0, ::4].tolist() == [2, 1, 0, 255]
    assert np.array_equal(dataset[1].mask, ids(4, 1))


def test_too_many_colours_ask_for_a_table_and_a_wrong_table_is_named(tmp_path: Path) -> None:
    coloured(tmp_path, [(0, 0, 0), (255, 0, 0)], 2)
    picture(tmp_path / "masks/0.png")
    with pytest.raises(DatasetError, match=r"more than 64 colours .* class_dict\.csv"):
        add("mine", tmp_path)
    for text in ("", "a,1,2,3\n", "a,0,0,0\nb,1,2\n", "a,0,0,0\nb,1,2,900\n"):
        (tmp_path / "class_dict.csv").write_text(text)
        with pytest.raises(DatasetError, match=r"class_dict\.csv"):
            add("mine", tmp_path)


# ---- nnU-Net


def test_nnunet_of_both_versions_and_with_single_channels_is_read(tmp_path: Path) -> None:
    for index in range(4):
        for channel in range(3):
            save(ids(200, channel), tmp_path / f"imagesTr/case_{index}_{channel:04d}.png")
        save(ids(3, index), tmp_path / f"labelsTr/case_{index}.png")
    two = {"channel_names": {"0": "R"}, "labels": {"background": 0, "cell": 1, "ignore": 2}, "file_ending": ".png"}
    (tmp_path / "dataset.json").write_text(json.dumps(two))
    dataset = open_dataset(tmp_path, rules={})
    assert dataset.names[0] == "case_0"
    assert dataset.classes == ("background", "cell")
    assert np.array_equal(dataset[1].mask, np.where(ids(3, 1) == 2, 255, ids(3, 1)))
    assert np.array_equal(dataset[0].image[:, :, 2], ids(200, 2))
    one = {"modality": {"0": "RGB"}, "labels": {"0": "background", "1": "cell", "2": "wall"}, "file_ending": ".png"}
    (tmp_path / "dataset.json").write_text(json.dumps(one))
    assert open_dataset(tmp_path, rules={}).classes == ("background", "cell", "wall")
    for change, message in [
        ({"file_ending": ".nii.gz"}, "volumes are not read"),
        ({"labels": {"background": 0, "whole": [1, 2]}}, "overlapping regions"),
        ({"labels": {"background": 0, "cell": 1}}, r"the values \[2\] are not among"),
    ]:
        (tmp_path / "dataset.json").write_text(json.dumps({**two, **change}))
        with pytest.raises(DatasetError, match=message):
            add("mine", tmp_path)


# ---- Supervisely


def bitmap(mask: NDArray[np.uint8], origin: tuple[int, int]) -> dict:
    content = io.BytesIO()
    Image.fromarray(mask * 255).save(content, "PNG")
    data = base64.b64encode(zlib.compress(content.getvalue())).decode()
    return {"geometryType": "bitmap", "bitmap": {"data": data, "origin": list(origin)}}


def supervisely(root: Path, objects: list[dict]) -> Path:
    (root / "meta.json").parent.mkdir(parents=True, exist_ok=True)
    (root / "meta.json").write_text(json.dumps({"classes": [{"title": "green"}, {"title": "bunker"}]}))
    for index in range(4):
        picture(root / f"ds0/img/{index}.png", index)
        (root / "ds0/ann").mkdir(exist_ok=True)
        values = {"objects": objects, "tags": [{"name": "course", "value": f"c{index // 2}"}]}
        (root / f"ds0/ann/{index}.png.json").write_text(json.dumps(values))
    return root


def test_supervisely_objects_are_painted_in_their_order(tmp_path: Path) -> None:
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
def test_a_wrong_supervisely_object_is_named(tmp_path: Path, wrong: object) -> None:
    with pytest.raises(DatasetError, match=r"0\.png\.json: object 0 is malformed"):
        add("golf", supervisely(tmp_path / "golf", [wrong]))


# ---- Hugging Face


def test_hugging_face_columns_are_found_or_asked_for(tiles, tmp_path: Path) -> None:
    from datasets import Dataset as Rows
    from datasets import DatasetDict
    from datasets import Image as Picture

    dataset = tiles(grouped=False)
    files = {
        part: [str(file) for file in sorted((tmp_path / "tiles" / part).iterdir())] for part in ("images", "masks")
    }
    rows = Rows.from_dict({"photo": files["images"], "annotation": files["masks"], "note": list("abcde")})
    rows = rows.cast_column("photo", Picture()).cast_column("annotation", Picture())
    (tmp_path / "hf").mkdir()
    rows.to_parquet(tmp_path / "hf/train-00000-of-00001.parquet")
    with pytest.raises(DatasetError, match="photo, annotation hold pictures; say --rule image=COLUMN"):
        add("mine", tmp_path / "hf")
    found = Dataset.from_hf(tmp_path / "hf/train-00000-of-00001.parquet", image="photo")
    assert same(dataset, found)
    DatasetDict(train=rows, test=rows, blind=rows.remove_columns("annotation")).save_to_disk(tmp_path / "saved")
    both = Dataset.from_hf(tmp_path / "saved", image="photo")
    assert len(both) == 10
    assert len(Dataset.from_hf(tmp_path / "saved", image="photo", split="test")) == 5
    with pytest.raises(DatasetError, match="no split 'val'; it has train, test, blind"):
        Dataset.from_hf(tmp_path / "saved", image="photo", split="val")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # datasets leaves the CSV file open
def test_an_image_folder_with_metadata_is_read(tmp_path: Path) -> None:
    lines = ["file_name,mask_file_name"]
    for index in range(4):
        picture(tmp_path / f"train/i{index}.png", index)
        save(ids(3, index), tmp_path / f"train/t{index}.png")
        lines.append(f"i{index}.png,t{index}.png")
    (tmp_path / "train/metadata.csv").write_text("\n".join(lines))
    assert add("mine", tmp_path).format == "hf"
    assert np.array_equal(resolve_dataset("mine")[3].mask, ids(3, 3))
    gc.collect()  # that file, before another test is blamed for it


def test_what_the_hub_does_not_have_or_cannot_be_reached_is_one_message(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="cannot load this"):
        add("mine", "no-such-owner/no-such-name", format="hf")
    with pytest.raises(DatasetError, match=r"no file or folder .*--format hf"):
        add("mine", "no-such-owner/no-such-name")


# ---- all of them


def test_auto_detection_says_what_it_saw(tiles, tmp_path: Path) -> None:
    dataset = tiles()
    said = {}
    for form in WRITABLE:
        export(dataset, tmp_path / form, format=form)
        name, said[form] = detect(tmp_path / form)
        assert name == form
    assert said["coco"] == "annotations.json with images, annotations and categories"
    assert said["folders"] == "images/ with masks/, 5 pairs"
    assert "class_dict.csv names colours" in said["palette"]
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty/notes.txt").touch()
    with pytest.raises(DatasetError, match=r"in no known format .* Found: \./: 1 \.txt \(notes\.txt\)"):
        detect(tmp_path / "empty")


@pytest.mark.skipif(not REAL.is_dir(), reason="the real datasets are not here")
@pytest.mark.parametrize("name", ["eyes_drive", "human_parsing_ccp"])
def test_some_real_pairs_come_back_equal_from_every_format(tmp_path: Path, name: str) -> None:
    """Whole, and all thirteen: `python benches/formats.py`."""
    root = tmp_path / name
    for part in ("images", "masks"):
        (root / part).mkdir(parents=True)
        for file in sorted((REAL / name / part).iterdir())[:4]:
            shutil.copy(file, root / part)
    shutil.copy(REAL / name / "dataset.json", root)
    dataset = Dataset.from_folders(root)
    for form in ("coco", "hf", "nnunet", "palette"):
        export(dataset, tmp_path / form, format=form)
        add(form, tmp_path / form)
        assert same(dataset, resolve_dataset(form)), form
