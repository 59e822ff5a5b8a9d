"""Tiny copies of each source's archive, in its exact layout."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

HEIGHT, WIDTH = 12, 16
Tree = dict[str, bytes]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("QTTSEG_DATA", str(tmp_path / "home"))
    monkeypatch.setenv("QTTSEG_CACHE", str(tmp_path / "cache"))
    return tmp_path / "home"


def photo(seed: int, end: str = "PNG", size: tuple[int, int] = (HEIGHT, WIDTH)) -> bytes:
    return encoded(np.random.default_rng(seed).integers(0, 255, (*size, 3), np.uint8), end)


def encoded(pixels: np.ndarray | Image.Image, end: str = "PNG") -> bytes:
    stream = io.BytesIO()
    picture = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    picture.save(stream, end)
    return stream.getvalue()


def halves(left: object, right: object = 0, *, channels: int = 1) -> np.ndarray:
    """The left quarter has one value, the rest another."""
    mask = np.zeros((HEIGHT, WIDTH, channels), np.uint8)
    mask[:], mask[:, : WIDTH // 4] = right, left
    return mask[:, :, 0] if channels == 1 else mask


def stripes(values: Iterable[object], *, channels: int = 1) -> np.ndarray:
    """A column of each value in turn, two pixels wide where there is room."""
    values = list(values)
    mask = np.zeros((HEIGHT, 2 * len(values), channels), np.uint8)
    for place, value in enumerate(values):
        mask[:, 2 * place : 2 * place + 2] = value
    return mask[:, :, 0] if channels == 1 else mask


def polyp() -> Tree:
    tree = {"metadata.csv": b"frame_id,sequence_id,png_image_path\n1,1,a\n2,1,b\n30,2,c\n60,3,d\n"}
    for n in (1, 2, 30, 60):
        tree[f"PNG/Original/{n}.png"] = photo(n)
        tree[f"PNG/Ground Truth/{n}.png"] = encoded(halves(255, channels=3))
        tree[f"TIF/Original/{n}.tif"] = photo(n, "TIFF")
        tree[f"TIF/Ground Truth/{n}.tif"] = encoded(halves(255), "TIFF")
    return tree


def lesion() -> Tree:
    tree = {}
    for n in range(4):
        tree[f"ISBI2016_ISIC_Part1_Training_Data/ISIC_000000{n}.jpg"] = photo(n, "JPEG", (HEIGHT + n, WIDTH))
        mask = Image.fromarray(halves(255)).resize((WIDTH, HEIGHT + n), Image.Resampling.NEAREST)
        tree[f"ISBI2016_ISIC_Part1_Training_GroundTruth/ISIC_000000{n}_Segmentation.png"] = encoded(mask)
    return tree


def leaf() -> Tree:
    tree = {}
    for n in range(4):
        for root in ("data/data", "aug_data/aug_data"):
            tree[f"{root}/images/{n:05d}.jpg"] = photo(n, "JPEG")
            mask = Image.fromarray(halves(1)).convert("P")  # black and dark red, as a palette
            mask.putpalette([0, 0, 0, 128, 0, 0])
            tree[f"{root}/masks/{n:05d}.png"] = encoded(mask)
    return tree


def covid() -> Tree:
    tree = {"QaTa-COV19/Control_Group/Control_Group_I/x.png": photo(99)}
    names = ["covid_1", "covid_2", "sub-S09345_ses-E17849_run-1_bp-chest_vp-ap_cr", "sub-S09345_ses-E17900_run-1"]
    for place, stem in enumerate([*names, "covid_7"]):
        part = "Test Set" if place == 4 else "Train Set"
        root = f"QaTa-COV19/QaTa-COV19-v2/{part}"
        tree[f"{root}/Images/{stem}.png"] = photo(place)
        tree[f"{root}/Ground-truths/mask_{stem}.png"] = encoded(halves(255))
    return tree


def eyes() -> Tree:
    tree = {"eye_test/1.png": photo(50), "test_dataset_mc/eye_test/1.png": photo(51)}
    for n in range(1, 5):
        tree[f"train_dataset_mc/train_dataset_mc/{n}.png"] = photo(n)
        tree[f"train_mask/train_mask/{n}.png"] = encoded(halves(1))
        ring = [[0, 0], [3, 0], [3, HEIGHT], [0, HEIGHT], [0, 0]]
        shape = (
            {"type": "MultiPolygon", "coordinates": [[ring]]} if n == 2 else {"type": "Polygon", "coordinates": [ring]}
        )
        feature = {"type": "Feature", "properties": {"name": "сосуд"}, "geometry": shape}
        content = [feature] if n == 3 else feature if n == 4 else {"type": "FeatureCollection", "features": [feature]}
        text = json.dumps(content, ensure_ascii=False).encode("cp1251")
        tree[f"train_dataset_mc/train_dataset_mc/{n}.geojson"] = text
    return tree


def fiber() -> Tree:
    tree = {"fibers_full_volume_for_testing/fibers_full_volume_for_testing/0001.bmp": photo(77, "BMP")}
    for volume in ("vol_0_rot", "vol_1_flip"):
        for k in range(2):
            for part in ("", "validation/", "test/"):
                place = f"{volume}/slice_{k}.png"
                tree[f"fibers_geometric_aug/fibers/{part}images/{place}"] = photo(10 * int(volume[4]) + k)
                tree[f"fibers_geometric_aug/fibers/{part}masks/{place}"] = encoded(halves(255 * (k + len(part) > 0)))
    return tree


def cardiac() -> Tree:
    tree = {}
    for run in ("2C0365", "2C0412"):
        for n in (101, 102):
            tree[f"train/images/{run}[0]_{n}.png"] = photo(len(tree))
            tree[f"train/masks/{run}[0]_{n}.png"] = encoded(halves(255))
    return tree


def chest() -> Tree:
    tree = {"Chest-X-Ray/Chest-X-Ray/MetaData.csv": b"id,gender\n"}
    for n in range(4):
        tree[f"Chest-X-Ray/Chest-X-Ray/image/{n}.png"] = photo(n)
        tree[f"Chest-X-Ray/Chest-X-Ray/mask/{n}.png"] = encoded(Image.fromarray(halves(255)).convert("1"))
    return tree


def chest_labels() -> Tree:
    tree = {"Lung Segmentation/test/CHNCXR_0000_0.png": photo(98)}
    for place, (stem, mask) in enumerate([("MCUCXR_0001_0", ""), ("MCUCXR_0002_1", ""), ("CHNCXR_0003_1", "_mask")]):
        tree[f"Lung Segmentation/CXR_png/{stem}.png"] = photo(place)
        tree[f"Lung Segmentation/masks/{stem}{mask}.png"] = encoded(halves(255))
    tree["Lung Segmentation/CXR_png/CHNCXR_0004_0.png"] = photo(8)
    return tree


def montgomery() -> Tree:
    tree = {"MontgomerySet/ClinicalReadings/MCUCXR_0001_0.txt": b"M"}
    for n in range(4):
        tree[f"MontgomerySet/CXR_png/MCUCXR_000{n}_0.png"] = photo(n)
        tree[f"MontgomerySet/ManualMask/leftMask/MCUCXR_000{n}_0.png"] = encoded(halves(255))
        tree[f"MontgomerySet/ManualMask/rightMask/MCUCXR_000{n}_0.png"] = encoded(halves(255)[:, ::-1].copy())
    return tree


ULTRASOUND = [
    (0, 0, 0), (100, 0, 100), (255, 255, 0), (0, 0, 255), (255, 0, 0), (0, 255, 255), (0, 255, 0),
    (255, 255, 255), (255, 0, 255),
]  # fmt: skip


def ultrasound() -> Tree:
    tree = {}
    for name in ("ct1-10", "ct1-20", "ct2-10", "ct2-20"):
        mask = stripes([*ULTRASOUND, (10, 10, 10)], channels=3)
        mask[0, 4] = (240, 238, 12)  # a soft edge
        alpha = np.full((*mask.shape[:2], 1), 255, np.uint8)
        with_alpha = np.concatenate([mask, alpha], axis=2) if name == "ct2-20" else mask
        tree[f"abdominal_US/abdominal_US/AUS/images/train/{name}.png"] = photo(len(tree), size=mask.shape[:2])
        tree[f"abdominal_US/abdominal_US/AUS/annotations/train/{name}.png"] = encoded(with_alpha)
        tree[f"abdominal_US/abdominal_US/RUS/images/train/{name}.jpg"] = photo(len(tree), "JPEG")
    return tree


def human_parsing() -> Tree:
    import pyarrow as pa
    import pyarrow.parquet as pq

    tree = {}
    for part in range(2):
        masks = [encoded(stripes(range(18))) for _ in range(2)]
        images = [photo(10 * part + row, "JPEG", (HEIGHT, 36)) for row in range(2)]
        if part == 1:
            images[1] = photo(11, "JPEG", (HEIGHT, 20))  # the card admits pairs that do not match
        cells = {
            name: [{"bytes": content, "path": None} for content in contents]
            for name, contents in (("image", images), ("mask", masks))
        }
        stream = io.BytesIO()
        pq.write_table(pa.table(cells), stream)
        tree[f"data/train-0000{part}-of-00002.parquet"] = stream.getvalue()
    return tree


def golf() -> Tree:
    colours = [(0, 0, 0), (77, 156, 77), (142, 243, 122), (250, 36, 0), (246, 246, 158), (46, 200, 231)]
    tree = {}
    for stem in ("Aalborg_1000_001", "aalborg_1000_002", "Rold Skov_1000_001", "Sæby_1000_001"):
        tree[f"1. orthophotos/{stem}.jpg"] = photo(len(tree), "JPEG", (HEIGHT, 12))
        tree[f"2. segmentation masks/{stem}.png"] = encoded(stripes(colours, channels=3))
        tree[f"3. class masks/{stem}.png"] = encoded(stripes(range(6)))
    return tree


def terrain() -> Tree:
    colours = [(255, 255, 0), (255, 0, 0), (0, 255, 0), (255, 128, 0)]
    tree = {}
    for n in (5100, 5101, 5200, 5201, 5300):
        tree[f"raw_images/raw_images/{n:05d}.png"] = photo(n, size=(HEIGHT, 8)) if n != 5200 else b"\x89PNG broken"
        tree[f"mask_rgb_filled/mask_rgb_filled/{n:05d}.png"] = encoded(stripes(colours, channels=3))
        tree[f"mask_uint8_deeplab/mask_uint8_deeplab/{n:05d}.png"] = encoded(stripes(range(4)))
    return tree


WATERSHED = (50, 11, 21, 13, 12, 31, 23, 24, 25, 32, 22, 33, 5)


def cholec() -> Tree:
    tree = {}
    for video, start, k in (("video01", "00080", 80), ("video01", "00160", 160), ("video18", "01136", 1216)):
        place = f"{video}/{video}_{start}/frame_{k}_endo"
        mask = np.repeat(stripes([*WATERSHED, 255])[:, :, None], 3, axis=2)
        alpha = np.full((*mask.shape[:2], 1), 255, np.uint8)
        tree[f"{place}.png"] = photo(k, size=mask.shape[:2])
        tree[f"{place}_watershed_mask.png"] = encoded(np.concatenate([mask, alpha], axis=2) if k == 1216 else mask)
        tree[f"{place}_color_mask.png"] = photo(1)
        tree[f"{place}_mask.png"] = photo(2)
    return tree


def building() -> Tree:
    tree = {}
    for part, tiles in (("train", ["22678915_15", "22678930_15", "22678945_15"]), ("val", ["22678960_15"])):
        for tile in tiles:
            tree[f"png/{part}/{tile}.png"] = photo(len(tree))
            tree[f"png/{part}_labels/{tile}.png"] = encoded(halves(255, channels=3))
            tree[f"tiff/{part}/{tile}.tiff"] = photo(len(tree), "TIFF")
            tree[f"tiff/{part}_labels/{tile}.tif"] = encoded(halves(255, channels=3), "TIFF")
    return tree


CELEBA_PARTS = (
    "skin", "nose", "eye_g", "l_eye", "r_eye", "l_brow", "r_brow", "l_ear", "r_ear", "mouth", "u_lip", "l_lip", "hair",
    "hat", "ear_r", "neck_l", "neck", "cloth",
)  # fmt: skip


def celebamask_hq() -> Tree:
    """Portraits 0, 12 and 2000: a column of two pixels for each part, all of them within the skin."""
    tree = {}
    for n in (0, 12, 2000):
        tree[f"CelebAMask-HQ/CelebA-HQ-img/{n}.jpg"] = photo(n, "JPEG", (2 * HEIGHT, 4 * len(CELEBA_PARTS)))
        for place, part in enumerate(CELEBA_PARTS):
            mask = np.zeros((HEIGHT, 2 * len(CELEBA_PARTS), 3), np.uint8)
            mask[:, 0 if part == "skin" else 2 * place : -2 if part == "skin" else 2 * place + 2] = 255
            tree[f"CelebAMask-HQ/CelebAMask-HQ-mask-anno/{n // 2000}/{n:05d}_{part}.png"] = encoded(mask)
    return tree


TREES: dict[str, Callable[[], Tree]] = {
    "polyp": polyp, "lesion": lesion, "leaf": leaf, "covid": covid, "eyes": eyes, "fiber": fiber, "cardiac": cardiac,
    "chest": chest, "chest_labels": chest_labels, "montgomery": montgomery, "US": ultrasound,
    "human_parsing": human_parsing, "golf": golf, "terrain": terrain, "cholec": cholec, "building": building,
    "celebamask_hq": celebamask_hq,
}  # fmt: skip


@pytest.fixture
def archive(tmp_path: Path) -> Callable[..., Path]:
    """Write a source's archive, with the files of `changes` in place of its own (None removes one)."""

    def write(name: str, changes: dict[str, bytes | None] | None = None) -> Path:
        tree = {**TREES[name](), **(changes or {}), "__MACOSX/data/images/._1.jpg": b"junk", ".DS_Store": b"junk"}
        file = tmp_path / f"{name}.zip"
        with zipfile.ZipFile(file, "w") as packed:
            for path, content in tree.items():
                if content is not None:
                    packed.writestr(path, content)
        return file

    return write
