"""A thousand damaged datasets through `add` and `verify`: an error of ours or a sound dataset, nothing else."""

from __future__ import annotations

import io
import json
import os
import shutil
import tempfile
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from qttseg.errors import DatasetError
from qttseg.metadata.adding import add, export
from qttseg.metadata.datasets import Dataset, resolve_dataset
from qttseg.metadata.verification import verify

Tree = dict[str, bytes]
MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16", "I", "F")
ODD: tuple[Any, ...] = (
    None,
    True,
    -1,
    0,
    2**63,
    1e308,
    float("nan"),
    "",
    "x",
    "../../x",
    "/etc/passwd",
    [],
    [[]],
    {},
    "0",
)
quiet = settings(deadline=None, database=None, suppress_health_check=list(HealthCheck))


def encoded(pixels: Image.Image, form: str = "PNG") -> bytes:
    content = io.BytesIO()
    pixels.save(content, form)
    return content.getvalue()


def supervisely(images: Tree) -> Tree:
    ring = {"exterior": [[0, 0], [3, 0], [3, 3]], "interior": []}
    objects = [{"classTitle": "a", "geometryType": "polygon", "points": ring}]
    tree = {"meta.json": b'{"classes": [{"title": "a"}, {"title": "b"}]}'}
    for name, content in images.items():
        tree[f"d/img/{name}"] = content
        tree[f"d/ann/{name}.json"] = json.dumps({"objects": objects, "tags": []}).encode()
    return tree


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Tree]:
    """Return the files of a small sound dataset in every format."""
    root = tmp_path_factory.mktemp("sound")
    tree: Tree = {}
    for index in range(4):
        pixels = np.random.default_rng(index).integers(0, 255, (5, 6, 3), dtype=np.uint8)
        tree[f"images/i{index}.png"] = encoded(Image.fromarray(pixels))
        tree[f"masks/i{index}.png"] = encoded(Image.fromarray(pixels[:, :, 0] % 3))
    tree["images/i3.jpg"] = encoded(Image.open(io.BytesIO(tree.pop("images/i3.png"))), "JPEG")
    tree["images/i2.tif"] = encoded(Image.open(io.BytesIO(tree.pop("images/i2.png"))), "TIFF")
    tree["dataset.json"] = (
        b'{"classes": ["background", "a", "b"], "groups": {"i0": "g", "i1": "g", "i2": "h", "i3": "k"}}'
    )
    write(tree, root / "base")
    trees = {"folders": tree}
    for form in ("coco", "nnunet", "palette", "hf"):
        export(Dataset.from_folders(root / "base"), root / form, format=form)
        trees[form] = {
            file.relative_to(root / form).as_posix(): file.read_bytes()
            for file in (root / form).rglob("*")
            if file.is_file()
        }
    images = {name.removeprefix("images/"): content for name, content in tree.items() if name.startswith("images/")}
    return {**trees, "supervisely": supervisely(images)}


def write(tree: Tree, root: Path) -> Path:
    files = {root / name: content for name, content in tree.items()}
    for folder in {file.parent for file in files}:
        folder.mkdir(parents=True, exist_ok=True)
    for file, content in files.items():
        file.write_bytes(content)
    return root


def spoiled(draw: st.DrawFn, name: str, content: bytes) -> bytes:
    """Return other bytes for a file."""
    how = draw(st.sampled_from(["cut", "flip", "junk", "json", "mode", "json"]))
    if how == "json" and name.endswith(".json"):
        return spoiled_json(draw, content)
    if how == "mode" and name.endswith((".png", ".jpg", ".tif")):
        size = draw(st.tuples(st.integers(1, 7), st.integers(1, 7)))
        mode = draw(st.sampled_from(MODES))
        return encoded(Image.new(mode, size, draw(st.integers(0, 255))), "TIFF")
    if how == "junk":
        return draw(st.binary(max_size=40))
    if how == "cut" or not content:
        return content[: draw(st.integers(0, len(content)))]
    changed = bytearray(content)
    for _ in range(draw(st.integers(1, 4))):
        changed[draw(st.integers(0, len(changed) - 1))] = draw(st.integers(0, 255))
    return bytes(changed)


