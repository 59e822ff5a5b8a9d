"""Every source's layout becomes a dataset; whatever differs from the recipe is reported before anything is added."""

from __future__ import annotations

import io
import json
import shutil
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from qttseg.errors import DatasetError
from qttseg.metadata.datasets import Dataset, resolve_dataset
from qttseg.metadata.recipes.catalogue import NAMES, recipe_of
from qttseg.metadata.recipes.conversion import add_by_recipe

Archive = Callable[..., Path]

SMALL = "counts,sizes,groups"
"""What tiny copies cannot have right: the numbers of pairs, pixels and groups."""


def added(name: str, *paths: Path, rules: Sequence[str] = (), accept: str = SMALL) -> Dataset:
    asked = {"accept": accept, **dict(rule.split("=", 1) for rule in rules)}
    add_by_recipe(recipe_of(name), paths, rules={key: value for key, value in asked.items() if value})
    return resolve_dataset(name)


def png(pixels: np.ndarray | Image.Image, **options: object) -> bytes:
    stream = io.BytesIO()
    (pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)).save(stream, "PNG", **options)
    return stream.getvalue()


def quarter(dataset: Dataset, index: int = 0) -> bool:
    """Whether the left quarter of the mask, and only that, is foreground."""
    mask = dataset[index].mask
    width = mask.shape[1] // 4
    return bool((mask[:, :width] == 1).all() and (mask[:, width:] == 0).all())


@pytest.mark.parametrize(
    ("name", "tree", "rules", "count", "groups"),
    [
        ("polyp", "polyp", (), 4, {"1": "1", "2": "1", "30": "2", "60": "3"}),
        ("polyp", "polyp", ("variant=tif",), 4, {"1": "1", "2": "1", "30": "2", "60": "3"}),
        ("lesion", "lesion", (), 4, None),
        ("leaf", "leaf", (), 4, None),
        ("eyes", "eyes", (), 4, None),
        ("eyes", "eyes", ("variant=geojson",), 4, None),
        ("chest", "chest", (), 4, None),
        ("chest", "chest_labels", ("variant=masks_and_labels", f"accept={SMALL},unpaired"), 3, None),
        ("building", "building", (), 3, None),
        ("building", "building", ("variant=all",), 4, None),
    ],
)
def test_binary_sources_are_read(
    archive: Archive, name: str, tree: str, rules: tuple, count: int, groups: dict
) -> None:
    dataset = added(name, archive(tree), rules=rules)
    assert (dataset.task, len(dataset)) == ("binary", count)
    assert quarter(dataset)
    assert (dataset.groups and dict(zip(dataset.names, dataset.groups, strict=True))) == groups


def test_patients_are_groups_where_names_tell_them(archive: Archive) -> None:
    dataset = added("covid", archive("covid"))
    groups = dict(zip(dataset.names, dataset.groups or (), strict=True))
    assert sum(group == "sub-S09345" for group in groups.values()) == 2
    assert len(set(groups.values())) == len(groups) - 1 == 4
    assert "Test_covid_7" in groups


def test_volumes_are_groups_and_the_originals_can_be_had(archive: Archive) -> None:
    augmented = added("fiber", archive("fiber"))
    assert set(augmented.groups or ()) == {"vol_0_rot", "vol_1_flip"}
    assert len(augmented) == 4
    assert quarter(augmented, 1)


