from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from qttseg.errors import DatasetError
from qttseg.metadata.datasets import Dataset, resolve_dataset
from qttseg.metadata.suites import resolve_suite

REAL = Path(__file__).parents[2] / "../shared/datasets"


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("QTTSEG_CACHE", str(folder))
    return folder


def write(root: Path, count: int = 5, *, foreground: int = 255, size: tuple[int, int] = (32, 24)) -> Path:
    """Write `count` pairs of width x height `size`; the foreground is the left quarter."""
    (root / "images").mkdir(parents=True)
    (root / "masks").mkdir()
    generator = np.random.default_rng(0)
    for index in range(count):
        pixels = generator.integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)
        Image.fromarray(pixels).save(root / f"images/item{index}.png")
        mask = np.zeros((size[1], size[0]), np.uint8)
        mask[:, : size[0] // 4] = foreground
        Image.fromarray(mask).save(root / f"masks/item{index}.png")
    return root


def describe(root: Path, **values: object) -> Path:
    (root / "dataset.json").write_text(json.dumps(values))
    return root


def test_a_folder_without_description_is_understood(tmp_path: Path) -> None:
    dataset = Dataset.from_folders(write(tmp_path / "mine"))
    assert (dataset.name, dataset.task, dataset.classes) == ("mine", "binary", ("background", "foreground"))
    assert dataset.names == tuple(f"item{index}" for index in range(5))
    assert dataset.groups is None
    sample = dataset[1]
    assert sample.name == "item1"
    assert sample.image.shape == (24, 32, 3)
    assert sample.mask.shape == (24, 32)
    assert np.array_equal(np.unique(sample.mask), [0, 1])


def test_several_class_ids_make_a_multiclass_dataset_with_ignored_pixels(tmp_path: Path) -> None:
    root = write(tmp_path / "many", foreground=3)
    Image.fromarray(np.array([[0, 1, 255]], np.uint8)).resize((32, 24), 0).save(root / "masks/item0.png")
    dataset = Dataset.from_folders(root)
    assert dataset.task == "multiclass"
    assert len(dataset.classes) == 4
    assert set(np.unique(dataset[0].mask)) == {0, 1, 255}


def test_the_description_names_classes_and_groups_and_may_say_more(tmp_path: Path) -> None:
    root = describe(
        write(tmp_path / "d", foreground=1),
        name="tiles",
        task="multiclass",
        classes=["background", "crack", "hole"],
        licence="none",
        groups={f"item{index}": f"patient{index % 2}" for index in range(5)},
    )
    dataset = Dataset.from_folders(root)
    assert (dataset.name, dataset.classes) == ("tiles", ("background", "crack", "hole"))
    assert dataset.groups == ("patient0", "patient1", "patient0", "patient1", "patient0")


def test_groups_come_from_a_pattern(tmp_path: Path) -> None:
    root = write(tmp_path / "d")
    assert Dataset.from_folders(describe(root, group_pattern=r"item(\d)")).groups == ("0", "1", "2", "3", "4")
    with pytest.raises(DatasetError, match="5 items have no group"):
        Dataset.from_folders(describe(root, group_pattern=r"case(\d)"))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"task": "panoptic"}, "binary or multiclass"),
        ({"task": "binary", "classes": ["background", "a", "b"]}, "one class"),
        ({"classes": "polyp"}, "must list the names"),
        ({"name": 3}, "must be a text"),
        ({"group_pattern": "("}, "must be a regex"),
        ({"group_pattern": "item"}, "must be a regex with a group"),
        ({"groups": ["a"]}, "must map each stem"),
    ],
)
def test_a_wrong_description_names_file_and_mend(tmp_path: Path, values: dict[str, object], message: str) -> None:
    with pytest.raises(DatasetError, match=message) as caught:
        Dataset.from_folders(describe(write(tmp_path / "d"), **values))
    assert "dataset.json" in str(caught.value)


def test_a_broken_description_is_an_error_of_ours(tmp_path: Path) -> None:
    root = write(tmp_path / "d")
    for text in ("{", "[" * 100_000):
        (root / "dataset.json").write_text(text)
        with pytest.raises(DatasetError, match="is not JSON"):
            Dataset.from_folders(root)
    (root / "dataset.json").unlink()
    os.mkfifo(root / "dataset.json")
    with pytest.raises(DatasetError, match="is no file"):
        Dataset.from_folders(root)


