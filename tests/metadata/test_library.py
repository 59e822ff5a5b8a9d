from __future__ import annotations

import multiprocessing
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from qttseg.errors import DatasetError
from qttseg.metadata.datasets import resolve_dataset
from qttseg.metadata.library import installing, library, remove
from qttseg.metadata.suites import resolve_suite


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("QTTSEG_DATA", str(tmp_path / "home"))
    return tmp_path / "home"


def fill(folder: Path, shade: int = 9) -> None:
    for part, pixels in (("images", np.full((8, 8, 3), shade, np.uint8)), ("masks", np.eye(8, dtype=np.uint8))):
        (folder / part).mkdir()
        for stem in "abcd":
            Image.fromarray(pixels).save(folder / part / f"{stem}.png")


def install(name: str, shade: int = 9) -> None:
    with installing(name) as folder:
        fill(folder, shade)


def test_a_dataset_is_known_by_its_name_until_it_is_removed(home: Path) -> None:
    assert library() == {}
    install("ткань 2")
    assert library() == {"ткань 2": home / "ткань 2"}
    assert len(resolve_dataset("ткань 2")) == 4
    assert resolve_suite("ткань 2, procedural-polyp") == ("ткань 2", "procedural-polyp")
    with pytest.raises(DatasetError, match="near names are ткань 2"):
        resolve_dataset("ткань")
    assert remove("ткань 2") == home / "ткань 2"
    assert list(home.iterdir()) == []
    with pytest.raises(DatasetError, match="no dataset 'ткань 2'"):
        remove("ткань 2")


def test_a_name_of_the_library_comes_before_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install("tiles", shade=1)
    monkeypatch.chdir(tmp_path)
    Path("tiles").mkdir()
    fill(Path("tiles"), shade=2)
    assert resolve_dataset("tiles")[0].image.max() == 1
    assert resolve_dataset("./tiles")[0].image.max() == 2


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", ".a", "-a", "a/b", "../a", "a\\b", "a,b", "a:b", "a\0", "a\n", " a", "a" * 101, "~", "\udcff"],
)
def test_a_name_that_could_lead_elsewhere_is_refused(home: Path, name: str) -> None:
    with pytest.raises(DatasetError, match="cannot name a dataset"):
        install(name)
    assert not home.exists()
    with pytest.raises(DatasetError, match="no dataset"):
        remove(name)


def test_a_name_that_means_something_already_is_refused() -> None:
    install("tiles")
    for name in ("procedural13", "procedural-polyp", "tiles"):
        with pytest.raises(DatasetError, match="choose another name"):
            install(name)


def test_what_fails_leaves_nothing_behind(home: Path) -> None:
    def fail() -> None:
        with installing("tiles") as folder:
            fill(folder)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert list(home.iterdir()) == []


def _install_slowly(barrier, outcomes) -> None:
    try:
        with installing("tiles") as folder:
            fill(folder)
            barrier.wait()
        outcomes.put("added")
    except DatasetError as error:
        outcomes.put(str(error))


def test_of_two_processes_that_add_one_name_one_wins(home: Path) -> None:
    context = multiprocessing.get_context("fork")
    barrier, outcomes = context.Barrier(2), context.Queue()
    both = [context.Process(target=_install_slowly, args=(barrier, outcomes)) for _ in range(2)]
    for process in both:
        process.start()
    said = sorted(outcomes.get(timeout=60) for _ in both)
    for process in both:
        process.join()
    assert "by another process meanwhile" in said[0]
    assert said[1] == "added"
    assert [folder.name for folder in home.iterdir()] == ["tiles"]
    assert len(resolve_dataset("tiles")) == 4


def test_what_a_killed_process_left_is_swept_and_what_a_living_one_fills_is_not(home: Path) -> None:
    code = (
        "import time\nfrom qttseg.metadata.library import installing\n"
        "with installing('slow') as folder:\n    (folder / 'images').mkdir()\n    time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code]) as process:
        while not list(home.glob(".slow.*/images")):
            time.sleep(0.01)
        install("first")
        assert len(list(home.glob(".slow.*"))) == 1
        process.send_signal(signal.SIGKILL)
    install("second")
    assert sorted(folder.name for folder in home.iterdir()) == ["first", "second"]


def test_a_home_that_cannot_be_written_is_named(home: Path) -> None:
    home.write_text("no folder")
    with pytest.raises(DatasetError, match="home/tiles cannot be written"):
        install("tiles")
    with pytest.raises(DatasetError, match="cannot be listed"):
        resolve_dataset("tiles")
