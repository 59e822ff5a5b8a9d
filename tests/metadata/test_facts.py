from __future__ import annotations

import hashlib
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from qttseg.metadata.datasets import Dataset
from qttseg.metadata.examination import examine_all, in_threads
from qttseg.metadata.facts import Facts, facts_of, fingerprint_of
from qttseg.metadata.folders import class_ids
from qttseg.metadata.listing import list_files


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("QTTSEG_CACHE", str(folder))
    return folder


def number(value: int) -> Facts:
    return Facts(image_size=(1, value + 1), mask_size=(1, value + 1), digest=str(value), binary_digest=str(value))


@settings(max_examples=60, deadline=None)
@given(arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9)), elements=st.sampled_from([0, 1, 2, 255])))
def test_facts_are_those_of_the_class_ids_that_a_task_makes_of_the_mask(mask: np.ndarray) -> None:
    image = np.repeat(mask[:, :, None], 3, axis=2)
    facts = facts_of(image, mask)
    assert sum(facts.pixels.values()) == mask.size
    assert facts.digest == hashlib.sha256(repr(image.shape).encode() + image.tobytes() + mask.tobytes()).hexdigest()
    assert facts.as_task("multiclass") == facts
    as_binary, direct = facts.as_task("binary"), facts_of(image, class_ids(mask, "binary"))
    assert as_binary.digest == direct.digest
    assert as_binary.pixels == direct.pixels
    assert as_binary.foreground == int((class_ids(mask, "binary") != 0).sum())


def test_areas_that_touch_at_a_corner_are_one() -> None:
    mask = np.zeros((8, 8), np.uint8)
    mask[0, 0] = mask[1, 1] = mask[5, 5] = 1
    mask[7, 0] = 255
    assert facts_of(np.zeros((8, 8, 3), np.uint8), mask).components == {1: 2, 255: 1}


@given(st.permutations([number(value) for value in range(5)]))
def test_the_fingerprint_does_not_depend_on_the_order(facts: list[Facts]) -> None:
    assert fingerprint_of(facts) == fingerprint_of([number(value) for value in range(5)])


def test_what_was_found_before_an_interruption_is_remembered() -> None:
    stamps = [f"stamp {index}" for index in range(40)]
    asked: list[int] = []
    interruptions = [30]

    def examine(index: int) -> Facts:
        asked.append(index)
        if index in interruptions:
            interruptions.clear()
            raise KeyboardInterrupt
        return number(index)

    with pytest.raises(KeyboardInterrupt):
        examine_all(examine, stamps, shelf="here")
    assert set(range(30)) <= set(asked)
    asked.clear()
    news: list[tuple[int, int]] = []
    found = examine_all(examine, stamps, shelf="here", on_progress=lambda done, total: news.append((done, total)))
    assert found == [number(index) for index in range(40)]
    assert not set(range(30)) & set(asked)
    assert news[0][0] >= 30
    assert news[-1] == (40, 40)


def test_only_what_has_changed_is_examined_again_and_problems_each_time() -> None:
    asked: list[int] = []

    def examine(index: int) -> Facts:
        asked.append(index)
        return Facts(image_problem="no access") if index == 2 else number(index)

    for stamps, expected in ((["a", "b", "c", ""], [0, 1, 2, 3]), (["a", "new", "c", ""], [1, 2, 3])):
        asked.clear()
        assert examine_all(examine, stamps, shelf="here")[0] == number(0)
        assert sorted(asked) == expected


def test_few_items_wait_at_a_time() -> None:
    taken = 0

    def count(item: int) -> int:
        nonlocal taken
        taken += 1
        return item

    results = in_threads(count, range(100_000))
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    results.close()
    assert taken < 1000


def test_a_folder_is_not_read_twice_unless_files_change(tmp_path: Path) -> None:
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
    for index in range(4):
        Image.new("RGB", (9, 9), (index, 0, 0)).save(tmp_path / f"images/{index}.png")
        Image.fromarray(np.eye(9, dtype=np.uint8)).save(tmp_path / f"masks/{index}.png")
    before = Dataset.from_folders(tmp_path).fingerprint
    file = tmp_path / "images/2.png"
    content, stat = file.read_bytes(), file.stat()
    file.write_bytes(b"x" * len(content))
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert Dataset.from_folders(tmp_path).fingerprint == before, "size and time are as they were"
    os.utime(file)
    problems = [facts.image_problem for facts in list_files(tmp_path).pairs.facts()]
    assert [bool(problem) for problem in problems] == [False, False, True, False]
    assert "2.png" in problems[2]