def test_palette_masks_give_indices_not_grey_levels(tmp_path: Path) -> None:
    root = write(tmp_path / "d")
    for index in range(5):
        mask = Image.fromarray(np.full((24, 32), index % 2, np.uint8), mode=None).convert("P")
        mask.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0])
        mask.save(root / f"masks/item{index}.png")
    dataset = Dataset.from_folders(root)
    assert [int(sample.mask.max()) for sample in dataset] == [0, 1, 0, 1, 0]


def test_every_kind_of_image_becomes_three_channels(tmp_path: Path) -> None:
    root = write(tmp_path / "d")
    grey = np.arange(32 * 24, dtype=np.uint16).reshape(24, 32)
    Image.fromarray((grey % 256).astype(np.uint8)).save(root / "images/item0.png")
    Image.fromarray(grey * 40).save(root / "images/item1.png")
    Image.new("RGBA", (32, 24), (200, 10, 10, 30)).save(root / "images/item2.png")
    palette = Image.new("P", (32, 24), 1)
    palette.putpalette([0, 0, 0, 9, 8, 7])
    palette.save(root / "images/item3.png", transparency=b"\x00\x80")
    Image.new("1", (32, 24), 1).save(root / "images/item4.png")
    images = [sample.image for sample in Dataset.from_folders(root)]
    assert all(image.shape == (24, 32, 3) and image.dtype == np.uint8 for image in images)
    assert (images[1].min(), images[1].max()) == (0, 255)
    assert images[2][0, 0].tolist() == [200, 10, 10]
    assert images[3][0, 0].tolist() == [9, 8, 7]
    assert images[4].min() == 255


def test_a_photo_is_turned_as_its_exif_says(tmp_path: Path) -> None:
    root = write(tmp_path / "d")
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (24, 32)).save(root / "images/item0.png", exif=exif)
    assert Dataset.from_folders(root)[0].image.shape == (24, 32, 3)


def test_missing_partners_are_left_out_and_named_not_shifted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    root = write(tmp_path / "d")
    (root / "masks/item1.png").unlink()
    (root / "images/item3.png").unlink()
    (root / "images/.hidden").touch()
    dataset = Dataset.from_folders(root)
    assert dataset.names == ("item0", "item2", "item4")
    assert "images/item1.png" in caplog.text
    assert "masks/item3.png" in caplog.text


def test_two_files_of_one_stem_are_refused(tmp_path: Path) -> None:
    root = write(tmp_path / "d")
    Image.new("RGB", (32, 24)).save(root / "images/item0.jpg")
    with pytest.raises(DatasetError, match=r"item0\.jpg"):
        Dataset.from_folders(root)


@pytest.mark.parametrize("missing", ["", "images", "masks"])
def test_a_folder_without_pairs_is_refused(tmp_path: Path, missing: str) -> None:
    root = write(tmp_path / "d")
    shutil.rmtree(root / missing)
    with pytest.raises(DatasetError, match="not a folder"):
        Dataset.from_folders(root)


def test_damaged_and_misfit_files_are_named_when_read(tmp_path: Path) -> None:
    root = describe(write(tmp_path / "d"), classes=["background", "thing"])
    (root / "images/item0.png").write_bytes((root / "images/item0.png").read_bytes()[:200])
    Image.new("L", (8, 8)).save(root / "masks/item1.png")
    Image.fromarray(np.full((24, 32), 7, np.uint8)).save(root / "masks/item2.png")
    Image.new("RGB", (32, 24), (128, 0, 0)).save(root / "masks/item3.png")
    dataset = Dataset.from_folders(root)
    for index, message in enumerate(
        ["cannot be read", "the mask is 8 x 8 but its image 32 x 24", r"ids \[7\]", "in colour"]
    ):
        with pytest.raises(DatasetError, match=message) as caught:
            dataset[index]
        assert f"item{index}.png" in str(caught.value)