def test_two_masks_of_one_image_are_united(archive: Archive) -> None:
    mask = added("chest", archive("montgomery"), rules=["variant=montgomery"])[0].mask
    assert mask[:, 0].all()
    assert mask[:, -1].all()
    assert not mask[:, mask.shape[1] // 2].any()


@pytest.mark.parametrize(
    ("name", "rules"), [("golf", ()), ("golf", ("variant=colours",)), ("US", ()), ("human_parsing", ())]
)
def test_class_ids_and_colours_become_class_ids(archive: Archive, name: str, rules: tuple) -> None:
    dataset = added(name, archive(name), rules=rules)
    expected = np.repeat(np.arange(len(dataset.classes)), 2)
    for sample in dataset:
        row = sample.mask[-1]
        assert np.array_equal(row[: len(expected)], expected)
        assert not row[len(expected) :].any()  # dark grey is background too


def test_groups_are_told_from_file_names(archive: Archive) -> None:
    assert added("golf", archive("golf")).groups == ("aalborg", "rold skov", "sæby", "aalborg")
    assert added("US", archive("US")).groups == ("ct1", "ct1", "ct2", "ct2")


def test_pairs_that_a_card_admits_to_be_wrong_are_left_out(archive: Archive) -> None:
    assert added("human_parsing", archive("human_parsing")).names == ("000000", "000001", "000002")


def test_watershed_ids_are_looked_up_and_the_frame_is_ignored(archive: Archive) -> None:
    dataset = added("cholec", archive("cholec"))
    assert set(dataset.groups or ()) == {"video01", "video18"}
    assert dataset.names[0] == "video01_00080_80"
    for sample in dataset:
        assert np.array_equal(sample.mask[0, ::2], [*range(13), 255])


def test_a_set_without_background_loses_no_class_and_its_broken_file_is_left_out(archive: Archive) -> None:
    dataset = added("terrain", archive("terrain"), rules=["classes=none,grass,dirt,path,road"])
    assert dataset.names == ("05100", "05101", "05201", "05300")
    assert dataset.classes[1] == "grass"
    assert np.array_equal(dataset[0].mask[0, ::2], [1, 2, 3, 4])
    assert dataset.groups == ("51", "51", "52", "53")


ANNO = "CelebAMask-HQ/CelebAMask-HQ-mask-anno/0"


def test_parts_are_painted_over_each_other_and_enlarged(archive: Archive) -> None:
    dataset = added("celebamask_hq", archive("celebamask_hq"))
    assert dataset.names == ("0", "12", "2000")
    assert dataset.classes == ("background", "skin", "hair", "eyes", "nose", "mouth")
    for sample in dataset:
        assert sample.mask.shape == sample.image.shape[:2] == (24, 72)
        row = sample.mask[-1, ::4].tolist()  # in the order of the parts
        assert row == [1, 4, 0, 3, 3, 1, 1, 0, 0, 5, 5, 5, 2, 0, 0, 0, 0, 0]
    every = add_by_all_parts(archive)
    assert every[0].mask[0, ::4].tolist() == list(range(1, 19))


def add_by_all_parts(archive: Archive) -> Dataset:
    shutil.rmtree(resolve_dataset("celebamask_hq").source.pairs["0"][0].parents[1])  # type: ignore[attr-defined]
    return added("celebamask_hq", archive("celebamask_hq"), rules=("variant=parts18",))


def test_a_portrait_need_not_show_all_parts(archive: Archive) -> None:
    hidden = {f"{ANNO}/00012_{part}.png": None for part in ("eye_g", "hat", "nose", "l_ear", "neck_l")}
    mask = added("celebamask_hq", archive("celebamask_hq", hidden))[1].mask
    assert mask[0, 4] == mask[0, 8] == mask[0, 28] == mask[0, 52] == 1  # nothing lies on the skin there
    assert mask[0, 12] == 3


@pytest.mark.parametrize(
    ("changes", "kind", "detail"),
    [
        ({"CelebAMask-HQ/CelebA-HQ-img/12.jpg": None}, "unpaired", f"18 masks (celebamask_hq/{ANNO}/00012_skin.png, "),
        ({f"{ANNO}/00012_tail.png": png(np.zeros((12, 36), np.uint8))}, "unpaired", "1 masks (celebamask_hq/CelebAMask-HQ/CelebAMask-HQ-mask-anno/0/00012_tail.png) of parts that the recipe does not know"),
        ({"CelebAMask-HQ/CelebA-HQ-img/13.jpg": png(np.zeros((24, 72), np.uint8))}, "unpaired", "13.jpg) without a mask"),
        ({"CelebAMask-HQ/CelebAMask-HQ-mask-anno/1/00012_skin.png": png(np.zeros((12, 36), np.uint8))}, "doubled", "1/00012_skin.png"),
        ({f"{ANNO}/00012_skin.png": png(np.zeros((5, 36), np.uint8))}, "unreadable", "differ in size"),
        ({f"{ANNO}/00012_skin.png": b"\x89PNG"}, "unreadable", "00012_skin.png"),
        ({"CelebAMask-HQ/CelebA-HQ-img/12.jpg": png(np.zeros((60, 20), np.uint8))}, "mismatch", "12.jpg"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_the_files_of_parts_is_named(
    archive: Archive, changes: dict, kind: str, detail: str
) -> None:
    with pytest.raises(DatasetError) as caught:
        added("celebamask_hq", archive("celebamask_hq", changes))
    lines = [line.strip() for line in str(caught.value).splitlines()]
    assert any(line.startswith(f"{kind}:") and detail in line for line in lines), lines


def test_an_unknown_layout_shows_what_is_there_and_goes_on_by_rules(archive: Archive) -> None:
    file = archive("cardiac")
    with pytest.raises(DatasetError, match=r"does not know how the files lie") as caught:
        added("cardiac", file)
    assert "train/masks/: 4 files, as 2C0365[0]_101.png, 2C0365[0]_102.png" in str(caught.value)
    assert "--rule mask=threshold" in str(caught.value)
    paths = ("images=images/{name}.png", "masks=masks/{name}.png")
    with pytest.raises(DatasetError, match=r"the masks hold \(0,0,0\) \(576 px\), \(255,255,255\) \(192 px\)"):
        added("cardiac", file, rules=paths)
    dataset = added("cardiac", file, rules=(*paths, "mask=threshold"))
    assert dataset.names == ("2C0365[0]_101", "2C0365[0]_102", "2C0412[0]_101", "2C0412[0]_102")
    assert dataset.groups == ("2C0365", "2C0365", "2C0412", "2C0412")


def test_folders_and_archives_in_a_folder_will_do_too(archive: Archive, tmp_path: Path) -> None:
    downloads = tmp_path / "downloads"
    downloads.mkdir()
    with zipfile.ZipFile(archive("lesion")) as packed:
        names = [name for name in packed.namelist() if name.startswith("ISBI")]
        for part in ("Data", "GroundTruth"):  # as the official zips: the files without their folder
            with zipfile.ZipFile(downloads / f"ISBI2016_ISIC_Part1_Training_{part}.zip", "w") as own:
                for name in names:
                    if f"_{part}/" in name:
                        own.writestr(name.rsplit("/", 1)[-1], packed.read(name))
        packed.extractall(tmp_path / "unpacked")
    for paths in ([downloads], sorted(downloads.iterdir()), [tmp_path / "unpacked"]):
        dataset = added("lesion", *paths)
        assert len(dataset) == 4
        shutil.rmtree(dataset.source.pairs[dataset.names[0]][0].parents[1])  # type: ignore[attr-defined]
    assert len(list((tmp_path / "unpacked").rglob("ISIC*.jpg"))) == 4, "what is the user's is copied, not moved"


def test_the_images_travel_as_the_same_bytes_with_all_that_is_known_of_them(archive: Archive, home: Path) -> None:
    add_by_recipe(
        recipe_of("leaf"), [archive("leaf")], rules={"accept": SMALL}, origin="Kaggle x, version 4", clock=lambda: 0.0
    )
    with zipfile.ZipFile(archive("leaf")) as packed:
        assert (home / "leaf/images/00002.jpg").read_bytes() == packed.read("data/data/images/00002.jpg")
    assert {file.name for file in (home / "leaf").iterdir()} == {"images", "masks", "dataset.json"}
    described = json.loads((home / "leaf/dataset.json").read_text())
    assert described["source"] == "Kaggle x, version 4"
    assert described["converted"] == "1970-01-01"
    assert described["rules"] == {"accept": SMALL}
    assert described["differences_accepted"] == ["counts: 4 pairs, 588 expected"]
    assert described["licence"] == recipe_of("leaf").licence


GREY = np.full((12, 16), 90, np.uint8)


@pytest.mark.parametrize(
    ("name", "changes", "kind", "detail"),
    [
        ("polyp", {}, "counts", "4 pairs, 612 expected"),
        ("polyp", {}, "sizes", "images of 12 x 16 (4); 288 x 384 (height x width) expected"),
        ("polyp", {}, "groups", "3 groups (video sequence), 29 expected"),
        ("polyp", {"metadata.csv": b"frame_id,sequence_id\n1,1\n"}, "groups", "3 items (2, 30, 60) without a video sequence"),
        ("polyp", {"PNG/Ground Truth/2.png": None}, "unpaired", "1 images (polyp/PNG/Original/2.png) without a mask"),
        ("polyp", {"PNG/Original/2.png": None}, "unpaired", "1 masks (polyp/PNG/Ground Truth/2.png) without an image"),
        ("polyp", {"copy/PNG/Original/2.png": png(GREY)}, "doubled", "copy/PNG/Original/2.png"),
        ("polyp", {"PNG/Ground Truth/2.png": png(GREY)}, "values", "25.00% of all mask pixels are outside the code"),
        ("polyp", {"PNG/Original/2.png": b"\x89PNG"}, "unreadable", "1 pairs"),
        ("polyp", {"PNG/Ground Truth/2.png": png(GREY[:5])}, "mismatch", "the mask is 16 x 5 but its image 16 x 12"),
        ("cholec", {}, "counts", "3 pairs, 8080 expected"),
        ("golf", {f"3. class masks/{stem}.png": png(np.full((12, 12), 9, np.uint8)) for stem in ("Sæby_1000_001",)}, "values", "9 (144 px)"),
        ("leaf", {f"data/data/masks/0000{n}.png": png(GREY * 0) for n in range(4)}, "code", "no mask holds a foreground pixel"),
    ],
)  # fmt: skip
def test_what_differs_is_reported_and_nothing_is_added(
    archive: Archive, home: Path, name: str, changes: dict, kind: str, detail: str
) -> None:
    file = archive(name, changes)
    with pytest.raises(DatasetError) as caught:
        added(name, file, accept="")
    line = next(
        line for line in str(caught.value).splitlines() if line.strip().startswith(f"{kind}:") and detail in line
    )
    assert line
    if kind != "code":
        assert kind in str(caught.value).split("--rule accept=")[1]
    assert not [path for path in home.iterdir() if not path.name.startswith(".licences")], "nothing is left behind"


def test_the_report_repeats_what_was_accepted_before(archive: Archive) -> None:
    with pytest.raises(DatasetError, match=r"with --rule accept=counts,groups,sizes\."):
        added("polyp", archive("polyp"), accept="counts")


def test_equal_pictures_stay_together_where_no_groups_are_known(archive: Archive) -> None:
    with zipfile.ZipFile(archive("leaf")) as packed:
        twin = packed.read("data/data/images/00000.jpg")
    dataset = added("leaf", archive("leaf", {"data/data/images/00003.jpg": twin}))
    assert dataset.groups == ("00000", "00001", "00002", "00000")


def test_equal_pictures_in_two_groups_stop(archive: Archive) -> None:
    with zipfile.ZipFile(archive("polyp")) as packed:
        twin = packed.read("PNG/Original/1.png")
    file = archive("polyp", {"PNG/Original/60.png": twin})
    with pytest.raises(DatasetError, match=r"duplicates: 1 images \(1 = 60\) of equal pixels in different groups"):
        added("polyp", file)


def test_a_mask_lies_down_with_its_photo(archive: Archive) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be shown turned clockwise
    lying = np.random.default_rng(0).integers(0, 255, (12, 16, 3), np.uint8)
    mask = np.zeros((12, 16, 3), np.uint8)
    mask[-1:] = (128, 0, 0)
    stream = io.BytesIO()
    Image.fromarray(lying).save(stream, "JPEG", exif=exif)
    changes = {"data/data/images/00001.jpg": stream.getvalue(), "data/data/masks/00001.png": png(mask)}
    turned = added("leaf", archive("leaf", changes))[1]
    assert turned.image.shape == (16, 12, 3)
    assert turned.mask[:, 0].all()
    assert not turned.mask[:, 1:].any()


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ("accept=everything", "unknown accepted difference 'everything'"),
        ("accept=code", "unknown accepted difference 'code'"),
        ("varient=tif", "'varient' is no rule of polyp"),
        ("variant=gif", "has no variant 'gif'; it has png, tif"),
        ("images=pictures", "has no place"),
        ("images=a/{x}.png", "share no place"),
        ("images={n:(}.png", "malformed expression"),
        ("values=1", "write mask value:class id"),
        ("values=1:7", r"class ids \[7\], but there are 2 classes"),
        ("above=300", "from 0 to 254"),
        ("mask=guess", "unknown mask kind 'guess'"),
    ],
)
def test_a_wrong_rule_is_named(tmp_path: Path, rule: str, message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        added("polyp", tmp_path, rules=(rule,))


def test_something_else_than_the_source_is_not_taken_for_it(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(DatasetError, match="neither a folder nor an archive"):
        added("polyp", tmp_path / "nowhere.zip")
    for name in NAMES:
        with pytest.raises(DatasetError, match=r"notes\.txt"):
            added(name, tmp_path)
