"""What people throw at `add`: archives, links, damaged files, full disks; nothing is ever half there."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import threading
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from qttseg.errors import DatasetError
from qttseg.metadata.adding import add, export
from qttseg.metadata.datasets import Dataset, resolve_dataset
from qttseg.metadata.images import read_image
from qttseg.metadata.library import library, remove
from qttseg.metadata.verification import verify


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("QTTSEG_DATA", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def tiles(tmp_path: Path) -> Path:
    """Five pairs, wrapped in two folders."""
    root = tmp_path / "download/tiles/tiles"
    for part in ("images", "masks"):
        (root / part).mkdir(parents=True)
    for index in range(5):
        pixels = np.random.default_rng(index).integers(0, 255, (8, 9, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(root / f"images/{index}.png")
        Image.fromarray(pixels[:, :, 0] % 2).save(root / f"masks/{index}.png")
    (root / "dataset.json").write_text(
        '{"licence": "CC0", "groups": {"0": "a", "1": "a", "2": "b", "3": "b", "4": "c"}}'
    )
    return root


def packed(root: Path, kind: str) -> Path:
    outer = root.parent.parent
    return Path(shutil.make_archive(str(outer.parent / "packed"), kind, outer))


@pytest.mark.parametrize("kind", ["zip", "tar", "gztar", "xztar"])
def test_an_archive_is_added_whatever_its_wrapping(tiles: Path, home: Path, kind: str) -> None:
    calls: list[tuple[int, int]] = []
    added = add("mine", packed(tiles, kind), progress=lambda *step: calls.append(step))
    again = resolve_dataset("mine")
    assert added.reason == "images/ with masks/, 5 pairs"
    assert again.fingerprint == Dataset.from_folders(tiles).fingerprint
    assert again.groups == ("a", "a", "b", "b", "c")
    assert '"licence": "CC0"' in (home / "mine/dataset.json").read_text()
    assert sorted(path.name for path in (home / "mine").iterdir()) == ["dataset.json", "images", "masks"]
    assert sorted(calls) == [(done, 5) for done in range(1, 6)]
    assert verify(home / "mine").usable


def test_a_hostile_archive_leaves_nothing(tiles: Path, tmp_path: Path, home: Path) -> None:
    archive = packed(tiles, "zip")
    with zipfile.ZipFile(archive, "a") as opened:
        opened.writestr("../../../escaped.png", b"1")
    with pytest.raises(DatasetError, match=r"escaped\.png"):
        add("mine", archive)
    with tarfile.open(tmp_path / "links.tar", "w") as opened:
        opened.add(tiles, "tiles")
        info = tarfile.TarInfo("tiles/images/evil.png")
        info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
        opened.addfile(info)
    with pytest.raises(DatasetError, match=r"evil\.png"):
        add("mine", tmp_path / "links.tar")
    assert list(home.iterdir()) == []
    assert not list(tmp_path.rglob("escaped.png"))


def test_images_can_be_linked_to_and_stay_when_the_dataset_goes(tiles: Path, home: Path) -> None:
    add("mine", tiles, link=True)
    assert (home / "mine/images/0.png").is_symlink()
    assert resolve_dataset("mine").fingerprint == Dataset.from_folders(tiles).fingerprint
    remove("mine")
    assert len(list((tiles / "images").iterdir())) == 5
    with pytest.raises(DatasetError, match="leave --link out"):
        add("mine", packed(tiles, "zip"), link=True)
    export(Dataset.from_folders(tiles), tiles.parent / "hf", format="hf")
    with pytest.raises(DatasetError, match="leave --link out"):
        add("mine", tiles.parent / "hf", link=True)
    assert library() == {}


@pytest.mark.parametrize("damage", ["empty", "truncated", "text", "pipe", "loop", "animated", "bomb", "script"])
def test_a_damaged_image_is_named_and_nothing_is_added(tiles: Path, home: Path, damage: str) -> None:
    file = tiles / "images/3.png"
    content = file.read_bytes()
    file.unlink()
    if damage == "pipe":
        os.mkfifo(file)
    elif damage == "loop":
        file.symlink_to(file)
    elif damage == "animated":
        frames = [Image.new("RGB", (9, 8), colour) for colour in ("red", "blue")]
        frames[0].save(file, "GIF", save_all=True, append_images=frames[1:])
    elif damage == "bomb":  # a header that claims 60,000 x 60,000 pixels
        import struct
        import zlib

        head = b"IHDR" + struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0)
        file.write_bytes(b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + head + struct.pack(">I", zlib.crc32(head)))
    else:
        file.write_bytes(
            {"empty": b"", "truncated": content[:-30], "text": b"hello", "script": b"%!PS-Adobe-3.0 EPSF-3.0\n"}[damage]
        )
    with pytest.raises(DatasetError, match=r"images/3\.png.*\nNothing was added"):
        add("mine", tiles)
    assert list(home.iterdir()) == []
    report = verify(tiles)
    assert not report.usable
    assert "images/3.png" in {problem.file for problem in report.errors}
    added = add("mine", tiles, skip_bad=True)
    assert len(added.left_out) == 1
    assert resolve_dataset("mine").names == ("0", "1", "2", "4")


def test_every_kind_of_picture_is_taken_over_byte_by_byte(tiles: Path, home: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("CMYK", (9, 8), (9, 99, 20, 0)).save(tiles / "images/0.jpg")
    Image.new("RGB", (8, 9), "red").save(tiles / "images/1.jpg", exif=exif)
    Image.fromarray(np.arange(72, dtype=np.uint16).reshape(8, 9) * 900).save(
        tiles / "images/2.tiff", compression="tiff_lzw"
    )
    Image.new("LA", (9, 8), (3, 90)).save(tiles / "images/3.png")
    Image.new("RGB", (9, 8), "blue").save(tiles / "images/画像 [4].webp")
    (tiles / "masks/4.png").rename(tiles / "masks/画像 [4].png")
    for name in ("0", "1", "2", "4"):
        (tiles / f"images/{name}.png").unlink()
    (tiles / "dataset.json").unlink()
    add("mine", tiles)
    for file in (tiles / "images").iterdir():
        assert (home / "mine/images" / file.name).read_bytes() == file.read_bytes()
    assert all(sample.image.shape == (8, 9, 3) for sample in resolve_dataset("mine"))


def test_a_stack_in_a_tiff_is_refused_but_a_thumbnail_is_none(tmp_path: Path) -> None:
    page = Image.new("L", (40, 30), 9)
    page.save(tmp_path / "stack.tif", save_all=True, append_images=[page])
    with pytest.raises(DatasetError, match=r"stack\.tif: holds several pictures"):
        read_image(tmp_path / "stack.tif")
    page.save(tmp_path / "thumb.tif", save_all=True, append_images=[page.resize((4, 3))])
    assert read_image(tmp_path / "thumb.tif").shape == (30, 40, 3)


def test_loops_of_folders_end(tiles: Path) -> None:
    (tiles / "images/loop").symlink_to(tiles)
    (tiles / "self").symlink_to(".")
    assert add("mine", tiles).reason == "images/ with masks/, 5 pairs"


@pytest.mark.parametrize("limit", [100, 900])
def test_a_disk_that_fills_leaves_nothing_behind(tiles: Path, home: Path, limit: int) -> None:
    pixels = np.random.default_rng(9).integers(0, 255, (40, 40, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tiles / "images/4.png")
    Image.fromarray(pixels[:, :, 0] % 2).save(tiles / "masks/4.png")
    code = (
        "import resource, signal, sys\nfrom qttseg.metadata.adding import add, export\n"
        "from qttseg.metadata.datasets import Dataset\nfrom qttseg.errors import DatasetError\n"
        "dataset = Dataset.from_folders(sys.argv[1])\n"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))\n"
        "for act in (lambda: add('mine', sys.argv[1]), lambda: export(dataset, 'out', format='coco')):\n"
        "    try:\n        act()\n    except DatasetError as error:\n        print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tiles)], capture_output=True, text=True, cwd=tiles.parent)
    lines = done.stdout.splitlines()
    assert len(lines) == 2, done.stdout + done.stderr
    assert all("cannot be written: [Errno 27] File too large" in line for line in lines)
    assert list(home.iterdir()) == []
    assert sorted(path.name for path in tiles.parent.iterdir()) == ["tiles"]


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is forbidden to root")
def test_a_folder_that_cannot_be_read_is_named(tiles: Path) -> None:
    (tiles / "images").chmod(0)
    with pytest.raises(DatasetError, match="images cannot be listed"):
        add("mine", tiles, format="folders")


def test_a_read_only_source_is_only_read(tiles: Path) -> None:
    for folder in (tiles / "images", tiles / "masks", tiles):
        folder.chmod(0o555)
    add("mine", tiles)
    assert len(resolve_dataset("mine")) == 5


def test_two_who_add_one_name_at_once_do_not_mix(tiles: Path, home: Path) -> None:
    barrier, outcomes = threading.Barrier(2, timeout=60), []

    def work() -> None:
        barrier.wait()
        try:
            add("mine", tiles, progress=lambda done, total: barrier.wait() if done == total else None)
            outcomes.append("added")
        except DatasetError as error:
            outcomes.append(str(error))

    both = [threading.Thread(target=work) for _ in range(2)]
    for thread in both:
        thread.start()
    for thread in both:
        thread.join()
    assert sorted(outcomes)[1] == "added"
    assert "already" in min(outcomes) or "meanwhile" in min(outcomes)
    assert [path.name for path in home.iterdir()] == ["mine"]
    assert len(resolve_dataset("mine")) == 5
