from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from qttseg.metadata.datasets import Dataset
from qttseg.metadata.overlays import contact_sheet, overlay
from qttseg.metadata.quality import quality_of
from qttseg.metadata.quality_page import page_of, page_of_report, spread
from qttseg.metadata.verification import verify


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Twelve pairs: one an enlarged JPEG of another, one without foreground, one with a single pixel, one with two areas."""
    for name in ("images", "masks"):
        (tmp_path / name).mkdir()
    for index in range(12):
        noise = ndimage.gaussian_filter(np.random.default_rng(index).normal(size=(64, 80, 3)), (4, 4, 0))
        pixels = ((noise - noise.min()) / np.ptp(noise) * 255).astype(np.uint8)
        mask = np.zeros((64, 80), np.uint8)
        mask[10:30, 10:40] = 255
        if index == 3:
            mask[50:60, 60:70] = 255
        if index in (4, 5):
            mask[:] = 0
        if index == 5:
            mask[0, 0] = 255
        Image.fromarray(pixels).save(tmp_path / f"images/<i>{index}.png")
        Image.fromarray(mask).save(tmp_path / f"masks/<i>{index}.png")
        if index == 0:
            Image.fromarray(pixels).resize((160, 128)).save(tmp_path / "images/again.jpg", quality=80)
            Image.fromarray(mask).resize((160, 128), Image.Resampling.NEAREST).save(tmp_path / "masks/again.png")
    return tmp_path


def test_it_counts_what_a_person_would_want_to_know(folder: Path) -> None:
    quality = quality_of(Dataset.from_folders(folder))
    assert quality.images == 13
    background, foreground = quality.classes
    assert (background.images, foreground.images) == (13, 12)
    assert background.components is None
    assert foreground.components == pytest.approx(13 / 12)
    assert foreground.share == pytest.approx(1 - background.share)
    assert quality.sizes == (((64, 80), 12), ((128, 160), 1))
    assert quality.empty == ("<i>4",)
    assert [name for name, _ in quality.tiny] == ["<i>5"]
    assert {bar.label: bar.count for bar in quality.components if bar.count} == {"none": 1, "1": 11, "2": 1}
    assert sum(bar.count for bar in quality.shares) == 13
    assert [{pair.first, pair.second} for pair in quality.near] == [{"<i>0", "again"}]
    assert sum(quality.near_counts.values()) == 1


def test_sizes_beyond_the_most_frequent_are_put_together(folder: Path) -> None:
    rows = quality_of(Dataset.from_folders(folder)).frequent_sizes(1)
    assert [(row.label, row.count) for row in rows] == [("80 × 64", 12), ("1 other sizes", 1)]


def test_a_pair_on_two_sides_of_the_split_is_the_worst(folder: Path) -> None:
    for index in range(12):
        for name in ("images", "masks"):
            file = folder / f"{name}/<i>{index}.png"
            file.with_name(f"twin{index}.png").write_bytes(file.read_bytes())
    quality = quality_of(Dataset.from_folders(folder))
    across = [pair.across for pair in quality.near]
    assert True in across
    assert across == sorted(across, reverse=True)
    assert sum(quality.near_counts.values()) == len(quality.near) == 14, "12 copies, and both that again is like"


def test_the_page_holds_all_it_needs_and_escapes_names(folder: Path) -> None:
    page = page_of(Dataset.from_folders(folder))
    assert "&lt;i&gt;4" in page
    assert "<i>" not in page
    assert all(source.startswith("data:image/jpeg;base64,") for source in re.findall(r'src="([^"]*)"', page))
    assert page.count("<img") == 13 + 2
    assert not re.search(r"https?://", page)
    assert "Without foreground: 1" in page


def test_a_folder_that_is_not_fit_for_use_has_a_page_with_its_problems(folder: Path) -> None:
    (folder / "images/<i>1.png").write_bytes(b"no image")
    page = page_of_report(verify(folder))
    assert "1 error," in page
    assert "images/&lt;i&gt;1.png" in page
    assert page.count("<img") == 12 + 2
    (folder / "dataset.json").write_text("{")
    assert "is not JSON" in page_of_report(verify(folder))
    assert "is not a folder" in page_of_report(verify(folder / "nowhere"))


def test_a_drawn_dataset_has_a_page_too(discs) -> None:
    page = page_of(discs(3))
    assert "discs3" in page
    assert "square" in page


def test_the_sheet_shows_each_image_with_its_mask(folder: Path) -> None:
    dataset = Dataset.from_folders(folder)
    samples = [dataset[index] for index in spread(len(dataset), 5)]
    sheet = contact_sheet(samples, columns=3)
    assert sheet.width > sheet.height
    shown = np.asarray(overlay(samples[0], side=80))
    assert shown.shape == (64, 80, 3)
    assert (shown[50:, 50:] == np.asarray(Image.fromarray(samples[0].image).resize((80, 64)))[50:, 50:]).all()
    assert spread(3, 24) == [0, 1, 2]
    assert spread(100, 4) == [0, 25, 50, 75]
    assert spread(0, 4) == []