def test_the_fingerprint_depends_on_pixels_only(tmp_path: Path, cache: Path) -> None:
    root = write(tmp_path / "a")
    original = Dataset.from_folders(root).fingerprint
    assert len(original) == 16
    assert [file.read_text() for file in (cache / "fingerprints").iterdir()] == [original]

    other = tmp_path / "b"
    shutil.copytree(root, other)
    for folder in ("images", "masks"):
        for index in range(5):  # other names, other order, another format
            file = other / folder / f"item{index}.png"
            Image.open(file).save(other / folder / f"x{9 - index}.tif")
            file.unlink()
    assert Dataset.from_folders(other).fingerprint == original

    pixels = np.array(Image.open(root / "images/item0.png"))
    pixels[0, 0, 0] ^= 1
    Image.fromarray(pixels).save(root / "images/item0.png")
    assert Dataset.from_folders(root).fingerprint != original


def test_a_torn_or_unwritable_cache_does_no_harm(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = write(tmp_path / "a")
    original = Dataset.from_folders(root).fingerprint
    (note,) = (cache / "fingerprints").iterdir()
    note.write_bytes(b"\xff\x00")
    assert Dataset.from_folders(root).fingerprint == original
    (tmp_path / "file").touch()
    monkeypatch.setenv("QTTSEG_CACHE", str(tmp_path / "file"))
    assert Dataset.from_folders(root).fingerprint == original


def test_names_and_paths_are_resolved_and_near_names_offered(tmp_path: Path) -> None:
    root = write(tmp_path / "mine")
    assert resolve_dataset(str(root)).name == "mine"
    assert resolve_dataset("procedural-polyp").classes == ("background", "polyp")
    with pytest.raises(DatasetError, match="procedural-polyp"):
        resolve_dataset("procedural-polip")


def test_suites_expand_to_names(tmp_path: Path) -> None:
    write(tmp_path / "all/b")
    write(tmp_path / "all/a")
    (tmp_path / "all/notes").mkdir()
    assert len(resolve_suite("procedural13")) == 13
    mixed = resolve_suite(f"procedural4, folders:{tmp_path / 'all'}, procedural-eyes, procedural-eyes")
    assert [Path(name).name for name in mixed[4:]] == ["a", "b", "procedural-eyes"]
    assert all(resolve_dataset(name) for name in mixed)
    for wrong in ("", "procedural14", f"folders:{tmp_path / 'nowhere'}", f"folders:{tmp_path / 'all/notes'}"):
        with pytest.raises(DatasetError):
            resolve_suite(wrong)


def test_other_packages_register_datasets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "theirs-1.0.dist-info"
    package.mkdir()
    (package / "METADATA").write_text("Name: theirs\nVersion: 1.0\n")
    (package / "entry_points.txt").write_text(
        "[qttseg.datasets]\ntheir-tiles = theirs_datasets:tiles\ngone = nowhere:tiles\nwrong = theirs_datasets:wrong\n"
    )
    (tmp_path / "theirs_datasets.py").write_text(
        "from qttseg.metadata.datasets import resolve_dataset\n"
        "def tiles():\n    return resolve_dataset('procedural-fiber')\n"
        "def wrong():\n    return 3\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert resolve_suite("their-tiles") == ("their-tiles",)
    assert resolve_dataset("their-tiles").name == "procedural-fiber"
    for name in ("gone", "wrong"):
        with pytest.raises(DatasetError, match="plug-in"):
            resolve_dataset(name)


def test_naming_datasets_imports_neither_scipy_nor_pillow() -> None:
    code = (
        "import sys; from qttseg.metadata.suites import resolve_suite; resolve_suite('procedural13');"
        "assert not {'scipy', 'PIL', 'numpy', 'torch'} & set(sys.modules), 'heavy'"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env={"PYTHONPATH": ":".join(sys.path)})


@pytest.mark.skipif(not REAL.is_dir(), reason="the real datasets are not here")
def test_real_folders_are_read_and_fingerprinted_quickly() -> None:
    dataset = Dataset.from_folders(REAL / "lesion_isic2018")
    assert len(dataset.fingerprint) == 16
    assert len(dataset) == 200