def spoiled_json(draw: st.DrawFn, content: bytes) -> bytes:
    """Replace or delete a value somewhere in a document."""
    try:
        document = json.loads(content)
    except ValueError:
        return content
    at: Any = document
    while isinstance(at, dict | list) and at:
        keys = list(at) if isinstance(at, dict) else range(len(at))
        key = draw(st.sampled_from(keys))
        if not isinstance(at[key], dict | list) or not at[key] or draw(st.integers(0, 3)) == 0:
            if draw(st.booleans()):
                at[key] = draw(st.sampled_from(ODD))
            else:
                del at[key]
            break
        at = at[key]
    return json.dumps(document).encode()


@st.composite
def damage(draw: st.DrawFn, tree: Tree) -> Tree:
    """Return a tree with one to three things wrong."""
    tree = dict(tree)
    for _ in range(draw(st.integers(1, 3))):
        if not tree:
            break
        name = draw(st.sampled_from(sorted(tree)))
        how = draw(st.sampled_from(["spoil", "spoil", "spoil", "delete", "rename"]))
        content = tree.pop(name) if how != "spoil" else tree[name]
        if how == "spoil":
            tree[name] = spoiled(draw, name, content)
        elif how == "rename":
            stem = draw(st.text(st.characters(exclude_characters="/\0", codec="utf-8"), min_size=1, max_size=8))
            if stem not in (".", ".."):
                tree[f"{Path(name).parent}/{stem}{Path(name).suffix}"] = content
    return tree


@pytest.fixture(scope="module")
def work() -> Iterator[Path]:
    """Give a folder in memory where there is one: a thousand datasets come and go, and a disk would be waited for."""
    memory = Path("/dev/shm")  # noqa: S108
    with (
        tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None) as root,
        pytest.MonkeyPatch.context() as patch,
    ):
        place = Path(root, "work")
        place.mkdir()
        patch.setenv("QTTSEG_CACHE", f"{root}/cache")
        patch.setenv("QTTSEG_DATA", str(place / "home"))
        patch.setenv("HF_HUB_OFFLINE", "1")
        yield place


def survive(work: Path, source: Path, form: str) -> None:
    """Add and verify a damaged dataset; what was added must be whole, and nothing else may be there."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow complains about much that it reads all the same
        try:
            add("new", source, format=form)
        except DatasetError:
            assert not list((work / "home").glob("*"))
        else:
            assert len(list(resolve_dataset("new"))) > 0
            verify(work / "home/new")
        if source.is_dir():
            report = verify(source)
            assert all(problem.detail for problem in report.problems)
    assert {path.name for path in work.iterdir()} <= {"home", "source"}
    shutil.rmtree(work / "home", ignore_errors=True)


@settings(quiet, max_examples=900)
@given(
    data=st.data(), form=st.sampled_from(["coco", "nnunet", "palette", "folders", "supervisely"]), auto=st.booleans()
)
def test_a_damaged_folder_is_survived(sound, work: Path, data, form: str, auto: bool) -> None:
    source = write(data.draw(damage(sound[form])), work / "source")
    source.mkdir(exist_ok=True)
    try:
        survive(work, source, "auto" if auto else form)
    finally:
        shutil.rmtree(source)


@settings(quiet, max_examples=100)
@given(data=st.data(), form=st.sampled_from(["coco", "nnunet", "palette", "folders", "supervisely"]))
def test_a_damaged_archive_is_survived(sound, work: Path, data, form: str) -> None:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, file in data.draw(damage(sound[form])).items():
            archive.writestr(name, file)
    (work / "source").write_bytes(spoiled(data.draw, "source", content.getvalue()))
    survive(work, work / "source", "auto")
    (work / "source").unlink()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # datasets may leave a file open
@settings(quiet, max_examples=20)
@given(data=st.data())
def test_a_damaged_table_is_survived(sound, work: Path, data) -> None:
    source = write(data.draw(damage(sound["hf"])), work / "source")
    source.mkdir(exist_ok=True)
    try:
        survive(work, source, "hf")
    finally:
        shutil.rmtree(source)
