"""Hugging Face: Parquet, saved datasets, image folders, and a hub that cannot be reached."""

from __future__ import annotations

import gc
from pathlib import Path

import numpy as np
import pytest

from qttseg.errors import DatasetError
from qttseg.metadata.adding import add
from qttseg.metadata.datasets import Dataset, resolve_dataset


def test_hugging_face_columns_are_found_or_asked_for(same, tiles, tmp_path: Path) -> None:
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
def test_an_image_folder_with_metadata_is_read(picture, save, ids, tmp_path: Path) -> None:
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
