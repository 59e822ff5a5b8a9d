"""Plain folders: the usual arrangements, what cannot be told, masks that need mending."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from qttseg.errors import DatasetError
from qttseg.metadata.adding import add, open_dataset
from qttseg.metadata.datasets import Dataset, resolve_dataset
from qttseg.metadata.formats.registry import innermost


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
def test_the_usual_arrangements_of_folders_are_recognised(
    picture, save, ids, tmp_path: Path, images: str, masks: str
) -> None:
    root = tmp_path / "root"
    for index in range(5):
        picture(root / images.format(f"2C[0]_{index}"), index)
        save(ids(2, index), root / masks.format(f"2C[0]_{index}"))
    (root / "__MACOSX").mkdir()
    add("mine", innermost(root))
    dataset = resolve_dataset("mine")
    assert (len(dataset), dataset.task) == (5, "binary")
    assert all(np.array_equal(sample.mask, ids(2, int(sample.name.split("]_")[1][0]))) for sample in dataset)


def test_masks_of_both_sides_and_of_several_objects_are_united(picture, save, ids, tmp_path: Path) -> None:
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


def test_a_threshold_makes_one_class_of_several_named_ones(picture, save, ids, tmp_path: Path) -> None:
    for index in range(4):
        picture(tmp_path / f"root/images/{index}.png", index)
        save(ids(4, index), tmp_path / f"root/masks/{index}.png")
    description = {"classes": ["background", "one", "two", "three"], "licence": "ours"}
    (tmp_path / "root/dataset.json").write_text(json.dumps(description))
    add("any", tmp_path / "root", rules={"threshold": "0"})
    dataset = resolve_dataset("any")
    assert (dataset.task, dataset.classes) == ("binary", ("background", "foreground"))
    assert np.array_equal(dataset[0].mask, ids(4, 0) > 0)
    (tmp_path / "root/dataset.json").write_text(json.dumps({"classes": ["ground", "thing"]}))
    assert open_dataset(tmp_path / "root", format="folders", rules={"threshold": "0"}).classes == ("ground", "thing")


def test_what_cannot_be_told_is_asked_for(picture, save, ids, tmp_path: Path) -> None:
    for index in range(4):
        picture(tmp_path / f"photos/{index}.png", index)
        save(ids(2, index), tmp_path / f"truth_a/{index}.png")
        save(ids(2, index + 9), tmp_path / f"truth_b/{index}.png")
    with pytest.raises(DatasetError, match=r"could have its masks in truth_a/, truth_b/.*--rule masks=FOLDER"):
        add("mine", tmp_path, format="folders")
    add("mine", tmp_path, rules={"images": "photos", "masks": "truth_b"}, format="folders")
    assert np.array_equal(resolve_dataset("mine")[0].mask, ids(2, 9))
    assert np.array_equal(Dataset.from_folders(tmp_path, images="photos", masks="truth_b")[0].mask, ids(2, 9))
    with pytest.raises(DatasetError, match="unknown rule 'mask'; this format takes images, masks, threshold"):
        add("other", tmp_path, rules={"mask": "truth_b"}, format="folders")
    shutil.copytree(tmp_path / "photos", tmp_path / "all/one/images")
    shutil.copytree(tmp_path / "photos", tmp_path / "all/two/images")
    shutil.copytree(tmp_path / "truth_a", tmp_path / "all/one/masks")
    shutil.copytree(tmp_path / "truth_a", tmp_path / "all/two/masks")
    with pytest.raises(DatasetError, match="several datasets are here"):
        add("other", tmp_path / "all", format="folders")


def test_parts_with_equal_names_are_joined_and_told_apart(picture, save, ids, tmp_path: Path) -> None:
    for part in ("train", "val"):
        for index in range(3):
            picture(tmp_path / f"{part}/images/{index}.png", index)
            save(ids(2, index), tmp_path / f"{part}/masks/{index}.png")
    assert open_dataset(tmp_path, rules={}).names[::3] == ("train_images_0", "val_images_0")


def test_a_mask_kept_as_jpeg_or_in_two_greys_or_at_another_size_is_mended(picture, save, tmp_path: Path) -> None:
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
